#include "hypervisor/qemu/qmp.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace hypervisor::qemu {
namespace {

// Nothing QMP answers is deeper than a few levels.
constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxNameBytes = 128;
constexpr std::size_t kMaxTextBytes = 4096;

base::Error unexpected(std::string_view what) {
  return base::Error(base::cat("the VMM broke its control protocol: ", what));
}

const nlohmann::json* find(const nlohmann::json& object, const char* key) {
  const auto at = object.find(key);
  return at == object.end() ? nullptr : &*at;
}

std::string bounded_string(const nlohmann::json* value, std::size_t max_bytes, const char* what) {
  if (value == nullptr || !value->is_string()) throw unexpected(base::cat(what, " is no string"));
  auto text = value->get<std::string>();
  if (text.size() > max_bytes) text.resize(max_bytes);
  return text;
}

std::uint64_t message_id(const nlohmann::json& object) {
  const auto* id = find(object, "id");
  if (id == nullptr) return 0;
  if (!id->is_number_unsigned()) throw unexpected("an id that is not ours");
  return id->get<std::uint64_t>();
}

std::string greeting_version(const nlohmann::json& greeting) {
  if (!greeting.is_object()) throw unexpected("a greeting that is no object");
  const auto* version = find(greeting, "version");
  const auto* numbers =
      version != nullptr && version->is_object() ? find(*version, "qemu") : nullptr;
  if (numbers == nullptr || !numbers->is_object()) throw unexpected("a greeting without version");
  std::string text;
  for (const char* part : {"major", "minor", "micro"}) {
    const auto* number = find(*numbers, part);
    if (number == nullptr || !number->is_number_unsigned()) {
      throw unexpected("a greeting without version");
    }
    if (!text.empty()) text += '.';
    text += std::to_string(number->get<std::uint64_t>());
  }
  return text;
}

}  // namespace

void QmpFramer::feed(std::string_view data) {
  buffer_.erase(0, begin_);
  scanned_ -= begin_;
  begin_ = 0;
  buffer_ += data;
}

bool QmpFramer::next(std::string_view& line) {
  while (true) {
    const auto end = buffer_.find('\n', scanned_);
    const auto length = (end == std::string::npos ? buffer_.size() : end) - begin_;
    if (length > kMaxQmpLineBytes) throw unexpected("a line without end");
    if (end == std::string::npos) {
      scanned_ = buffer_.size();
      return false;
    }
    line = std::string_view(buffer_).substr(begin_, length);
    begin_ = scanned_ = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) return true;
  }
}

QmpMessage parse_qmp_message(std::string_view line, nlohmann::json& body) {
  nlohmann::json object;
  try {
    object = base::parse_json(line, kMaxQmpLineBytes, kMaxDepth);
  } catch (base::Error& error) {
    error.add_context("the VMM broke its control protocol");
    throw;
  }
  if (!object.is_object()) throw unexpected("a message that is no object");
  body = nullptr;

  QmpMessage message;
  if (const auto* event = find(object, "event")) {
    message.kind = QmpMessage::Kind::kEvent;
    message.name = bounded_string(event, kMaxNameBytes, "an event's name");
    if (const auto* data = find(object, "data")) body = *data;
  } else if (const auto* value = find(object, "return")) {
    message.kind = QmpMessage::Kind::kReturn;
    message.id = message_id(object);
    body = *value;
  } else if (const auto* error = find(object, "error")) {
    if (!error->is_object()) throw unexpected("an error that is no object");
    message.kind = QmpMessage::Kind::kError;
    message.id = message_id(object);
    message.name = bounded_string(find(*error, "class"), kMaxNameBytes, "an error's class");
    message.text = bounded_string(find(*error, "desc"), kMaxTextBytes, "an error's description");
  } else if (const auto* greeting = find(object, "QMP")) {
    message.kind = QmpMessage::Kind::kGreeting;
    message.name = greeting_version(*greeting);
  } else {
    throw unexpected("a message of no known kind");
  }
  return message;
}

std::string format_qmp_command(std::string_view command, const nlohmann::json& arguments,
                               std::uint64_t id) {
  nlohmann::json object = {{"execute", command}, {"id", id}};
  if (!arguments.is_null()) object["arguments"] = arguments;
  return object.dump() + "\n";
}

}  // namespace hypervisor::qemu
