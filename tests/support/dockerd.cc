#include "tests/support/dockerd.h"

#include <csignal>
#include <filesystem>
#include <stdexcept>

namespace tests {
namespace {

// dockerd makes them and has no flag for another place. The innermost come first.
constexpr const char* kFixed[] = {"/etc/docker/key.json", "/etc/docker", "/run/docker/plugins",
                                  "/run/docker"};

}  // namespace

Dockerd::Dockerd() {
  for (const char* path : kFixed) {
    if (!std::filesystem::exists(path)) made_.emplace_back(path);
  }
  Command command;
  // In namespaces of its own: it turns on forwarding, and mounts what nobody takes away.
  command.argv = {"unshare",          "--net",
                  "--mount",          "dockerd",
                  "--host",           host(),
                  "--data-root",      dir_ / "root",
                  "--exec-root",      dir_ / "exec",
                  "--pidfile",        dir_ / "pid",
                  "--config-file",    dir_.write("daemon.json", "{}"),
                  "--storage-driver", "vfs",
                  "--bridge",         "none",
                  "--iptables=false", "--ip6tables=false"};
  command.deadline = std::chrono::minutes(10);
  server_ = std::make_unique<Process>(std::move(command));
  if (!server_->wait_for_err("API listen on", std::chrono::seconds(60))) {
    throw std::runtime_error("dockerd does not start: " + server_->err());
  }
}

Dockerd::~Dockerd() {
  server_->signal(SIGTERM);
  server_->wait();
  std::error_code ignored;
  for (const auto& path : made_) std::filesystem::remove(path, ignored);
}

}  // namespace tests
