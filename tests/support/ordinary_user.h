// An ordinary user with an account, a home and a runtime directory of their own, who exists in the
// mount namespace of their commands only. They read the assets of the tests' data directory as
// root's, and see programs and images where anybody may go.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tests {

class OrdinaryUser {
 public:
  enum class Ids {
    kRange,   // 65536 of /etc/subuid and /etc/subgid
    kSingle,  // none but their own
  };
  // Needs root. `uid` must be nobody's.
  explicit OrdinaryUser(Ids ids, uid_t uid = 54321);
  ~OrdinaryUser();
  OrdinaryUser(const OrdinaryUser&) = delete;
  OrdinaryUser& operator=(const OrdinaryUser&) = delete;

  // "fcvm ARGS…" by this user, who names no data directory; `env` is added to their environment.
  Command command(const std::vector<std::string>& args,
                  const std::vector<std::string>& env = {}) const;
  Outcome fcvm(const std::vector<std::string>& args,
               const std::vector<std::string>& env = {}) const;
  // `podman run FLAGS… busybox COMMAND…`, with what makes a test's VM small.
  std::vector<std::string> run_args(const std::vector<std::string>& flags,
                                    const std::vector<std::string>& command) const;

  uid_t uid() const { return uid_; }
  std::string home() const { return dir_ / "home"; }
  std::string data() const { return home() + "/.local/share/fcvm"; }
  std::string runtime() const { return dir_ / "run"; }
  // Everything of theirs is below it.
  const std::filesystem::path& directory() const { return dir_.path(); }

  // What their VMs left: records, disks, run files and half-made images, a line each.
  std::string remains() const;

 private:
  void own(const std::string& folder) const;

  uid_t uid_;
  TempDir dir_;
};

}  // namespace tests
