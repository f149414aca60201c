#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace fc_agent {

// Command lines of crun(1) and what its failures mean. --detach in both, so that the process ends up
// as a child of PID 1, which then learns its exact wait status.
struct Crun {
  std::string program = "/usr/bin/crun";
  std::string state_directory = "/run/crun";
};

// Files of one invocation; all but `console_socket` are always used.
struct CrunFiles {
  std::string pid;
  std::string log;
  std::string process;         // exec: the OCI process object
  std::string console_socket;  // with a terminal: where crun sends its master side; else empty
};

std::vector<std::string> crun_run_arguments(const Crun& crun, const CrunFiles& files,
                                            const std::string& bundle, const std::string& id);
std::vector<std::string> crun_exec_arguments(const Crun& crun, const CrunFiles& files,
                                             const std::string& id);

struct CrunFailure {
  int code = 125;  // as podman has it: 127 not found, 126 not permitted, else 125
  std::string message;
};
// From the text of crun's log (--log-format json: one object with "msg" and "level" a line; other
// lines are taken as they are). `fallback` is the message when the log says nothing.
CrunFailure classify_crun_failure(std::string_view log, std::string_view fallback);

// Makes crun skip the private, read-only copy of itself that it otherwise makes and executes at every
// start: it accepts a read-only mount of its file in its place, which protects it from a container
// just as well. A failure costs time only and is logged.
void protect_crun(const std::string& program);

// Runs crun once for nothing in the tree whose root is the folder `root`, which brings it and its
// libraries into memory (and under emulation through the translator) while the guest still waits for
// other things. By the folder and not by a path: the tree may move meanwhile. The child is left to
// whoever reaps; a failure costs time only.
void warm_up_crun(const base::Fd& root, const Crun& crun);

}  // namespace fc_agent
