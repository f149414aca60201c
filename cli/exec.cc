#include <nlohmann/json.hpp>

#include "base/event_loop.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/run_flags.h"
#include "vm/flag_parsers.h"

namespace cli {
namespace {

// --vm: the OCI process object of a process beside the container. The guest has no users but root
// by name.
std::string guest_process(const vm::ExecOptions& exec) {
  std::map<std::string, std::string> env{
      {"HOME", "/root"}, {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}};
  if (exec.tty) env["TERM"] = "xterm";
  for (const auto& [name, value] : exec.env) env[name] = value;
  nlohmann::json process{{"args", exec.command},
                         {"cwd", exec.workdir.empty() ? "/" : exec.workdir},
                         {"terminal", exec.tty},
                         {"env", nlohmann::json::array()}};
  for (const auto& [name, value] : env) process["env"].push_back(name + '=' + value);
  if (!exec.user.empty() && exec.user != "root") {
    const auto colon = exec.user.find(':');
    base::with_context("--user with --vm takes numbers", [&] {
      process["user"]["uid"] = parse_count(exec.user.substr(0, colon));
      process["user"]["gid"] =
          colon == std::string::npos ? 0 : parse_count(exec.user.substr(colon + 1));
    });
  }
  return process.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

int exec(Invocation& invocation) {
  vm::ExecOptions exec;
  vm::SessionOptions session;
  session.detach_keys = vm::RunOptions{}.detach_keys;
  std::vector<std::string> env;
  std::vector<std::string> env_files;
  bool interactive = false;
  bool detach = false;
  bool in_guest = false;
  Options options;
  options.flag("interactive,i", interactive, "Pass standard input on");
  options.flag("tty,t", exec.tty, "Give the process a terminal");
  options.flag("detach,d", detach, "Start it and return");
  options.value(
      "detach-keys", "KEYS", "Keys that leave a terminal; default ctrl-p,ctrl-q",
      [&](const std::string& text) { session.detach_keys = vm::parse_detach_keys(text); });
  options.list("env,e", "NAME[=VALUE]", "Set a variable; without a value copy it from the host",
               [&](const std::string& text) { env.push_back(text); });
  options.list("env-file", "FILE", "Set the variables of a file, one a line",
               [&](const std::string& text) { env_files.push_back(text); });
  options.value("user,u", "USER[:GROUP]", "Names of the container, or numbers", exec.user);
  options.value("workdir,w", "DIR", "Where the command starts", exec.workdir);
  options.flag("privileged", exec.privileged, "With every capability");
  options.flag("vm", in_guest, "In the guest itself, beside the container");
  const auto arguments = invocation.parse(options, Order::kBeforeArguments);
  if (arguments.empty()) throw UsageError("a VM has to be named");
  if (arguments.size() == 1) throw UsageError("a COMMAND has to be given");
  exec.command.assign(arguments.begin() + 1, arguments.end());
  exec.env = read_environment(env_files, env, host_environment());

  const vm::VmManager manager = invocation.manager();
  const vm::VmRecord record = manager.find(arguments.front());
  base::Fd monitor = manager.connect(record);
  wire::ProcessStart start;
  start.kind = in_guest ? wire::ProcessStart::Kind::kGuest : wire::ProcessStart::Kind::kExec;
  start.tty = exec.tty;
  start.detach = detach;
  start.use_stdin = interactive && !detach;
  start.use_stdout = !detach;
  start.use_stderr = !detach && !exec.tty;
  start.process_json = in_guest ? guest_process(exec) : manager.exec_process(record, exec);
  base::EventLoop loop;
  return exit_status(invocation, vm::run_session(loop, std::move(monitor), start, session));
}

}  // namespace cli
