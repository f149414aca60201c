#include "fc-agent/process_test_client.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace fc_agent {

ProcessTestClient::ProcessTestClient(wire::Link& link, const std::string& id,
                                     const wire::ProcessStart& start)
    : control_(std::make_unique<wire::MessageStream>(link.open(wire::kProcessService, id))) {
  control_->set_handler({[this](std::string_view message) {
                           wire::ProcessEvent event = wire::parse_process_event(message);
                           if (event.kind == wire::ProcessEvent::Kind::kStarted) {
                             pid_ = event.pid;
                           } else {
                             out_bytes_at_exit_ = out_.size();
                             last_ = std::move(event);
                           }
                         },
                         [this] { control_->finish(); },
                         [this](wire::ResetReason reason) { reset_ = reason; }});
  control_->send(wire::to_json(start));
  if (wire::needs_stdio(start)) {
    stdio_ = link.open(wire::kStdioService, id);
    stdio_->set_handler({[this](std::string_view data) {
                           out_ += data;
                           if (stalled_) {
                             unconsumed_ += data.size();
                           } else {
                             stdio_->consume(data.size());
                           }
                         },
                         [this] { out_ended_ = true; }, [this] { push(); }, nullptr});
    if (!start.use_stdin && !start.tty) stdio_->shutdown_write();
  }
  if (wire::needs_stderr(start)) {
    stderr_ = link.open(wire::kStderrService, id);
    stderr_->set_handler({[this](std::string_view data) {
                            err_ += data;
                            stderr_->consume(data.size());
                          },
                          nullptr, nullptr, nullptr});
    stderr_->shutdown_write();
  }
}

void ProcessTestClient::feed(std::string data, bool close) {
  to_send_.erase(0, std::exchange(sent_, 0));
  to_send_ += data;
  close_when_sent_ = close;
  push();
}

void ProcessTestClient::push() {
  while (sent_ < to_send_.size() && stdio_->writable() > 0) {
    const std::size_t bytes = std::min(to_send_.size() - sent_, stdio_->writable());
    stdio_->write(std::string_view(to_send_).substr(sent_, bytes));
    sent_ += bytes;
  }
  if (sent_ == to_send_.size() && close_when_sent_) stdio_->shutdown_write();
}

void ProcessTestClient::unstall_stdout() {
  stalled_ = false;
  stdio_->consume(std::exchange(unconsumed_, 0));
}

void ProcessTestClient::send(const wire::ProcessCommand& command) {
  control_->send(wire::to_json(command));
}

std::string process_json(const std::vector<std::string>& args, bool terminal) {
  const nlohmann::json process{
      {"args", args},
      {"cwd", "/"},
      {"env", {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"}},
      {"terminal", terminal},
      {"user", {{"uid", 0}, {"gid", 0}}}};
  return process.dump();
}

std::string shell_process_json(std::string_view script, bool terminal) {
  return process_json({"/bin/sh", "-c", std::string(script)}, terminal);
}

}  // namespace fc_agent
