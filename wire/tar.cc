#include "wire/tar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>

#include "base/error.h"

namespace wire {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kMaxExtensionBytes = 64 * 1024;
constexpr std::uint64_t kMaxNumber = std::numeric_limits<std::int64_t>::max();

// The header block of ustar: offsets and lengths of its fields.
struct Field {
  std::size_t at;
  std::size_t size;
};
constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kUid{108, 8};
constexpr Field kGid{116, 8};
constexpr Field kSize{124, 12};
constexpr Field kMtime{136, 12};
constexpr Field kChecksum{148, 8};
constexpr std::size_t kType = 156;
constexpr Field kLink{157, 100};
constexpr Field kMagic{257, 8};
constexpr Field kMajor{329, 8};
constexpr Field kMinor{337, 8};
constexpr Field kPrefix{345, 155};

using Block = std::array<char, kBlock>;

std::uint64_t padding_of(std::uint64_t size) {
  return (kBlock - size % kBlock) % kBlock;
}

unsigned checksum_of(const Block& block) {
  unsigned sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const bool own = i >= kChecksum.at && i < kChecksum.at + kChecksum.size;
    sum += own ? static_cast<unsigned char>(' ') : static_cast<unsigned char>(block[i]);
  }
  return sum;
}

[[noreturn]] void damaged(std::string_view what) {
  throw base::Error(base::cat("the archive is damaged: ", what));
}

std::string text_of(const Block& block, Field field) {
  const char* const begin = block.data() + field.at;
  return {begin, ::strnlen(begin, field.size)};
}

// Octal digits, or with the highest bit set a big-endian number (GNU).
std::uint64_t number_of(const Block& block, Field field) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(block.data()) + field.at;
  std::uint64_t value = 0;
  if ((bytes[0] & 0x80) != 0) {
    if (bytes[0] == 0xff) damaged("a number is negative");
    value = bytes[0] & 0x7f;
    for (std::size_t i = 1; i < field.size; ++i) {
      if (value > kMaxNumber >> 8) damaged("a number is too big");
      value = value << 8 | bytes[i];
    }
    return value;
  }
  std::size_t i = 0;
  while (i < field.size && bytes[i] == ' ') ++i;
  for (; i < field.size && bytes[i] >= '0' && bytes[i] <= '7'; ++i) {
    value = value << 3 | static_cast<std::uint64_t>(bytes[i] - '0');
  }
  if (i < field.size && bytes[i] != ' ' && bytes[i] != '\0') damaged("a number is malformed");
  return value;
}

// Negative times occur; everything else of pax is a number from 0 up. Fractions are dropped.
std::int64_t pax_number(std::string_view text, bool may_be_negative) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || (stop != end && *stop != '.')) damaged("a number is malformed");
  if (value < 0 && !may_be_negative) damaged("a number is negative");
  return value;
}

void set_text(Block& block, Field field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), field.size),
              block.begin() + static_cast<std::ptrdiff_t>(field.at));
}

bool fits(Field field, std::uint64_t value) {
  return value >> (3 * (field.size - 1)) == 0;
}

void set_number(Block& block, Field field, std::uint64_t value) {
  if (!fits(field, value)) value = 0;  // stands in a pax record
  for (std::size_t i = field.size - 1; i-- > 0; value >>= 3) {
    block[field.at + i] = static_cast<char>('0' + (value & 7));
  }
}

// "<length> <key>=<value>\n", the length counting its own digits.
void append_record(std::string& records, std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) {
    length = std::to_string(length).size() + rest;
  }
  records += base::cat(length, ' ', key, '=', value, '\n');
}

}  // namespace

// ---- writing

void TarWriter::header(const TarEntry& entry, char type) {
  Block block{};
  set_text(block, kName, entry.path);
  set_number(block, kMode, entry.mode & 07777);
  set_number(block, kUid, entry.uid);
  set_number(block, kGid, entry.gid);
  set_number(block, kSize, entry.size);
  set_number(block, kMtime, static_cast<std::uint64_t>(std::max<std::int64_t>(entry.mtime_s, 0)));
  block[kType] = type;
  set_text(block, kLink, entry.link_target);
  set_text(block, kMagic, std::string_view("ustar\00000", 8));
  set_number(block, kMajor, entry.device_major);
  set_number(block, kMinor, entry.device_minor);
  unsigned sum = checksum_of(block);
  for (std::size_t i = 6; i-- > 0; sum >>= 3) {
    block[kChecksum.at + i] = static_cast<char>('0' + (sum & 7));
  }
  block[kChecksum.at + 7] = ' ';
  sink_({block.data(), block.size()});
}

void TarWriter::add(const TarEntry& entry) {
  if (left_ != 0) throw base::Error("an entry of the archive is incomplete");
  if (entry.path.size() > kMaxTarPathBytes || entry.link_target.size() > kMaxTarPathBytes) {
    throw base::Error(ENAMETOOLONG, "archiving", entry.path);
  }
  std::string records;
  if (entry.path.size() > kName.size) append_record(records, "path", entry.path);
  if (entry.link_target.size() > kLink.size) append_record(records, "linkpath", entry.link_target);
  if (!fits(kSize, entry.size)) append_record(records, "size", std::to_string(entry.size));
  if (!fits(kUid, entry.uid)) append_record(records, "uid", std::to_string(entry.uid));
  if (!fits(kGid, entry.gid)) append_record(records, "gid", std::to_string(entry.gid));
  if (entry.mtime_s < 0) append_record(records, "mtime", std::to_string(entry.mtime_s));
  if (!records.empty()) {
    TarEntry extension;
    extension.path = "PaxHeaders/entry";
    extension.mode = 0644;
    extension.size = records.size();
    header(extension, 'x');
    records.append(padding_of(records.size()), '\0');
    sink_(records);
  }
  constexpr std::string_view kTypes = "0123456";  // kFifo is last, as in TarEntry::Kind
  TarEntry own = entry;
  if (entry.kind != TarEntry::Kind::kFile) own.size = 0;
  header(own, kTypes[static_cast<std::size_t>(entry.kind)]);
  left_ = own.size;
  padding_ = padding_of(own.size);
}

void TarWriter::data(std::string_view bytes) {
  if (bytes.size() > left_) throw base::Error("an entry of the archive is too long");
  if (bytes.empty()) return;
  sink_(bytes);
  left_ -= bytes.size();
  if (left_ == 0 && padding_ != 0) sink_(std::string(padding_, '\0'));
}

void TarWriter::finish() {
  if (left_ != 0) throw base::Error("an entry of the archive is incomplete");
  sink_(std::string(2 * kBlock, '\0'));
}

// ---- reading

// What the next entry has instead of its header's fields.
struct TarReader::Extensions {
  std::optional<std::string> path;
  std::optional<std::string> link;
  std::optional<std::uint64_t> size;
  std::optional<std::uint64_t> uid;
  std::optional<std::uint64_t> gid;
  std::optional<std::int64_t> mtime_s;

  void take(std::string_view records);
};

void TarReader::Extensions::take(std::string_view records) {
  while (!records.empty()) {
    std::size_t length = 0;
    const auto [stop, error] =
        std::from_chars(records.data(), records.data() + records.size(), length);
    const auto head = static_cast<std::size_t>(stop - records.data()) + 1;
    if (error != std::errc() || length <= head || length > records.size() || *stop != ' ' ||
        records[length - 1] != '\n') {
      damaged("a pax record is malformed");
    }
    const std::string_view record = records.substr(head, length - head - 1);
    records.remove_prefix(length);
    const auto equals = record.find('=');
    if (equals == std::string_view::npos) damaged("a pax record is malformed");
    const std::string_view key = record.substr(0, equals);
    const std::string_view value = record.substr(equals + 1);
    if (key.starts_with("GNU.sparse.")) {
      throw base::Error("the archive holds sparse files in GNU's own form");
    }
    if (value.find('\0') != std::string_view::npos) {
      if (key == "path" || key == "linkpath") damaged("a path holds a zero byte");
      continue;
    }
    if (key == "path") path = std::string(value);
    if (key == "linkpath") link = std::string(value);
    if (key == "size") size = static_cast<std::uint64_t>(pax_number(value, false));
    if (key == "uid") uid = static_cast<std::uint64_t>(pax_number(value, false));
    if (key == "gid") gid = static_cast<std::uint64_t>(pax_number(value, false));
    if (key == "mtime") mtime_s = pax_number(value, true);
  }
}

void TarReader::read_exactly(char* buffer, std::size_t size) {
  while (size != 0) {
    const std::size_t n = source_(buffer, size);
    if (n == 0) throw base::Error("the archive ends early");
    buffer += n;
    size -= n;
  }
}

// False at the end of the input, before the first byte of the block.
bool TarReader::read_block(char* block) {
  std::size_t got = 0;
  while (got < kBlock) {
    const std::size_t n = source_(block + got, kBlock - got);
    if (n == 0 && got == 0) return false;
    if (n == 0) {
      throw base::Error(any_ ? "the archive ends early" : "the input is no tar archive");
    }
    got += n;
  }
  return true;
}

std::string TarReader::read_extension(std::uint64_t size, std::size_t limit) {
  if (size > limit) damaged("an extended header is too long");
  std::string text(static_cast<std::size_t>(size + padding_of(size)), '\0');
  read_exactly(text.data(), text.size());
  text.resize(static_cast<std::size_t>(size));
  return text;
}

void TarReader::skip_data() {
  std::array<char, 16 * 1024> scratch;
  while (read(scratch.data(), scratch.size()) != 0) {
  }
  while (padding_ != 0) {
    const std::size_t n = std::min<std::uint64_t>(padding_, scratch.size());
    read_exactly(scratch.data(), n);
    padding_ -= n;
  }
}

bool TarReader::next(TarEntry& entry) {
  skip_data();
  Extensions more;
  while (true) {
    Block block;
    if (!read_block(block.data())) {
      throw base::Error(any_ ? "the archive ends early" : "the input is no tar archive");
    }
    if (std::all_of(block.begin(), block.end(), [](char c) { return c == '\0'; })) return false;
    Block checked = block;
    if (number_of(checked, kChecksum) != checksum_of(block)) {
      if (any_) damaged("a header's checksum is wrong");
      throw base::Error("the input is no tar archive (compressed ones are not read)");
    }
    any_ = true;
    const std::uint64_t size = number_of(block, kSize);
    if (size > kMaxNumber) damaged("a size is too big");
    const char type = block[kType];
    if (type == 'x' || type == 'g') {
      const std::string records = read_extension(size, kMaxExtensionBytes);
      if (type == 'x') more.take(records);
      continue;
    }
    if (type == 'L' || type == 'K') {
      std::string text = read_extension(size, kMaxTarPathBytes + 1);
      text.resize(::strnlen(text.c_str(), text.size()));
      (type == 'L' ? more.path : more.link) = std::move(text);
      continue;
    }

    entry = TarEntry{};
    entry.path = text_of(block, kName);
    const bool posix = std::memcmp(block.data() + kMagic.at, "ustar\0", 6) == 0;
    const std::string prefix = posix ? text_of(block, kPrefix) : "";
    if (!prefix.empty()) entry.path = prefix + '/' + entry.path;
    entry.link_target = text_of(block, kLink);
    entry.size = more.size.value_or(size);
    entry.mode = static_cast<std::uint32_t>(number_of(block, kMode) & 07777);
    entry.uid = more.uid ? *more.uid : number_of(block, kUid);
    entry.gid = more.gid ? *more.gid : number_of(block, kGid);
    entry.mtime_s = more.mtime_s ? *more.mtime_s
                                 : static_cast<std::int64_t>(number_of(block, kMtime) & kMaxNumber);
    if (more.path) entry.path = *more.path;
    if (more.link) entry.link_target = *more.link;
    if (entry.path.empty() || entry.path.size() > kMaxTarPathBytes ||
        entry.link_target.size() > kMaxTarPathBytes) {
      damaged("a path is missing or too long");
    }
    switch (type) {
      case '\0':
      case '0':
      case '7':
        entry.kind = entry.path.back() == '/' ? TarEntry::Kind::kDirectory : TarEntry::Kind::kFile;
        break;
      case '1':
      case '2':
      case '3':
      case '4':
      case '5':
      case '6':
        entry.kind = static_cast<TarEntry::Kind>(type - '0');
        break;
      default:
        throw base::Error(base::cat("the archive holds an entry of an unknown kind: ",
                                    base::quoted(std::string_view(&type, 1))));
    }
    if (entry.kind == TarEntry::Kind::kCharDevice || entry.kind == TarEntry::Kind::kBlockDevice) {
      entry.device_major = static_cast<std::uint32_t>(number_of(block, kMajor));
      entry.device_minor = static_cast<std::uint32_t>(number_of(block, kMinor));
    }
    if (entry.kind != TarEntry::Kind::kFile) {
      if (entry.size != 0) damaged("an entry that is no file has a size");
    } else {
      left_ = entry.size;
      padding_ = padding_of(entry.size);
    }
    return true;
  }
}

std::size_t TarReader::read(char* buffer, std::size_t size) {
  size = std::min<std::uint64_t>(size, left_);
  if (size == 0) return 0;
  const std::size_t n = source_(buffer, size);
  if (n == 0) throw base::Error("the archive ends early");
  left_ -= n;
  return n;
}

}  // namespace wire
