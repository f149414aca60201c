#pragma once

#include "cli/command.h"
#include "vm/session.h"

namespace cli {

// The exit status after a session; says on stderr why, where it was not the process's own end.
int exit_status(const Invocation& invocation, const vm::SessionResult& result);

}  // namespace cli
