#include "image/plain_layers.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <list>
#include <thread>

#include "base/cancellation.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/process.h"
#include "image/image_config.h"

namespace image {
namespace {

constexpr std::chrono::milliseconds kTickInterval{200};
constexpr std::size_t kTarMagicOffset = 257;  // of a header, tar(5)

std::string blob_name(const std::string& digest) {
  return base::cat("blobs/sha256/", digest.substr(digest.find(':') + 1));
}

std::string digest_of(const std::string& content) {
  return base::cat("sha256:", base::sha256(content));
}

// A tar as it is: in a compressed one every look at a member reads all of it.
bool is_tar(const std::string& path) {
  std::array<char, 5> magic{};
  try {
    const base::Fd file = base::open_file(path, O_RDONLY);
    return ::pread(file.get(), magic.data(), magic.size(), kTarMagicOffset) ==
               static_cast<ssize_t>(magic.size()) &&
           std::string_view(magic.data(), magic.size()) == "ustar";
  } catch (const base::Error&) {
    return false;
  }
}

std::vector<std::string> tar_command(const std::string& archive, const std::string& member) {
  return {"tar", "--extract", "--to-stdout", "--file", archive, "--force-local", "--", member};
}

// What turns one layer into a file: one process, or two and a pipe.
class Job {
 public:
  Job(const Reference& source, const OciLayer& layer, const std::string& target,
      std::uint64_t max_file_bytes) {
    const std::string blob = blob_name(layer.digest);
    const base::Fd out = base::open_file(target, O_WRONLY | O_CREAT | O_EXCL, 0600);
    const std::vector<std::string> unpack{layer.compressed ? "gzip" : "cat",
                                          layer.compressed ? "-dc" : "-"};
    if (source.transport == Transport::kOciDirectory) {
      const base::Fd in = base::open_file(source.location + "/" + blob, O_RDONLY | O_NONBLOCK);
      spawn(unpack, in, out, max_file_bytes);
    } else {
      const base::Pipe pipe = base::make_pipe();
      const base::Fd none = base::open_file("/dev/null", O_RDONLY);
      spawn(tar_command(source.location, blob), none, pipe.write, 0);
      spawn(unpack, pipe.read, out, max_file_bytes);
    }
  }

  // The end of the last one is that of the job.
  int pidfd() const { return processes_.back().pidfd().get(); }
  bool ended() { return processes_.back().try_wait().has_value(); }
  bool succeeded() {
    return std::all_of(processes_.begin(), processes_.end(), [](base::ChildProcess& process) {
      const auto status = process.wait(std::chrono::seconds(30));
      return status && status->success();
    });
  }

 private:
  void spawn(const std::vector<std::string>& argv, const base::Fd& in, const base::Fd& out,
             std::uint64_t max_file_bytes) {
    base::SpawnOptions options;
    options.argv = argv;
    options.fds = {{in.get(), STDIN_FILENO}, {out.get(), STDOUT_FILENO}};
    options.parent_death_signal = SIGKILL;
    if (max_file_bytes != 0) {
      options.before_exec = [max_file_bytes] {
        // SAFETY: after fork; setrlimit is a plain system call.
        const struct rlimit file_size { max_file_bytes, max_file_bytes };
        return ::setrlimit(RLIMIT_FSIZE, &file_size) == 0 ? 0 : errno;
      };
    }
    processes_.push_back(base::ChildProcess::spawn(options));
  }

  std::list<base::ChildProcess> processes_;
};

void wait_for_one(std::list<Job>& jobs, const base::Cancellation* cancellation) {
  std::vector<pollfd> waits;
  for (const Job& job : jobs) waits.push_back({job.pidfd(), POLLIN, 0});
  if (cancellation != nullptr) waits.push_back({cancellation->fd(), POLLIN, 0});
  if (::poll(waits.data(), waits.size(), static_cast<int>(kTickInterval.count())) < 0 &&
      errno != EINTR) {
    base::throw_errno("waiting for gzip");
  }
}

}  // namespace

std::optional<PlainLayers> PlainLayers::find(const Reference& reference) {
  const bool archive = reference.transport == Transport::kOciArchive;
  if (!archive && reference.transport != Transport::kOciDirectory) return std::nullopt;
  PlainLayers layers(reference);
  try {
    if ((archive && !is_tar(reference.location)) || !layers.read()) return std::nullopt;
  } catch (const base::Error&) {
    return std::nullopt;
  }
  return layers;
}

std::optional<std::string> PlainLayers::read_small(const std::string& name) const {
  if (source_.transport == Transport::kOciDirectory) {
    const std::string path = source_.location + "/" + name;
    if (!std::filesystem::is_regular_file(path)) return std::nullopt;
    return base::try_read_file(path, kMaxImageConfigBytes);
  }
  base::SpawnOptions spawn;
  spawn.argv = tar_command(source_.location, name);
  spawn.parent_death_signal = SIGKILL;
  base::CommandOptions options;
  options.max_output_bytes = kMaxImageConfigBytes;
  base::CommandResult result = base::run_command(std::move(spawn), options);
  if (!result.status.success()) return std::nullopt;
  return std::move(result.out);
}

std::optional<std::string> PlainLayers::read_blob(const std::string& digest) const {
  auto text = read_small(blob_name(digest));
  if (text && digest_of(*text) != digest) text.reset();
  return text;
}

bool PlainLayers::read() {
  const auto index = read_small("index.json");
  if (!index) return false;
  const auto text = read_blob(find_oci_manifest(*index, source_.name));
  if (!text) return false;
  manifest_ = parse_oci_manifest(*text);
  auto config = read_blob(manifest_.config);
  if (!config) return false;
  config_ = std::move(*config);
  diff_ids_ = parse_diff_ids(config_);
  return diff_ids_.size() == manifest_.layers.size();
}

std::optional<Reference> PlainLayers::write(const std::string& directory,
                                            const Options& options) const {
  // skopeo ends a directory's name there.
  if (directory.find(':') != std::string::npos) return std::nullopt;
  base::make_directories(directory + "/blobs/sha256");
  const auto path_of = [&](const std::string& digest) {
    return directory + "/" + blob_name(digest);
  };
  std::list<Job> jobs;
  const std::size_t at_once = std::max(2U, std::thread::hardware_concurrency());
  for (std::size_t next = 0; next < diff_ids_.size() || !jobs.empty();) {
    if (next < diff_ids_.size() && jobs.size() < at_once) {
      const std::string target = path_of(diff_ids_[next]);
      const OciLayer& layer = manifest_.layers[next++];
      // An image may have one layer twice.
      if (base::path_exists(target)) continue;
      try {
        jobs.emplace_back(source_, layer, target, options.max_file_bytes);
      } catch (const base::Error&) {
        return std::nullopt;
      }
      continue;
    }
    wait_for_one(jobs, options.cancellation);
    if (options.cancellation != nullptr) options.cancellation->check();
    if (options.tick) {
      if (const auto refusal = options.tick()) throw base::Error(*refusal);
    }
    for (auto job = jobs.begin(); job != jobs.end();) {
      if (!job->ended()) {
        ++job;
        continue;
      }
      if (!job->succeeded()) return std::nullopt;
      job = jobs.erase(job);
    }
  }

  OciManifest plain;
  plain.config = digest_of(config_);
  std::vector<std::uint64_t> layer_bytes;
  for (const std::string& diff_id : diff_ids_) {
    plain.layers.push_back({diff_id, false});
    layer_bytes.push_back(std::filesystem::file_size(path_of(diff_id)));
  }
  const std::string manifest = serialize_oci_manifest(plain, config_.size(), layer_bytes);
  base::write_file(path_of(plain.config), config_);
  base::write_file(path_of(digest_of(manifest)), manifest);
  base::write_file(directory + "/index.json",
                   serialize_oci_index(digest_of(manifest), manifest.size()));
  base::write_file(directory + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  Reference reference = source_;
  reference.transport = Transport::kOciDirectory;
  reference.location = directory;
  reference.name.clear();
  return reference;
}

}  // namespace image
