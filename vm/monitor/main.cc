// fcvm-monitor: one process a VM, started by the commands that start VMs.
#include <getopt.h>

#include <array>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstring>
#include <iostream>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/signals.h"
#include "hypervisor/hypervisor.h"
#include "storage/data_directory.h"
#include "vm/clock.h"
#include "vm/monitor/keeper.h"
#include "vm/monitor/log_file.h"

namespace {

// stderr is the VM's monitor.log. What a guest provokes must not fill the disk: after
// kMaxLogBytes the monitor is silent.
constexpr std::size_t kMaxLogBytes = 4 << 20;

void log_to_stderr(base::LogLevel level, std::string_view message) {
  static constexpr std::array<const char*, 6> kNames{"trace", "debug", "info",
                                                     "warn",  "error", "off"};
  const std::string line = base::cat(vm::rfc3339_nano(vm::wall_clock_ns()), " ",
                                     kNames[static_cast<std::size_t>(level)], " ", message, "\n");
  static std::atomic<std::size_t> written{0};
  if (written.fetch_add(line.size()) > kMaxLogBytes) return;
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
}

template <typename N>
N parse_number(const char* text) {
  N value{};
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (error != std::errc() || *end != '\0') {
    throw base::Error(base::cat("malformed number ", base::quoted(text)));
  }
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  base::set_log_sink(log_to_stderr);
  base::set_log_level(base::LogLevel::kInfo);
  // The first client's connection once more, to tell what fails before the monitor serves it.
  base::Fd client;
  try {
    std::string data_dir;
    vm::MonitorOptions options;
    static constexpr std::array<option, 5> kOptions{{{"data-dir", required_argument, nullptr, 'd'},
                                                     {"id", required_argument, nullptr, 'i'},
                                                     {"client-fd", required_argument, nullptr, 'c'},
                                                     {"since", required_argument, nullptr, 's'},
                                                     {nullptr, 0, nullptr, 0}}};
    for (int flag; (flag = ::getopt_long(argc, argv, "", kOptions.data(), nullptr)) != -1;) {
      switch (flag) {
        case 'd':
          data_dir = optarg;
          break;
        case 'i':
          options.vm_id = optarg;
          break;
        case 'c':
          options.first_client = base::Fd(parse_number<int>(optarg));
          break;
        case 's':
          options.command_start_ns = parse_number<std::int64_t>(optarg);
          break;
        default:
          return 125;
      }
    }
    if (data_dir.empty() || options.vm_id.empty()) {
      throw base::Error("fcvm-monitor is started by fcvm; it needs --data-dir and --id");
    }
    // Clients come and go: writing to one that has gone is an error code, never a signal.
    std::signal(SIGPIPE, SIG_IGN);
    if (options.first_client) client = base::duplicate(options.first_client.get());
    base::EventLoop loop;
    const vm::VmStore store{storage::DataDirectory(data_dir)};
    vm::Keeper keeper(loop, store, hypervisor::make_hypervisor);
    const base::SignalWatch signals(loop, {SIGTERM, SIGINT, SIGHUP, SIGQUIT}, [&](int signal) {
      if (signal == SIGTERM) keeper.request_stop();
    });
    keeper.begin(std::move(options));
    client.reset();
    while (keeper.alive()) loop.run();
    return 0;
  } catch (const std::exception& error) {
    base::log_error(error.what());
    if (client) vm::refuse_client(std::move(client), error.what());
    return 125;
  }
}
