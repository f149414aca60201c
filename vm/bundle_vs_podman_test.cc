// The packaged podman and our bundle, asked the same: every field of config.json is compared, and
// what may differ is named here with its reason.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/user_lookup.h"
#include "tests/support/requirements.h"
#include "vm/flag_parsers.h"
#include "vm/podman_oracle_test_support.h"
#include "vm/seccomp_profile.h"

namespace vm {
namespace {

using nlohmann::json;
using testing::PodmanOracle;
using testing::PrivateMounts;

std::string base_name(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  return name == ".containerenv" ? name.substr(1) : name;
}

json normalized_mounts(const json& mounts) {
  std::map<std::string, json> by_destination;
  for (json mount : mounts) {
    const std::string destination = mount.at("destination");
    if (destination == "/dev/shm" && mount.at("source") != "tmpfs") {
      // podman mounts the tmpfs (nosuid, noexec, nodev, size=64000k) on the host and binds it, so
      // that a pod can share it. Ours is the same file system, mounted by crun.
      mount["type"] = "shm";
      mount.erase("options");
      mount.erase("source");
    } else if (mount.at("type") == "bind") {
      // Where the engine keeps the file is its own business; volumes have no name at all.
      const std::string source = mount.at("source");
      mount["source"] = destination == "/data" ? "volume" : base_name(source);
    }
    by_destination[destination] = std::move(mount);
  }
  return by_destination;
}

// What is compared of a configuration.
json normalized(json config) {
  // Bookkeeping of podman's own, and our filter, which is compared separately.
  config["annotations"] = {
      {"stopSignal", config.at("annotations").at("org.opencontainers.image.stopSignal")}};
  config.erase("ociVersion");
  config.at("root").erase("path");
  config["mounts"] = normalized_mounts(config.at("mounts"));

  json& process = config.at("process");
  std::sort(process.at("env").begin(), process.at("env").end());  // podman's order is random
  if (process.contains("rlimits")) {
    std::sort(process["rlimits"].begin(), process["rlimits"].end());
  }
  testing::remove_unavailable_capabilities(process.at("capabilities"));
  for (auto it = process["capabilities"].begin(); it != process["capabilities"].end();) {
    it = it->empty() ? process["capabilities"].erase(it) : std::next(it);
  }

  json& system = config.at("linux");
  system.erase("cgroupsPath");
  system.erase("seccomp");
  // The guest's network namespace is the container's; its sysctl is set in the guest.
  system.erase("sysctl");
  json namespaces = json::array();
  for (const json& space : system.at("namespaces")) {
    if (space.at("type") != "network") namespaces.push_back(space);
  }
  system["namespaces"] = std::move(namespaces);
  // A privileged container gets the devices of its host, which for ours is the guest.
  if (system.contains("devices")) system["devices"] = !system["devices"].empty();
  return config;
}

// Every difference as "path: podman's value, ours".
std::string differences(const json& podman, const json& ours) {
  std::string out;
  const json flat_podman = podman.flatten();
  const json flat_ours = ours.flatten();
  std::set<std::string> paths;
  for (const auto& [path, value] : flat_podman.items()) paths.insert(path);
  for (const auto& [path, value] : flat_ours.items()) paths.insert(path);
  for (const std::string& path : paths) {
    const json left = flat_podman.value(path, json("(nothing)"));
    const json right = flat_ours.value(path, json("(nothing)"));
    if (left != right) out += path + ": " + left.dump() + " in podman, " + right.dump() + " here\n";
  }
  return out;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += "'" + word + "' ";
  return out;
}

ExecOptions parse_exec_flags(const std::vector<std::string>& flags) {
  ExecOptions options;
  options.command = {"true"};
  for (std::size_t i = 0; i < flags.size(); ++i) {
    if (flags[i] == "-t") options.tty = true;
    if (flags[i] == "--privileged") options.privileged = true;
    if (flags[i] == "-u") options.user = flags.at(++i);
    if (flags[i] == "-w") options.workdir = flags.at(++i);
    if (flags[i] == "-e") add_env(flags.at(++i), {}, options.env);
  }
  return options;
}

class BundleVsPodman : public ::testing::Test {
 protected:
  void SetUp() override { FCVM_REQUIRE_THAT(podman, testing::oracle_missing()); }

  // `image_at` of the arguments is "plain" or "full".
  static void expect_same(const PodmanOracle& oracle, std::vector<std::string> arguments) {
    SCOPED_TRACE(joined(arguments));
    const RunOptions options = testing::parse_run_flags(arguments);
    for (std::string& word : arguments) {
      if (word == options.image) word = "localhost/" + word + ":1";
    }
    std::string error;
    json podman = oracle.configuration(arguments, &error);
    ASSERT_FALSE(podman.is_null()) << error;

    // podman names the container by its id; ours is told the same.
    std::string id = podman.at("linux").at("cgroupsPath");
    id = id.substr(id.rfind('-') + 1);
    const GuestFacts facts = testing::comparable_facts(id);
    const BundleFiles bundle = make_bundle(oracle.meta(options.image), options, facts);
    json ours = json::parse(bundle.config_json);

    const json podman_seccomp = podman.at("linux").value("seccomp", json());
    if (options.privileged) {
      EXPECT_TRUE(podman_seccomp.is_null());
      EXPECT_FALSE(ours.at("annotations").contains("run.oci.seccomp_bpf_data"));
    } else {
      std::vector<std::string> bounding =
          ours["process"]["capabilities"].value("bounding", std::vector<std::string>());
      const std::vector<std::string> host = testing::host_bounding_set();
      std::erase_if(bounding, [&](const std::string& name) {
        return std::find(host.begin(), host.end(), name) == host.end();
      });
      const json resolved =
          resolve_seccomp_profile(facts.seccomp_profile, facts.architecture, bounding);
      EXPECT_EQ(differences(podman_seccomp, resolved), "");
      EXPECT_EQ(compile_seccomp_filter(podman_seccomp), compile_seccomp_filter(resolved));
      EXPECT_FALSE(ours.at("annotations").at("run.oci.seccomp_bpf_data").empty());
    }
    EXPECT_EQ(differences(normalized(std::move(podman)), normalized(std::move(ours))), "");
  }
};

TEST_F(BundleVsPodman, SameFlagsGiveTheSameConfiguration) {
  const PrivateMounts mounts(PrivateMounts::Cgroups::kV2);
  const PodmanOracle oracle;
  const std::vector<std::vector<std::string>> cases = {
      {"plain", "sh", "-c", "exit 1"},
      {"-t", "plain"},
      {"full"},
      {"full", "x", "y z"},
      {"--entrypoint", "foo", "full"},
      {"--entrypoint", "", "full", "q"},
      {"--entrypoint", R"(["a","b c"])", "full", "z"},
      {"--privileged", "plain"},
      {"--privileged", "full"},
      {"--cap-add", "ALL", "plain"},
      {"--cap-add", "net_admin,CAP_SYS_TIME", "--cap-drop", "chown", "plain"},
      {"--cap-drop", "all", "plain"},
      {"--cap-drop", "ALL", "--cap-add", "CHOWN", "plain"},
      {"--cap-add", "ALL", "--cap-drop", "CHOWN", "plain"},
      {"--label", "io.containers.capabilities=CHOWN,KILL", "plain"},
      {"--user", "app", "plain"},
      {"--user", "1000:10", "plain"},
      {"--user", "app:audio", "plain"},
      {"--user", "app:", "plain"},
      {"--user", "4242", "plain"},
      {"--user", "4242:4243", "plain"},
      {"--user", "0", "plain"},
      {"--user", "root:audio", "plain"},
      {"--user", ":10", "plain"},
      {"--user", "nohome", "plain"},
      {"--user", "app", "--cap-add", "NET_ADMIN", "plain"},
      {"--user", "app", "--cap-drop", "ALL", "plain"},
      {"--user", "app", "--privileged", "plain"},
      {"--ulimit", "nofile=10:20", "plain"},
      {"--ulimit", "nofile=10", "--ulimit", "core=-1", "--ulimit", "nofile=11", "plain"},
      // Not compared: --ulimit host, which podman 4.3 takes for its default limits and we for the
      // guest's own.
      {"--read-only", "plain"},
      {"--read-only", "full"},
      {"--read-only", "--tmpfs", "/tmp:size=1m", "-t", "plain"},
      {"--read-only", "--privileged", "plain"},
      {"--tmpfs", "/foo", "--tmpfs", "/bar:rw,size=10m,mode=700,noexec", "plain"},
      {"--tmpfs", "/foo:exec,suid,dev,notmpcopyup", "--tmpfs", "/a/../b/:U", "--user", "app",
       "plain"},
      {"--tmpfs", "/foo:shared", "plain"},
      {"--tmpfs", "/run", "--tmpfs", "/dev/shm:size=1m", "--tmpfs", "/etc/hosts", "plain"},
      {"--workdir", "/tmp", "--hostname", "h1", "plain"},
      {"--env", "A=1", "--env", "A=2", "--env", "HOME=/x", "--env", "PATH=/p", "--env",
       "E=", "plain"},
      {"--env", "HOSTNAME=zz", "--env", "TERM=dumb", "--env", "container=foo", "plain"},
      {"--stop-signal", "rtmin+3", "full"},
      {"--init", "--init-path", "/bin/busybox", "plain"},
      {"--init", "--init-path", "/bin/busybox", "--read-only", "full"},
  };
  for (const auto& arguments : cases) expect_same(oracle, arguments);
}

TEST_F(BundleVsPodman, WhatPodmanRefusesIsRefused) {
  const PrivateMounts mounts(PrivateMounts::Cgroups::kV2);
  const PodmanOracle oracle;
  const std::vector<std::vector<std::string>> cases = {
      {"--entrypoint", "", "full"},
      {"--cap-add", "foo", "plain"},
      {"--cap-add", "CHOWN", "--cap-drop", "CHOWN", "plain"},
      {"--cap-add", "ALL", "--cap-drop", "ALL", "plain"},
      {"--user", "nobodyhere", "plain"},
      {"--user", "app:nogroup", "plain"},
      {"--user", "99999999999", "plain"},
      {"--workdir", "rel", "plain"},
      {"--ulimit", "nofile=20:10", "plain"},
      {"--ulimit", "foo=1", "plain"},
      {"--tmpfs", "foo", "plain"},
      {"--tmpfs", "/foo:bar", "plain"},
      {"--tmpfs", "/foo:ro,rw", "plain"},
      {"--env", "=x", "plain"},
      {"--label", "=y", "plain"},
      {"--stop-signal", "foo", "plain"},
      {"--add-host", "a:b", "plain"},
      {"--dns", "1.1.1.1", "plain"},
      {"--dns", "bad", "plain"},
  };
  for (std::vector<std::string> arguments : cases) {
    SCOPED_TRACE(joined(arguments));
    EXPECT_THROW(
        {
          const RunOptions options = testing::parse_run_flags(arguments);
          make_bundle(oracle.meta(options.image), options, testing::comparable_facts("id"));
        },
        base::Error);
    for (std::string& word : arguments) {
      if (word == "plain" || word == "full") word = "localhost/" + word + ":1";
    }
    std::string error;
    EXPECT_TRUE(oracle.configuration(arguments, &error).is_null());
    EXPECT_NE(error, "");
  }
}

// What the agent does with the container's files, which are the image's and what the bundle adds.
void resolve_user(json& process, const image::ImageMeta& meta, const BundleFiles& bundle) {
  std::string passwd = meta.passwd;
  std::string group = meta.group;
  for (const auto& edit : bundle.root_edits) {
    if (edit.kind != wire::PlanRootEdit::Kind::kAppend) continue;
    if (edit.path == "/etc/passwd") passwd += edit.text;
    if (edit.path == "/etc/group") group += edit.text;
  }
  const json wanted = process.at("resolve_user");
  process.erase("resolve_user");
  const auto spec = wanted.at("user").get<std::string>();
  const base::UserInfo user = base::lookup_user(spec, passwd, group);
  process["user"] = {{"uid", user.uid}, {"gid", user.gid}};
  if (!spec.empty() && !user.groups.empty()) process["user"]["additionalGids"] = user.groups;
  process["capabilities"] = wanted.at(user.uid == 0 ? "root_capabilities" : "other_capabilities");
  const json& env = process.at("env");
  if (std::none_of(env.begin(), env.end(), [](const json& entry) {
        return entry.get_ref<const std::string&>().starts_with("HOME=");
      })) {
    process["env"].push_back("HOME=" + (user.home.empty() ? "/" : user.home));
  }
}

TEST_F(BundleVsPodman, ExecInheritsTheSame) {
  const PrivateMounts mounts(PrivateMounts::Cgroups::kRunnable);
  const PodmanOracle oracle;
  const std::vector<std::vector<std::string>> execs = {
      {},
      {"-t", "-e", "A=1"},
      {"-u", "app"},
      {"-u", "4242"},
      {"-u", "app:audio", "-w", "/tmp"},
      {"-u", "0"},
      {"--privileged"},
      {"--privileged", "-u", "app"},
      {"-e", "HOME=/h"},
  };
  // Limits every machine can give, one without CAP_SYS_RESOURCE too.
  const std::vector<std::string> limits = {"--ulimit", "nofile=512:1024", "--ulimit",
                                           "nproc=20000:30000"};
  const std::vector<std::vector<std::string>> containers = {
      {},
      {"--env", "Z=1", "--cap-drop", "CHOWN"},
      {"--user", "app", "--cap-add", "NET_ADMIN"},
      {"--user", "4242", "--privileged"},
  };
  for (const auto& container : containers) {
    std::vector<std::string> flags = limits;
    flags.insert(flags.end(), container.begin(), container.end());
    std::vector<std::string> start = {"run", "-d", "--name", "c", "--network", "none"};
    start.insert(start.end(), flags.begin(), flags.end());
    start.insert(start.end(), {"localhost/plain:1", "sleep", "1000"});
    const auto started = oracle.podman(start);
    ASSERT_TRUE(started.status.success()) << joined(start) << started.err;
    flags.emplace_back("plain");
    const auto meta = oracle.meta("plain");
    const BundleFiles bundle =
        make_bundle(meta, testing::parse_run_flags(flags), testing::comparable_facts("id"));

    for (const auto& exec : execs) {
      SCOPED_TRACE(joined(container) + "; exec " + joined(exec));
      std::vector<std::string> arguments = exec;
      arguments.insert(arguments.end(), {"c", "true"});
      json podman = oracle.exec_process(arguments);
      const ExecOptions options = parse_exec_flags(exec);
      json ours = json::parse(make_exec_process(bundle.exec_base, options));
      resolve_user(ours, meta, bundle);
      for (json* process : {&podman, &ours}) {
        // podman appends to the list, where a later entry wins; ours holds each name once.
        std::map<std::string, std::string> env;
        for (std::string entry : process->at("env")) {
          // podman leaves it to its runtime where a user lives whom the file does not name.
          if (entry == "HOME=") entry = "HOME=/";
          env[entry.substr(0, entry.find('='))] = entry;
        }
        (*process)["env"] = env;
        testing::remove_unavailable_capabilities((*process)["capabilities"]);
        std::sort((*process)["rlimits"].begin(), (*process)["rlimits"].end());
      }
      EXPECT_EQ(differences(podman, ours), "");
    }
    oracle.podman({"rm", "-f", "-t", "0", "c"});
  }
}

}  // namespace
}  // namespace vm
