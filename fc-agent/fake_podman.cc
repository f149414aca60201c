#include "fc-agent/fake_podman.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "fc-agent/conmon.h"

namespace fc_agent {
namespace {

int fail(int status, const std::string& message) {
  const std::string text = base::cat("a warning\nError: ", message, "\n");
  return ::write(STDERR_FILENO, text.data(), text.size()) > 0 ? status : 1;
}

// What conmon says, as podman reads it: from a socket of packets, after conmon has ended.
nlohmann::json ask_conmon(const std::string& conmon, const std::string& bundle) {
  const std::string self = base::canonical_path("/proc/self/exe");
  const auto sync = base::make_socket_pair(SOCK_SEQPACKET);
  const auto start = base::make_socket_pair(SOCK_SEQPACKET);
  base::SpawnOptions options;
  options.argv = {conmon,
                  "--api-version",
                  "1",
                  "-c",
                  kFakeContainerId,
                  "-u",
                  kFakeContainerId,
                  "-r",
                  self,
                  "-b",
                  bundle,
                  "-p",
                  bundle + "/pidfile",
                  "--full-attach",
                  "-l",
                  "none:",
                  "--runtime-arg",
                  "--root",
                  "--runtime-arg",
                  "/unused",
                  "--runtime-arg",
                  "--log",
                  base::cat("--runtime-arg=", bundle, "/log"),
                  "--conmon-pidfile",
                  bundle + "/conmon.pid",
                  "--exit-command-arg",
                  "-c",
                  "-t"};
  options.env = std::vector<std::string>{"_OCI_SYNCPIPE=3", "_OCI_STARTPIPE=4"};
  options.fds = {{sync.second.get(), 3}, {start.second.get(), 4}};
  auto child = base::ChildProcess::spawn(options);
  base::write_all(start.first, std::string_view("\0", 1));
  if (const auto status = child.wait(); !status || !status->success()) {
    throw base::Error("conmon failed");
  }
  std::array<char, 65536> line;
  const ssize_t n = ::recv(sync.first.get(), line.data(), line.size(), MSG_DONTWAIT);
  return nlohmann::json::parse(std::string_view(line.data(), n > 0 ? std::size_t(n) : 0));
}

int podman(const std::vector<std::string>& arguments) {
  const std::string& conmon = arguments.at(1);
  const std::string folder = conmon.substr(0, conmon.rfind('/'));
  std::string behaviour = "run";
  std::string bundle = folder + "/bundle";
  if (arguments.at(2) == "start") {
    base::write_file(folder + "/started", arguments.at(3));
  } else {
    behaviour = arguments.at(3);
    bundle = arguments.at(4);
  }
  if (behaviour == "no-image") return fail(125, "no such image");
  const nlohmann::json answer = ask_conmon(conmon, bundle);
  const pid_t pid = answer.at("data").get<pid_t>();
  if (pid < 0) {
    return fail(127, base::read_file(bundle + "/log").find("not found") != std::string::npos
                         ? "it was not found"
                         : answer.at("message").get<std::string>());
  }
  if (base::read_file(bundle + "/conmon.pid") != "1") return fail(125, "no pid of conmon");
  if (behaviour == "no-start") {
    ::kill(pid, SIGKILL);
    ::poll(nullptr, 0, 100);
    return fail(126, "it could not be started");
  }
  if (behaviour == "slow") ::poll(nullptr, 0, 200);
  return 0;
}

__attribute__((constructor)) void be_podman_when_called_so(int argc, char** argv, char**) {
  const std::string name = argc > 0 ? argv[0] : "";
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  if (name.substr(name.rfind('/') + 1) == kConmonName) {
    ::_exit(conmon_main(arguments, name + ".sock"));
  }
  if (arguments.empty() || arguments[0] != "--conmon") return;
  try {
    ::_exit(podman(arguments));
  } catch (const std::exception& error) {
    ::_exit(fail(99, error.what()));
  }
}

}  // namespace

std::string link_fake_conmon(const std::string& directory) {
  const std::string path = base::cat(directory, "/", kConmonName);
  if (::symlink(base::canonical_path("/proc/self/exe").c_str(), path.c_str()) != 0) {
    base::throw_errno("making link", path);
  }
  return path;
}

}  // namespace fc_agent
