#include "vm/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "vm/flag_parsers.h"
#include "vm/guest_paths.h"

namespace vm {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = wire::PlanRootEdit::Kind;

constexpr std::string_view kProfile =
    R"({"defaultAction":"SCMP_ACT_ALLOW",
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":[]}],
        "syscalls":[{"names":["chroot"],"action":"SCMP_ACT_ERRNO","errnoRet":1,
                     "excludes":{"caps":["CAP_SYS_CHROOT"]}}]})";

image::ImageMeta make_image() {
  image::ImageMeta image;
  image.digest = "sha256:abcd";
  image.reference = "oci:x";
  image.config.cmd = {"sh"};
  image.config.env = {"PATH=/bin", "FOO=img", "BARE"};
  image.passwd =
      "root:x:0:0:root:/root:/bin/sh\n"
      "app:x:1000:1001:App:/home/app:/bin/sh\n";
  image.group =
      "wheel:x:10:root,app\n"
      "audio:x:29:app\n";
  return image;
}

GuestFacts make_facts() {
  GuestFacts facts;
  facts.vm_id = "0123456789abcdef0123";
  facts.vm_name = "web";
  facts.seccomp_profile = kProfile;
  return facts;
}

json config_of(const image::ImageMeta& image, const RunOptions& options,
               const GuestFacts& facts = make_facts()) {
  return json::parse(make_bundle(image, options, facts).config_json);
}

std::string complaint(const image::ImageMeta& image, const RunOptions& options,
                      const GuestFacts& facts = make_facts()) {
  try {
    make_bundle(image, options, facts);
  } catch (const base::Error& error) {
    return error.what();
  }
  return {};
}

// "/tmp tmpfs tmpfs rw,nosuid" of the mount at `destination`; empty when there is none.
std::string mount_at(const json& config, const std::string& destination) {
  for (const json& mount : config.at("mounts")) {
    if (mount.at("destination") != destination) continue;
    std::string line =
        mount.at("type").get<std::string>() + " " + mount.at("source").get<std::string>() + " ";
    for (const json& option : mount.at("options")) {
      line += (line.back() == ' ' ? "" : ",") + option.get<std::string>();
    }
    return line;
  }
  return {};
}

const wire::PlanFile* file_at(const BundleFiles& bundle, std::string_view path) {
  for (const auto& file : bundle.files) {
    if (file.path == path) return &file;
  }
  return nullptr;
}

std::vector<std::string> edits_of(const BundleFiles& bundle) {
  std::vector<std::string> out;
  for (const auto& edit : bundle.root_edits) {
    out.push_back(
        base::cat(static_cast<int>(edit.kind), " ", edit.path, " ", edit.uid, ":", edit.gid));
  }
  return out;
}

TEST(BundleTest, DefaultProcessIsRootWithDefaultCapabilities) {
  const json process = config_of(make_image(), {}).at("process");
  EXPECT_EQ(process.at("args").dump(), R"(["sh"])");
  EXPECT_EQ(process.at("cwd"), "/");
  EXPECT_EQ(process.at("user").dump(), R"({"additionalGids":[10],"gid":0,"uid":0,"umask":18})");
  EXPECT_EQ(process.at("env").dump(),
            R"(["BARE=","FOO=img","HOME=/root","HOSTNAME=0123456789ab","PATH=/bin","TERM=xterm",)"
            R"("container=podman"])");
  EXPECT_FALSE(process.contains("terminal"));
  EXPECT_FALSE(process.contains("noNewPrivileges"));
  const json& capabilities = process.at("capabilities");
  EXPECT_EQ(capabilities.at("bounding").size(), 11U);
  EXPECT_EQ(capabilities.at("effective"), capabilities.at("bounding"));
  EXPECT_FALSE(capabilities.contains("ambient"));
  EXPECT_EQ(process.at("rlimits").dump(),
            R"([{"hard":1048576,"soft":1048576,"type":"RLIMIT_NOFILE"},)"
            R"({"hard":32768,"soft":32768,"type":"RLIMIT_NPROC"}])");
}

TEST(BundleTest, MountsAreParentsFirst) {
  const json config = config_of(make_image(), {});
  std::vector<std::string> destinations;
  for (const json& mount : config.at("mounts")) destinations.push_back(mount.at("destination"));
  EXPECT_THAT(destinations,
              ElementsAre("/proc", "/dev", "/sys", "/dev/pts", "/dev/mqueue", "/dev/shm",
                          "/etc/hosts", "/etc/hostname", "/run/.containerenv", "/sys/fs/cgroup"));
  EXPECT_EQ(mount_at(config, "/dev/shm"),
            "tmpfs shm rprivate,nosuid,noexec,nodev,mode=1777,size=65536000");
  EXPECT_EQ(mount_at(config, "/etc/hosts"), "bind /run/fcvm/files/hosts bind,rprivate");
}

TEST(BundleTest, GuestNetworkIsTheContainersOwn) {
  const json config = config_of(make_image(), {});
  EXPECT_THAT(config.at("linux").at("namespaces").dump(), Not(HasSubstr("network")));
  EXPECT_FALSE(config.at("linux").contains("sysctl"));
  EXPECT_EQ(make_bundle(make_image(), {}, make_facts()).guest_sysctls.size(), 1U);
}

TEST(BundleTest, EntrypointOfTheUserMakesTheImagesCommandVoid) {
  image::ImageMeta image = make_image();
  image.config.entrypoint = {"ep"};
  RunOptions options;
  EXPECT_THAT(make_bundle(image, options, make_facts()).command, ElementsAre("ep", "sh"));
  options.command = {"x", "y"};
  EXPECT_THAT(make_bundle(image, options, make_facts()).command, ElementsAre("ep", "x", "y"));
  options.entrypoint = {"mine"};
  EXPECT_THAT(make_bundle(image, options, make_facts()).command, ElementsAre("mine", "x", "y"));
  options.command.clear();
  EXPECT_THAT(make_bundle(image, options, make_facts()).command, ElementsAre("mine"));
  options.entrypoint.emplace();
  EXPECT_EQ(complaint(image, options),
            "no command or entrypoint provided, and no CMD or ENTRYPOINT from image");
}

TEST(BundleTest, OtherUserGetsOnlyAddedCapabilitiesAndTheyAreAmbient) {
  RunOptions options;
  options.user = "app";
  json process = config_of(make_image(), options).at("process");
  EXPECT_EQ(process.at("user").at("additionalGids").dump(), "[1001,10,29]");
  EXPECT_EQ(process.at("capabilities").size(), 1U) << "only the bounding set";
  options.cap_add = {"net_admin"};
  process = config_of(make_image(), options).at("process");
  for (const char* set : {"effective", "permitted", "inheritable", "ambient"}) {
    EXPECT_EQ(process.at("capabilities").at(set).dump(), R"(["CAP_NET_ADMIN"])") << set;
  }
  EXPECT_EQ(process.at("capabilities").at("bounding").size(), 12U);
}

TEST(BundleTest, CapabilityFlagsThatContradictAreRefused) {
  RunOptions options;
  options.cap_add = {"foo"};
  EXPECT_EQ(complaint(make_image(), options), "unknown capability 'foo'");
  options.cap_add = {"CHOWN"};
  options.cap_drop = {"cap_chown"};
  EXPECT_EQ(complaint(make_image(), options),
            "capability 'CAP_CHOWN' cannot be both added and dropped");
  options.cap_add = {"all"};
  options.cap_drop = {"ALL"};
  EXPECT_THAT(complaint(make_image(), options), HasSubstr("contradict"));
  options.cap_add = {"chown"};
  EXPECT_EQ(config_of(make_image(), options).at("process").at("capabilities").at("bounding").dump(),
            R"(["CAP_CHOWN"])");
}

TEST(BundleTest, PrivilegedHasEverythingAndNoFilter) {
  RunOptions options;
  options.privileged = true;
  GuestFacts facts = make_facts();
  facts.seccomp_profile.clear();
  const json config = config_of(make_image(), options, facts);
  EXPECT_EQ(config.at("process").at("capabilities").at("effective").size(), 41U);
  EXPECT_FALSE(config.at("linux").contains("maskedPaths"));
  EXPECT_FALSE(config.at("annotations").contains("run.oci.seccomp_bpf_data"));
  EXPECT_FALSE(config.at("linux").contains("seccomp"));
  EXPECT_TRUE(config.at("linux").at("resources").at("devices").at(0).at("allow"));
  EXPECT_THAT(config.at("linux").at("devices").dump(), HasSubstr("/dev/fuse"));
  EXPECT_EQ(mount_at(config, "/sys"), "sysfs sysfs rprivate,nosuid,noexec,nodev,rw");
}

TEST(BundleTest, MissingSeccompProfileIsRefusedWithAHint) {
  GuestFacts facts = make_facts();
  facts.seccomp_profile.clear();
  try {
    make_bundle(make_image(), {}, facts);
    FAIL() << "a container without its filter was made";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.hint(), HasSubstr("fcvm setup"));
  }
}

TEST(BundleTest, FilterFollowsCapabilities) {
  RunOptions options;
  const auto filter = [&] {
    return config_of(make_image(), options)
        .at("annotations")
        .at("run.oci.seccomp_bpf_data")
        .get<std::string>();
  };
  const std::string with_chroot = filter();
  options.cap_drop = {"SYS_CHROOT"};
  EXPECT_GT(filter().size(), with_chroot.size());
}

TEST(BundleTest, ReadOnlyRootKeepsWritablePlaces) {
  image::ImageMeta image = make_image();
  image.config.volumes = {"/data"};
  RunOptions options;
  options.read_only = true;
  options.tmpfs = {parse_tmpfs("/tmp:size=1m")};
  const BundleFiles bundle = make_bundle(image, options, make_facts());
  const json config = json::parse(bundle.config_json);
  EXPECT_TRUE(config.at("root").at("readonly"));
  EXPECT_EQ(mount_at(config, "/run"), "tmpfs tmpfs rw,rprivate,nosuid,nodev,tmpcopyup");
  EXPECT_THAT(mount_at(config, "/tmp"), HasSubstr("size=1m"));
  EXPECT_EQ(mount_at(config, "/run/.containerenv"), "") << "the tmpfs on /run would hide it";
  EXPECT_THAT(mount_at(config, "/etc/hosts"), HasSubstr("ro,nosuid,noexec,nodev"));
  EXPECT_EQ(mount_at(config, "/data"),
            "bind /run/fcvm/volumes/0 rprivate,rw,nodev,exec,nosuid,rbind");
  EXPECT_THAT(edits_of(bundle), Contains("4 /data 0:0"));
}

TEST(BundleTest, MountOfTheUserTakesThePlaceOfOurs) {
  RunOptions options;
  options.tmpfs = {parse_tmpfs("/dev/shm:size=1m"), parse_tmpfs("/x:U"), parse_tmpfs("/x:ro")};
  options.user = "app";
  const json config = config_of(make_image(), options);
  EXPECT_THAT(mount_at(config, "/dev/shm"), HasSubstr("size=1m"));
  EXPECT_THAT(mount_at(config, "/x"), HasSubstr("ro,"));
  options.tmpfs.pop_back();
  EXPECT_THAT(mount_at(config_of(make_image(), options), "/x"), HasSubstr("uid=1000,gid=1001"));
}

TEST(BundleTest, WorkingDirectoryOfTheImageIsMadeAndThatOfAFlagMustExist) {
  image::ImageMeta image = make_image();
  image.config.working_dir = "srv/missing";
  RunOptions options;
  options.user = "app";
  EXPECT_THAT(edits_of(make_bundle(image, options, make_facts())),
              Contains("0 /srv/missing 1000:1001"));
  options.workdir = "/nope";
  const BundleFiles bundle = make_bundle(image, options, make_facts());
  EXPECT_THAT(edits_of(bundle), Contains("1 /nope 1000:1001"));
  EXPECT_EQ(bundle.root_edits.back().text,
            "workdir '/nope' does not exist on container 0123456789abcdef0123");
  options.workdir = "/dev/shm/x";
  for (const auto& edit : make_bundle(image, options, make_facts()).root_edits) {
    EXPECT_NE(edit.kind, Kind::kRequireDirectory) << "it lies on a mount of the container's";
  }
  options.workdir = "rel";
  EXPECT_THAT(complaint(image, options), HasSubstr("not an absolute path"));
}

TEST(BundleTest, NumericUserGetsLinesInTheContainersFiles) {
  RunOptions options;
  options.user = "4242";
  const BundleFiles bundle = make_bundle(make_image(), options, make_facts());
  EXPECT_EQ(bundle.root_edits.at(0).path, "/etc/passwd");
  EXPECT_EQ(bundle.root_edits.at(0).text, "4242:*:4242:0:container user:/:/bin/sh\n");
  EXPECT_THAT(bundle.config_json, Not(HasSubstr("HOME=")));
}

TEST(BundleTest, UlimitsReplaceTheDefaultsTheyName) {
  RunOptions options;
  options.ulimits = {parse_ulimit("core=-1"), parse_ulimit("nofile=1"), parse_ulimit("nofile=5")};
  EXPECT_EQ(config_of(make_image(), options).at("process").at("rlimits").dump(),
            R"([{"hard":18446744073709551615,"soft":18446744073709551615,"type":"RLIMIT_CORE"},)"
            R"({"hard":5,"soft":5,"type":"RLIMIT_NOFILE"},)"
            R"({"hard":1048576,"soft":1048576,"type":"RLIMIT_NPROC"}])");
  options.ulimit_host = true;
  EXPECT_FALSE(config_of(make_image(), options).at("process").contains("rlimits"));
}

TEST(BundleTest, HostsNamesTheContainerUnlessTheUserDoes) {
  GuestFacts facts = make_facts();
  facts.base_hosts = "# comment\n10.0.0.1 db db.local # the database\n\n10.0.0.2\n";
  facts.host_ip = "192.0.2.2";
  RunOptions options;
  options.add_hosts = {{"extra", "1.2.3.4"}};
  BundleFiles bundle = make_bundle(make_image(), options, facts);
  EXPECT_EQ(file_at(bundle, kGuestHostsFile)->content,
            "1.2.3.4\textra\n10.0.0.1\tdb db.local\n127.0.0.1\tlocalhost\n::1\tlocalhost\n"
            "192.0.2.2\thost.containers.internal\n127.0.0.1\t0123456789ab web\n");
  EXPECT_EQ(file_at(bundle, kGuestHostnameFile)->content, "0123456789ab");
  options.add_hosts = {{"web", "9.9.9.9"}};
  options.hostname = "web";
  bundle = make_bundle(make_image(), options, facts);
  EXPECT_THAT(file_at(bundle, kGuestHostsFile)->content, Not(HasSubstr("127.0.0.1\tweb")));
  EXPECT_EQ(file_at(bundle, kGuestHostnameFile)->content, "web");
}

TEST(BundleTest, NameServersOnlyWithANetwork) {
  RunOptions options;
  options.dns = {"1.1.1.1"};
  EXPECT_EQ(complaint(make_image(), options),
            "conflicting options: dns and the network mode: none");
  EXPECT_EQ(file_at(make_bundle(make_image(), {}, make_facts()), kGuestResolvConfFile), nullptr);
  GuestFacts facts = make_facts();
  facts.network = NetworkMode::kBridged;
  facts.nameservers = {"10.0.0.1"};
  facts.search_domains = {"lan"};
  EXPECT_EQ(file_at(make_bundle(make_image(), options, facts), kGuestResolvConfFile)->content,
            "search lan\nnameserver 1.1.1.1\n");
  options.dns_search = {"."};
  options.dns.clear();
  EXPECT_EQ(file_at(make_bundle(make_image(), options, facts), kGuestResolvConfFile)->content,
            "nameserver 10.0.0.1\n");
}

TEST(BundleTest, InitRunsTheCommandAndIsRefusedWithoutAProgram) {
  RunOptions options;
  options.init = true;
  EXPECT_THAT(complaint(make_image(), options), HasSubstr("--init"));
  GuestFacts facts = make_facts();
  facts.init_program = kGuestInitProgram;
  const json config = config_of(make_image(), options, facts);
  EXPECT_EQ(config.at("process").at("args").dump(), R"(["/run/podman-init","--","sh"])");
  EXPECT_EQ(mount_at(config, "/run/podman-init"),
            "bind /usr/libexec/podman/catatonit bind,ro,rprivate");
}

TEST(BundleTest, StopSignalOfTheImageYieldsToTheFlag) {
  image::ImageMeta image = make_image();
  EXPECT_EQ(make_bundle(image, {}, make_facts()).stop_signal, 15);
  image.config.stop_signal = "SIGQUIT";
  EXPECT_EQ(make_bundle(image, {}, make_facts()).stop_signal, 3);
  RunOptions options;
  options.stop_signal = 9;
  EXPECT_EQ(make_bundle(image, options, make_facts()).stop_signal, 9);
  image.config.stop_signal = "nonsense";
  EXPECT_THAT(complaint(image, {}), HasSubstr("the image's stop signal"));
}

TEST(BundleTest, BytesThatAreNoUtf8DoNotBreakTheConfiguration) {
  image::ImageMeta image = make_image();
  image.config.env.push_back("BAD=\xff\xfe");
  EXPECT_NO_THROW(config_of(image, {}));
}

TEST(ExecProcessTest, InheritsFromTheContainerWithoutHostname) {
  RunOptions options;
  options.env = {{"Z", "1"}};
  options.user = "app";
  options.cap_add = {"NET_ADMIN"};
  const BundleFiles bundle = make_bundle(make_image(), options, make_facts());
  ExecOptions exec;
  exec.command = {"id"};
  exec.env = {{"A", "2"}};
  json process = json::parse(make_exec_process(bundle.exec_base, exec));
  EXPECT_EQ(process.at("env").dump(),
            R"(["A=2","BARE=","FOO=img","PATH=/bin","TERM=xterm","Z=1","container=podman"])");
  // Who that is the container's own files tell, in the guest.
  EXPECT_FALSE(process.contains("user"));
  EXPECT_FALSE(process.contains("capabilities"));
  json who = process.at("resolve_user");
  EXPECT_EQ(who.at("user"), "app");
  EXPECT_EQ(who.at("other_capabilities").at("ambient").dump(), R"(["CAP_NET_ADMIN"])");
  EXPECT_GT(who.at("root_capabilities").at("effective").size(), 5U);
  exec.user = "newcomer:1";
  who = json::parse(make_exec_process(bundle.exec_base, exec)).at("resolve_user");
  EXPECT_EQ(who.at("user"), "newcomer:1");
  EXPECT_FALSE(who.at("other_capabilities").contains("inheritable"));
  exec.user = "root";
  exec.privileged = true;
  exec.tty = true;
  process = json::parse(make_exec_process(bundle.exec_base, exec));
  EXPECT_EQ(process.at("resolve_user").at("root_capabilities").at("effective").size(), 41U);
  EXPECT_TRUE(process.at("terminal"));
}

TEST(ExecProcessTest, NoCommandAndDamageAreRefused) {
  const BundleFiles bundle = make_bundle(make_image(), {}, make_facts());
  ExecOptions exec;
  EXPECT_THROW(make_exec_process(bundle.exec_base, exec), base::Error);
  exec.command = {"id"};
  EXPECT_THROW(make_exec_process("{}", exec), base::Error);
  EXPECT_THROW(make_exec_process("", exec), base::Error);
}

}  // namespace
}  // namespace vm
