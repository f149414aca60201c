#include "fc-agent/fake_crun.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "fc-agent/terminal.h"

namespace fc_agent {
namespace {

struct Call {
  bool exec = false;
  std::string pid_file;
  std::string log;
  std::string console_socket;
  std::string process_file;
  std::string bundle;
};

Call parse(int argc, char** argv) {
  Call call;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "exec") call.exec = true;
    if (i + 1 == argc) break;
    if (name == "--pid-file") call.pid_file = argv[i + 1];
    if (name == "--log") call.log = argv[i + 1];
    if (name == "--console-socket") call.console_socket = argv[i + 1];
    if (name == "--process") call.process_file = argv[i + 1];
    if (name == "--bundle") call.bundle = argv[i + 1];
  }
  return call;
}

void send_terminal(const std::string& socket_path, const base::Fd& master) {
  const base::Fd socket = base::connect_unix(socket_path);
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = master.get();
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ::sendmsg(socket.get(), &message, 0);
}

[[noreturn]] void run_process(const Call& call, const nlohmann::json& process,
                              const std::vector<std::string>& args) {
  ::setsid();
  if (!call.console_socket.empty()) {
    const Terminal terminal = open_terminal();
    if (process.contains("consoleSize")) {
      set_window_size(terminal.master, process["consoleSize"]["height"].get<std::uint16_t>(),
                      process["consoleSize"]["width"].get<std::uint16_t>());
    }
    send_terminal(call.console_socket, terminal.master);
    ::ioctl(terminal.slave.get(), TIOCSCTTY, 0);
    for (int fd = 0; fd < 3; ++fd) ::dup2(terminal.slave.get(), fd);
  }
  std::vector<char*> argv;
  for (const auto& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(1);
}

int run(const Call& call) {
  const auto process =
      call.exec ? nlohmann::json::parse(base::read_file(call.process_file))
                : nlohmann::json::parse(base::read_file(call.bundle + "/config.json"))["process"];
  auto args = process["args"].get<std::vector<std::string>>();
  if (args[0] == "fail") {
    const nlohmann::json entry{{"msg", args[1]}, {"level", "error"}, {"time", "now"}};
    base::write_file(call.log, entry.dump() + "\n");
    const std::string text = args[1] + "\n";
    return ::write(STDERR_FILENO, text.data(), text.size()) > 0 ? 1 : 2;
  }
  if (args[0] == "hang") ::pause();
  const bool slow = args[0] == "slow";
  if (slow) args.erase(args.begin());

  // Twice, so that the process is nobody's child but the subreaper's at once.
  base::Pipe pipe = base::make_pipe();
  if (::fork() == 0) {
    const pid_t pid = ::fork();
    if (pid == 0) run_process(call, process, args);
    base::write_all(pipe.write, std::to_string(pid));
    ::_exit(0);
  }
  pipe.write.reset();
  base::write_file(call.pid_file, base::read_to_end(pipe.read, 64));
  if (slow) ::poll(nullptr, 0, 200);
  return 0;
}

__attribute__((constructor)) void be_crun_when_called_so(int argc, char** argv, char**) {
  if (argc < 2 || std::string_view(argv[1]) != "--root") return;
  ::_exit(run(parse(argc, argv)));
}

}  // namespace

std::string fake_crun_program() {
  return base::canonical_path("/proc/self/exe");
}

}  // namespace fc_agent
