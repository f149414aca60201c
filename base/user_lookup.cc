#include "base/user_lookup.h"

#include <array>
#include <charconv>
#include <limits>

#include "base/error.h"

namespace base {
namespace {

constexpr std::int64_t kMaxId = std::numeric_limits<std::int32_t>::max();

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// A decimal number with an optional sign; empty for anything else. One that does not fit is a
// number all the same and becomes the nearest that does.
std::optional<std::int64_t> parse_number(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  if (text.empty()) return std::nullopt;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || text.front() == '-') return std::nullopt;
  if (error == std::errc::result_out_of_range) value = std::numeric_limits<std::int64_t>::max();
  return negative ? -value : value;
}

// The first `Count` fields between colons; what is missing is empty, what is more is dropped.
template <std::size_t Count>
std::array<std::string_view, Count> split_fields(std::string_view line) {
  std::array<std::string_view, Count> fields;
  for (std::size_t i = 0; i < Count; ++i) {
    const std::size_t colon = line.find(':');
    fields.at(i) = line.substr(0, colon);
    if (colon == std::string_view::npos) break;
    line.remove_prefix(colon + 1);
  }
  return fields;
}

// Calls `use(line)` for every line that is not blank, until it returns false.
template <typename Use>
void for_each_line(std::string_view text, std::string_view file, std::size_t max_line, Use use) {
  if (text.size() > kMaxUserFileBytes) {
    throw Error(cat(file, " file of ", text.size(), " bytes is too large"));
  }
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.size() > max_line) {
      throw Error(cat("a line of the ", file, " file is too long"));
    }
    line = trimmed(line);
    if (!line.empty() && !use(line)) return;
  }
}

template <typename Match>
std::optional<PasswdEntry> first_user(std::string_view passwd, Match match) {
  std::optional<PasswdEntry> found;
  for_each_line(passwd, "passwd", kMaxPasswdLineBytes, [&](std::string_view line) {
    const auto field = split_fields<6>(line);
    // An id that is no number counts as 0, as in podman: refusing would refuse the image.
    const std::int64_t uid = parse_number(field[2]).value_or(0);
    if (!match(field[0], uid)) return true;
    found = PasswdEntry{std::string(field[0]), uid, parse_number(field[3]).value_or(0),
                        std::string(field[5])};
    return false;
  });
  return found;
}

// Calls `use(name, gid, members)` for every group until it returns false.
template <typename Use>
void for_each_group(std::string_view group, Use use) {
  for_each_line(group, "group", kMaxUserFileBytes, [&](std::string_view line) {
    if (line.front() == '#') return true;
    const auto field = split_fields<4>(line);
    return static_cast<bool>(use(field[0], parse_number(field[2]).value_or(0), field[3]));
  });
}

bool lists(std::string_view members, std::string_view name) {
  for (;;) {
    const std::size_t comma = members.find(',');
    if (members.substr(0, comma) == name) return !members.empty();
    if (comma == std::string_view::npos) return false;
    members.remove_prefix(comma + 1);
  }
}

std::uint32_t checked_id(std::int64_t id) {
  if (id < 0 || id > kMaxId) {
    throw Error(cat("uids and gids must be in range 0-", kMaxId));
  }
  return static_cast<std::uint32_t>(id);
}

struct UserSpec {
  std::string_view user;
  std::string_view group;
};

UserSpec split_spec(std::string_view spec) {
  const auto field = split_fields<2>(spec);
  return {field[0], field[1]};
}

}  // namespace

std::optional<PasswdEntry> find_user(std::string_view passwd, std::string_view name_or_id) {
  const auto id = parse_number(name_or_id);
  return first_user(passwd, [&](std::string_view name, std::int64_t uid) {
    return id ? uid == *id : name == name_or_id;
  });
}

std::optional<GroupEntry> find_group(std::string_view group, std::string_view name_or_id) {
  const auto id = parse_number(name_or_id);
  std::optional<GroupEntry> found;
  for_each_group(group, [&](std::string_view name, std::int64_t gid, std::string_view) {
    if (id ? gid != *id : name != name_or_id) return true;
    found = GroupEntry{std::string(name), gid};
    return false;
  });
  return found;
}

UserInfo lookup_user(std::string_view spec, std::string_view passwd, std::string_view group) {
  const UserSpec parts = split_spec(spec);
  const std::string_view wanted = parts.user.empty() ? std::string_view("0") : parts.user;
  UserInfo info;
  std::string matched_name;

  if (const auto entry = find_user(passwd, wanted)) {
    matched_name = entry->name;
    info.uid = checked_id(entry->uid);
    info.gid = checked_id(entry->gid);
    info.home = entry->home;
  } else if (!parts.user.empty()) {
    const auto id = parse_number(parts.user);
    if (!id) {
      throw Error(cat("unable to find user ", parts.user, ": no matching entries in passwd file"));
    }
    info.uid = checked_id(*id);
  }

  if (!parts.group.empty()) {
    if (const auto entry = find_group(group, parts.group)) {
      info.gid = checked_id(entry->gid);
    } else {
      const auto id = parse_number(parts.group);
      if (!id) {
        throw Error(
            cat("unable to find group ", parts.group, ": no matching entries in group file"));
      }
      info.gid = checked_id(*id);
    }
  } else if (!matched_name.empty()) {
    for_each_group(group, [&](std::string_view, std::int64_t gid, std::string_view members) {
      if (!lists(members, matched_name)) return true;
      if (info.groups.size() == kMaxGroups) {
        throw Error(cat("user ", matched_name, " is in too many groups"));
      }
      info.groups.push_back(checked_id(gid));
      return true;
    });
  }
  return info;
}

UserFileLines missing_user_lines(std::string_view spec, std::string_view passwd,
                                 std::string_view group, std::string_view working_dir) {
  UserFileLines lines;
  if (spec.empty()) return lines;
  const UserSpec parts = split_spec(spec);

  const auto uid = parse_number(parts.user);
  if (uid && !find_user(passwd, parts.user)) {
    std::int64_t gid = 0;
    if (!parts.group.empty()) {
      const auto numeric = parse_number(parts.group);
      gid = numeric ? *numeric : lookup_user(spec, passwd, group).gid;
    }
    // A path that would end the field or the line must not forge an entry.
    const bool safe = working_dir.find_first_of(":\n") == std::string_view::npos;
    lines.passwd = cat(checked_id(*uid), ":*:", *uid, ":", checked_id(gid),
                       ":container user:", safe ? working_dir : "/", ":/bin/sh\n");
  }

  const bool has_group = spec.find(':') != std::string_view::npos;
  const std::string_view group_part = has_group ? parts.group : parts.user;
  const auto gid = parse_number(group_part);
  if (gid && !find_group(group, group_part)) {
    lines.group = cat(checked_id(*gid), ":x:", *gid, ":", parts.user, "\n");
  }
  return lines;
}

}  // namespace base
