#include "tests/support/dockerd.h"

#include <csignal>
#include <filesystem>
#include <stdexcept>

namespace tests {
namespace {

// dockerd makes them and has no flag for another place.
constexpr const char* kFolder = "/etc/docker";
constexpr const char* kKey = "/etc/docker/key.json";

}  // namespace

Dockerd::Dockerd()
    : had_folder_(std::filesystem::exists(kFolder)), had_key_(std::filesystem::exists(kKey)) {
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
  if (!had_key_) std::filesystem::remove(kKey, ignored);
  if (!had_folder_) std::filesystem::remove(kFolder, ignored);
}

}  // namespace tests
