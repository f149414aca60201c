// The text of a record file: one JSON document around the owner's record.
//   {"checksum": "sha256:<hex of record>", "record": {…}, "schema": 3, "type": "vm"}
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace state {

inline constexpr std::size_t kMaxRecordBytes = 4 << 20;

struct Envelope {
  std::string type;  // whose record it is; fixed per store
  int schema = 0;    // of the record, counted up by its owner from 1
  std::string json;  // the record: a JSON object, compact
  bool operator==(const Envelope&) const = default;
};

// Throws base::Error when `envelope.json` is no JSON object or too long.
std::string encode_envelope(const Envelope& envelope);

// An Error for text that encode_envelope has not written: cut short, altered, or something else.
// Never throws for what is in the text; takes at most twice kMaxRecordBytes.
base::Result<Envelope> decode_envelope(std::string_view text);

}  // namespace state
