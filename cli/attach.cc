#include "cli/attach.h"

#include "cli/output.h"

namespace cli {

int exit_status(const Invocation& invocation, const vm::SessionResult& result) {
  switch (result.end) {
    case vm::SessionResult::End::kFailed:
      print_error_text(error_text(invocation.command->name, result.message, ""));
      break;
    case vm::SessionResult::End::kOutputClosed:
    case vm::SessionResult::End::kExited:
    case vm::SessionResult::End::kDetached:
    case vm::SessionResult::End::kStarted:
      break;
  }
  if (result.output_error) print_error(invocation.command->name, *result.output_error);
  return result.exit_code;
}

}  // namespace cli
