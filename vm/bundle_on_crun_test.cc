// Our bundle run by crun and podman's container of the same flags, asked about themselves.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/requirements.h"
#include "vm/flag_parsers.h"
#include "vm/podman_oracle_test_support.h"
#include "vm/seccomp_profile.h"

namespace vm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::PodmanOracle;
using testing::PrivateMounts;

constexpr std::string_view kContainerId = "c0ffee00c0ffee00";
constexpr std::string_view kGuestPrefix = "/run/fcvm/";

// What a container says of itself, in a form that two of them can share.
constexpr const char* kQuestions = R"(
  id; env | sort
  grep -E '^(Cap|Seccomp:|NoNewPrivs|Groups|Umask)' /proc/self/status
  ulimit -a
  mount | sort
  ls -l /dev
  cat /etc/hostname; echo
  (: > /proc/sys/kernel/domainname) 2>&1; ls /proc/acpi 2>&1; grep -q . /proc/keys; echo "keys $?"
  chroot / true; echo "chroot $?"
  unshare -m true; echo "unshare $?"
)";

std::string replaced(std::string text, std::string_view what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

// A line of `ls -l`: a mode, and a time with a colon.
bool is_listing(const std::string& line) {
  return line.size() > 40 && line.find_first_not_of("bcdlrwxst-") == 10 &&
         line.find(':') != std::string::npos;
}

// The lines that may be compared: a mount loses its source and what only its backing store says, a
// device node its date.
std::set<std::string> comparable(const std::string& answers) {
  std::set<std::string> out;
  std::istringstream lines(answers);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t on = line.find(" on /");
    if (on != std::string::npos) {
      line = line.substr(on);
      // The root is podman's overlay here and a plain directory there.
      if (line.rfind(" on / ", 0) == 0) continue;
      // Files of the engine: bound from whatever file system the test's directory is on.
      if (line.find(" on /etc/") == 0 || line.find(" on /run/.containerenv") == 0) {
        line = line.substr(0, line.find(" type ")) +
               (line.find("(ro") != std::string::npos ? " ro" : " rw");
      }
    } else if (is_listing(line)) {
      // "Nov 23 00:02" before the name.
      constexpr std::size_t kBeforeColon = 9;
      line.erase(line.rfind(':') - kBeforeColon, kBeforeColon + 3);
    } else if (line.rfind("total ", 0) == 0) {
      continue;
    }
    out.insert(line);
  }
  return out;
}

std::string only_in(const std::set<std::string>& left, const std::set<std::string>& right) {
  std::string out;
  for (const std::string& line : left) {
    if (!right.contains(line)) out += line + "\n";
  }
  return out;
}

class BundleOnCrun : public ::testing::Test {
 protected:
  void SetUp() override { FCVM_REQUIRE_THAT(podman, testing::oracle_missing()); }

  static GuestFacts facts() {
    GuestFacts facts = testing::comparable_facts(std::string(kContainerId));
    facts.network = NetworkMode::kBridged;  // so that there is a resolv.conf
    facts.nameservers = {"192.0.2.53"};
    return facts;
  }

  // Writes the bundle as the agent does, below a directory of the test instead of /run/fcvm.
  static json write_bundle(const PodmanOracle& oracle, const BundleFiles& bundle) {
    const std::string top = (oracle.directory() / "guest").string() + "/";
    for (const auto& file : bundle.files) {
      const std::string path = replaced(file.path, kGuestPrefix, top);
      fs::create_directories(fs::path(path).parent_path());
      base::write_file(path, file.content, file.mode);
    }
    for (const auto& edit : bundle.root_edits) {
      const std::string path = oracle.rootfs() + edit.path;
      if (edit.kind == wire::PlanRootEdit::Kind::kSymlink && !fs::is_symlink(path)) {
        fs::create_symlink(edit.text, path);
      }
    }
    json config = json::parse(replaced(bundle.config_json, kGuestPrefix, top));
    config["root"]["path"] = oracle.rootfs();
    // One level, which crun removes again.
    config["linux"]["cgroupsPath"] = base::cat("/fcvm-test-", ::getpid());
    return config;
  }

  static std::vector<std::string> crun(const PodmanOracle& oracle) {
    return {"crun", "--cgroup-manager", "cgroupfs", "--root",
            (oracle.directory() / "crun").string()};
  }

  static base::CommandResult run_crun(const PodmanOracle& oracle, const json& config) {
    const fs::path directory = oracle.directory() / "bundle";
    fs::create_directories(directory);
    base::write_file((directory / "config.json").string(), config.dump());
    base::SpawnOptions spawn;
    spawn.argv = crun(oracle);
    spawn.argv.insert(spawn.argv.end(),
                      {"run", "--bundle", directory.string(), std::string(kContainerId)});
    return base::run_command(std::move(spawn));
  }
};

TEST_F(BundleOnCrun, ContainerIsTheOnePodmanMakes) {
  const PrivateMounts mounts(PrivateMounts::Cgroups::kRunnable);
  const PodmanOracle oracle;
  const std::vector<std::vector<std::string>> cases = {
      {},
      {"--user", "app"},
      {"--user", "app", "--cap-add", "NET_ADMIN"},
      {"--cap-drop", "SYS_CHROOT"},
      {"--cap-add", "SYS_ADMIN"},
      {"--read-only"},
      {"--tmpfs", "/foo:size=2m,mode=700", "--workdir", "/tmp", "--env", "A=b c"},
      {"--privileged"},
  };
  for (const auto& flags : cases) {
    std::string title;
    // The limits are those a machine without CAP_SYS_RESOURCE can give too.
    std::vector<std::string> arguments = {"--hostname",      "same",     "--ulimit",
                                          "nofile=512:1024", "--ulimit", "nproc=20000:30000"};
    for (const std::string& flag : flags) {
      arguments.push_back(flag);
      title += flag + " ";
    }
    SCOPED_TRACE(title);
    std::vector<std::string> start = {"run", "--rm", "--network", "host"};
    start.insert(start.end(), arguments.begin(), arguments.end());
    start.insert(start.end(), {"localhost/plain:1", "sh", "-c", kQuestions});
    const base::CommandResult podman = oracle.podman(start);
    arguments.insert(arguments.end(), {"plain", "sh", "-c", kQuestions});
    const RunOptions options = testing::parse_run_flags(arguments);
    GuestFacts guest = facts();
    guest.devices.clear();  // those of podman's host are not those of a guest
    json config = write_bundle(oracle, make_bundle(oracle.meta("plain"), options, guest));
    testing::remove_unavailable_capabilities(config["process"]["capabilities"]);
    const base::CommandResult ours = run_crun(oracle, config);

    EXPECT_EQ(ours.status.as_shell(), podman.status.as_shell()) << ours.err << podman.err;
    std::set<std::string> left = comparable(podman.out);
    std::set<std::string> right = comparable(ours.out);
    EXPECT_GT(left.size(), 30U) << podman.out << podman.err;
    if (options.privileged) {
      for (auto* lines : {&left, &right}) {
        std::erase_if(*lines, [](const std::string& line) {
          return line.rfind("crw", 0) == 0 || line.rfind("brw", 0) == 0 ||
                 line.rfind("drw", 0) == 0;
        });
      }
    }
    EXPECT_EQ(only_in(left, right), "") << "only in podman's container";
    EXPECT_EQ(only_in(right, left), "") << "only in ours";
  }
}

// crun builds the filter itself when it gets the profile; ours has to be that filter.
TEST_F(BundleOnCrun, FilterIsByteForByteTheOneCrunBuildsAndHoldsForExec) {
  const PrivateMounts mounts(PrivateMounts::Cgroups::kRunnable);
  const PodmanOracle oracle;
  const RunOptions options = testing::parse_run_flags(
      {"--ulimit", "nofile=512:1024", "--ulimit", "nproc=20000:30000", "plain", "sleep", "100"});
  const json ours = write_bundle(oracle, make_bundle(oracle.meta("plain"), options, facts()));
  json resolved = ours;
  resolved["annotations"].erase("run.oci.seccomp_bpf_data");

  std::vector<std::string> filters;
  for (const json& config : {ours, resolved}) {
    const fs::path directory = oracle.directory() / "bundle";
    fs::create_directories(directory);
    base::write_file((directory / "config.json").string(), config.dump());
    base::SpawnOptions start;
    // The container keeps its standard streams; the command's own must not wait for them.
    start.argv = {"sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"};
    for (std::string& word : crun(oracle)) start.argv.push_back(std::move(word));
    start.argv.insert(start.argv.end(), {"run", "--detach", "--bundle", directory.string(),
                                         std::string(kContainerId)});
    base::run_command_checked(std::move(start));
    filters.push_back(base::read_file(
        (oracle.directory() / "crun" / std::string(kContainerId) / "seccomp.bpf").string()));
    base::SpawnOptions exec;
    exec.argv = crun(oracle);
    exec.argv.insert(exec.argv.end(),
                     {"exec", std::string(kContainerId), "grep", "Seccomp:", "/proc/self/status"});
    EXPECT_EQ(base::run_command_checked(std::move(exec)).out, "Seccomp:\t2\n");
    base::SpawnOptions remove;
    remove.argv = crun(oracle);
    remove.argv.insert(remove.argv.end(), {"delete", "--force", std::string(kContainerId)});
    base::run_command_checked(std::move(remove));
  }
  EXPECT_GT(filters.at(0).size(), 1000U);
  EXPECT_TRUE(filters.at(0) == filters.at(1))
      << filters.at(0).size() << " and " << filters.at(1).size() << " bytes";
}

}  // namespace
}  // namespace vm
