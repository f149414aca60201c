#include "vm/monitor/container_io.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace vm {

ContainerIo::ContainerIo(LogFile& log) : log_(log) {}

ContainerIo::~ContainerIo() = default;

void ContainerIo::connect_guest(std::unique_ptr<wire::Stream> out,
                                std::unique_ptr<wire::Stream> err,
                                std::function<void()> on_output_end) {
  on_output_end_ = std::move(on_output_end);
  err_.ended = err == nullptr;
  for (auto* output : {&out_, &err_}) {
    output->stream = std::move(output == &out_ ? out : err);
    if (!output->stream) continue;
    wire::Stream::Handler handler;
    handler.on_data = [this, output](std::string_view data) { take_output(*output, data); };
    handler.on_eof = [this, output] { output_ended(*output); };
    handler.on_writable = [this, output] {
      if (output == &out_) push_input();
    };
    handler.on_reset = [this, output](wire::ResetReason) { output_ended(*output); };
    output->stream->set_handler(std::move(handler));
  }
  if (stdin_closed_ && out_.stream) out_.stream->shutdown_write();
  push_input();
}

void ContainerIo::take_output(Output& output, std::string_view data) {
  log_.write(output.kind, data);
  output.owed += data.size();
  for (auto& client : output.clients) {
    if (client.gone) continue;
    client.pending += data;
    flush_client(output, client);
    if (released_ && client.pending.size() > kReleasedBacklogBytes) {
      base::log_warn("an attached client does not read: it was dropped");
      client.gone = true;
      client.pending.clear();
      client.stream->reset(wire::ResetReason::kCancelled);
    }
  }
  settle(output);
}

void ContainerIo::flush_client(Output& output, Client& client) {
  if (client.gone || !client.stream) return;
  const std::size_t n = std::min(client.pending.size(), client.stream->writable());
  if (n != 0) {
    client.stream->write(std::string_view(client.pending).substr(0, n));
    client.pending.erase(0, n);
  }
  if (output.ended && client.pending.empty()) client.stream->shutdown_write();
}

void ContainerIo::release() {
  released_ = true;
  settle(out_);
  settle(err_);
}

void ContainerIo::settle(Output& output) {
  const bool backlog = std::any_of(
      output.clients.begin(), output.clients.end(),
      [](const Client& client) { return !client.gone && client.pending.size() > kBacklogBytes; });
  if ((released_ || !backlog) && output.owed != 0 && output.stream) {
    output.stream->consume(std::exchange(output.owed, 0));
  }
  if (on_flushed_ && flushed()) on_flushed_();
}

void ContainerIo::output_ended(Output& output) {
  if (std::exchange(output.ended, true)) return;
  for (auto& client : output.clients) flush_client(output, client);
  if (out_.ended && err_.ended && on_output_end_) std::exchange(on_output_end_, nullptr)();
  if (on_flushed_ && flushed()) on_flushed_();
}

void ContainerIo::end_output() {
  output_ended(out_);
  output_ended(err_);
}

bool ContainerIo::flushed() const {
  for (const auto* output : {&out_, &err_}) {
    for (const auto& client : output->clients) {
      if (!client.gone && !(output->ended && client.pending.empty())) return false;
    }
  }
  return true;
}

void ContainerIo::attach(std::unique_ptr<wire::Stream> out, std::unique_ptr<wire::Stream> err,
                         ClientOptions options) {
  if (out) add_client(out_, std::move(out), options);
  if (err) add_client(err_, std::move(err), {});
}

void ContainerIo::add_client(Output& output, std::unique_ptr<wire::Stream> stream,
                             ClientOptions options) {
  // Gone clients are dropped here, where no callback of theirs can be under way.
  output.clients.remove_if([](const Client& client) { return client.gone; });
  output.clients.emplace_back();
  Client& client = output.clients.back();
  client.options = options;
  client.stream = std::move(stream);
  wire::Stream::Handler handler;
  handler.on_data = [this, &client](std::string_view data) {
    if (!client.options.use_stdin || stdin_closed_) {
      client.stream->consume(data.size());
      return;
    }
    client.input += data;
    push_input();
  };
  handler.on_eof = [this, &client] {
    client.input_eof = true;
    push_input();
  };
  handler.on_writable = [this, &output, &client] {
    flush_client(output, client);
    settle(output);
  };
  handler.on_reset = [this, &output, &client](wire::ResetReason) {
    client.gone = true;
    client.pending.clear();
    client.input.clear();
    settle(output);
  };
  client.stream->set_handler(std::move(handler));
  flush_client(output, client);
}

void ContainerIo::push_input() {
  if (!out_.stream) return;
  for (auto& client : out_.clients) {
    if (client.gone) continue;
    if (stdin_closed_) {
      if (!client.input.empty()) client.stream->consume(client.input.size());
      client.input.clear();
      continue;
    }
    const std::size_t n = std::min(client.input.size(), out_.stream->writable());
    if (n != 0) {
      out_.stream->write(std::string_view(client.input).substr(0, n));
      client.input.erase(0, n);
      client.stream->consume(n);
    }
    if (client.input_eof && client.input.empty() && client.options.use_stdin &&
        client.options.close_stdin_at_eof) {
      close_stdin();
    }
  }
}

void ContainerIo::close_stdin() {
  if (std::exchange(stdin_closed_, true) || !out_.stream) return;
  out_.stream->shutdown_write();
}

}  // namespace vm
