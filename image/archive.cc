#include "image/archive.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/cancellation.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "image/detail/json_fields.h"
#include "image/registry_name.h"
#include "image/unpack_guard.h"
#include "storage/reflink.h"
#include "storage/staging.h"

namespace image {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxIndexBytes = 4 << 20;
constexpr std::size_t kMaxImages = 1000;
constexpr std::size_t kMaxNames = 1000;
constexpr int kMaxDepth = 16;

// A name that is none is the image's, not the user's, mistake: it goes without.
void add_name(const std::string& text, std::string_view domain, std::vector<std::string>& names) {
  try {
    const RegistryName name = parse_registry_name(text);
    // Read again, because a registry in front may make it too long.
    names.push_back(parse_registry_name((name.is_short() ? name.in(domain) : name).text()).text());
  } catch (const base::Error& error) {
    base::log_info(error.what());
  }
}

Reference reference_to(Transport transport, const std::string& location, const std::string& name) {
  Reference reference;
  reference.transport = transport;
  reference.location = location;
  reference.name = name;
  reference.text = base::cat(transport_name(transport), ":", location);
  if (!name.empty()) reference.text += ":" + name;
  return reference;
}

const json& list_of(const json& value) {
  if (!value.is_array()) throw base::Error("it is not a list");
  if (value.size() > kMaxImages) throw base::Error("it has too many images");
  for (const json& entry : value) {
    if (!entry.is_object()) throw base::Error("an entry is not an object");
  }
  return value;
}

// One member of a tar; empty when there is none.
std::string member_of(const std::string& path, const std::string& name,
                      const base::Cancellation* cancellation) {
  base::SpawnOptions tar;
  tar.argv = {"tar", "--force-local", "--occurrence=1", "-xOf", path, name};
  tar.parent_death_signal = SIGKILL;
  base::CommandOptions options;
  options.max_output_bytes = kMaxIndexBytes;
  options.cancellation = cancellation;
  return base::run_command(std::move(tar), options).out;
}

// Copies a stream into a file as long as there is room.
void copy_stream(int from, const base::Fd& to, const std::string& path,
                 const EnsureOptions& options) {
  std::array<char, 256 * 1024> buffer;
  std::uint64_t copied = 0;
  for (;;) {
    if (options.cancellation != nullptr) {
      std::array<pollfd, 2> fds{{{from, POLLIN, 0}, {options.cancellation->fd(), POLLIN, 0}}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) base::throw_errno("waiting");
      options.cancellation->check();
    }
    const ssize_t count = ::read(from, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) base::throw_errno("reading standard input");
    if (count == 0) return;
    if (copied % (64 << 20) < buffer.size() && base::free_bytes(path) < kReservedBytes) {
      throw base::Error("it does not fit into the data directory")
          .set_hint("free some space in the data directory");
    }
    base::write_all(to, std::string_view(buffer.data(), static_cast<std::size_t>(count)));
    copied += static_cast<std::uint64_t>(count);
    report(options.progress, "reading the archive", copied, 0, ProgressUnit::kBytes);
  }
}

// The program that unpacks a compressed file, by the magic number at its beginning.
std::string decompressor_of(const std::string& path) {
  struct Magic {
    std::string_view bytes;
    std::string_view program;
  };
  static constexpr std::array<Magic, 4> kMagics{{{"\x1f\x8b", "gzip"},
                                                 {"\xfd"
                                                  "7zXZ",
                                                  "xz"},
                                                 {"\x28\xb5\x2f\xfd", "zstd"},
                                                 {"BZh", "bzip2"}}};
  std::array<char, 8> head{};
  const base::Fd file = base::open_file(path, O_RDONLY);
  const ssize_t count = ::pread(file.get(), head.data(), head.size(), 0);
  const std::string_view begin(head.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
  for (const Magic& magic : kMagics) {
    if (begin.starts_with(magic.bytes)) return std::string(magic.program);
  }
  return {};
}

// COMPAT(skopeo 1.9): it does not read a compressed archive of several files.
void decompress(const std::string& program, const std::string& path, const storage::StagingFile& to,
                const EnsureOptions& options) {
  const base::Fd from = base::open_file(path, O_RDONLY);
  base::SpawnOptions spawn;
  spawn.argv = {"sh", "-c", "exec \"$0\" -dc > \"$1\"", program, to.path()};
  spawn.fds = {{from.get(), 0}};
  spawn.parent_death_signal = SIGKILL;
  base::CommandOptions command;
  command.timeout = std::chrono::hours(2);
  command.cancellation = options.cancellation;
  command.tick = [&]() -> std::optional<std::string> {
    const std::uint64_t done = storage::allocated_bytes(to.path());
    report(options.progress, "decompressing the archive", done, 0, ProgressUnit::kBytes);
    if (done > options.max_unpacked_bytes) return "it is larger than the limit";
    if (base::free_bytes(to.path()) < kReservedBytes) return "it does not fit";
    return std::nullopt;
  };
  base::run_command_checked(std::move(spawn), command);
}

std::vector<ImageDisk> load(ImageStore& store, const std::vector<ArchiveImage>& images,
                            const EnsureOptions& options) {
  std::vector<ImageDisk> loaded;
  for (const ArchiveImage& entry : images) {
    ImageDisk disk = store.ensure(entry.reference, options);
    disk.names = entry.names;
    for (const std::string& name : disk.names) store.tag(disk.digest, name);
    loaded.push_back(std::move(disk));
  }
  return loaded;
}

std::vector<ImageDisk> load_file(ImageStore& store, const std::string& path,
                                 const EnsureOptions& options) {
  const std::string program = base::is_directory(path) ? std::string() : decompressor_of(path);
  if (program.empty()) return load(store, read_archive(path, options.cancellation), options);
  const storage::StagingFile plain(store.data().images(), "load");
  decompress(program, path, plain, options);
  return load(store, read_archive(plain.path(), options.cancellation), options);
}

}  // namespace

std::vector<ArchiveImage> parse_docker_manifest(std::string_view text, const std::string& file) {
  return base::with_context("reading manifest.json", [&] {
    const json document = base::parse_json(text, kMaxIndexBytes, kMaxDepth);
    std::vector<ArchiveImage> images;
    for (const json& entry : list_of(document)) {
      // By its place, for an image may have no name.
      const std::string place =
          document.size() == 1 ? std::string() : base::cat("@", images.size());
      ArchiveImage image{reference_to(Transport::kDockerArchive, file, place), {}};
      for (const auto& name : detail::text_list_field(entry, "RepoTags", kMaxNames)) {
        add_name(name, "docker.io", image.names);
      }
      images.push_back(std::move(image));
    }
    if (images.empty()) throw base::Error("it names no image");
    return images;
  });
}

std::vector<ArchiveImage> parse_oci_index(std::string_view text, const std::string& location,
                                          Transport transport) {
  return base::with_context("reading index.json", [&] {
    const json document = base::parse_json(text, kMaxIndexBytes, kMaxDepth);
    if (!document.is_object()) throw base::Error("it is not an object");
    const json* manifests = detail::find(document, "manifests");
    if (manifests == nullptr || manifests->empty()) throw base::Error("it names no image");
    std::vector<ArchiveImage> images;
    for (const json& entry : list_of(*manifests)) {
      const json& annotations = detail::object_field(entry, "annotations", kMaxNames);
      const std::string reference =
          detail::text_field(annotations, "org.opencontainers.image.ref.name");
      const bool one = manifests->size() == 1;
      // Among several only a name tells one from the other.
      if (!one && reference.empty()) continue;
      ArchiveImage image{reference_to(transport, location, one ? "" : reference), {}};
      std::string name = detail::text_field(annotations, "io.containerd.image.name");
      if (name.empty()) name = reference;
      if (!name.empty()) add_name(name, "localhost", image.names);
      images.push_back(std::move(image));
    }
    if (images.empty()) throw base::Error("none of its images has a name");
    return images;
  });
}

std::vector<ArchiveImage> read_archive(const std::string& path,
                                       const base::Cancellation* cancellation) {
  if (path.find(':') != std::string::npos) {
    throw base::Error("its path holds a ':', which container tools cannot read")
        .set_hint("rename it");
  }
  if (base::is_directory(path)) {
    return parse_oci_index(base::read_file(path + "/index.json", kMaxIndexBytes), path,
                           Transport::kOciDirectory);
  }
  // Says why when it cannot be read at all.
  base::open_file(path, O_RDONLY);
  for (const char* name : {"manifest.json", "./manifest.json"}) {
    const std::string text = member_of(path, name, cancellation);
    if (!text.empty()) return parse_docker_manifest(text, path);
  }
  for (const char* name : {"index.json", "./index.json"}) {
    const std::string text = member_of(path, name, cancellation);
    if (!text.empty()) return parse_oci_index(text, path, Transport::kOciArchive);
  }
  throw base::Error("it is neither a docker-archive nor an oci-archive");
}

std::vector<ImageDisk> load_archive(ImageStore& store, const std::string& path,
                                    const EnsureOptions& options) {
  return base::with_context(base::cat("loading ", base::quoted(path)),
                            [&] { return load_file(store, path, options); });
}

std::vector<ImageDisk> load_stream(ImageStore& store, int fd, const EnsureOptions& options) {
  return base::with_context("loading from standard input", [&] {
    const storage::StagingFile file(store.data().images(), "load");
    copy_stream(fd, file.fd(), file.path(), options);
    return load_file(store, file.path(), options);
  });
}

}  // namespace image
