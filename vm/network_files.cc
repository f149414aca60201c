#include "vm/network_files.h"

#include <set>
#include <sstream>

namespace vm {
namespace {

void append_line(std::string& out, std::string_view ip, const std::vector<std::string>& names) {
  out += ip;
  out += '\t';
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != 0) out += ' ';
    out += names[i];
  }
  out += '\n';
}

}  // namespace

std::string make_hosts(const HostsInput& input) {
  std::string out;
  std::set<std::string> taken;
  for (const HostEntry& entry : input.extra) {
    append_line(out, entry.ip, {entry.name});
    taken.insert(entry.name);
  }

  std::istringstream base{std::string(input.base)};
  for (std::string line; std::getline(base, line);) {
    std::istringstream fields(line.substr(0, line.find('#')));
    std::string ip;
    fields >> ip;
    std::vector<std::string> names;
    for (std::string name; fields >> name;) names.push_back(name);
    if (names.empty()) continue;
    append_line(out, ip, names);
    taken.insert(names.begin(), names.end());
  }

  const auto append_free = [&](std::string_view ip, const std::vector<std::string>& names) {
    std::vector<std::string> free;
    for (const std::string& name : names) {
      if (!taken.contains(name)) free.push_back(name);
    }
    if (!ip.empty() && !free.empty()) append_line(out, ip, free);
  };
  append_free("127.0.0.1", {"localhost"});
  append_free("::1", {"localhost"});
  append_free(input.host_ip, {"host.containers.internal"});
  append_free(input.container_ip, input.container_names);
  return out;
}

std::string make_resolv_conf(const std::vector<std::string>& nameservers,
                             const std::vector<std::string>& search_domains) {
  std::string out;
  const bool none = search_domains.size() == 1 && search_domains.front() == ".";
  if (!search_domains.empty() && !none) {
    out += "search";
    for (const std::string& domain : search_domains) out += ' ' + domain;
    out += '\n';
  }
  for (const std::string& server : nameservers) out += "nameserver " + server + '\n';
  return out;
}

}  // namespace vm
