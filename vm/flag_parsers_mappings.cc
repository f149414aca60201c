// Flags that map something of the host or of memory into the container: files and ports.
#include <arpa/inet.h>

#include <utility>

#include "base/error.h"
#include "vm/detail/text.h"
#include "vm/flag_parsers.h"

namespace vm {
namespace {

using base::cat;
using base::Error;
using detail::parse_digits;
using detail::split;

bool is_ip(std::string_view text) {
  const std::string copy(text);
  if (copy.find('\0') != std::string::npos) return false;
  in6_addr address{};
  return inet_pton(AF_INET, copy.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, copy.c_str(), &address) == 1;
}

std::string container_path(std::string_view path) {
  if (path.empty()) throw Error("the container's path is empty");
  if (path.front() != '/') {
    throw Error(cat("invalid container path ", base::quoted(path), ", must be an absolute path"));
  }
  std::string clean = clean_absolute_path(path);
  if (clean == "/") throw Error("the container's path cannot be /");
  return clean;
}

struct PortRange {
  unsigned first = 0;
  unsigned count = 1;
};

PortRange parse_port_range(std::string_view text, std::string_view whose) {
  const auto port = [&](std::string_view piece) {
    const auto number = parse_digits<unsigned>(piece);
    if (!number) throw Error(cat("invalid ", whose, " port ", base::quoted(piece)));
    if (*number < 1 || *number > 65535) {
      throw Error(cat(whose, " port numbers must be between 1 and 65535, got ", *number));
    }
    return *number;
  };
  const std::size_t dash = text.find('-');
  const unsigned first = port(text.substr(0, dash));
  if (dash == std::string_view::npos) return {first, 1};
  const unsigned last = port(text.substr(dash + 1));
  if (last <= first) {
    throw Error(cat("the end of a port range must be higher than its start: ", base::quoted(text)));
  }
  return {first, last - first + 1};
}

}  // namespace

TmpfsMount parse_tmpfs(std::string_view text) {
  const std::size_t colon = text.find(':');
  TmpfsMount mount;
  mount.target = container_path(text.substr(0, colon));

  bool access = false;
  bool propagation = false;
  bool setuid = false;
  bool devices = false;
  bool execution = false;
  bool copy_up = false;
  bool size = false;
  bool mode = false;
  const auto once = [](bool& seen, std::string_view what) {
    if (std::exchange(seen, true)) throw Error(cat("only one ", what, " can be given"));
  };
  const auto options = colon == std::string_view::npos ? std::vector<std::string_view>{}
                                                       : split(text.substr(colon + 1), ',');
  for (std::string_view option : options) {
    if (option == "rw" || option == "ro") {
      once(access, "of 'rw' and 'ro'");
    } else if (option == "private" || option == "rprivate" || option == "shared" ||
               option == "rshared" || option == "slave" || option == "rslave") {
      once(propagation, "propagation mode");
    } else if (option == "suid" || option == "nosuid") {
      once(setuid, "of 'suid' and 'nosuid'");
    } else if (option == "dev" || option == "nodev") {
      once(devices, "of 'dev' and 'nodev'");
    } else if (option == "exec" || option == "noexec") {
      once(execution, "of 'exec' and 'noexec'");
    } else if (option == "tmpcopyup" || option == "notmpcopyup") {
      once(copy_up, "of 'tmpcopyup' and 'notmpcopyup'");
      if (option == "notmpcopyup") continue;
    } else if (option.rfind("size=", 0) == 0) {
      once(size, "tmpfs size");
      const std::string_view value = option.substr(5);
      const bool percent = !value.empty() && value.back() == '%';
      if (percent ? !parse_digits<unsigned>(value.substr(0, value.size() - 1)).has_value()
                  : value.empty()) {
        throw Error(cat("invalid tmpfs size ", base::quoted(value)));
      }
      const std::uint64_t bytes = percent ? 0 : parse_size(value);
      // Of what is a size here the kernel takes only whole numbers with one letter.
      const std::size_t digits = std::min(value.find_first_not_of("0123456789"), value.size());
      const std::string_view unit = value.substr(digits);
      const bool plain =
          unit.empty() || (unit.size() == 1 && std::string_view("kKmMgGtTpP").find(unit.front()) !=
                                                   std::string_view::npos);
      if (!percent && !plain) {
        if (bytes == 0) throw Error(cat("invalid tmpfs size ", base::quoted(value)));
        mount.options.push_back(cat("size=", bytes));
        continue;
      }
    } else if (option.rfind("mode=", 0) == 0) {
      once(mode, "tmpfs mode");
      const std::string_view value = option.substr(5);
      if (value.empty() || value.size() > 5 ||
          value.find_first_not_of("01234567") != std::string_view::npos) {
        throw Error(cat("invalid tmpfs mode ", base::quoted(value)));
      }
    } else if (option != "U") {
      throw Error(cat("unknown tmpfs option ", base::quoted(option)));
    }
    mount.options.emplace_back(option);
  }
  if (!access) mount.options.emplace_back("rw");
  if (!propagation) mount.options.emplace_back("rprivate");
  if (!setuid) mount.options.emplace_back("nosuid");
  if (!devices) mount.options.emplace_back("nodev");
  if (!copy_up) mount.options.emplace_back("tmpcopyup");
  return mount;
}

VolumeMapping parse_volume(std::string_view text) {
  const auto parts = split(text, ':');
  if (parts.size() < 2 || parts.size() > 3) {
    throw Error(cat("incorrect volume format ", base::quoted(text), ", should be HOST:GUEST[:ro]"));
  }
  VolumeMapping volume;
  if (parts[0].empty()) throw Error("the host's path is empty");
  volume.source = parts[0];
  volume.target = container_path(parts[1]);
  if (parts.size() == 3) {
    bool access = false;
    for (std::string_view option : split(parts[2], ',')) {
      if (option != "ro" && option != "rw") {
        throw Error(cat("invalid volume option ", base::quoted(option), ": it is ro or rw"));
      }
      if (std::exchange(access, true)) throw Error("only one of 'rw' and 'ro' can be given");
      volume.read_only = option == "ro";
    }
  }
  return volume;
}

std::vector<PortMapping> parse_publish(std::string_view text) {
  return base::with_context(cat("port mapping ", base::quoted(text)), [&] {
    PortMapping port;
    std::string_view rest = text;
    const std::size_t slash = rest.find('/');
    if (slash != std::string_view::npos) {
      const std::string_view protocol = rest.substr(slash + 1);
      if (protocol != "tcp" && protocol != "udp") {
        throw Error(cat("unknown protocol ", base::quoted(protocol), ": it is tcp or udp"));
      }
      port.udp = protocol == "udp";
      rest = rest.substr(0, slash);
    }
    const std::size_t guest_colon = rest.rfind(':');
    const std::string_view guest =
        guest_colon == std::string_view::npos ? rest : rest.substr(guest_colon + 1);
    std::optional<std::string_view> host;
    if (guest_colon != std::string_view::npos) {
      host = rest.substr(0, guest_colon);
      const std::size_t ip_colon = host->rfind(':');
      if (ip_colon != std::string_view::npos) {
        std::string_view ip = host->substr(0, ip_colon);
        host = host->substr(ip_colon + 1);
        if (ip.size() >= 2 && ip.front() == '[' && ip.back() == ']') {
          ip = ip.substr(1, ip.size() - 2);
        } else if (ip.find(':') != std::string_view::npos) {
          throw Error("an IPv6 address must be in brackets");
        }
        port.host_ip = parse_ip(ip);
      }
    }
    if (guest.empty()) throw Error("the container's port is missing");
    const PortRange guest_range = parse_port_range(guest, "container");
    PortRange host_range{0, guest_range.count};
    if (host && !host->empty()) host_range = parse_port_range(*host, "host");
    if (host_range.count != guest_range.count) {
      throw Error(cat("host and container port ranges have different lengths: ", host_range.count,
                      " and ", guest_range.count));
    }
    std::vector<PortMapping> ports;
    for (unsigned i = 0; i < guest_range.count; ++i) {
      port.host_port = host_range.first == 0 ? std::uint16_t{0}
                                             : static_cast<std::uint16_t>(host_range.first + i);
      port.guest_port = static_cast<std::uint16_t>(guest_range.first + i);
      ports.push_back(port);
    }
    return ports;
  });
}

HostEntry parse_add_host(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 ||
      text.substr(0, colon).find_first_of(" \t\r\n#") != std::string_view::npos) {
    throw Error(cat("bad format for add-host: ", base::quoted(text), ", should be NAME:IP"));
  }
  return {std::string(text.substr(0, colon)), parse_ip(text.substr(colon + 1))};
}

std::string parse_ip(std::string_view text) {
  if (!is_ip(text)) throw Error(cat(base::quoted(text), " is not an IP address"));
  return std::string(text);
}

std::string clean_absolute_path(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (!parts.empty()) {
      parts.pop_back();
    }
  }
  std::string out;
  for (std::string_view part : parts) out += cat('/', part);
  return out.empty() ? "/" : out;
}

}  // namespace vm
