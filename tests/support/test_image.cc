#include "tests/support/test_image.h"

#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

#include "base/digest.h"
#include "base/files.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace tests {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kBusybox = "/bin/busybox";

void checked(Command command) {
  const Outcome outcome = run(command);
  if (outcome.status != 0) {
    throw std::runtime_error(command.argv[0] + ": " + outcome.err);
  }
}

void write_noise(const fs::path& file, std::size_t bytes) {
  std::ofstream out(file, std::ios::binary);
  std::uint64_t state = 0x9e3779b97f4a7c15ULL;
  std::string block(1 << 20, '\0');
  while (bytes > 0) {
    for (std::size_t i = 0; i + 8 <= block.size(); i += 8) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      // SAFETY: any object's bytes may be read through char.
      block.replace(i, 8, reinterpret_cast<const char*>(&state), 8);
    }
    const std::size_t n = std::min(bytes, block.size());
    out.write(block.data(), static_cast<std::streamsize>(n));
    bytes -= n;
  }
}

// Puts a blob where its digest says and returns its descriptor.
Json add_blob(const fs::path& layout, const fs::path& file, std::string_view media_type) {
  const std::string digest = base::sha256_file(file);
  const auto size = fs::file_size(file);
  fs::rename(file, layout / "blobs" / "sha256" / digest);
  return {{"mediaType", media_type}, {"digest", "sha256:" + digest}, {"size", size}};
}

Json add_json(const fs::path& layout, const Json& json, std::string_view media_type) {
  const fs::path file = layout / "blobs" / "new";
  base::write_file(file, json.dump());
  return add_blob(layout, file, media_type);
}

std::set<std::string> image_disks() {
  std::set<std::string> names;
  for (const std::string& name : base::list_directory(data_dir() / "images")) {
    names.insert(name);
  }
  return names;
}

// A layout's image of busybox and a seed; returns the descriptor of its manifest.
Json add_image(const fs::path& directory, const fs::path& layout, const std::string& seed,
               const std::string& architecture, std::size_t filler_bytes,
               const std::string& healthcheck = "null") {
  const fs::path root = directory / "root";
  fs::create_directories(root / "bin");
  for (const char* folder : {"dev", "proc", "sys", "etc", "tmp", "run"}) {
    fs::create_directories(root / folder);
  }
  fs::copy_file(kBusybox, root / "bin" / "busybox");
  fs::create_symlink("busybox", root / "bin" / "sh");
  base::write_file(root / "etc" / "seed", seed, 0644);
  if (::lchown((root / "etc" / "seed").c_str(), kSeedOwner, kSeedGroup) != 0) {
    throw std::runtime_error("giving the seed to its owner failed");
  }
  write_noise(root / "filler", filler_bytes);

  fs::create_directories(layout / "blobs" / "sha256");
  const fs::path tar = layout / "blobs" / "layer";
  Command pack;
  pack.argv = {"tar", "-C", root, "--numeric-owner", "-cf", tar, "."};
  checked(std::move(pack));
  fs::remove_all(root);
  const Json layer = add_blob(layout, tar, "application/vnd.oci.image.layer.v1.tar");
  const Json config = add_json(layout,
                               {{"architecture", architecture},
                                {"os", "linux"},
                                {"config",
                                 {{"Cmd", {"sh"}},
                                  {"Env", {"PATH=/bin"}},
                                  {"Healthcheck", Json::parse(healthcheck)},
                                  {"Labels", {{"seed", seed}}}}},
                                {"rootfs", {{"type", "layers"}, {"diff_ids", {layer["digest"]}}}}},
                               "application/vnd.oci.image.config.v1+json");
  constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
  Json manifest = add_json(
      layout,
      {{"schemaVersion", 2}, {"mediaType", kManifestType}, {"config", config}, {"layers", {layer}}},
      kManifestType);
  manifest["annotations"] = {{"org.opencontainers.image.ref.name", "latest"}};
  return manifest;
}

void make_layout(const fs::path& layout, Json index) {
  index["schemaVersion"] = 2;
  base::write_file(layout / "index.json", index.dump());
  base::write_file(layout / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
}

}  // namespace

std::string make_test_image(const fs::path& directory, const std::string& seed,
                            std::size_t filler_bytes, const std::string& healthcheck) {
  const fs::path layout = directory / "layout";
  make_layout(layout, {{"manifests",
                        {add_image(directory, layout, seed, "amd64", filler_bytes, healthcheck)}}});
  return "oci:" + layout.string() + ":latest";
}

std::string make_multi_platform_image(const fs::path& directory, const std::string& seed,
                                      const std::vector<std::string>& architectures) {
  const fs::path layout = directory / "layout";
  Json manifests = Json::array();
  for (const std::string& architecture : architectures) {
    Json manifest = add_image(directory, layout, seed + "-" + architecture, architecture, 0);
    manifest.erase("annotations");
    manifest["platform"] = {{"architecture", architecture}, {"os", "linux"}};
    manifests.push_back(std::move(manifest));
  }
  constexpr const char* kIndexType = "application/vnd.oci.image.index.v1+json";
  Json index =
      add_json(layout, {{"schemaVersion", 2}, {"mediaType", kIndexType}, {"manifests", manifests}},
               kIndexType);
  index["annotations"] = {{"org.opencontainers.image.ref.name", "latest"}};
  make_layout(layout, {{"manifests", {index}}});
  return "oci:" + layout.string() + ":latest";
}

ImageDisksRestored::ImageDisksRestored() : before_(image_disks()) {}

ImageDisksRestored::~ImageDisksRestored() {
  for (const std::string& name : image_disks()) {
    if (!before_.contains(name)) {
      std::error_code ignored;
      fs::remove_all(data_dir() / "images" / name, ignored);
    }
  }
}

std::size_t ImageDisksRestored::count() const {
  std::size_t count = 0;
  for (const std::string& name : image_disks()) {
    count += before_.contains(name) || name.starts_with('.') ? 0 : 1;
  }
  return count;
}

}  // namespace tests
