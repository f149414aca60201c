// Ordinary users unpack images inside a user namespace, where they are root: ids of the image become
// ids of their /etc/subuid range (newuidmap(1)), or all become theirs where they have none.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace image {

// What stands before a command to run it there: empty for root. The namespace is found out once per
// process; without a range of ids a warning is logged, for files then lose their owners.
const std::vector<std::string>& user_namespace_prefix();

// True when the namespace has one id only, so that chown(2) fails in it.
bool user_namespace_is_single_id();

// Runs `job` in a child process that has entered the namespace, where trees made there can be read
// whoever their files belong to; for root it simply runs. Returns what `job` returns, at most 16 MiB.
// Throws base::Error, with what `job` threw. No other thread may run meanwhile.
std::string in_user_namespace(const std::function<std::string()>& job);

// Removes trees made there, whose directories this user may not even enter. Gone already is
// success. Throws base::Error.
void remove_in_user_namespace(const std::vector<std::string>& paths);

}  // namespace image
