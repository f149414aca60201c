#include "state/envelope.h"

#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/json.h"

namespace state {
namespace {

// One meaning per record: a parsed record is always written in this form, so the checksum can be
// taken again from the parsed document.
std::string canonical(const nlohmann::json& record) {
  return record.dump();
}

base::Error bad_record(const std::string& why) {
  return base::Error(base::cat("not a whole record: ", why));
}

}  // namespace

std::string encode_envelope(const Envelope& envelope) {
  try {
    nlohmann::json record = base::parse_json(envelope.json, kMaxRecordBytes);
    if (!record.is_object()) throw base::Error("encoding a record: not a JSON object");
    const std::string text = canonical(record);
    if (text.size() > kMaxRecordBytes) {
      throw base::Error(
          base::cat("encoding a record: ", text.size(), " bytes, the limit is ", kMaxRecordBytes));
    }
    nlohmann::json document;
    document["type"] = envelope.type;
    document["schema"] = envelope.schema;
    document["checksum"] = "sha256:" + base::sha256(text);
    document["record"] = std::move(record);
    return document.dump() + '\n';
  } catch (const nlohmann::json::exception& error) {
    throw base::Error(base::cat("encoding a record: ", error.what()));
  }
}

base::Result<Envelope> decode_envelope(std::string_view text) {
  try {
    const nlohmann::json document = base::parse_json(text, 2 * kMaxRecordBytes);
    if (!document.is_object() || document.size() != 4) return bad_record("unknown members");
    const auto type = document.find("type");
    const auto schema = document.find("schema");
    const auto checksum = document.find("checksum");
    const auto record = document.find("record");
    const auto end = document.end();
    if (type == end || !type->is_string()) return bad_record("no type");
    if (schema == end || !schema->is_number_integer()) return bad_record("no schema");
    if (checksum == end || !checksum->is_string()) return bad_record("no checksum");
    if (record == end || !record->is_object()) return bad_record("no record");

    const auto number = schema->get<std::int64_t>();
    if (number < 1 || number > 1'000'000) return bad_record("schema out of range");
    Envelope envelope{type->get<std::string>(), static_cast<int>(number), canonical(*record)};
    if (envelope.json.size() > kMaxRecordBytes) return bad_record("too long");
    if (checksum->get<std::string>() != "sha256:" + base::sha256(envelope.json)) {
      return bad_record("the checksum does not match");
    }
    return envelope;
  } catch (const base::Error& error) {
    return bad_record(error.what());
  } catch (const nlohmann::json::exception&) {
    // Numbers out of range are no parse_error of the library.
    return bad_record("invalid JSON");
  }
}

}  // namespace state
