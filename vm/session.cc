#include "vm/session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/signals.h"
#include "vm/detail/terminal.h"
#include "wire/message_stream.h"
#include "wire/mux_link.h"
#include "wire/pump.h"

namespace vm {
namespace {

// One process a connection: any id will do.
constexpr std::string_view kProcessId = "1";
constexpr char kOtherVersionHint[] =
    "a VM started by another version of fcvm may have to be started anew";
constexpr int kOutputClosedCode = 126;
constexpr int kOutputLostCode = 125;
// For the process to end by the signal itself.
constexpr std::chrono::seconds kSignalPatience{1};

// Passes what is typed on a terminal to a pipe, looking for the detach keys. A pipe, so that the pump
// behind it reads a descriptor that is ours alone.
class Keyboard {
 public:
  Keyboard(base::EventLoop& loop, int terminal, base::Fd sink, std::string detach_keys,
           std::function<void()> on_detach)
      : loop_(loop),
        terminal_(terminal),
        sink_(std::move(sink)),
        matcher_(std::move(detach_keys)),
        on_detach_(std::move(on_detach)) {}

  void start() { update(); }

 private:
  void update() {
    if (!pending_.empty()) {
      read_watch_.reset();
      if (!write_watch_.active()) {
        write_watch_ = loop_.watch(sink_.get(), EPOLLOUT, [this](std::uint32_t) { flush(); });
      }
      return;
    }
    write_watch_.reset();
    if (ended_) {
      read_watch_.reset();
      sink_.reset();
    } else if (!read_watch_.active()) {
      read_watch_ = loop_.watch(terminal_, EPOLLIN, [this](std::uint32_t) { read(); });
    }
  }

  void read() {
    // Somebody else may have read it since.
    pollfd ready{terminal_, POLLIN, 0};
    if (::poll(&ready, 1, 0) <= 0) return;
    char buffer[4096];
    const ssize_t n = ::read(terminal_, buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) {
      // End of input, or EIO: the terminal has hung up.
      pending_ += matcher_.held();
      ended_ = true;
    } else if (matcher_.feed({buffer, static_cast<std::size_t>(n)}, pending_)) {
      ended_ = true;
      on_detach_();
    }
    flush();
  }

  void flush() {
    while (!pending_.empty()) {
      const ssize_t n = ::write(sink_.get(), pending_.data(), pending_.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) {
        pending_.clear();
        ended_ = true;
      } else {
        pending_.erase(0, static_cast<std::size_t>(n));
      }
    }
    update();
  }

  base::EventLoop& loop_;
  int terminal_;
  base::Fd sink_;
  detail::DetachMatcher matcher_;
  std::function<void()> on_detach_;
  std::string pending_;
  bool ended_ = false;
  base::EventLoop::Registration read_watch_;
  base::EventLoop::Registration write_watch_;
};

class Session {
 public:
  Session(base::EventLoop& loop, base::Fd socket, wire::ProcessStart start,
          const SessionOptions& options);
  SessionResult run();

 private:
  void open_streams();
  void on_event(std::string_view message);
  void on_started();
  void on_signal(int signal);
  void on_deadly_signal(int signal);
  void send(const wire::ProcessCommand& command);
  void check_output(const wire::StreamPump& pump, bool is_terminal);
  void output_reset(bool& over, bool has_output);
  void fail(const base::Error& error);
  void finish_when_written();
  void finish(SessionResult::End end, int code);

  base::EventLoop& loop_;
  wire::ProcessStart start_;
  const SessionOptions& options_;
  bool stdin_is_terminal_;
  bool stdout_is_terminal_;
  bool stderr_is_terminal_;
  // SIGWINCH and SIGCONT change nothing when they are not ours to handle.
  base::SignalWatch window_signals_;
  std::optional<base::SignalWatch> signals_;
  base::EventLoop::Registration patience_;
  std::unique_ptr<wire::Link> link_;
  std::unique_ptr<wire::MessageStream> control_;
  std::unique_ptr<wire::StreamPump> stdio_;
  std::unique_ptr<wire::StreamPump> err_;
  std::unique_ptr<Keyboard> keyboard_;
  std::optional<detail::RawTerminal> raw_;

  bool started_ = false;
  bool stdio_over_ = true;
  bool err_over_ = true;
  bool process_over_ = false;
  SessionResult result_;
  bool done_ = false;
  bool link_ready_ = false;
  std::optional<std::string> link_down_;
  std::optional<base::Error> failure_;  // ends the session
};

Session::Session(base::EventLoop& loop, base::Fd socket, wire::ProcessStart start,
                 const SessionOptions& options)
    : loop_(loop),
      start_(std::move(start)),
      options_(options),
      stdin_is_terminal_(::isatty(options.stdin_fd) == 1),
      stdout_is_terminal_(::isatty(options.stdout_fd) == 1),
      stderr_is_terminal_(::isatty(options.stderr_fd) == 1),
      window_signals_(loop, {SIGWINCH, SIGCONT}, [this](int signal) { on_signal(signal); }) {
  if (options_.proxy_signals) {
    signals_.emplace(loop,
                     std::initializer_list<int>{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2},
                     [this](int signal) { on_signal(signal); });
  }
  wire::MuxOptions mux;
  mux.side = wire::Side::kHost;  // the opening end, as the monitor is on the guest link
  link_ = wire::make_mux_link(loop_, std::move(socket), mux);
  wire::Link::Handler handler;
  handler.on_ready = [this] { link_ready_ = true; };
  handler.on_down = [this](std::string why) { link_down_ = std::move(why); };
  link_->set_handler(std::move(handler));
  if (start_.tty) {
    const auto size =
        detail::window_size(stdin_is_terminal_ ? options_.stdin_fd : options_.stdout_fd);
    start_.rows = size.rows;
    start_.columns = size.columns;
  }
  open_streams();
}

void Session::open_streams() {
  control_ = std::make_unique<wire::MessageStream>(link_->open(wire::kProcessService, kProcessId));
  wire::MessageStream::Handler events;
  events.on_message = [this](std::string_view message) {
    try {
      on_event(message);
    } catch (const base::Error& error) {
      fail(error);
    }
  };
  events.on_end = [this] {
    fail(base::Error("the VM's monitor does not say how the process ended"));
  };
  events.on_reset = [this](wire::ResetReason reason) {
    // With the link gone run() knows more.
    if (reason == wire::ResetReason::kLinkDown) return;
    fail(base::Error(base::cat("the VM's monitor gave the process up: ", wire::to_string(reason)))
             .set_hint(kOtherVersionHint));
  };
  control_->set_handler(std::move(events));
  control_->send(wire::to_json(start_));

  if (wire::needs_stdio(start_)) {
    wire::StreamPump::Options pump;
    if (start_.use_stdin && start_.tty && stdin_is_terminal_) {
      base::Pipe typed = base::make_pipe(O_NONBLOCK);
      pump.source = std::move(typed.read);
      keyboard_ = std::make_unique<Keyboard>(loop_, options_.stdin_fd, std::move(typed.write),
                                             options_.detach_keys,
                                             [this] { finish(SessionResult::End::kDetached, 0); });
    } else if (start_.use_stdin) {
      pump.source = base::duplicate(options_.stdin_fd);
    }
    if (start_.use_stdout || start_.tty) pump.sink = base::duplicate(options_.stdout_fd);
    pump.owned = false;
    stdio_over_ = false;
    wire::StreamPump::Handler handler;
    handler.on_sink_done = [this] {
      stdio_over_ = true;
      check_output(*stdio_, stdout_is_terminal_);
    };
    handler.on_reset = [this](wire::ResetReason) {
      output_reset(stdio_over_, start_.use_stdout || start_.tty);
    };
    stdio_ = std::make_unique<wire::StreamPump>(loop_, link_->open(wire::kStdioService, kProcessId),
                                                std::move(pump), std::move(handler));
  }
  if (wire::needs_stderr(start_)) {
    wire::StreamPump::Options pump;
    pump.sink = base::duplicate(options_.stderr_fd);
    pump.owned = false;
    err_over_ = false;
    wire::StreamPump::Handler handler;
    handler.on_sink_done = [this] {
      err_over_ = true;
      check_output(*err_, stderr_is_terminal_);
    };
    handler.on_reset = [this](wire::ResetReason) { output_reset(err_over_, true); };
    err_ = std::make_unique<wire::StreamPump>(loop_, link_->open(wire::kStderrService, kProcessId),
                                              std::move(pump), std::move(handler));
  }
}

SessionResult Session::run() {
  while (!done_) {
    loop_.run_once(std::chrono::milliseconds(-1));
    if (failure_) throw *failure_;
    if (done_ || !link_down_) continue;
    // What the process said before is still being written.
    if (!process_over_) {
      base::Error error(base::cat("the VM's monitor is gone: ", *link_down_));
      // It may have hung up on the version of our hello.
      if (!link_ready_) error.set_hint(kOtherVersionHint);
      throw std::move(error);
    }
    finish_when_written();
  }
  return result_;
}

void Session::on_event(std::string_view message) {
  if (done_) return;
  const wire::ProcessEvent event = wire::parse_process_event(message);
  switch (event.kind) {
    case wire::ProcessEvent::Kind::kStarted:
      on_started();
      return;
    case wire::ProcessEvent::Kind::kExited:
      result_.end = SessionResult::End::kExited;
      result_.exit_code = event.signal != 0 ? 128 + event.signal : event.code;
      result_.oom_killed = event.oom_killed;
      break;
    case wire::ProcessEvent::Kind::kFailed:
      result_.end = SessionResult::End::kFailed;
      result_.exit_code = event.code;
      result_.message = event.message;
      break;
  }
  process_over_ = true;
  finish_when_written();
}

void Session::on_started() {
  if (std::exchange(started_, true)) return;
  if (options_.on_started) options_.on_started();
  if (start_.detach) {
    finish(SessionResult::End::kStarted, 0);
    return;
  }
  // The container's terminal still has the size of whoever was there before.
  if (start_.kind == wire::ProcessStart::Kind::kAttach) on_signal(SIGWINCH);
  if (!keyboard_) return;
  // Not earlier: while the VM boots Ctrl-C must be a signal, not a byte for a process to come.
  raw_.emplace(options_.stdin_fd);
  keyboard_->start();
}

void Session::on_signal(int signal) {
  wire::ProcessCommand command;
  if (signal == SIGWINCH || signal == SIGCONT) {
    if (signal == SIGCONT && raw_) raw_->reapply();
    if (!start_.tty || !stdin_is_terminal_) return;
    const auto size = detail::window_size(options_.stdin_fd);
    command.kind = wire::ProcessCommand::Kind::kResize;
    command.rows = size.rows;
    command.columns = size.columns;
  } else {
    command.kind = wire::ProcessCommand::Kind::kSignal;
    command.signal = signal;
  }
  send(command);
  const bool deadly =
      signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
  if (deadly && options_.signals_end) on_deadly_signal(signal);
}

void Session::on_deadly_signal(int signal) {
  const auto leave = [this] { finish(SessionResult::End::kInterrupted, 128 + result_.signal); };
  if (result_.signal != 0) {
    leave();
    return;
  }
  result_.signal = signal;
  patience_ = loop_.after(kSignalPatience, leave);
}

void Session::send(const wire::ProcessCommand& command) {
  if (!process_over_ && control_->open()) control_->send(wire::to_json(command));
}

void Session::check_output(const wire::StreamPump& pump, bool is_terminal) {
  if (const int errnum = pump.sink_error(); errnum != 0) {
    // A terminal that has hung up says EIO, and no longer that it is one.
    const bool unread = errnum == EPIPE || errnum == ECONNRESET || (errnum == EIO && is_terminal);
    // Once the process has ended, its status is worth more than the news that nobody listened.
    if (!unread || !process_over_) {
      result_.output_error.emplace(unread ? EPIPE : errnum, "writing the container's output");
    }
    if (!process_over_) {
      finish(SessionResult::End::kOutputClosed, unread ? kOutputClosedCode : kOutputLostCode);
      return;
    }
  }
  finish_when_written();
}

void Session::output_reset(bool& over, bool has_output) {
  if (!std::exchange(over, true) && has_output && !result_.output_error) {
    result_.output_error.emplace("the end of the container's output was lost");
  }
  finish_when_written();
}

void Session::fail(const base::Error& error) {
  if (!process_over_ && !done_ && !failure_) failure_ = error;
}

void Session::finish_when_written() {
  if (!process_over_ || !stdio_over_ || !err_over_ || std::exchange(done_, true)) return;
  if (result_.end != SessionResult::End::kExited) {
    result_.output_error.reset();
  } else if (result_.output_error && result_.exit_code == 0) {
    result_.exit_code = kOutputLostCode;
  }
}

void Session::finish(SessionResult::End end, int code) {
  if (std::exchange(done_, true)) return;
  result_.end = end;
  result_.exit_code = code;
}

}  // namespace

SessionResult run_session(base::EventLoop& loop, base::Fd monitor_socket, wire::ProcessStart start,
                          const SessionOptions& options) {
  Session session(loop, std::move(monitor_socket), std::move(start), options);
  return session.run();
}

}  // namespace vm
