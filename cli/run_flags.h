#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/image_flags.h"
#include "cli/options.h"
#include "vm/run_options.h"

namespace cli {

// --env-file and --env, the latter stronger. Throws base::Error naming the flag.
std::map<std::string, std::string> read_environment(
    const std::vector<std::string>& files, const std::vector<std::string>& variables,
    const std::vector<std::string>& host_environment);

// The flags of `podman run`. What this version does not have is refused by its name.
class RunFlags {
 public:
  // `this` must outlive `options`.
  void declare(Options& options);
  // After parsing: `arguments` are IMAGE and what follows. Throws base::Error.
  vm::RunOptions finish(const std::vector<std::string>& arguments,
                        const std::vector<std::string>& host_environment);
  // The part of them that is about the image. Throws base::Error.
  image::EnsureOptions ensure_options() const;

 private:
  void declare_life(Options& options);
  void declare_health(Options& options);
  void declare_machine(Options& options);
  void declare_network(Options& options);
  void declare_files(Options& options);
  void declare_process(Options& options);

  vm::RunOptions run_;
  bool no_health_check_ = false;
  SourceFlags source_;
  std::vector<std::string> env_;
  std::vector<std::string> env_files_;
};

}  // namespace cli
