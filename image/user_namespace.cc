#include "image/user_namespace.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process.h"

namespace image {
namespace {

struct Namespace {
  std::vector<std::string> prefix;
  bool single_id = false;
};

bool works(std::vector<std::string> argv) {
  base::SpawnOptions spawn;
  spawn.argv = std::move(argv);
  spawn.argv.emplace_back("true");
  return base::run_command(std::move(spawn)).status.success();
}

Namespace find_namespace() {
  // A mount namespace too: container storage probes what it may mount.
  const std::vector<std::string> all{"unshare", "--map-root-user", "--map-auto", "--mount", "--"};
  if (works(all)) return {all, false};
  base::log_warn(
      "this user has no range of ids in /etc/subuid (or newuidmap is missing): files of images "
      "lose their owners and belong to root in the container");
  return {{"unshare", "--map-root-user", "--mount", "--"}, true};
}

const Namespace& user_namespace() {
  static const Namespace none;
  if (::geteuid() == 0) return none;
  static const Namespace found = find_namespace();
  return found;
}

}  // namespace

const std::vector<std::string>& user_namespace_prefix() {
  return user_namespace().prefix;
}

bool user_namespace_is_single_id() {
  return user_namespace().single_id;
}

namespace {

constexpr std::size_t kMaxAnswerBytes = 16 << 20;

// A descriptor of the namespace; it lives as long as that.
const base::Fd& namespace_fd() {
  static const base::Fd fd = [] {
    // A program that holds the namespace until it is opened; its input ends with this scope.
    const base::Pipe input = base::make_pipe();
    const base::Pipe output = base::make_pipe();
    base::SpawnOptions spawn;
    spawn.argv = user_namespace_prefix();
    spawn.argv.insert(spawn.argv.end(), {"sh", "-c", "echo; exec cat"});
    spawn.fds = {{input.read.get(), 0}, {output.write.get(), 1}};
    spawn.parent_death_signal = SIGKILL;
    const base::ChildProcess holder = base::ChildProcess::spawn(spawn);
    std::byte ready{};
    if (!base::wait_for(output.read.get(), POLLIN, std::chrono::seconds(30))) {
      throw base::Error(ETIMEDOUT, "making a user namespace");
    }
    base::read_exactly(output.read, {&ready, 1});
    return base::open_file(base::cat("/proc/", holder.pid(), "/ns/user"), O_RDONLY);
  }();
  return fd;
}

// In the child; never returns.
[[noreturn]] void answer(const base::Fd& to, const base::Fd& ns,
                         const std::function<std::string()>& job) {
  int status = 0;
  std::string text;
  try {
    if (::setns(ns.get(), CLONE_NEWUSER) != 0) base::throw_errno("entering the user namespace");
    text = job();
  } catch (const std::exception& error) {
    status = 1;
    text = error.what();
  }
  try {
    base::write_all(to, text);
  } catch (const std::exception&) {
    status = 2;
  }
  ::_exit(status);
}

}  // namespace

std::string in_user_namespace(const std::function<std::string()>& job) {
  if (::geteuid() == 0) return job();
  const base::Fd& ns = namespace_fd();
  base::Pipe pipe = base::make_pipe();
  const pid_t child = ::fork();
  if (child < 0) base::throw_errno("forking");
  if (child == 0) answer(pipe.write, ns, job);
  pipe.write.reset();
  std::string text;
  std::optional<base::Error> failure;
  try {
    text = base::read_to_end(pipe.read, kMaxAnswerBytes);
  } catch (const base::Error& error) {
    failure = error;
    pipe.read.reset();
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (failure) throw *failure;
  if (status != 0) {
    throw base::Error(text.empty() ? "a helper in the user namespace was killed" : text);
  }
  return text;
}

void remove_in_user_namespace(const std::vector<std::string>& paths) {
  if (paths.empty()) return;
  if (::geteuid() == 0) {
    for (const std::string& path : paths) base::remove_tree(path);
    return;
  }
  base::SpawnOptions spawn;
  spawn.argv = user_namespace_prefix();
  spawn.argv.insert(spawn.argv.end(), {"rm", "-rf", "--"});
  spawn.argv.insert(spawn.argv.end(), paths.begin(), paths.end());
  spawn.parent_death_signal = SIGKILL;
  base::run_command_checked(std::move(spawn));
}

}  // namespace image
