#include "image/packages.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <deque>
#include <map>
#include <set>
#include <sstream>

#include "base/digest.h"
#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "image/detail/environment.h"
#include "storage/staging.h"

namespace image {
namespace {

bool is_package_name(const std::string& name) {
  // Debian Policy 5.6.7, and ':' before an architecture. Nothing here can be taken for an option.
  return !name.empty() && name.front() != '-' && name.front() != '.' &&
         name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.:_") ==
             std::string::npos;
}

void check_names(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!is_package_name(name)) {
      throw base::Error(base::cat(base::quoted(name), " is not the name of a package"));
    }
  }
}

// "deb_file" without the directory: name_version_architecture.deb, ':' of an epoch as %3a.
PackageFile describe(const PackageUri& uri, const std::string& directory) {
  PackageFile package;
  const auto first = uri.file.find('_');
  const auto last = uri.file.rfind('_');
  package.name = uri.file.substr(0, first);
  if (last > first) package.version = uri.file.substr(first + 1, last - first - 1);
  if (const auto epoch = package.version.find("%3a"); epoch != std::string::npos) {
    package.version =
        base::cat(package.version.substr(0, epoch), ":", package.version.substr(epoch + 3));
  }
  package.path = directory + "/" + uri.file;
  package.sha256 = uri.sha256;
  return package;
}

bool is_there(const PackageFile& package) {
  return base::path_exists(package.path) && base::sha256_file(package.path) == package.sha256;
}

std::uint64_t bytes_in(const std::string& directory) {
  std::uint64_t bytes = 0;
  for (const std::string& name : base::list_directory(directory)) {
    struct stat info {};
    if (::stat((directory + "/" + name).c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
      bytes += static_cast<std::uint64_t>(info.st_size);
    }
  }
  return bytes;
}

struct Alternative {
  std::string name;
  std::vector<std::string> providers;
};
using Group = std::vector<Alternative>;

// What each package of the output depends on: one group per dependency.
std::map<std::string, std::vector<Group>> parse_depends(const std::string& output) {
  std::map<std::string, std::vector<Group>> graph;
  std::vector<Group>* groups = nullptr;
  bool group_goes_on = false;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    if (line.front() != ' ') {
      groups = &graph[line];
      group_goes_on = false;
    } else if (line.starts_with("    ")) {
      if (groups != nullptr && !groups->empty()) {
        groups->back().back().providers.push_back(line.substr(4));
      }
    } else if (const auto colon = line.find("Depends: ");
               colon != std::string::npos && groups != nullptr) {
      // "Depends: " and "PreDepends: "; a '|' before it says that the next line is an alternative.
      if (!group_goes_on) groups->emplace_back();
      groups->back().push_back({line.substr(colon + 9), {}});
      group_goes_on = line[1] == '|';
    }
  }
  return graph;
}

}  // namespace

std::vector<std::string> resolve_closure(const std::string& apt_cache_output,
                                         const std::vector<std::string>& names,
                                         const std::vector<std::string>& without) {
  const auto graph = parse_depends(apt_cache_output);
  std::set<std::string> found;
  std::deque<std::string> open(names.begin(), names.end());
  const auto choose = [&](const Group& group) -> std::string {
    for (const Alternative& alternative : group) {
      if (!alternative.name.starts_with('<') && graph.contains(alternative.name)) {
        return alternative.name;
      }
      for (const std::string& provider : alternative.providers) {
        if (graph.contains(provider)) return provider;
      }
    }
    throw base::Error(base::cat("nothing provides ", base::quoted(group.front().name)));
  };
  while (!open.empty()) {
    const std::string name = open.front();
    open.pop_front();
    const auto package = graph.find(name);
    if (package == graph.end()) {
      throw base::Error(base::cat("there is no package ", base::quoted(name)));
    }
    if (!found.insert(name).second) continue;
    for (const Group& group : package->second) {
      std::string chosen = choose(group);
      if (std::find(without.begin(), without.end(), chosen) == without.end()) {
        open.push_back(std::move(chosen));
      }
    }
  }
  return {found.begin(), found.end()};
}

std::optional<PackageUri> parse_package_uri(const std::string& line) {
  // 'URI' file size SHA256:digest
  std::istringstream fields(line);
  std::string uri;
  std::string size;
  std::string digest;
  PackageUri parsed;
  fields >> uri >> parsed.file >> size >> digest;
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), parsed.bytes);
  if (!uri.starts_with('\'') || error != std::errc() || end != size.data() + size.size() ||
      !parsed.file.ends_with(".deb") || parsed.file.find('/') != std::string::npos ||
      !digest.starts_with("SHA256:") || digest.size() != 7 + 64) {
    return std::nullopt;
  }
  parsed.sha256 = digest.substr(7);
  return parsed;
}

PackageArchive::PackageArchive(std::string directory, ProgressCallback progress,
                               const base::Cancellation* cancellation)
    : directory_(std::move(directory)),
      progress_(std::move(progress)),
      cancellation_(cancellation) {}

std::string PackageArchive::apt_once(const std::vector<std::string>& command,
                                     const std::string& working_directory,
                                     const std::function<void()>& tick) {
  base::SpawnOptions spawn;
  spawn.argv = {command.front(), "-q"};
  spawn.env = detail::environment_with({{"LC_ALL", "C"}});
  // apt would fetch as the user _apt, who cannot enter our directories.
  if (::geteuid() == 0) spawn.argv.insert(spawn.argv.end(), {"-o", "APT::Sandbox::User=root"});
  if (private_lists_) {
    const std::string own = directory_ + "/apt";
    for (const std::string& option :
         {"Dir::State=" + own + "/state", std::string("Dir::State::status=/var/lib/dpkg/status"),
          "Dir::Cache=" + own + "/cache"}) {
      spawn.argv.insert(spawn.argv.end(), {"-o", option});
    }
  }
  spawn.argv.insert(spawn.argv.end(), command.begin() + 1, command.end());
  spawn.working_directory = working_directory;
  spawn.parent_death_signal = SIGKILL;
  base::CommandOptions options;
  options.timeout = std::chrono::minutes(30);
  options.cancellation = cancellation_;
  if (tick) {
    options.tick = [&tick]() -> std::optional<std::string> {
      tick();
      return std::nullopt;
    };
  }
  const base::CommandResult result = base::run_command(std::move(spawn), options);
  if (result.status.success()) return result.out;
  // The line that says why is the first error, not the last line.
  std::istringstream lines(result.err);
  std::string why;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("E: ") && why.empty()) why = line.substr(3);
  }
  throw base::Error(base::cat(command.front(), " ", command.size() > 1 ? command[1] : "", ": ",
                              why.empty() ? "failed" : why));
}

void PackageArchive::update_private_lists() {
  report(progress_, "updating package lists");
  const std::string own = directory_ + "/apt";
  for (const char* folder : {"/state/lists/partial", "/cache/archives/partial"}) {
    base::make_directories(own + folder, 0700);
  }
  private_lists_ = true;
  apt_once({"apt-get", "update"}, "/", {});
}

std::string PackageArchive::apt(const std::vector<std::string>& command,
                                const std::string& working_directory,
                                const std::function<void()>& tick) {
  try {
    return apt_once(command, working_directory, tick);
  } catch (base::Error& error) {
    if (error.errnum() == ENOENT) {
      error.set_hint("fcvm takes its kernel and podman from Debian packages: install apt and dpkg");
      throw;
    }
    if (private_lists_) throw;
    // No lists (a fresh container), or lists so old that what they name is gone.
    try {
      update_private_lists();
    } catch (base::Error& update_error) {
      update_error.add_context(error.what());
      update_error.set_hint("check the network and the package sources (apt-get update)");
      throw;
    }
    return apt_once(command, working_directory, tick);
  }
}

std::vector<std::string> PackageArchive::closure(const std::vector<std::string>& names,
                                                 const std::vector<std::string>& without) {
  check_names(names);
  std::vector<std::string> command{"apt-cache",       "depends",       "--recurse",
                                   "--no-recommends", "--no-suggests", "--no-conflicts",
                                   "--no-breaks",     "--no-replaces", "--no-enhances"};
  command.insert(command.end(), names.begin(), names.end());
  return base::with_context("resolving packages",
                            [&] { return resolve_closure(apt(command), names, without); });
}

std::string PackageArchive::kernel_package(const std::string& name) {
  check_names({name});
  // A kernel package's name ends in its release, which starts with a digit after "linux-image-".
  constexpr std::string_view kPrefix = "linux-image-";
  const auto is_kernel = [&](const std::string& candidate) {
    return candidate.starts_with(kPrefix) && candidate.size() > kPrefix.size() &&
           candidate[kPrefix.size()] >= '0' && candidate[kPrefix.size()] <= '9';
  };
  if (is_kernel(name)) return name;
  std::istringstream lines(apt({"apt-cache", "depends", "--important", name}));
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find("Depends: ");
    if (colon == std::string::npos) continue;
    if (const std::string candidate = line.substr(colon + 9); is_kernel(candidate)) {
      return candidate;
    }
  }
  throw base::Error(base::cat("package ", base::quoted(name), " brings no kernel"));
}

std::vector<PackageFile> PackageArchive::fetch(const std::vector<std::string>& names) {
  check_names(names);
  const std::string debs = directory_ + "/debs";
  storage::StagingDirectory work(debs, "download");
  const auto list = [&] {
    std::vector<std::string> command{"apt-get", "download", "--print-uris"};
    command.insert(command.end(), names.begin(), names.end());
    std::vector<PackageUri> uris;
    std::istringstream lines(apt(command, work.path()));
    for (std::string line; std::getline(lines, line);) {
      if (const auto uri = parse_package_uri(line)) uris.push_back(*uri);
    }
    if (uris.size() < names.size()) {
      throw base::Error("the package lists name no file with a SHA-256 for every package");
    }
    return uris;
  };
  for (int attempt = 0;; ++attempt) {
    const bool private_before = private_lists_;
    std::vector<PackageFile> packages;
    std::vector<std::string> missing;
    std::uint64_t total = 0;
    for (const PackageUri& uri : list()) {
      packages.push_back(describe(uri, debs));
      if (is_there(packages.back())) continue;
      missing.push_back(packages.back().name + "=" + packages.back().version);
      total += uri.bytes;
    }
    if (missing.empty()) return packages;
    std::vector<std::string> command{"apt-get", "download"};
    command.insert(command.end(), missing.begin(), missing.end());
    report(progress_, "downloading packages", 0, total, ProgressUnit::kBytes);
    try {
      apt(command, work.path(), [&] {
        report(progress_, "downloading packages", std::min(bytes_in(work.path()), total), total,
               ProgressUnit::kBytes);
      });
    } catch (const base::Error&) {
      // Lists of our own may know newer versions than the ones asked for: ask again.
      if (attempt > 0 || private_before == private_lists_) throw;
      continue;
    }
    for (const PackageFile& package : packages) {
      const std::string name = package.path.substr(package.path.rfind('/') + 1);
      const std::string downloaded = work / name;
      if (!base::path_exists(downloaded)) continue;
      base::fsync_path(downloaded);
      if (::rename(downloaded.c_str(), package.path.c_str()) < 0) {
        base::throw_errno("keeping", package.path);
      }
    }
    for (const PackageFile& package : packages) {
      // apt has checked it; this is against a full disk and a lying cache between us and it.
      if (!is_there(package)) {
        throw base::Error(base::cat("downloading ", base::quoted(package.name),
                                    ": the file has another checksum than the package lists say"));
      }
    }
    return packages;
  }
}

void unpack_package(const std::string& deb_path, const std::string& directory,
                    const base::Cancellation* cancellation) {
  base::SpawnOptions spawn;
  spawn.argv = {"dpkg-deb", "--extract", deb_path, directory};
  spawn.parent_death_signal = SIGKILL;
  base::CommandOptions options;
  options.cancellation = cancellation;
  base::run_command_checked(std::move(spawn), options);
}

Distribution host_distribution() {
  Distribution out{"linux", {}};
  for (const char* path : {"/etc/os-release", "/usr/lib/os-release"}) {
    const auto text = base::try_read_file(path, 1 << 20);
    if (!text) continue;
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      const auto equals = line.find('=');
      if (equals == std::string::npos) continue;
      std::string value = line.substr(equals + 1);
      if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'')) {
        value = value.substr(1, value.size() - 2);
      }
      // It becomes part of a path.
      if (value.empty() || value.find('/') != std::string::npos || value.front() == '.') continue;
      if (line.starts_with("ID=")) out.id = value;
      if (line.starts_with("VERSION_ID=")) out.version = value;
    }
    break;
  }
  return out;
}

}  // namespace image
