#include "tests/support/ordinary_user.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "tests/support/paths.h"

namespace tests {
namespace {

namespace fs = std::filesystem;

constexpr char kName[] = "fcvm-test-user";

// In a mount namespace of the command: the account, and what the user is to see. $T is the directory.
constexpr char kScript[] = R"(
for file in passwd group subuid subgid; do
  mount --bind "$T/etc/$file" "/etc/$file"
done
mount --bind "$BIN" "$T/bin"
mount --bind "$SYSTEM" "$T/system"
mount --bind "$IMAGES" "$T/images"
cd "$T/home"
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups "$T/bin/fcvm" "$@"
)";

}  // namespace

OrdinaryUser::OrdinaryUser(Ids ids, uid_t uid) : uid_(uid) {
  fs::permissions(dir_.path(), static_cast<fs::perms>(0755));
  const std::string id = std::to_string(uid);
  const std::string range = ids == Ids::kRange ? std::string(kName) + ":1000000:65536\n" : "";
  dir_.write("etc/passwd", read_file("/etc/passwd") + kName + ":x:" + id + ":" + id +
                               "::" + home() + ":/bin/sh\n");
  dir_.write("etc/group", read_file("/etc/group") + kName + ":x:" + id + ":\n");
  dir_.write("etc/subuid", range);
  dir_.write("etc/subgid", range);
  for (const char* folder : {"bin", "system", "images"}) fs::create_directory(dir_ / folder);
  for (const std::string& folder : {home(), runtime()}) {
    fs::create_directory(folder);
    fs::permissions(folder, static_cast<fs::perms>(0700));
    own(folder);
  }
  for (const auto& entry : fs::recursive_directory_iterator(dir_ / "etc")) {
    fs::permissions(entry.path(), static_cast<fs::perms>(0644));
  }
  fs::permissions(dir_ / "etc", static_cast<fs::perms>(0755));
  for (const char* file : {"/etc/subuid", "/etc/subgid"}) {
    // A machine without the package of newuidmap has none.
    if (!fs::exists(file)) throw std::runtime_error(std::string(file) + " is missing");
  }
}

OrdinaryUser::~OrdinaryUser() = default;

void OrdinaryUser::own(const std::string& folder) const {
  if (::chown(folder.c_str(), uid_, uid_) != 0) {
    throw std::system_error(errno, std::generic_category(), "chown " + folder);
  }
}

Command OrdinaryUser::command(const std::vector<std::string>& args,
                              const std::vector<std::string>& env) const {
  Command command;
  command.argv = {"unshare",
                  "--mount",
                  "env",
                  "-i",
                  "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                  "HOME=" + home(),
                  "XDG_RUNTIME_DIR=" + runtime(),
                  "FCVM_SYSTEM_DATA_DIR=" + (dir_ / "system").string(),
                  "T=" + dir_.path().string(),
                  "BIN=" + bin_dir().string(),
                  "SYSTEM=" + data_dir().string(),
                  "IMAGES=" + images_dir().string(),
                  "USER_ID=" + std::to_string(uid_)};
  // By it a leak check knows what belongs to a test.
  if (const char* tag = std::getenv("FCVM_TEST_TAG")) {
    command.argv.push_back(std::string("FCVM_TEST_TAG=") + tag);
  }
  command.argv.insert(command.argv.end(), env.begin(), env.end());
  command.argv.insert(command.argv.end(), {"sh", "-euc", kScript, "fcvm"});
  command.argv.insert(command.argv.end(), args.begin(), args.end());
  return command;
}

Outcome OrdinaryUser::fcvm(const std::vector<std::string>& args,
                           const std::vector<std::string>& env) const {
  return run(command(args, env));
}

std::vector<std::string> OrdinaryUser::run_args(const std::vector<std::string>& flags,
                                                const std::vector<std::string>& command) const {
  std::vector<std::string> args = {"podman", "run",    "--network", "none",     "--engine",
                                   "crun",   "--cpus", "1",         "--memory", "128m"};
  args.insert(args.end(), flags.begin(), flags.end());
  args.push_back("oci-archive:" + (dir_ / "images/busybox.oci.tar").string());
  args.insert(args.end(), command.begin(), command.end());
  return args;
}

std::string OrdinaryUser::remains() const {
  std::string text;
  const auto add_all = [&](const fs::path& folder) {
    if (!fs::exists(folder)) return;
    for (const auto& entry : fs::directory_iterator(folder)) {
      // The store's own folder of locks stays.
      if (entry.path().filename() != ".locks") text += entry.path().string() + "\n";
    }
  };
  add_all(data() + "/state");
  add_all(data() + "/vm-disks");
  for (const char* folder : {"images", "kernels", "initramfs", "rootfs"}) {
    if (!fs::exists(data() + "/" + folder)) continue;
    for (const auto& entry : fs::directory_iterator(data() + "/" + folder)) {
      if (entry.path().filename().string().starts_with(".")) text += entry.path().string() + "\n";
    }
  }
  if (fs::exists(runtime() + "/fcvm")) {
    for (const auto& entry : fs::directory_iterator(runtime() + "/fcvm")) {
      if (entry.is_directory()) add_all(entry.path());
    }
  }
  return text;
}

}  // namespace tests
