// The two halves of MuxLink: MuxCore reads and writes frames, MuxStream is one stream's state.
// Both are shared with callbacks under way, for a callback may destroy the Link, the Stream or both.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "wire/detail/byte_queue.h"
#include "wire/frame.h"
#include "wire/link.h"
#include "wire/mux_link.h"

namespace wire::detail {

class MuxCore;

class MuxStream : public std::enable_shared_from_this<MuxStream> {
 public:
  // `live` counts the streams that exist on this side of a link.
  MuxStream(std::weak_ptr<MuxCore> link, std::uint32_t id, std::shared_ptr<std::size_t> live);
  ~MuxStream();
  MuxStream(const MuxStream&) = delete;
  MuxStream& operator=(const MuxStream&) = delete;

  // The owner's side.
  void set_handler(Stream::Handler handler);
  std::size_t writable() const;
  void write(std::string_view data);
  void shutdown_write();
  void consume(std::size_t bytes);
  void reset_by_owner(ResetReason reason);
  bool open() const { return !closed_ && !(eof_wanted_ && eof_received_); }
  void abandon();

  // The link's side. Those named receive_ may call the owner's handler.
  std::uint32_t id() const { return id_; }
  // False when the peer may not send that much.
  bool admit(std::size_t bytes);
  void receive_data(std::string_view data);
  bool receive_eof();
  bool receive_credit(std::uint32_t bytes, std::uint32_t window_bytes);
  // The stream is over; the handler hears it after what came before.
  void receive_reset(ResetReason reason);
  // The same, heard from the event loop.
  void reset_later(ResetReason reason);

  void grant_initial(std::uint32_t window_bytes) { credit_ = window_bytes; }
  bool has_output() const {
    return !closed_ && !eof_sent_ &&
           ((!pending_.empty() && credit_ > 0) || (pending_.empty() && eof_wanted_));
  }
  // Appends at most one data frame, and the end where it is due.
  void take_output(std::string& out);
  bool finished_on_wire() const { return eof_sent_ && eof_received_; }
  // Everything was sent, the owner has gone and the peer has not finished.
  bool lingering_done() const { return abandoned_ && eof_sent_ && !eof_received_ && !closed_; }
  void set_accepting(bool accepting) { accepting_ = accepting; }

  bool queued = false;  // in the link's round

 private:
  template <typename Member, typename... Args>
  void call(Member member, const Args&... args);
  void deliver_backlog();
  void post_backlog();
  void hand_over(std::string_view data);

  const std::weak_ptr<MuxCore> link_;
  const std::uint32_t id_;
  const std::shared_ptr<std::size_t> live_;
  std::shared_ptr<Stream::Handler> handler_;

  ByteQueue pending_;                         // written by the owner, not yet framed
  std::int64_t credit_ = kStreamWindowBytes;  // what the peer still takes
  bool eof_wanted_ = false;
  bool eof_sent_ = false;

  std::size_t allowance_ = kStreamWindowBytes;  // what the peer may still send
  std::size_t unconsumed_ = 0;
  std::size_t to_grant_ = 0;  // consumed, not yet granted again
  bool eof_received_ = false;

  // What came while there was no handler, in this order.
  std::string backlog_;
  bool backlog_eof_ = false;
  std::optional<ResetReason> backlog_reset_;
  bool backlog_posted_ = false;

  bool closed_ = false;     // reset by either side
  bool abandoned_ = false;  // its Stream has been destroyed
  bool accepting_ = false;  // inside Link::Handler::on_stream
};

class MuxCore : public std::enable_shared_from_this<MuxCore> {
 public:
  MuxCore(base::EventLoop& loop, base::Fd fd, MuxOptions options);
  void start();

  void set_handler(Link::Handler handler);
  std::unique_ptr<Stream> open(std::string_view service, std::string_view argument);
  bool ready() const { return ready_ && !down_; }
  // The Link is being destroyed.
  void close();

  // For MuxStream.
  base::EventLoop& loop() { return loop_; }
  // False when the peer has filled the log enough.
  bool may_complain() { return complaints_++ < kMaxComplaints; }
  bool is_ready() const { return ready_; }
  void suspend(std::function<void()> done);
  void resume();
  void output_waits(const std::shared_ptr<MuxStream>& stream);
  void send_credit(std::uint32_t id, std::uint32_t bytes);
  // Ends a stream of ours; the peer hears of it if it knows the stream.
  void drop(const std::shared_ptr<MuxStream>& stream, std::optional<ResetReason> tell_peer);

 private:
  class Cork;
  enum class ReadResult { kDrained, kMore, kStopped };
  struct Input {
    ReadResult result;
    std::string why;  // kStopped
  };

  void on_event(std::uint32_t events);
  ReadResult read_once();
  Input fill_input();
  void end_of_input(std::string why);
  std::size_t parse(std::string_view input);
  void handle(const FrameHeader& header, std::string_view payload);
  void handle_hello(std::string_view payload);
  void handle_open(std::uint32_t id, std::string_view payload);
  void begin_data(const FrameHeader& header);
  // Empty for a stream that is over; takes the link down for one that never was.
  std::shared_ptr<MuxStream> find(std::uint32_t id);
  void violate(const std::shared_ptr<MuxStream>& stream);

  void queue_control(FrameType type, std::uint32_t stream, std::string_view payload);
  void send_hello();
  bool accept_hello(const Hello& hello);
  bool can_renew(const Hello& hello) const;
  void renew();
  void handle_suspend();
  void handle_resume();
  void flush();
  void fill_output();
  void retire_if_done(const std::shared_ptr<MuxStream>& stream);
  void on_write_failure(int errnum);
  void update_events();
  bool reading_paused() const;
  void fail(std::string why);
  void go_down(ResetReason reason);
  void run_handler(const char* what, const std::function<void()>& f);

  base::EventLoop& loop_;
  base::Fd fd_;
  const MuxOptions options_;
  bool is_socket_ = false;
  bool is_device_ = false;
  base::EventLoop::Registration watch_;
  std::shared_ptr<Link::Handler> handler_;
  bool ready_announced_ = false;
  bool down_announced_ = false;

  bool ready_ = false;
  bool down_ = false;
  std::string why_;
  std::uint32_t peer_window_ = kStreamWindowBytes;

  std::map<std::uint32_t, std::shared_ptr<MuxStream>> streams_;
  std::map<std::uint32_t, std::string> unsent_opens_;  // until the peer is there
  const std::shared_ptr<std::size_t> live_here_ = std::make_shared<std::size_t>(0);
  const std::shared_ptr<std::size_t> live_peer_ = std::make_shared<std::size_t>(0);
  std::uint32_t next_id_;
  std::uint32_t last_peer_id_ = 0;

  std::vector<char> input_;
  std::size_t input_bytes_ = 0;
  bool heard_ = false;                      // a byte of the peer has arrived
  bool host_missing_ = false;               // character device without a host
  std::shared_ptr<MuxStream> data_stream_;  // of the data frame under way; empty: skipped
  std::size_t data_left_ = 0;

  std::string control_;
  std::string output_;
  std::size_t output_sent_ = 0;
  std::deque<std::shared_ptr<MuxStream>> round_;
  int corked_ = 0;
  bool want_out_ = false;
  bool write_failed_ = false;

  // At rest: the frame kSuspend is to be sent (or was), and no other after it.
  bool suspending_ = false;
  bool suspend_sent_ = false;
  std::function<void()> on_suspended_;
  std::uint64_t epoch_ = 0;  // of the guest's side, from the host's hello
  static constexpr std::uint64_t kMaxComplaints = 20;
  std::uint64_t complaints_ = 0;
};

// Frames queued while one lives are written together when the outermost ends.
class MuxCore::Cork {
 public:
  explicit Cork(MuxCore& core) : core_(core) { ++core_.corked_; }
  ~Cork() {
    if (--core_.corked_ == 0) core_.flush();
  }
  Cork(const Cork&) = delete;
  Cork& operator=(const Cork&) = delete;

 private:
  MuxCore& core_;
};

}  // namespace wire::detail
