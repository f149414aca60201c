#include "fc-agent/process_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "base/log.h"
#include "fc-agent/terminal.h"

namespace fc_agent {

// One wire stream and the pipe ends (or the terminal) it is pumped to and from.
class ProcessIo::Channel {
 public:
  Channel(base::EventLoop& loop, std::unique_ptr<wire::Stream> stream, base::Fd source,
          base::Fd sink, bool is_terminal, bool keeps_sink, std::function<void()> on_output_done)
      : loop_(loop), is_terminal_(is_terminal), on_output_done_(std::move(on_output_done)) {
    if (source) spare_source_ = base::duplicate(source);
    if (sink && keeps_sink) spare_sink_ = base::duplicate(sink);
    pump(std::move(stream), std::move(source), std::move(sink));
  }

  void reattach(std::unique_ptr<wire::Stream> stream) {
    draining_.reset();
    pump(std::move(stream), spare_source_ ? base::duplicate(spare_source_) : base::Fd(),
         spare_sink_ ? base::duplicate(spare_sink_) : base::Fd());
  }

  bool output_is_done() const { return output_done_; }

  void close_input() {
    spare_sink_.reset();
    pump_->close_sink();
  }

  void finish_output() {
    if (output_done_) return;
    finishing_ = true;
    if (draining_.active()) {
      read_away();
      output_done();
    } else {
      pump_->finish_source();
    }
  }

 private:
  void pump(std::unique_ptr<wire::Stream> stream, base::Fd source, base::Fd sink) {
    wire::StreamPump::Options options;
    options.source = std::move(source);
    options.sink = std::move(sink);
    options.eio_is_eof = is_terminal_;
    options.outlives_hangup = is_terminal_;
    wire::StreamPump::Handler handler;
    handler.on_source_done = [this] { output_done(); };
    handler.on_source_abandoned = [this] { drain(); };
    handler.on_sink_done = [this] { spare_sink_.reset(); };
    pump_.emplace(loop_, std::move(stream), std::move(options), std::move(handler));
  }

  void output_done() {
    if (std::exchange(output_done_, true)) return;
    draining_.reset();
    spare_source_.reset();
    on_output_done_();
  }

  // The host gave the stream up. Somebody has to go on reading, or the process stalls on a full
  // pipe; and the reading end has to stay open, or it dies of SIGPIPE.
  void drain() {
    if (output_done_) return;
    if (finishing_) read_away();
    if (finishing_ || !spare_source_) return output_done();
    watch_spare_source(EPOLLIN);
  }

  void watch_spare_source(std::uint32_t events) {
    draining_.reset();
    draining_ = loop_.watch(spare_source_.get(), events, [this, events](std::uint32_t) {
      if (read_away()) return;
      if (errno != EIO) return output_done();
      // A terminal that nobody has open now; see StreamPump's outlives_hangup.
      if ((events & EPOLLET) == 0) watch_spare_source(EPOLLIN | EPOLLET);
    });
  }

  // False at the end of the output, with errno 0 or EIO.
  bool read_away() {
    // Bounded, so that a process that writes for ever costs one turn of the loop at a time.
    constexpr int kMaxReads = 16;
    std::array<char, 16384> buffer;
    for (int i = 0; i < kMaxReads; ++i) {
      const ssize_t n = ::read(spare_source_.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno == EAGAIN;
      if (n == 0) {
        errno = 0;
        return false;
      }
    }
    return true;
  }

  base::EventLoop& loop_;
  bool is_terminal_;
  std::function<void()> on_output_done_;
  base::Fd spare_source_;
  base::Fd spare_sink_;
  base::EventLoop::Registration draining_;
  bool finishing_ = false;  // the process has ended: nobody waits for the end of its output
  bool output_done_ = false;
  std::optional<wire::StreamPump> pump_;
};

ProcessIo::ProcessIo(base::EventLoop& loop, const wire::ProcessStart& start, Streams streams)
    : loop_(loop),
      streams_(std::move(streams)),
      keeps_stdin_(start.kind == wire::ProcessStart::Kind::kContainer) {
  if (start.tty || start.detach) return;
  if (start.use_stdin && streams_.stdio) stdin_ = base::make_pipe();
  if (start.use_stdout && streams_.stdio) stdout_ = base::make_pipe();
  if (start.use_stderr && streams_.stderr_stream) stderr_ = base::make_pipe();
}

ProcessIo::~ProcessIo() = default;

std::vector<std::pair<int, int>> ProcessIo::child_fds() const {
  std::vector<std::pair<int, int>> fds;
  if (stdin_.read) fds.emplace_back(stdin_.read.get(), STDIN_FILENO);
  if (stdout_.write) fds.emplace_back(stdout_.write.get(), STDOUT_FILENO);
  if (stderr_.write) fds.emplace_back(stderr_.write.get(), STDERR_FILENO);
  return fds;
}

void ProcessIo::give_to_user(uid_t uid, gid_t gid) {
  for (const auto& [fd, number] : child_fds()) {
    if (::fchown(fd, uid, gid) != 0) base::log_warn("a pipe could not be given to its user");
  }
}

void ProcessIo::close_child_ends() {
  stdin_.read.reset();
  stdout_.write.reset();
  stderr_.write.reset();
}

void ProcessIo::set_terminal(base::Fd master) {
  terminal_ = std::move(master);
}

void ProcessIo::resize(std::uint16_t rows, std::uint16_t columns) {
  if (terminal_) set_window_size(terminal_, rows, columns);
}

void ProcessIo::close_stdin() {
  stdin_.write.reset();
  if (stdio_channel_) stdio_channel_->close_input();
}

void ProcessIo::start_stdio() {
  if (!streams_.stdio || stdio_channel_) return;
  const auto done = [this] { check_finished(); };
  if (terminal_) {
    stdio_channel_ =
        std::make_unique<Channel>(loop_, std::move(streams_.stdio), base::duplicate(terminal_),
                                  base::duplicate(terminal_), true, keeps_stdin_, done);
  } else {
    stdio_channel_ =
        std::make_unique<Channel>(loop_, std::move(streams_.stdio), std::move(stdout_.read),
                                  std::move(stdin_.write), false, keeps_stdin_, done);
  }
}

void ProcessIo::start_stderr() {
  if (!streams_.stderr_stream || stderr_channel_) return;
  stderr_channel_ =
      std::make_unique<Channel>(loop_, std::move(streams_.stderr_stream), std::move(stderr_.read),
                                base::Fd(), false, false, [this] { check_finished(); });
}

void ProcessIo::reattach(Streams streams) {
  if (stdio_channel_ && streams.stdio) stdio_channel_->reattach(std::move(streams.stdio));
  if (stderr_channel_ && streams.stderr_stream) {
    stderr_channel_->reattach(std::move(streams.stderr_stream));
  }
}

void ProcessIo::finish(std::function<void()> done) {
  done_ = std::move(done);
  if (stdio_channel_) stdio_channel_->finish_output();
  if (stderr_channel_) stderr_channel_->finish_output();
  check_finished();
}

void ProcessIo::check_finished() {
  if (!done_) return;
  for (const auto* channel : {stdio_channel_.get(), stderr_channel_.get()}) {
    if (channel != nullptr && !channel->output_is_done()) return;
  }
  // From the loop: callers need not expect it inside finish(), and may destroy this in it.
  loop_.post(std::exchange(done_, nullptr));
}

}  // namespace fc_agent
