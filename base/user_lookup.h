// Users and groups of a container, from the texts of its /etc/passwd and /etc/group: hostile bytes,
// read the way podman and runc read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace base {

// Limits a hostile image meets: the size of either text, the length of a line of passwd, and the
// supplementary groups of one user (NGROUPS_MAX, linux/limits.h).
inline constexpr std::size_t kMaxUserFileBytes = 1 << 20;
inline constexpr std::size_t kMaxPasswdLineBytes = 64 << 10;
inline constexpr std::size_t kMaxGroups = 65536;

struct PasswdEntry {
  std::string name;
  std::int64_t uid = 0;
  std::int64_t gid = 0;
  std::string home;
};

struct GroupEntry {
  std::string name;
  std::int64_t gid = 0;
};

// The first entry of that name or, for a decimal number, of that id. Throws base::Error for a text
// beyond the limits.
std::optional<PasswdEntry> find_user(std::string_view passwd, std::string_view name_or_id);
std::optional<GroupEntry> find_group(std::string_view group, std::string_view name_or_id);

struct UserInfo {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;  // those the group file lists the user in, in its order
  std::string home;                   // empty when the passwd file names none
};

// Resolves "", "user", "uid", "user:group", "uid:gid" and mixtures of them. "" is uid 0. A number
// is always an id and need not be in the files. Supplementary groups come only without an explicit
// group. Throws base::Error ("unable to find user x: no matching entries in passwd file") for an
// unknown name, an id out of 0 … 2147483647, or a text beyond the limits.
UserInfo lookup_user(std::string_view spec, std::string_view passwd, std::string_view group);

// The lines podman adds to the container's files for a numeric user or group that they lack, so
// that whoami and the like have an answer. Each is empty or ends in a newline. Throws as
// lookup_user does.
struct UserFileLines {
  std::string passwd;
  std::string group;
};
UserFileLines missing_user_lines(std::string_view spec, std::string_view passwd,
                                 std::string_view group, std::string_view working_dir);

}  // namespace base
