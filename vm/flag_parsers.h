// The text of flags, parsed as podman 4.3 parses it. Pure: nothing here touches the machine. Each
// function throws base::Error saying what is wrong with the text; the command line adds the flag.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vm/run_options.h"

namespace vm {

// "512m", "1.5g", "1 GiB": bytes, units of 1024, as docker writes sizes.
std::uint64_t parse_size(std::string_view text);

// "2" or "1.5": virtual CPUs, a fraction rounded up; 1 … 1024.
int parse_cpus(std::string_view text);

// "0-2,5": sorted, each once, below 8192.
std::vector<int> parse_cpu_list(std::string_view text);

// "1h30m", "500ms": a duration as Go writes it, not negative.
std::chrono::nanoseconds parse_duration(std::string_view text);
// "10": whole seconds.
std::chrono::seconds parse_seconds(std::string_view text);

// "TERM", "SIGTERM", "15", "RTMIN+3": 1 … 64, in any case.
int parse_signal(std::string_view text);

// "[a-zA-Z0-9][a-zA-Z0-9_.-]*", at most 63 characters; returned as given.
std::string parse_name(std::string_view text);
// At most 64 bytes (HOST_NAME_MAX), no white space or control character.
std::string parse_hostname(std::string_view text);

// "name=soft[:hard]", -1 for unlimited. "host" is not handled here.
Ulimit parse_ulimit(std::string_view text);

// Sets the variables of one --env: "NAME=value", "NAME" (copied when the host has it) or "NAM*"
// (every one of the host that begins so). `host_environment` holds "NAME=value" texts.
using Environment = std::map<std::string, std::string>;
void add_env(std::string_view text, const std::vector<std::string>& host_environment,
             Environment& env);
// Same for each line of a file; blank lines and lines that begin with '#' are skipped. `name` is
// for the error.
void add_env_file(std::string_view content, std::string_view name,
                  const std::vector<std::string>& host_environment, Environment& env);

// "name=value" or "name".
void add_label(std::string_view text, std::map<std::string, std::string>& labels);

// A JSON array of texts, or one word; "" gives {}.
std::vector<std::string> parse_entrypoint(std::string_view text);

// "/path[:option,…]", with podman's defaults added.
TmpfsMount parse_tmpfs(std::string_view text);

// "HOST:GUEST[:ro|rw]". The host's side is left as given.
VolumeMapping parse_volume(std::string_view text);

// "[[IP:][HOST]:]GUEST[/tcp|/udp]"; ports may be ranges of one length, IPv6 addresses in brackets.
std::vector<PortMapping> parse_publish(std::string_view text);

// "name:ip".
HostEntry parse_add_host(std::string_view text);
// An IPv4 or IPv6 address, returned as given.
std::string parse_ip(std::string_view text);

// A JSON array, a shell command, or "none".
std::vector<std::string> parse_health_command(std::string_view text);

NetworkMode parse_network(std::string_view text);
image::PullPolicy parse_pull(std::string_view text);
Engine parse_engine(std::string_view text);
HypervisorChoice parse_hypervisor(std::string_view text);
AccelChoice parse_accel(std::string_view text);

struct Restart {
  RestartPolicy policy = RestartPolicy::kNo;
  int max = 0;
};
std::string_view to_string(RestartPolicy policy);
// "no", "always", "unless-stopped", "on-failure[:N]".
Restart parse_restart(std::string_view text);

// "ctrl-p,ctrl-q" or single characters: the bytes of the sequence; "" switches detaching off.
std::string parse_detach_keys(std::string_view text);

// `text` cut at commas, empty pieces dropped: flags that take lists (--cap-add a,b).
std::vector<std::string> split_commas(std::string_view text);

// An absolute path with ".", ".." and repeated slashes resolved as text.
std::string clean_absolute_path(std::string_view path);

}  // namespace vm
