#include <chrono>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "image/image_store.h"
#include "storage/data_directory.h"
#include "storage/staging.h"
#include "tests/bench/measure.h"
#include "tests/support/paths.h"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kBar = 1.5;
constexpr char kImage[] = "postgres";
constexpr std::size_t kMaxManifestBytes = 1 << 20;

double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// A disk made anew: the one of the last time is removed before the clock runs.
double build_by_fcvm(const storage::DataDirectory& data, const std::string& reference) {
  image::ImageStore store(data);
  const std::string disk = store.ensure(reference).disk_path;
  base::remove_tree(disk.substr(0, disk.rfind('/')));
  const auto begin = Clock::now();
  store.ensure(reference);
  return milliseconds(Clock::now() - begin);
}

struct ByHandDisk {
  double tar;
  double mke2fs;
};

void run(std::vector<std::string> argv) {
  base::SpawnOptions spawn;
  spawn.argv = std::move(argv);
  base::run_command_checked(std::move(spawn));
}

std::vector<std::string> layer_files(const std::string& layout) {
  const auto blob = [&layout](const nlohmann::json& descriptor) {
    const auto digest = descriptor.at("digest").get<std::string>();
    return base::cat(layout, "/blobs/sha256/", digest.substr(digest.find(':') + 1));
  };
  const auto parse = [](const std::string& file) {
    return nlohmann::json::parse(base::read_file(file, kMaxManifestBytes));
  };
  std::vector<std::string> files;
  const nlohmann::json index = parse(layout + "/index.json");
  const nlohmann::json manifest = parse(blob(index.at("manifests").at(0)));
  for (const auto& layer : manifest.at("layers")) files.push_back(blob(layer));
  return files;
}

// What somebody would type: the archive, its layers one upon the other, and a disk of them. It is as
// large as the one of fcvm. Removing what it made is not timed.
ByHandDisk build_by_hand(const storage::DataDirectory& data, const std::string& archive,
                         std::uint64_t disk_bytes) {
  const storage::StagingDirectory work(data.images(), "by-hand");
  const std::string layout = work / "layout";
  const std::string root = work / "root";
  base::make_directories(layout);
  base::make_directories(root);
  const auto begin = Clock::now();
  run({"tar", "-xf", archive, "-C", layout});
  for (const std::string& layer : layer_files(layout)) {
    run({"tar", "-xf", layer, "-C", root, "--keep-directory-symlink"});
  }
  const auto unpacked = Clock::now();
  run({"mke2fs", "-q", "-t", "ext4", "-d", root, work / "disk.ext4",
       base::cat(disk_bytes / 1024, "k")});
  return {milliseconds(unpacked - begin), milliseconds(Clock::now() - unpacked)};
}

}  // namespace

std::vector<Line> disk_cost(int rounds, int samples) {
  const std::string archive = tests::images_dir() / base::cat(kImage, ".oci.tar");
  if (!base::path_exists(archive)) {
    throw base::Error(base::cat("image ", base::quoted(archive), " is missing: run ",
                                "scripts/make-test-images.sh ", tests::images_dir().string(), " ",
                                kImage));
  }
  const storage::DataDirectory data = storage::open_data_directory(tests::data_dir());
  const std::string reference = tests::image_reference(kImage);
  // The page cache: neither side pays for the first time.
  const image::ImageDisk disk = image::ImageStore(data).ensure(reference);
  const std::uint64_t disk_bytes = std::filesystem::file_size(disk.disk_path);
  build_by_hand(data, archive, disk_bytes);

  std::vector<Line> lines;
  for (int round = 1; round <= rounds; ++round) {
    std::vector<double> ours;
    std::vector<double> tars;
    std::vector<double> mke2fses;
    std::vector<double> sums;
    for (int i = 0; i < samples; ++i) {
      ours.push_back(build_by_fcvm(data, reference));
      const ByHandDisk by_hand = build_by_hand(data, archive, disk_bytes);
      tars.push_back(by_hand.tar);
      mke2fses.push_back(by_hand.mke2fs);
      sums.push_back(by_hand.tar + by_hand.mke2fs);
    }
    lines.push_back(
        {base::cat("image disk of 170 MB, round ", round), median(ours), "ms", median(sums), kBar});
    lines.push_back({"  by hand: tar", median(tars), "ms", {}, {}});
    lines.push_back({"  by hand: mke2fs -d", median(mke2fses), "ms", {}, {}});
  }
  return lines;
}

}  // namespace bench
