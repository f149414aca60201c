// A stand-in for crun(1) in tests: a program linked with fake_crun.cc behaves as crun when it is
// called as crun is (first argument "--root"), before its main() runs. It starts the process of the
// bundle or of --process on this machine, with no container around it, detached like crun's.
//
// Instead of a program, args[0] may name a behaviour:
//   "fail"  writes args[1] to its log and to its stderr, and exits with 1
//   "hang"  never ends
//   "slow"  starts the rest of args, but goes on for 200 ms itself
#pragma once

#include <string>

namespace fc_agent {

// The program to give as Crun::program.
std::string fake_crun_program();

}  // namespace fc_agent
