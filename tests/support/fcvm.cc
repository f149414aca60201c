#include "tests/support/fcvm.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/fd.h"

namespace tests {
namespace {

namespace fs = std::filesystem;

// No event tells a test that a record has changed.
constexpr std::chrono::milliseconds kLookAgainAfter{20};
constexpr std::chrono::seconds kReadyLimit{30};

std::vector<std::string> joined(std::vector<std::string> first,
                                const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace

std::vector<std::string> fcvm_argv(const std::vector<std::string>& args) {
  return joined({(bin_dir() / "fcvm").string(), "--data-dir", data_dir().string()}, args);
}

Command fcvm_command(const std::vector<std::string>& args) {
  Command command;
  command.argv = fcvm_argv(args);
  return command;
}

Outcome fcvm(const std::vector<std::string>& args) {
  return run(fcvm_command(args));
}

Outcome fcvm(const std::vector<std::string>& args, std::string input) {
  Command command = fcvm_command(args);
  command.input = std::move(input);
  return run(std::move(command));
}

std::string unique_name(std::string_view prefix) {
  static std::atomic<int> counter = 0;
  return std::string(prefix) + "-" + std::to_string(::getpid()) + "-" + std::to_string(++counter);
}

std::string busybox() {
  return image_reference("busybox");
}

std::string engine() {
  const char* const name = std::getenv("FCVM_TEST_ENGINE");
  return name != nullptr ? name : "crun";
}

std::vector<std::string> run_args(const std::vector<std::string>& flags,
                                  const std::vector<std::string>& command,
                                  const std::string& image) {
  std::vector<std::string> args = {"podman", "run",    "--engine", engine(),   "--network",
                                   "none",   "--cpus", "1",        "--memory", "128m"};
  args = joined(std::move(args), flags);
  args.push_back(image);
  return joined(std::move(args), command);
}

Outcome run_container(const std::vector<std::string>& flags,
                      const std::vector<std::string>& command) {
  return fcvm(run_args(joined({"--rm"}, flags), command));
}

Vm::Vm(std::vector<std::string> flags, std::vector<std::string> command)
    : name_(unique_name("vm")) {
  flags.insert(flags.end(), {"-d", "--name", name_});
  const Outcome outcome = fcvm(run_args(flags, command));
  if (outcome.status != 0) {
    throw std::runtime_error("fcvm podman run -d: status " + std::to_string(outcome.status) + ": " +
                             outcome.err);
  }
  id_ = outcome.out.substr(0, outcome.out.find('\n'));
  if (command.empty() || command.back().find("echo ready;") == std::string::npos) {
    return;
  }
  const auto until = std::chrono::steady_clock::now() + kReadyLimit;
  while (fcvm({"logs", name_}).out.find("ready\n") == std::string::npos &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(kLookAgainAfter);
  }
}

Vm::~Vm() {
  fcvm({"rm", "-f", "-t", "0", name_});
}

std::vector<std::string> Vm::sleeping_command() {
  return sleeping_command("TERM", "exit 0");
}

std::vector<std::string> Vm::sleeping_command(const std::string& signal,
                                              const std::string& action) {
  return {
      "sh", "-c",
      "trap '" + action + "' " + signal + "; echo ready; while :; do sleep 1000 & wait $!; done"};
}

Outcome Vm::exec(const std::vector<std::string>& command,
                 const std::vector<std::string>& flags) const {
  return fcvm(joined(joined(joined({"exec"}, flags), {name_}), command));
}

RemoveAtEnd::~RemoveAtEnd() {
  fcvm({"rm", "-f", "-t", "0", name_});
}

std::string inspect(const std::string& name, const std::string& pointer) {
  const Outcome outcome = fcvm({"inspect", name});
  if (outcome.status != 0) {
    return {};
  }
  auto document = nlohmann::json::parse(outcome.out, nullptr, false);
  if (document.is_array() && !document.empty()) {
    document = nlohmann::json(document.front());
  }
  const nlohmann::json::json_pointer where(pointer);
  if (document.is_discarded() || !document.contains(where)) {
    return {};
  }
  const auto& value = document.at(where);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string wait_for_status(const std::string& name, std::string_view statuses,
                            std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  const std::string list = "," + std::string(statuses) + ",";
  for (;;) {
    const std::string status = inspect(name, "/State/Status");
    if (list.find("," + status + ",") != std::string::npos ||
        std::chrono::steady_clock::now() >= until) {
      return status;
    }
    std::this_thread::sleep_for(kLookAgainAfter);
  }
}

std::vector<int> find_processes(std::string_view first, std::string_view second) {
  std::vector<int> pids;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (std::isdigit(static_cast<unsigned char>(name[0])) == 0 || std::stoi(name) == ::getpid()) {
      continue;
    }
    std::ifstream in(it->path() / "cmdline", std::ios::binary);
    // Iterators would throw for a process that ends while it is read.
    std::ostringstream text;
    text << in.rdbuf();
    std::string line = text.str();
    std::replace(line.begin(), line.end(), '\0', ' ');
    if (line.find(first) != std::string::npos && line.find(second) != std::string::npos) {
      pids.push_back(std::stoi(name));
    }
  }
  return pids;
}

bool wait_for_end_of(int pid, std::chrono::milliseconds limit) {
  const base::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return !pidfd || base::wait_for(pidfd.get(), POLLIN, limit);
}

}  // namespace tests
