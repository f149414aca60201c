#include "cli/attach.h"

#include <cerrno>

#include "cli/output.h"

namespace cli {

int exit_status(const Invocation& invocation, const vm::SessionResult& result) {
  switch (result.end) {
    case vm::SessionResult::End::kFailed:
      print_error_text(error_text(invocation.command->name, result.message, ""));
      break;
    case vm::SessionResult::End::kOutputClosed:
      print_error(invocation.command->name, base::Error(EPIPE, "writing the container's output"));
      break;
    case vm::SessionResult::End::kExited:
    case vm::SessionResult::End::kDetached:
    case vm::SessionResult::End::kStarted:
      break;
  }
  return result.exit_code;
}

}  // namespace cli
