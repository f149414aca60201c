#include "image/test_archives.h"

#include <fcntl.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"

namespace image::testing {
namespace {

void put(std::string& header, std::size_t offset, std::size_t size, const std::string& text) {
  std::memcpy(header.data() + offset, text.data(), std::min(size, text.size()));
}

std::string octal(std::uint64_t value, int digits) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%0*llo", digits, static_cast<unsigned long long>(value));
  return text.data();
}

void append_member(std::string& tar, const TarEntry& entry) {
  std::string header(512, '\0');
  put(header, 0, 100, entry.name);
  put(header, 100, 8, octal(entry.mode, 7));
  put(header, 108, 8, octal(entry.uid, 7));
  put(header, 116, 8, octal(entry.gid, 7));
  put(header, 124, 12, octal(entry.content.size(), 11));
  put(header, 136, 12, octal(0, 11));
  put(header, 148, 8, std::string(8, ' '));
  header[156] = entry.type;
  put(header, 157, 100, entry.link);
  put(header, 257, 8, std::string("ustar\00000", 8));
  put(header, 329, 8, octal(entry.major, 7));
  put(header, 337, 8, octal(entry.minor, 7));
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(header, 148, 8, octal(sum, 6) + std::string("\0 ", 2));
  tar += header;
  tar += entry.content;
  tar.append((512 - entry.content.size() % 512) % 512, '\0');
}

struct Layers {
  std::string diff_ids;              // JSON list
  std::vector<std::string> digests;  // of the layers as they are
};

Layers describe(const std::vector<std::string>& layers, bool wrong_diff_id) {
  Layers out;
  for (const std::string& layer : layers) {
    out.digests.push_back(base::sha256(layer));
    const bool wrong = wrong_diff_id && out.digests.size() == 1;
    if (!out.diff_ids.empty()) out.diff_ids += ",";
    out.diff_ids += "\"sha256:" + (wrong ? std::string(64, '1') : out.digests.back()) + "\"";
  }
  return out;
}

std::string make_config(const Layers& layers, const ArchiveOptions& options) {
  return base::cat("{\"architecture\":\"", options.architecture, "\",\"os\":\"", options.os,
                   "\",\"config\":{", options.config, "},\"rootfs\":{\"type\":\"layers\",",
                   "\"diff_ids\":[", layers.diff_ids, "]}}");
}

std::string gzip(const std::string& data) {
  const base::Fd input = base::make_memfd("layer", 0);
  base::write_all(input, data);
  const base::Fd from_start = base::open_file(base::cat("/proc/self/fd/", input.get()), O_RDONLY);
  base::SpawnOptions spawn;
  spawn.argv = {"gzip", "-c"};
  spawn.fds = {{from_start.get(), 0}};
  return base::run_command_checked(std::move(spawn)).out;
}

std::string blob_name(const std::string& digest) {
  return "blobs/sha256/" + digest;
}

std::string descriptor(const std::string& type, const std::string& content) {
  return base::cat("{\"mediaType\":\"application/vnd.oci.image.", type,
                   "\",\"digest\":\"sha256:", base::sha256(content), "\",\"size\":", content.size(),
                   "}");
}

}  // namespace

std::string make_tar(const std::vector<TarEntry>& entries) {
  std::string tar;
  for (const TarEntry& entry : entries) {
    for (const auto& [text, type] : {std::pair(entry.name, 'L'), std::pair(entry.link, 'K')}) {
      if (text.size() > 100) {
        TarEntry name{.name = "././@LongLink", .content = text + '\0', .type = type, .link = {}};
        append_member(tar, name);
      }
    }
    append_member(tar, entry);
  }
  tar.append(1024, '\0');
  return tar;
}

TarEntry directory(const std::string& name, unsigned mode) {
  return {name, "", '5', "", mode};
}
TarEntry file(const std::string& name, const std::string& content, unsigned mode) {
  return {name, content, '0', "", mode};
}
TarEntry symlink(const std::string& name, const std::string& target) {
  return {name, "", '2', target, 0777};
}
TarEntry hard_link(const std::string& name, const std::string& target) {
  return {name, "", '1', target};
}
TarEntry whiteout(const std::string& name) {
  const auto slash = name.rfind('/');
  if (slash == std::string::npos) return file(".wh." + name, "");
  return file(name.substr(0, slash + 1) + ".wh." + name.substr(slash + 1), "");
}
TarEntry opaque(const std::string& directory_name) {
  return file(directory_name + "/.wh..wh..opq", "");
}

std::string make_docker_archive(const std::vector<std::string>& layers,
                                const ArchiveOptions& options) {
  const Layers described = describe(layers, options.wrong_diff_id);
  const std::string config = make_config(described, options);
  std::vector<TarEntry> entries;
  std::string names;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string name = described.digests[i] + ".tar";
    if (!names.empty()) names += ",";
    names += "\"" + name + "\"";
    if (options.layers_missing) continue;
    entries.push_back(file(name, options.compressed ? gzip(layers[i]) : layers[i]));
  }
  const std::string config_name = base::sha256(config) + ".json";
  entries.push_back(file(config_name, config));
  entries.push_back(file(
      "manifest.json", base::cat("[{\"Config\":\"", config_name,
                                 "\",\"RepoTags\":[\"test:latest\"],\"Layers\":[", names, "]}]")));
  return make_tar(entries);
}

std::string make_oci_archive(const std::vector<std::string>& layers,
                             const ArchiveOptions& options) {
  const Layers described = describe(layers, options.wrong_diff_id);
  const std::string config = make_config(described, options);
  std::vector<TarEntry> entries{directory("blobs"), directory("blobs/sha256"),
                                file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}")};
  std::string list;
  for (const std::string& plain : layers) {
    const std::string layer = options.compressed ? gzip(plain) : plain;
    if (!list.empty()) list += ",";
    list += descriptor(options.compressed ? "layer.v1.tar+gzip" : "layer.v1.tar", layer);
    if (!options.layers_missing) entries.push_back(file(blob_name(base::sha256(layer)), layer));
  }
  const std::string manifest =
      base::cat("{\"schemaVersion\":2,\"config\":", descriptor("config.v1+json", config),
                ",\"layers\":[", list, "]}");
  entries.push_back(file(blob_name(base::sha256(config)), config));
  entries.push_back(file(blob_name(base::sha256(manifest)), manifest));
  entries.push_back(file("index.json", base::cat("{\"schemaVersion\":2,\"manifests\":[",
                                                 descriptor("manifest.v1+json", manifest), "]}")));
  return make_tar(entries);
}

}  // namespace image::testing
