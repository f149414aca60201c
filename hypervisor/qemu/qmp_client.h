#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "hypervisor/qemu/qmp.h"

namespace hypervisor::qemu {

// The client of one QMP connection. Belongs to the loop's thread; callbacks come from the loop, never
// from inside a call, and may destroy the client (which then calls nothing more). Waits for the
// greeting and negotiates by itself; commands given before that wait.
//
// A peer that sends nonsense, a line without end, or answers nobody asked for (kMaxStrayReplies)
// takes the connection down. One that stalls costs each command its deadline: commands not yet
// answered, sent or not, are at most kMaxPending.
class QmpClient {
 public:
  static constexpr std::size_t kMaxPending = 64;
  static constexpr int kMaxStrayReplies = 64;

  struct Handler {
    std::function<void(const std::string& version)> on_ready;
    // `data` is null where the event has none; it is valid during the call.
    std::function<void(const std::string& name, const nlohmann::json& data)> on_event;
    // The connection is gone; the last call. Commands under way have failed before it.
    std::function<void(const std::string& why)> on_down;
  };
  // Exactly one of the two: `error` is null on success. Both are valid during the call.
  using Reply = std::function<void(const base::Error* error, const nlohmann::json& value)>;

  // `socket` is a connected stream socket; it is made non-blocking.
  QmpClient(base::EventLoop& loop, base::Fd socket, Handler handler);
  ~QmpClient();
  QmpClient(const QmpClient&) = delete;
  QmpClient& operator=(const QmpClient&) = delete;

  void execute(std::string_view command, const nlohmann::json& arguments,
               std::chrono::milliseconds deadline, Reply reply);
  // With a descriptor for the VMM (SCM_RIGHTS), which the command names, as getfd does.
  void execute_with_fd(std::string_view command, const nlohmann::json& arguments, base::Fd fd,
                       std::chrono::milliseconds deadline, Reply reply);

  bool ready() const { return ready_; }
  bool down() const { return down_; }
  // Reads what has arrived already without waiting for the loop: for an owner who has learnt that
  // the peer has ended and wants its last words before he acts on that.
  void drain();
  // Ends the connection as if the peer had.
  void close(const std::string& why) { fail(why); }

 private:
  struct Line {
    std::string text;
    base::Fd fd;  // goes with the first byte; may be invalid
  };
  struct Pending {
    std::string command;
    Reply reply;
    base::EventLoop::Registration deadline;
  };

  void on_socket(std::uint32_t events);
  // One read; false when nothing is left to read now.
  bool read_some();
  void handle_line(std::string_view line);
  void send(std::uint64_t id, std::string_view command, const nlohmann::json& arguments,
            std::chrono::milliseconds deadline, Reply reply, bool before_ready, base::Fd fd = {});
  ssize_t send_some(const Line& line);
  void flush();
  void finish(std::uint64_t id, const base::Error* error, const nlohmann::json& value);
  void fail(const std::string& why);

  base::EventLoop& loop_;
  base::Fd socket_;
  Handler handler_;
  base::EventLoop::Registration watch_;
  QmpFramer framer_;
  std::deque<Line> unsent_;
  std::deque<Line> held_;  // of commands given before the negotiation
  std::unordered_map<std::uint64_t, Pending> pending_;
  std::uint64_t next_id_ = 1;
  std::size_t overdue_ = 0;  // commands whose deadline has passed: their answers may still come
  int stray_replies_ = 0;
  bool greeted_ = false;
  bool ready_ = false;
  bool down_ = false;
  // Outlives the client in callbacks: empty once it is destroyed.
  std::shared_ptr<QmpClient*> self_;
};

}  // namespace hypervisor::qemu
