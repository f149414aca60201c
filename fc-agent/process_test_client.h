// The host's side of one process, for tests: opens its streams and keeps what comes back.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/link.h"
#include "wire/message_stream.h"
#include "wire/process.h"

namespace fc_agent {

class ProcessTestClient {
 public:
  // Opens the streams that go with `start` and sends it. Output is consumed as it comes.
  ProcessTestClient(wire::Link& link, const std::string& id, const wire::ProcessStart& start);

  // Queues stdin; sent as the agent takes it, then closed if `close`.
  void feed(std::string data, bool close = true);
  void send(const wire::ProcessCommand& command);
  void send_raw(std::string_view message) { control_->send(message); }
  // Stops and starts taking stdout.
  void stall_stdout() { stalled_ = true; }
  void unstall_stdout();
  void reset_stdio() { stdio_->reset(wire::ResetReason::kCancelled); }
  void reset_stderr() { stderr_->reset(wire::ResetReason::kCancelled); }

  bool started() const { return pid_ != 0; }
  int pid() const { return pid_; }
  // The last event has come, or the control stream was reset.
  bool done() const { return last_.has_value() || reset_.has_value(); }
  const std::optional<wire::ProcessEvent>& last() const { return last_; }
  std::optional<wire::ResetReason> control_reset() const { return reset_; }
  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }
  bool out_ended() const { return out_ended_; }
  // What had arrived when the last event came.
  std::size_t out_bytes_at_exit() const { return out_bytes_at_exit_; }

 private:
  void push();

  std::unique_ptr<wire::MessageStream> control_;
  std::unique_ptr<wire::Stream> stdio_;
  std::unique_ptr<wire::Stream> stderr_;
  std::string to_send_;
  std::size_t sent_ = 0;
  bool close_when_sent_ = false;
  bool stalled_ = false;
  std::size_t unconsumed_ = 0;
  int pid_ = 0;
  std::optional<wire::ProcessEvent> last_;
  std::optional<wire::ResetReason> reset_;
  std::string out_;
  std::string err_;
  bool out_ended_ = false;
  std::size_t out_bytes_at_exit_ = 0;
};

// An OCI process object as JSON: /bin/sh -c `script`, PATH of the caller.
std::string shell_process_json(std::string_view script, bool terminal = false);
std::string process_json(const std::vector<std::string>& args, bool terminal = false);

}  // namespace fc_agent
