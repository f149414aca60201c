#include "hypervisor/qemu/qmp_client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace hypervisor::qemu {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
// Of the greeting's answer; the greeting itself comes when QEMU has started, however long that takes.
constexpr std::chrono::seconds kNegotiationDeadline{30};

}  // namespace

QmpClient::QmpClient(base::EventLoop& loop, base::Fd socket, Handler handler)
    : loop_(loop),
      socket_(std::move(socket)),
      handler_(std::move(handler)),
      self_(std::make_shared<QmpClient*>(this)) {
  base::set_nonblocking(socket_);
  watch_ = loop_.watch(socket_.get(), EPOLLIN, [this](std::uint32_t events) { on_socket(events); });
}

QmpClient::~QmpClient() {
  *self_ = nullptr;
}

void QmpClient::execute(std::string_view command, const nlohmann::json& arguments,
                        std::chrono::milliseconds deadline, Reply reply) {
  send(next_id_++, command, arguments, deadline, std::move(reply), false);
}

void QmpClient::execute_with_fd(std::string_view command, const nlohmann::json& arguments,
                                base::Fd fd, std::chrono::milliseconds deadline, Reply reply) {
  send(next_id_++, command, arguments, deadline, std::move(reply), false, std::move(fd));
}

void QmpClient::send(std::uint64_t id, std::string_view command, const nlohmann::json& arguments,
                     std::chrono::milliseconds deadline, Reply reply, bool before_ready,
                     base::Fd fd) {
  if (down_ || pending_.size() >= kMaxPending) {
    const int errnum = down_ ? ECONNRESET : EBUSY;
    loop_.post([self = self_, errnum, name = std::string(command), reply = std::move(reply)] {
      if (*self == nullptr || !reply) return;
      const base::Error error(errnum, "asking the VMM for", name);
      reply(&error, nullptr);
    });
    return;
  }
  Pending& pending = pending_[id];
  pending.command = command;
  pending.reply = std::move(reply);
  pending.deadline = loop_.after(deadline, [this, id] {
    const auto at = pending_.find(id);
    if (at == pending_.end()) return;
    const base::Error error(ETIMEDOUT, "asking the VMM for", at->second.command);
    ++overdue_;
    finish(id, &error, nullptr);
  });
  Line line{format_qmp_command(command, arguments, id), std::move(fd)};
  if (ready_ || before_ready) {
    unsent_.push_back(std::move(line));
    flush();
  } else {
    held_.push_back(std::move(line));
  }
}

ssize_t QmpClient::send_some(const Line& line) {
  iovec bytes{const_cast<char*>(line.text.data()), line.text.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (line.fd) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    // SAFETY: the buffer has room for one header with one descriptor.
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = line.fd.get();
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
}

void QmpClient::flush() {
  while (!unsent_.empty()) {
    Line& line = unsent_.front();
    const ssize_t n = send_some(line);
    if (n < 0) {
      if (errno == EINTR) continue;
      // A broken connection is reported by the read side, from the loop.
      break;
    }
    line.fd.reset();
    line.text.erase(0, static_cast<std::size_t>(n));
    if (line.text.empty()) unsent_.pop_front();
  }
  if (watch_.active()) {
    const std::uint32_t out = unsent_.empty() ? 0U : std::uint32_t{EPOLLOUT};
    loop_.set_events(watch_, EPOLLIN | out);
  }
}

void QmpClient::on_socket(std::uint32_t events) {
  const auto self = self_;
  if ((events & EPOLLOUT) != 0) flush();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read_some();
}

void QmpClient::drain() {
  const auto self = self_;
  while (*self != nullptr && !down_ && read_some()) {
  }
}

bool QmpClient::read_some() {
  const auto self = self_;
  std::array<char, kReadBytes> buffer;
  const ssize_t n = ::read(socket_.get(), buffer.data(), buffer.size());
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return false;
    fail(base::Error(errno, "reading the VMM's control socket").what());
    return false;
  }
  if (n == 0) {
    fail("the VMM closed its control socket");
    return false;
  }
  try {
    framer_.feed(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    std::string_view line;
    while (*self != nullptr && !down_ && framer_.next(line)) handle_line(line);
  } catch (const base::Error& error) {
    if (*self != nullptr) fail(error.what());
  }
  return *self != nullptr && !down_;
}

void QmpClient::handle_line(std::string_view line) {
  nlohmann::json body;
  const QmpMessage message = parse_qmp_message(line, body);
  switch (message.kind) {
    case QmpMessage::Kind::kGreeting: {
      if (greeted_) throw base::Error("the VMM broke its control protocol: a second greeting");
      greeted_ = true;
      send(
          next_id_++, "qmp_capabilities", nullptr, kNegotiationDeadline,
          [this, version = message.name](const base::Error* error, const nlohmann::json&) {
            if (error != nullptr) {
              fail(error->what());
              return;
            }
            ready_ = true;
            for (auto& held : std::exchange(held_, {})) unsent_.push_back(std::move(held));
            flush();
            if (const auto on_ready = handler_.on_ready) on_ready(version);
          },
          true);
      return;
    }
    case QmpMessage::Kind::kEvent:
      if (const auto on_event = handler_.on_event) on_event(message.name, body);
      return;
    case QmpMessage::Kind::kReturn:
      finish(message.id, nullptr, body);
      return;
    case QmpMessage::Kind::kError: {
      const auto at = pending_.find(message.id);
      const std::string command = at == pending_.end() ? std::string() : at->second.command;
      const base::Error error(base::cat("the VMM refused ", command, ": ", message.text));
      finish(message.id, &error, nullptr);
      return;
    }
  }
}

void QmpClient::finish(std::uint64_t id, const base::Error* error, const nlohmann::json& value) {
  const auto at = pending_.find(id);
  if (at == pending_.end()) {
    if (overdue_ > 0) {
      --overdue_;
      return;
    }
    if (++stray_replies_ > kMaxStrayReplies) {
      throw base::Error("the VMM broke its control protocol: answers nobody asked for");
    }
    return;
  }
  const Reply reply = std::move(at->second.reply);
  pending_.erase(at);
  if (reply) reply(error, value);
}

void QmpClient::fail(const std::string& why) {
  if (down_) return;
  down_ = true;
  ready_ = false;
  watch_.reset();
  held_.clear();
  unsent_.clear();
  const auto self = self_;
  const std::string reason = why;
  const base::Error error(reason);
  for (auto& [id, pending] : std::exchange(pending_, {})) {
    if (pending.reply) pending.reply(&error, nullptr);
    if (*self == nullptr) return;
  }
  if (const auto on_down = handler_.on_down) on_down(reason);
}

}  // namespace hypervisor::qemu
