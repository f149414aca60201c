// A registry of container images on this machine, made of the package docker-registry.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tests {

// Serves on a port of its own of the loopback interface, without TLS, as long as it lives.
class Registry {
 public:
  enum class Access { kOpen, kPassword };
  static constexpr const char* kUser = "tester";
  static constexpr const char* kPassword = "correct horse";

  // Throws std::runtime_error when it does not start.
  explicit Registry(Access access = Access::kOpen);
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  ~Registry();

  // "127.0.0.1:PORT".
  const std::string& host() const { return host_; }
  // Copies what skopeo reads as `source` to `host()/name`; all platforms of a list.
  void push(const std::string& source, const std::string& name) const;
  // The digest of the manifest of `name`.
  std::string digest(const std::string& name) const;
  // From here on nobody listens there.
  void stop();

 private:
  std::vector<std::string> credentials(const std::string& flag) const;

  TempDir dir_;
  Access access_;
  std::unique_ptr<Process> server_;
  std::string host_;
};

}  // namespace tests
