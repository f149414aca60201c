// The monitor's side of monitor.sock: who attaches, execs and asks.
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/log.h"
#include "vm/monitor/monitor.h"

namespace vm {
namespace {

std::string refusal(const std::string& why) {
  MonitorReply reply;
  reply.ok = false;
  reply.error = why;
  return to_json(reply);
}

}  // namespace

void Monitor::listen() {
  if (!listener_) {
    base::make_directories(paths_.run, 0700);
    listener_ = base::listen_unix(paths_.monitor_socket);
    base::set_nonblocking(listener_);
  }
  listener_watch_ = loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) {
    base::Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    const uid_t peer = base::peer_credentials(socket).uid;
    if (peer == ::geteuid() || peer == 0) add_client(std::move(socket));
  });
}

void Monitor::add_client(base::Fd socket) {
  Client::Handler handler;
  const bool first = !first_client_done_ && clients_.empty();
  handler.on_process = [this, first](ClientProcess process) {
    on_process(std::move(process));
    if (first && !first_client_done_) {
      first_client_done_ = true;
      start_container();
    }
  };
  handler.on_request = [this](const std::string& text,
                              const std::function<void(std::string)>& reply) {
    on_request(text, reply);
  };
  handler.on_gone = [this, first] {
    if (first && !first_client_done_) {
      first_client_done_ = true;
      start_container();
    }
    loop_.post([this] {
      sweep_clients();
      leave_when_done();
    });
  };
  clients_.push_back(std::make_unique<Client>(loop_, std::move(socket), std::move(handler)));
}

void Monitor::sweep_clients() {
  attached_.remove_if([](const Attached& client) { return client.gone; });
  clients_.remove_if([](const auto& client) { return client->gone(); });
}

void Monitor::on_process(ClientProcess process) {
  using Kind = wire::ProcessStart::Kind;
  const Kind kind = process.start.kind;
  if (kind == Kind::kContainer || kind == Kind::kAttach) {
    attach(std::move(process));
  } else {
    exec(std::move(process));
  }
}

void Monitor::attach(ClientProcess process) {
  const wire::ProcessStart& start = process.start;
  if (start.kind == wire::ProcessStart::Kind::kContainer && !container_asked_) {
    start_rows_ = start.rows;
    start_columns_ = start.columns;
  }
  ContainerIo::ClientOptions options;
  options.use_stdin = start.use_stdin && record_.open_stdin;
  io_->attach(std::move(process.stdio), std::move(process.err), options);

  attached_.emplace_back();
  Attached& client = attached_.back();
  client.control = std::move(process.control);
  wire::MessageStream::Handler handler;
  handler.on_message = [this](std::string_view message) { on_attached_command(message); };
  handler.on_end = [&client] { client.gone = true; };
  handler.on_reset = [&client](wire::ResetReason) { client.gone = true; };
  client.control->set_handler(std::move(handler));
  if (finished_) {
    send_end(client);
  } else if (record_.status == VmStatus::kRunning) {
    wire::ProcessEvent event;
    client.started_sent = true;
    client.control->send(wire::to_json(event));
  }
}

void Monitor::on_attached_command(std::string_view message) {
  wire::ProcessCommand command;
  try {
    command = wire::parse_process_command(message);
  } catch (const base::Error& error) {
    base::log_warn(base::cat("an attached client's command: ", error.what()));
    return;
  }
  switch (command.kind) {
    case wire::ProcessCommand::Kind::kCloseStdin:
      io_->close_stdin();
      return;
    case wire::ProcessCommand::Kind::kSignal:
      // Ctrl-C while the guest boots: there is no process to tell, so the VM ends as if one had.
      if (!container_asked_ && !container_over_ && machine_) {
        container_ended(128 + command.signal, "");
        return;
      }
      break;
    case wire::ProcessCommand::Kind::kResize:
      if (!container_asked_) {
        start_rows_ = command.rows;
        start_columns_ = command.columns;
        return;
      }
      break;
  }
  if (container_ && !container_over_) container_->send(message);
}

void Monitor::exec(ClientProcess process) {
  if (must_wait()) {
    early_execs_.push_back(std::move(process));
    return;
  }
  if (record_.status != VmStatus::kRunning || !guest_ || guest_->down()) {
    wire::ProcessEvent event;
    event.kind = wire::ProcessEvent::Kind::kFailed;
    event.code = 125;
    event.message = base::cat("VM ", base::quoted(record_.name), " is ", to_string(record_.status),
                              ", not running");
    // Kept until the client goes: the message may still have to wait for credit.
    attached_.emplace_back();
    attached_.back().control = std::move(process.control);
    attached_.back().control->send(wire::to_json(event));
    attached_.back().control->finish();
    attached_.back().started_sent = true;
    attached_.back().end_sent = true;
    Attached& client = attached_.back();
    wire::MessageStream::Handler handler;
    handler.on_end = [&client] { client.gone = true; };
    handler.on_reset = [&client](wire::ResetReason) { client.gone = true; };
    client.control->set_handler(std::move(handler));
    return;
  }
  base::fault_point("monitor.exec");
  GuestProcess guest = guest_->open_process(process.start);
  execs_.emplace_back();
  const auto at = std::prev(execs_.end());
  *at = std::make_unique<ExecRelay>(std::move(process), std::move(guest),
                                    [this, at] { loop_.post([this, at] { execs_.erase(at); }); });
}

void Monitor::on_request(const std::string& text, const Reply& reply) {
  if (handed_over_) {
    options_.forward(text, reply);
    return;
  }
  MonitorRequest request;
  try {
    request = parse_monitor_request(text);
  } catch (const base::Error& error) {
    reply(refusal(error.what()));
    return;
  }
  const bool ends_it =
      request.op == MonitorRequest::Op::kStop || request.op == MonitorRequest::Op::kRestart;
  if (saving_ && ends_it) {
    early_requests_.emplace_back(text, reply);
    return;
  }
  switch (request.op) {
    case MonitorRequest::Op::kPing:
      reply(to_json(MonitorReply{}));
      return;
    case MonitorRequest::Op::kTimings: {
      MonitorReply answer;
      answer.timings_us = record_.timings_us;
      reply(to_json(answer));
      return;
    }
    case MonitorRequest::Op::kKill:
      kill(text, request, reply);
      return;
    case MonitorRequest::Op::kPause:
      pause(text, reply);
      return;
    case MonitorRequest::Op::kStats:
      stats(text, reply);
      return;
    case MonitorRequest::Op::kUnpause:
      unpause(reply);
      return;
    case MonitorRequest::Op::kHealth:
      check_health(reply);
      return;
    case MonitorRequest::Op::kRestart:
      restart(request, reply);
      return;
    case MonitorRequest::Op::kRename:
      rename(request, reply);
      return;
    case MonitorRequest::Op::kSave:
      save_to(text, request, reply);
      return;
    case MonitorRequest::Op::kStop:
    case MonitorRequest::Op::kWait:
      if (finished_) {
        reply(to_json(end_reply()));
        return;
      }
      if (request.op == MonitorRequest::Op::kStop && record_.status == VmStatus::kPaused &&
          !request.even_paused) {
        reply(refusal("it is paused, and could not react (fcvm unpause)"));
        return;
      }
      waiting_.push_back(reply);
      if (request.op == MonitorRequest::Op::kStop) {
        stop_wanted_ = true;
        restart_wanted_ = false;
        stop(request);
      }
      return;
  }
}

}  // namespace vm
