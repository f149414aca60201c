#include "fc-agent/conmon.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"

namespace fc_agent {
namespace {

constexpr std::size_t kMaxRequestBytes = 1 << 20;
constexpr std::size_t kMaxAnswerBytes = 64 * 1024;
constexpr const char* kRealConmon = "/usr/bin/conmon";

// Every other option of conmon's has a value, behind '=' or as the next argument.
constexpr std::array<std::string_view, 18> kFlags{"-e",
                                                  "-i",
                                                  "-s",
                                                  "-t",
                                                  "--exec",
                                                  "--exec-attach",
                                                  "--full-attach",
                                                  "--leave-stdin-open",
                                                  "--no-container-partial-message",
                                                  "--no-new-keyring",
                                                  "--no-pivot",
                                                  "--no-sync-log",
                                                  "--replace-listen-pid",
                                                  "--stdin",
                                                  "--sync",
                                                  "--syslog",
                                                  "--systemd-cgroup",
                                                  "--terminal"};

std::string required(const std::string& value, const char* option) {
  if (value.empty()) throw base::Error(base::cat("conmon: option ", option, " is missing"));
  return value;
}

std::string line_of(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// The descriptor podman has left open for us and named in the environment.
base::Fd inherited(const char* variable) {
  const char* const text = ::getenv(variable);
  int number = -1;
  if (text != nullptr) std::from_chars(text, text + std::char_traits<char>::length(text), number);
  return number > 2 ? base::Fd(number) : base::Fd();
}

void report(const base::Fd& sync_pipe, pid_t pid, const std::string& message) {
  if (!sync_pipe) return;
  nlohmann::json value{{"data", pid}};
  if (!message.empty()) value["message"] = message;
  base::write_all(sync_pipe, line_of(value));
}

std::string ask_agent(const std::vector<std::string>& arguments, const std::string& socket_path) {
  const base::Fd socket = base::connect_unix(socket_path);
  base::write_all(socket, line_of(arguments));
  return base::read_to_end(socket, kMaxAnswerBytes);
}

}  // namespace

ConmonRequest parse_conmon_arguments(const std::vector<std::string>& arguments) {
  ConmonRequest request;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    if (name == "--no-pivot" || name == "--no-new-keyring") {
      request.create_options.push_back(name);
    }
    if (std::find(kFlags.begin(), kFlags.end(), name) != kFlags.end()) continue;
    std::string value;
    if (const auto equals = name.find('='); name.starts_with("--") && equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    }
    if (name == "-c" || name == "--cid") request.container_id = value;
    if (name == "-b" || name == "--bundle") request.bundle = value;
    if (name == "-p" || name == "--container-pidfile") request.pid_file = value;
    if (name == "-r" || name == "--runtime") request.runtime = value;
    if (name == "--conmon-pidfile" || name == "-P") request.conmon_pid_file = value;
    if (name == "--runtime-arg") request.runtime_options.push_back(value);
  }
  required(request.container_id, "-c");
  required(request.bundle, "-b");
  required(request.pid_file, "-p");
  required(request.runtime, "-r");
  return request;
}

std::vector<std::string> create_arguments(const ConmonRequest& request,
                                          const std::string& console_socket) {
  std::vector<std::string> arguments{request.runtime};
  const auto append = [&](const std::vector<std::string>& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
  };
  append(request.runtime_options);
  append({"create", "--bundle", request.bundle, "--pid-file", request.pid_file});
  if (!console_socket.empty()) append({"--console-socket", console_socket});
  append(request.create_options);
  append({request.container_id});
  return arguments;
}

ConmonServer::ConmonServer(base::EventLoop& loop, std::string socket_path, Handler on_request)
    : loop_(loop), path_(std::move(socket_path)), on_request_(std::move(on_request)) {
  ::unlink(path_.c_str());
  listener_ = base::listen_unix(path_, 1);
  listener_watch_ =
      loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { on_connection(); });
}

ConmonServer::~ConmonServer() {
  ::unlink(path_.c_str());
}

void ConmonServer::on_connection() {
  peer_ = base::Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!peer_) return;
  listener_watch_.reset();
  peer_watch_ = loop_.watch(peer_.get(), EPOLLIN, [this](std::uint32_t) { on_data(); });
}

void ConmonServer::on_data() {
  std::array<char, 16384> chunk;
  const ssize_t n = ::read(peer_.get(), chunk.data(), chunk.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) received_.append(chunk.data(), static_cast<std::size_t>(n));
  const bool whole = received_.ends_with('\n');
  if (n > 0 && !whole && received_.size() <= kMaxRequestBytes) return;
  peer_watch_.reset();
  try {
    if (!whole) throw base::Error("conmon: the request is cut short");
    const auto json = base::parse_json(received_, kMaxRequestBytes, 4);
    if (!json.is_array()) throw base::Error("conmon: the request is no list");
    std::vector<std::string> arguments;
    for (const auto& argument : json) {
      if (!argument.is_string()) throw base::Error("conmon: the request is no list of text");
      arguments.push_back(argument.get<std::string>());
    }
    on_request_(parse_conmon_arguments(arguments));
  } catch (const std::exception& error) {
    refuse(error.what());
  }
}

void ConmonServer::created(pid_t pid) {
  answer(line_of({{"pid", pid}}));
}

void ConmonServer::refuse(std::string_view why) {
  answer(line_of({{"pid", -1}, {"message", why}}));
}

void ConmonServer::answer(const std::string& line) {
  if (!peer_) return;
  try {
    // Far less than a socket takes at once.
    base::write_all(peer_, line);
  } catch (const base::Error& error) {
    base::log_warn(error.what());
  }
  peer_.reset();
}

int conmon_main(const std::vector<std::string>& arguments, const std::string& socket_path) {
  if (arguments.size() == 1 && arguments[0] == "--version") {
    ::execl(kRealConmon, kRealConmon, "--version", nullptr);
    return 1;
  }
  const base::Fd sync_pipe = inherited("_OCI_SYNCPIPE");
  const base::Fd start_pipe = inherited("_OCI_STARTPIPE");
  try {
    // Podman says when it has put us where it wants us.
    char byte = 0;
    if (start_pipe && ::read(start_pipe.get(), &byte, 1) < 0)
      base::throw_errno("waiting for podman");
    const auto answer = base::parse_json(ask_agent(arguments, socket_path), kMaxAnswerBytes, 4);
    const pid_t pid = answer.value("pid", -1);
    const ConmonRequest request = parse_conmon_arguments(arguments);
    // The agent is what watches the container, and it lives as long as the guest.
    if (pid > 0 && !request.conmon_pid_file.empty()) {
      base::write_file(request.conmon_pid_file, "1", 0644);
    }
    report(sync_pipe, pid, answer.value("message", ""));
  } catch (const std::exception& error) {
    report(sync_pipe, -1, error.what());
  }
  // Podman reads the report only of a conmon that did not fail.
  return 0;
}

}  // namespace fc_agent
