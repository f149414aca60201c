#include "cli/command.h"
#include "cli/image_flags.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"

namespace cli {

int image_pull(Invocation& invocation) {
  bool quiet = false;
  SourceFlags source;
  Options options;
  options.flag("quiet,q", quiet, "No progress");
  source.declare(options);
  const auto names = invocation.parse(options, Order::kAnywhere);
  if (names.empty()) throw UsageError("name at least one image");
  std::vector<image::Reference> references;
  image::EnsureOptions ensure;
  try {
    for (const auto& name : names) references.push_back(image::parse_reference(name));
    source.finish(ensure);
  } catch (const base::Error& error) {
    throw UsageError(error);
  }
  ensure.pull = image::PullPolicy::kAlways;

  const InterruptGuard interrupt;
  ensure.cancellation = &interrupt.cancellation();
  image::ImageStore store = invocation.images();
  int status = 0;
  for (const auto& reference : references) {
    try {
      ProgressDisplay progress;
      if (!quiet) ensure.progress = progress.callback();
      const image::ImageDisk disk = store.ensure(reference, ensure);
      progress.finish();
      print(disk.digest.substr(disk.digest.find(':') + 1) + '\n');
    } catch (const base::Error& error) {
      print_error(invocation.command->name, error);
      status = kFailed;
    }
  }
  return status;
}

}  // namespace cli
