#include <unistd.h>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "image/archive.h"

namespace cli {

int image_load(Invocation& invocation) {
  std::string file;
  bool quiet = false;
  Options options;
  options.value("input,i", "FILE", "The archive; default standard input", file);
  options.flag("quiet,q", quiet, "No progress");
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  if (file.empty() && ::isatty(STDIN_FILENO) == 1) {
    throw UsageError("standard input is a terminal: redirect it, or give --input");
  }

  const InterruptGuard interrupt;
  image::EnsureOptions ensure;
  ensure.cancellation = &interrupt.cancellation();
  image::ImageStore store = invocation.images();
  ProgressDisplay progress;
  if (!quiet) ensure.progress = progress.callback();
  const auto loaded = file.empty() ? image::load_stream(store, STDIN_FILENO, ensure)
                                   : image::load_archive(store, file, ensure);
  progress.finish();
  for (const auto& disk : loaded) {
    for (const auto& name : disk.names) print(base::cat("Loaded image: ", name, "\n"));
    if (disk.names.empty()) print(base::cat("Loaded image: ", disk.digest, "\n"));
  }
  return 0;
}

}  // namespace cli
