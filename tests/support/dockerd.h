// A real dockerd for a test: with a socket, a root and an exec root of its own and without a network.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tests {

class Dockerd {
 public:
  // Throws std::runtime_error when it does not start.
  Dockerd();
  Dockerd(const Dockerd&) = delete;
  Dockerd& operator=(const Dockerd&) = delete;
  // Ends it and waits for its containerd.
  ~Dockerd();

  // "unix:///…", for DOCKER_HOST.
  std::string host() const { return "unix://" + (dir_ / "docker.sock").string(); }

 private:
  TempDir dir_;
  std::vector<std::filesystem::path> made_;  // outside dir_
  std::unique_ptr<Process> server_;
};

}  // namespace tests
