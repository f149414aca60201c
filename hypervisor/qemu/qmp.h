// QMP's framing and messages (QEMU's docs/interop/qmp-spec): one JSON object per line. The peer is
// the VMM, which a guest may have taken over: every length is bounded, and what is malformed throws.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace hypervisor::qemu {

// The longest line QEMU sends us is query-blockstats, about 1.5 KiB a disk.
inline constexpr std::size_t kMaxQmpLineBytes = 1 << 20;

// Cuts a byte stream into lines.
class QmpFramer {
 public:
  // What was fed and not yet taken is held: take all lines before feeding more.
  void feed(std::string_view data);
  // The next whole line without its end ("\r\n" or "\n"); false when there is none yet. Empty lines
  // are skipped. `line` is valid until the next call of feed(). Throws base::Error when a line is
  // longer than kMaxQmpLineBytes; the stream is unusable then.
  bool next(std::string_view& line);

 private:
  std::string buffer_;
  std::size_t begin_ = 0;    // of the first line not yet taken
  std::size_t scanned_ = 0;  // no newline before this
};

struct QmpMessage {
  enum class Kind { kGreeting, kReturn, kError, kEvent };
  Kind kind = Kind::kEvent;
  std::uint64_t id =
      0;             // kReturn, kError; 0 when the peer named none (a command it could not read)
  std::string name;  // kEvent: its name; kError: its class; kGreeting: the version, "7.2.22"
  std::string text;  // kError: the description
};

// Sorts one line. `body` gets the value of "return" or "data" (null where there is none). Throws
// base::Error for anything that is none of the four.
QmpMessage parse_qmp_message(std::string_view line, nlohmann::json& body);

// A command as a line, its newline included. `arguments` may be null.
std::string format_qmp_command(std::string_view command, const nlohmann::json& arguments,
                               std::uint64_t id);

}  // namespace hypervisor::qemu
