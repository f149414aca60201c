// Images from registries and archives: got, listed, removed, with what may go wrong on the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/base64.h"
#include "base/files.h"
#include "storage/data_directory.h"
#include "tests/support/dockerd.h"
#include "tests/support/fcvm.h"
#include "tests/support/registry.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_image.h"

namespace tests {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::StartsWith;
using testing::UnorderedElementsAre;

using Words = std::vector<std::string>;

// A data directory without assets, an empty home and a configuration of registries of their own.
class ImageTest : public testing::Test {
 protected:
  void SetUp() override {
    FCVM_REQUIRE(registry);
    data_ = dir_ / "data";
    dir_.write("data/.fcvm-data", "fcvm 1 plain\n");
    std::filesystem::permissions(data_, std::filesystem::perms::owner_all);
    storage::prepare_data_directory(storage::DataDirectory(data_));
    std::filesystem::create_directory(dir_ / "home");
    configure("");
  }
  void TearDown() override {
    if (data_.empty()) return;
    const std::string run = storage::DataDirectory(data_).run();
    base::remove_tree(run);
    base::remove_tree(run + ".lock");
  }

  void configure(const std::string& registries_conf) {
    dir_.write("registries.conf", registries_conf);
  }
  // That registry is used without TLS, also without a flag.
  static std::string insecure(const Registry& registry) {
    return "[[registry]]\nlocation = \"" + registry.host() + "\"\ninsecure = true\n";
  }

  Command command(const Words& args, const Words& env = {}) const {
    Command out;
    out.argv = {(bin_dir() / "fcvm").string(), "--data-dir", data_};
    out.argv.insert(out.argv.end(), args.begin(), args.end());
    out.env = {"HOME=" + (dir_ / "home").string(), "XDG_RUNTIME_DIR=" + (dir_ / "home").string(),
               "CONTAINERS_REGISTRIES_CONF=" + (dir_ / "registries.conf").string()};
    out.env.insert(out.env.end(), env.begin(), env.end());
    return out;
  }
  Outcome fcvm(const Words& args, const Words& env = {}) const { return run(command(args, env)); }

  // An image nobody else has, pushed as `name`; its reference in the registry.
  std::string push(const Registry& registry, const std::string& name) {
    const TempDir dir;
    registry.push(make_test_image(dir.path(), unique_name("seed")), name);
    return registry.host() + "/" + name;
  }

  // `fcvm image ls` by a template, a line each.
  Words listed(const std::string& format = "{{.Repository}}:{{.Tag}}") const {
    const Outcome outcome = fcvm({"image", "ls", "--format", format});
    EXPECT_EQ(outcome.status, 0) << outcome;
    Words lines;
    for (std::size_t at = 0; at < outcome.out.size();) {
      const auto end = outcome.out.find('\n', at);
      lines.push_back(outcome.out.substr(at, end - at));
      at = end + 1;
    }
    return lines;
  }

  void expect_refused(const Outcome& outcome, const std::string& why) const {
    EXPECT_EQ(outcome.status, 125) << outcome;
    EXPECT_EQ(outcome.out, "") << outcome;
    EXPECT_THAT(outcome.err, StartsWith("fcvm: "));
    EXPECT_THAT(outcome.err, HasSubstr(why));
    EXPECT_LE(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 2) << outcome;
    expect_nothing_half_made();
  }
  void expect_nothing_half_made() const {
    for (const char* folder : {"images", "image-names"}) {
      for (const auto& name : base::list_directory(data_ + "/" + folder)) {
        EXPECT_NE(name.front(), '.') << name;
      }
    }
  }

  TempDir dir_;
  std::string data_;
};

std::string id_of(const Outcome& pulled) {
  EXPECT_EQ(pulled.status, 0) << pulled;
  EXPECT_THAT(pulled.out, MatchesRegex("[0-9a-f]+\n"));
  return pulled.out.substr(0, pulled.out.find('\n'));
}

TEST_F(ImageTest, PulledImageIsListedAsPodmanListsIt) {
  const Registry registry;
  const std::string name = push(registry, "team/app:1");
  const std::string id = id_of(fcvm({"image", "pull", "--tls-verify=false", name}));
  EXPECT_EQ(id.size(), 64U);
  const Outcome table = fcvm({"images"});
  EXPECT_THAT(table.out, MatchesRegex("REPOSITORY +TAG +IMAGE ID +CREATED +SIZE *\n" +
                                      registry.host() + "/team/app +1 +" + id.substr(0, 12) +
                                      " +[0-9]+ years ago +[0-9.]+ [kMG]?B *\n"));
  EXPECT_EQ(fcvm({"image", "ls", "-q"}).out, id.substr(0, 12) + "\n");
  EXPECT_EQ(fcvm({"image", "list", "-aq", "--no-trunc"}).out, "sha256:" + id + "\n");
  const auto json = nlohmann::json::parse(fcvm({"image", "ls", "--json"}).out);
  ASSERT_EQ(json.size(), 1U);
  EXPECT_EQ(json[0]["id"], "sha256:" + id);
  EXPECT_EQ(json[0]["names"], Words{name});
  EXPECT_EQ(json[0]["architecture"], "amd64");
  EXPECT_EQ(json[0]["vms"], 0);
  EXPECT_GT(json[0]["size_bytes"], 1 << 16);
}

TEST_F(ImageTest, DigestNamesOneImageForGood) {
  const Registry registry;
  const std::string name = push(registry, "app:1");
  const std::string digest = registry.digest("app:1");
  push(registry, "app:1");
  configure(insecure(registry));
  const std::string by_digest = registry.host() + "/app@" + digest;
  const std::string old_id = id_of(fcvm({"pull", by_digest}));
  const std::string new_id = id_of(fcvm({"pull", name}));
  EXPECT_NE(old_id, new_id);
  EXPECT_EQ(id_of(fcvm({"pull", "docker://" + registry.host() + "/app:1@" + digest})), old_id);
  EXPECT_THAT(listed(), UnorderedElementsAre(registry.host() + "/app:<none>", name));
}

TEST_F(ImageTest, ShortNamesAreLookedUpAsConfigured) {
  const Registry first;
  const Registry second;
  const std::string only_here = push(second, "tool:1");
  const std::string alias = push(first, "team/other:latest");
  configure("unqualified-search-registries = [\"" + first.host() + "\", \"" + second.host() +
            "\"]\n" + insecure(first) + insecure(second) + "[aliases]\n\"other\" = \"" +
            first.host() + "/team/other\"\n");
  id_of(fcvm({"pull", "tool:1"}));
  id_of(fcvm({"podman", "pull", "other"}));
  EXPECT_THAT(listed(), UnorderedElementsAre(only_here, alias));
  const Outcome nowhere = fcvm({"pull", "nowhere"});
  expect_refused(nowhere, first.host());
  EXPECT_THAT(nowhere.err, HasSubstr(second.host()));
  // The short name is enough for what is here, without a registry.
  EXPECT_THAT(fcvm({"image", "rm", "tool:1"}).out, HasSubstr("Untagged: " + only_here));
}

TEST_F(ImageTest, PolicySaysWhenTheRegistryIsAsked) {
  Registry registry;
  const std::string name = push(registry, "app:latest");
  configure(insecure(registry));
  // There is no kernel to run anything with, but the image is looked for before that.
  const auto run_with = [&](const std::string& policy) {
    const Outcome outcome = fcvm({"podman", "run", "--pull", policy, name, "true"});
    EXPECT_EQ(outcome.status, 125) << outcome;
    return outcome;
  };
  expect_refused(run_with("never"), "preparing image");
  EXPECT_THAT(run_with("missing").err, HasSubstr("fcvm setup"));
  const Words before = listed("{{.ID}}");
  ASSERT_EQ(before.size(), 1U);

  push(registry, "app:latest");
  EXPECT_THAT(run_with("missing").err, HasSubstr("fcvm setup"));
  EXPECT_THAT(run_with("never").err, HasSubstr("fcvm setup"));
  EXPECT_EQ(listed("{{.ID}}"), before);
  EXPECT_THAT(run_with("newer").err, HasSubstr("fcvm setup"));
  const Words both = listed("{{.ID}} {{.Tag}}");
  EXPECT_THAT(both, UnorderedElementsAre(before[0] + " <none>", MatchesRegex(".* latest")));

  registry.stop();
  EXPECT_THAT(run_with("missing").err, HasSubstr("fcvm setup"));
  EXPECT_THAT(run_with("newer").err, HasSubstr("fcvm setup"));
  expect_refused(run_with("always"), "connection refused");
}

TEST_F(ImageTest, WhatTheRegistryRefusesIsOneClearLine) {
  Registry registry;
  const std::string name = push(registry, "app:1");
  configure(insecure(registry));
  expect_refused(fcvm({"pull", registry.host() + "/nobody/knows"}), "nobody/knows");
  expect_refused(fcvm({"pull", registry.host() + "/app:2"}), "manifest unknown");
  expect_refused(fcvm({"pull", registry.host() + "/app@sha256:" + std::string(64, '0')}),
                 "manifest unknown");
  configure("");
  const Outcome no_tls = fcvm({"pull", name});
  expect_refused(no_tls, "HTTPS");
  EXPECT_THAT(no_tls.err, HasSubstr("hint: a registry without TLS needs --tls-verify=false"));
  registry.stop();
  expect_refused(fcvm({"pull", "--tls-verify=false", name}), "connection refused");
  expect_refused(fcvm({"pull", "Not A Name"}), "Not A Name");
  EXPECT_THAT(listed(), IsEmpty());
}

TEST_F(ImageTest, PlatformIsChosenAndAMissingOneNamed) {
  const Registry registry;
  const TempDir dir;
  registry.push(make_multi_platform_image(dir.path(), unique_name("many"), {"arm64", "amd64"}),
                "many:1");
  const std::string name = registry.host() + "/many:1";
  configure(insecure(registry));
  const std::string own = id_of(fcvm({"pull", name}));
  EXPECT_EQ(listed("{{.Architecture}}"), Words{"amd64"});
  const std::string other = id_of(fcvm({"pull", "--platform", "linux/aarch64", name}));
  EXPECT_NE(own, other);
  EXPECT_THAT(listed("{{.Tag}} {{.Os}}/{{.Architecture}}"),
              UnorderedElementsAre("<none> linux/amd64", "1 linux/arm64"));
  EXPECT_EQ(id_of(fcvm({"pull", "--arch", "amd64", name})), own);
  expect_refused(fcvm({"pull", "--arch", "s390x", name}), "s390x");
  expect_refused(fcvm({"pull", "--platform", "linux", name}), "linux");
  expect_refused(fcvm({"pull", "--platform", "linux/amd64", "--arch", "arm64", name}), "platform");
}

TEST_F(ImageTest, CredentialsComeFromWherePodmanLooks) {
  const Registry registry(Registry::Access::kPassword);
  const std::string name = push(registry, "secret:1");
  configure(insecure(registry));
  const std::string good = std::string(Registry::kUser) + ":" + Registry::kPassword;
  const auto file_of = [&](const std::string& credentials) {
    return "{\"auths\":{\"" + registry.host() + "\":{\"auth\":\"" +
           base::encode_base64(credentials) + "\"}}}";
  };

  const Outcome without = fcvm({"pull", name});
  expect_refused(without, "secret:1");
  EXPECT_THAT(without.err, HasSubstr("hint: log in"));
  const Outcome wrong = fcvm({"pull", "--creds", std::string(Registry::kUser) + ":wrong", name});
  expect_refused(wrong, "secret:1");
  EXPECT_THAT(wrong.err, HasSubstr("hint: log in"));
  expect_refused(fcvm({"pull", "--creds", "nobody", name}), "USER:PASSWORD");
  expect_refused(fcvm({"pull", "--authfile", "/no/such/file", name}), "/no/such/file");
  const std::string wrong_file = dir_.write("wrong.json", file_of("tester:wrong"));
  expect_refused(fcvm({"pull", "--authfile", wrong_file, name}), "secret:1");

  const std::string id = id_of(fcvm({"pull", "--creds", good, name}));
  const std::string file = dir_.write("auth.json", file_of(good));
  EXPECT_EQ(id_of(fcvm({"pull", "--authfile", file, name})), id);
  EXPECT_EQ(id_of(fcvm({"pull", name}, {"REGISTRY_AUTH_FILE=" + file})), id);
  dir_.write("home/containers/auth.json", file_of(good));
  EXPECT_EQ(id_of(fcvm({"pull", name})), id);
  std::filesystem::remove_all(dir_ / "home" / "containers");
  expect_refused(fcvm({"pull", name}), "secret:1");
  dir_.write("home/.docker/config.json", file_of(good));
  EXPECT_EQ(id_of(fcvm({"pull", name})), id);
}

TEST_F(ImageTest, ArchivesAreLoadedWithTheirNames) {
  const TempDir dir;
  const std::string image = make_test_image(dir.path(), unique_name("load"));
  const auto save_as = [&](const std::string& destination) {
    Command skopeo;
    skopeo.argv = {"skopeo", "copy", "--quiet", "--insecure-policy", image, destination};
    ASSERT_EQ(run(std::move(skopeo)).status, 0) << destination;
  };
  const std::string docker = dir / "docker.tar";
  const std::string oci = dir / "oci.tar";
  save_as("docker-archive:" + docker + ":example.org/team/app:7");
  save_as("oci-archive:" + oci + ":quay.io/app:8");
  EXPECT_EQ(fcvm({"image", "load", "-q", "-i", docker}).out,
            "Loaded image: example.org/team/app:7\n");
  Command piped = command({"load"});
  piped.input = read_file(oci);
  EXPECT_EQ(run(std::move(piped)).out, "Loaded image: quay.io/app:8\n");
  EXPECT_EQ(fcvm({"image", "load", "--input", (dir / "layout").string()}).out,
            "Loaded image: localhost/latest:latest\n");
  EXPECT_THAT(listed(), UnorderedElementsAre("example.org/team/app:7", "quay.io/app:8",
                                             "localhost/latest:latest"));
  // Compressed, as many are.
  Command gzip;
  gzip.argv = {"gzip", docker};
  ASSERT_EQ(run(std::move(gzip)).status, 0);
  EXPECT_EQ(fcvm({"load", "-i", docker + ".gz"}).out, "Loaded image: example.org/team/app:7\n");

  expect_refused(fcvm({"image", "load", "-i", "/no/such/archive"}), "/no/such/archive");
  const std::string text = dir.write("text", "this is no archive\n");
  expect_refused(fcvm({"image", "load", "-i", text}), text);
  Command nothing = command({"image", "load"});
  nothing.input = "";
  expect_refused(run(std::move(nothing)), "standard input");
}

TEST_F(ImageTest, RemovalTakesNamesFirstAndTheImageWithTheLast) {
  const Registry registry;
  const std::string one = push(registry, "one:1");
  configure(insecure(registry));
  const std::string id = id_of(fcvm({"pull", one}));
  registry.push("docker://" + one, "two:1");
  const std::string two = registry.host() + "/two:1";
  EXPECT_EQ(id_of(fcvm({"pull", two})), id);

  expect_refused(fcvm({"image", "rm", "no-such-image"}), "no-such-image: image not known");
  EXPECT_EQ(fcvm({"image", "rm", "-i", "no-such-image"}).status, 0);
  expect_refused(fcvm({"image", "rm", id}), "more than one tag");
  EXPECT_EQ(fcvm({"image", "rm", one}).out, "Untagged: " + one + "\n");
  EXPECT_EQ(fcvm({"rmi", id.substr(0, 8)}).out, "Untagged: " + two + "\nDeleted: " + id + "\n");
  EXPECT_THAT(listed(), IsEmpty());
  EXPECT_THAT(base::list_directory(data_ + "/images"), IsEmpty());
  EXPECT_THAT(base::list_directory(data_ + "/image-names"), IsEmpty());
}

TEST_F(ImageTest, PruneRemovesWhatHasNoNameAndSaysWhatThatGave) {
  const Registry registry;
  const std::string name = push(registry, "app:1");
  configure(insecure(registry));
  const std::string old_id = id_of(fcvm({"pull", name}));
  push(registry, "app:1");
  const std::string new_id = id_of(fcvm({"pull", name}));
  Command asked = command({"image", "prune"});
  asked.input = "n\n";
  EXPECT_THAT(run(std::move(asked)).out, HasSubstr("[y/N]"));
  EXPECT_EQ(listed().size(), 2U);
  EXPECT_THAT(fcvm({"image", "prune", "-f"}).out,
              MatchesRegex(old_id + "\nTotal reclaimed space: [0-9.]+ [kM]B\n"));
  EXPECT_THAT(listed(), ElementsAre(name));
  Command all = command({"image", "prune", "--all"});
  all.input = "yes\n";
  EXPECT_THAT(run(std::move(all)).out, HasSubstr(new_id + "\nTotal reclaimed space: "));
  EXPECT_THAT(listed(), IsEmpty());
  EXPECT_EQ(fcvm({"image", "prune", "-f"}).out, "Total reclaimed space: 0 B\n");
}

TEST_F(ImageTest, ImageOfASnapshotStaysUntilTheSnapshotGoes) {
  const Registry registry;
  const std::string name = push(registry, "app:1");
  configure(insecure(registry));
  const std::string id = id_of(fcvm({"pull", name}));
  // Of a schema that nobody knows yet: not to be run, but its owner's all the same.
  dir_.write("data/snapshots/kept/snapshot.json", R"({"schema":999,"image":")" + id + "\"}");
  for (const Words& args : {Words{"image", "rm", name}, Words{"image", "rm", "--force", name},
                            Words{"image", "rm", "--all"}}) {
    const Outcome refused = fcvm(args);
    EXPECT_EQ(refused.status, 125) << refused;
    EXPECT_THAT(refused.err, HasSubstr("in use by the snapshot 'kept'"));
    EXPECT_THAT(refused.err, HasSubstr("fcvm snapshot rm kept"));
  }
  EXPECT_EQ(fcvm({"image", "prune", "-a", "-f"}).out, "Total reclaimed space: 0 B\n");
  EXPECT_THAT(listed(), ElementsAre(name));

  const Outcome listed_snapshots = fcvm({"snapshot", "ls"});
  EXPECT_EQ(listed_snapshots.status, 0) << listed_snapshots;
  EXPECT_THAT(listed_snapshots.out, MatchesRegex("TAG .*\nkept +damaged .*\n"));
  EXPECT_THAT(listed_snapshots.err, HasSubstr("snapshot 'kept'"));
  const auto json = nlohmann::json::parse(fcvm({"snapshot", "ls", "--json"}).out);
  EXPECT_EQ(json.at(0).at("tag"), "kept");
  EXPECT_THAT(json.at(0).at("damaged").get<std::string>(), HasSubstr("snapshot 'kept'"));
  EXPECT_EQ(fcvm({"snapshot", "rm", "kept"}).out, "kept\n");
  EXPECT_THAT(fcvm({"image", "prune", "-a", "-f"}).out, HasSubstr(id + "\n"));
  EXPECT_THAT(listed(), IsEmpty());
}

TEST_F(ImageTest, TwoThatPullAtOnceMakeOneDisk) {
  const Registry registry;
  const std::string name = push(registry, "app:1");
  configure(insecure(registry));
  std::vector<Process> pulls;
  for (int i = 0; i < 2; ++i) pulls.emplace_back(command({"pull", name}));
  std::set<std::string> ids;
  for (auto& pull : pulls) ids.insert(id_of(pull.wait()));
  EXPECT_EQ(ids.size(), 1U);
  EXPECT_THAT(listed(), ElementsAre(name));
  expect_nothing_half_made();
}

TEST_F(ImageTest, KilledPullLeavesNothingAfterTheNextCommand) {
  const Registry registry;
  const TempDir dir;
  registry.push(make_test_image(dir.path(), unique_name("big"), 64 << 20), "big:1");
  const std::string name = registry.host() + "/big:1";
  configure(insecure(registry));
  Process pull(command({"pull", name}));
  // As soon as something is unpacked.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (base::list_directory(data_ + "/images").empty()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    ASSERT_FALSE(pull.ended());
  }
  pull.signal(SIGKILL);
  pull.wait();
  EXPECT_FALSE(base::list_directory(data_ + "/images").empty());
  EXPECT_THAT(listed(), IsEmpty());
  EXPECT_THAT(base::list_directory(data_ + "/images"), IsEmpty());
  id_of(fcvm({"pull", name}));
  expect_nothing_half_made();
}

TEST_F(ImageTest, NameThatIsTornIsUnknownAndComesBackWithTheNextPull) {
  const Registry registry;
  const std::string name = push(registry, "app:1");
  configure(insecure(registry));
  id_of(fcvm({"pull", name}));
  const auto files = base::list_directory(data_ + "/image-names");
  ASSERT_EQ(files.size(), 1U);
  std::filesystem::resize_file(data_ + "/image-names/" + files[0], 20);
  EXPECT_THAT(listed(), ElementsAre("<none>:<none>"));
  id_of(fcvm({"pull", name}));
  EXPECT_THAT(listed(), ElementsAre(name));
}

TEST_F(ImageTest, ImageOfADockerDaemonIsReadThere) {
  FCVM_REQUIRE(docker);
  const TempDir dir;
  const std::string image = make_test_image(dir.path(), unique_name("docker"));
  const std::string absent = "DOCKER_HOST=unix://" + (dir / "no.sock").string();
  const Outcome no_daemon = fcvm({"pull", "docker-daemon:team/app:3"}, {absent});
  expect_refused(no_daemon, "Cannot connect to the Docker daemon");
  EXPECT_THAT(no_daemon.err, HasSubstr("hint: is dockerd running"));

  const Dockerd dockerd;
  Command load;
  load.argv = {"skopeo",
               "copy",
               "--quiet",
               "--insecure-policy",
               "--dest-daemon-host",
               dockerd.host(),
               image,
               "docker-daemon:team/app:3"};
  const Outcome loaded = run(std::move(load));
  ASSERT_EQ(loaded.status, 0) << loaded;
  const Words env{"DOCKER_HOST=" + dockerd.host()};
  const std::string id = id_of(fcvm({"pull", "docker-daemon:team/app:3"}, env));
  EXPECT_EQ(id_of(fcvm({"pull", "docker-daemon:sha256:" + id}, env)), id);
  EXPECT_THAT(listed(), ElementsAre("docker.io/team/app:3"));
  expect_refused(fcvm({"pull", "docker-daemon:team/other"}, env), "team/other");
}

// With the assets of the other tests: a VM of an image that came from a registry.
TEST(ImageRunTest, ImageOfARegistryRunsAgainWithoutIt) {
  FCVM_REQUIRE(registry);
  Registry registry;
  const TempDir dir;
  const std::string seed = unique_name("run");
  registry.push(make_test_image(dir.path(), seed), "app:1");
  const std::string name = registry.host() + "/app:1";
  const Words show{"busybox", "cat", "/etc/seed"};
  const Outcome first = fcvm(run_args({"--rm", "--tls-verify=false"}, show, name));
  EXPECT_EQ(first.out, seed) << first;
  registry.stop();
  const Outcome again =
      fcvm(run_args({"--name", unique_name("img"), "--cidfile", dir / "cid"}, show, name));
  EXPECT_EQ(again.out, seed) << again;

  // A VM that has ended still needs it.
  const std::string id = read_file(dir / "cid");
  const Outcome used = fcvm({"image", "rm", name});
  EXPECT_EQ(used.status, 125) << used;
  EXPECT_THAT(used.err, HasSubstr("image used by " + id + ": image is in use by a container"));
  EXPECT_THAT(fcvm({"ls", "-a", "--json"}).out, HasSubstr('"' + name + '"'));
  const Outcome forced = fcvm({"image", "rm", "-f", name});
  EXPECT_EQ(forced.status, 0) << forced;
  EXPECT_THAT(forced.out, HasSubstr("Deleted: "));
  EXPECT_THAT(fcvm({"ls", "-a", "--json"}).out, testing::Not(HasSubstr(id)));
}

// Its monitor has not begun yet: only the record speaks of it.
TEST(ImageOfAVmTest, ImageOfAVmThatIsBeingStartedStays) {
  FCVM_REQUIRE(vm);
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  const ImageDisksRestored disks;
  const LeakCheck leaks;
  const TempDir dir;
  const std::string image = make_test_image(dir.path(), unique_name("starting"));
  const Outcome pulled = fcvm({"image", "pull", image});
  ASSERT_EQ(pulled.status, 0) << pulled;
  const std::string id = pulled.out.substr(0, pulled.out.find('\n'));
  const std::string name = unique_name("starting");
  const RemoveAtEnd remove(name);
  Command command = fcvm_command(
      run_args({"--name", name, "--cidfile", dir / "cid"}, {"busybox", "echo", "started"}, image));
  command.env = {"FCVM_FAULT=monitor.locked=stop"};
  Process starting(std::move(command));
  int monitor = 0;
  const auto stopped = [&] {
    const std::string vm = base::try_read_file(dir / "cid").value_or("");
    if (vm.size() != 64) return false;
    for (const int pid : find_processes("fcvm-monitor", vm)) {
      monitor = pid;
      const auto stat = base::try_read_file("/proc/" + std::to_string(pid) + "/stat");
      if (stat && stat->find(") T ") != std::string::npos) return true;
    }
    return false;
  };
  while (!stopped() && !starting.ended()) std::this_thread::yield();
  ASSERT_FALSE(starting.ended()) << starting.err();
  for (const Words& flags : {Words{}, Words{"--force"}}) {
    Words args{"image", "rm", id};
    args.insert(args.end(), flags.begin(), flags.end());
    const Outcome refused = fcvm(args);
    EXPECT_EQ(refused.status, 125) << refused;
    EXPECT_THAT(refused.err, HasSubstr("a VM that is being made"));
  }
  ::kill(monitor, SIGCONT);
  const Outcome done = starting.wait();
  EXPECT_EQ(done.out, "started\n") << done;
  EXPECT_EQ(fcvm({"rm", name}).status, 0);
}

}  // namespace
}  // namespace tests
