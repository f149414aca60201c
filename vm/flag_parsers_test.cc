#include "vm/flag_parsers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/error.h"

namespace vm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// What the parser complains of; empty when it does not.
template <typename F>
std::string complaint(F&& parse) {
  try {
    parse();
  } catch (const base::Error& error) {
    return error.what();
  }
  return {};
}

TEST(ParseSizeTest, UnitsAreBinaryInAnyCase) {
  EXPECT_EQ(parse_size("1"), 1U);
  EXPECT_EQ(parse_size("1b"), 1U);
  EXPECT_EQ(parse_size("2k"), 2048U);
  EXPECT_EQ(parse_size("512M"), 512U << 20);
  EXPECT_EQ(parse_size("1GiB"), 1U << 30);
  EXPECT_EQ(parse_size("1 g"), 1U << 30);
  EXPECT_EQ(parse_size("1.5g"), 1610612736U);
  EXPECT_EQ(parse_size("5.5"), 5U);
  EXPECT_EQ(parse_size("1tb"), 1ULL << 40);
}

TEST(ParseSizeTest, WhatPodmanRefusesIsRefused) {
  for (const char* text : {"", "-1", "100x", "1gibs", "1gg", "1bb", "1e3", "0x10", ".5g", " 1g",
                           "1,5g", "inf", "1..5g", "1.2.3", "g", "1  g"}) {
    EXPECT_THAT(complaint([&] { parse_size(text); }), HasSubstr("invalid size")) << text;
  }
  EXPECT_THAT(complaint([] { parse_size("99999999999999g"); }), HasSubstr("too large"));
}

TEST(ParseCpusTest, FractionIsRoundedUp) {
  EXPECT_EQ(parse_cpus("2"), 2);
  EXPECT_EQ(parse_cpus("1.5"), 2);
  EXPECT_EQ(parse_cpus("0.1"), 1);
  for (const char* text : {"", "0", "-1", "x", "1025", "1e2", "nan"}) {
    EXPECT_THAT(complaint([&] { parse_cpus(text); }), HasSubstr("CPUs")) << text;
  }
}

TEST(ParseCpuListTest, RangesAreSortedAndUnique) {
  EXPECT_THAT(parse_cpu_list("3,0-2,1"), ElementsAre(0, 1, 2, 3));
  for (const char* text : {"", "a", "1-", "2-1", "0,", "9999", "-1"}) {
    EXPECT_THAT(complaint([&] { parse_cpu_list(text); }), HasSubstr("CPU list")) << text;
  }
}

TEST(ParseDurationTest, UnitsAreAdded) {
  using namespace std::chrono_literals;
  EXPECT_EQ(parse_duration("30s"), 30s);
  EXPECT_EQ(parse_duration("1h30m"), 90min);
  EXPECT_EQ(parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(parse_duration("0"), 0s);
  for (const char* text : {"", "5", "s", "-1s", "1x", "1s2", "99999999h"}) {
    EXPECT_THAT(complaint([&] { parse_duration(text); }), HasSubstr("invalid duration")) << text;
  }
  EXPECT_EQ(parse_seconds("10"), 10s);
  for (const char* text : {"", "-1", "a", "1s", "4294967296"}) {
    EXPECT_THAT(complaint([&] { parse_seconds(text); }), HasSubstr("seconds")) << text;
  }
}

TEST(ParseSignalTest, NamesNumbersAndRealTime) {
  EXPECT_EQ(parse_signal("TERM"), SIGTERM);
  EXPECT_EQ(parse_signal("sigkill"), SIGKILL);
  EXPECT_EQ(parse_signal("9"), 9);
  EXPECT_EQ(parse_signal("64"), 64);
  EXPECT_EQ(parse_signal("RTMIN"), 34);
  EXPECT_EQ(parse_signal("rtmin+3"), 37);
  EXPECT_EQ(parse_signal("SIGRTMAX-1"), 63);
  EXPECT_EQ(parse_signal("CLD"), SIGCHLD);
  for (const char* text :
       {"", "foo", "0", "-1", "sig", "rtmin+31", "rtmin-1", "rtmax+1", "rtmin3"}) {
    EXPECT_THAT(complaint([&] { parse_signal(text); }), HasSubstr("invalid signal")) << text;
  }
  EXPECT_EQ(complaint([] { parse_signal("65"); }), "valid signals are 1 through 64");
}

TEST(ParseNameTest, OnlyPodmansAlphabetAnd63Characters) {
  EXPECT_EQ(parse_name("web-1.a_b"), "web-1.a_b");
  for (const std::string& text : {std::string(), std::string("_x"), std::string("x y"),
                                  std::string("a/b"), std::string(64, 'a')}) {
    EXPECT_THAT(complaint([&] { parse_name(text); }), HasSubstr("names match")) << text;
  }
  EXPECT_EQ(parse_hostname("bad_name!"), "bad_name!");
  EXPECT_NE(complaint([] { parse_hostname("a b"); }), "");
  EXPECT_NE(complaint([] { parse_hostname(std::string(65, 'a')); }), "");
}

TEST(ParseUlimitTest, HardDefaultsToSoftAndMinusOneIsUnlimited) {
  EXPECT_EQ(parse_ulimit("nofile=10:20"), (Ulimit{"nofile", 10, 20}));
  EXPECT_EQ(parse_ulimit("nofile=10"), (Ulimit{"nofile", 10, 10}));
  EXPECT_EQ(parse_ulimit("core=-1"), (Ulimit{"core", Ulimit::kUnlimited, Ulimit::kUnlimited}));
  EXPECT_EQ(parse_ulimit("stack=5:-1"), (Ulimit{"stack", 5, Ulimit::kUnlimited}));
  for (const char* text :
       {"nofile", "nofile=", "nofile=a", "nofile=1:", "nofile=1:2:3", "foo=1", "NOFILE=1",
        "RLIMIT_NOFILE=1", "nofile=20:10", "nofile=-1:10", "nofile=-2", "nofile=1 "}) {
    EXPECT_THAT(complaint([&] { parse_ulimit(text); }), HasSubstr("requires name=SOFT:HARD"))
        << text;
  }
}

TEST(AddEnvTest, ValueHostCopyAndPrefix) {
  const std::vector<std::string> host = {"HOME=/root", "PATX=1", "PATY=2", "EMPTY=", "junk"};
  Environment env;
  add_env("A=b=c", host, env);
  add_env("B=", host, env);
  add_env("HOME", host, env);
  add_env("NOPE", host, env);
  add_env("PAT*", host, env);
  add_env("EMPTY", host, env);
  add_env("A B=c", host, env);
  EXPECT_THAT(env, ElementsAre(Pair("A", "b=c"), Pair("A B", "c"), Pair("B", ""), Pair("EMPTY", ""),
                               Pair("HOME", "/root"), Pair("PATX", "1"), Pair("PATY", "2")));
  EXPECT_EQ(complaint([&] { add_env("=x", host, env); }), "invalid environment variable: '=x'");
  EXPECT_NE(complaint([&] { add_env("", host, env); }), "");
  EXPECT_NE(complaint([&] { add_env(std::string("A=\0", 3), host, env); }), "");
}

TEST(AddEnvFileTest, OnlyTheFrontOfALineIsTrimmed) {
  Environment env;
  add_env_file("A=1\n  B=2 \n#c\n\nFOO\nNOPE\nD=a=b\r\n E F=1\n\"G\"=\"q\"\n", "f", {"FOO=host"},
               env);
  EXPECT_THAT(env, ElementsAre(Pair("\"G\"", "\"q\""), Pair("A", "1"), Pair("B", "2 "),
                               Pair("D", "a=b"), Pair("E F", "1"), Pair("FOO", "host")));
  EXPECT_EQ(complaint([&] { add_env_file("A=1\n=x\n", "f", {}, env); }),
            "parsing env file 'f': invalid environment variable: '=x'");
  EXPECT_THAT(complaint([&] { add_env_file("A=" + std::string(70000, 'x'), "f", {}, env); }),
              HasSubstr("64 KiB"));
}

TEST(AddLabelTest, ValueMayBeMissingNameMayNot) {
  std::map<std::string, std::string> labels;
  add_label("a=b=c", labels);
  add_label("x", labels);
  EXPECT_THAT(labels, ElementsAre(Pair("a", "b=c"), Pair("x", "")));
  EXPECT_EQ(complaint([&] { add_label("=y", labels); }), "invalid label format: '=y'");
}

TEST(ParseEntrypointTest, JsonArrayElseOneWord) {
  EXPECT_THAT(parse_entrypoint(""), IsEmpty());
  EXPECT_THAT(parse_entrypoint("[]"), IsEmpty());
  EXPECT_THAT(parse_entrypoint("a b"), ElementsAre("a b"));
  EXPECT_THAT(parse_entrypoint(R"(["a","b c"])"), ElementsAre("a", "b c"));
  EXPECT_THAT(parse_entrypoint("[\"a"), ElementsAre("[\"a"));
  EXPECT_THAT(parse_entrypoint("[1]"), ElementsAre("[1]"));
}

TEST(ParseTmpfsTest, DefaultsFillWhatIsNotSaid) {
  EXPECT_THAT(parse_tmpfs("/foo").options,
              ElementsAre("rw", "rprivate", "nosuid", "nodev", "tmpcopyup"));
  EXPECT_THAT(parse_tmpfs("/foo:rw,size=10m,mode=700,noexec").options,
              ElementsAre("rw", "size=10m", "mode=700", "noexec", "rprivate", "nosuid", "nodev",
                          "tmpcopyup"));
  EXPECT_THAT(parse_tmpfs("/foo:exec,suid,dev,notmpcopyup").options,
              ElementsAre("exec", "suid", "dev", "rw", "rprivate"));
  EXPECT_THAT(parse_tmpfs("/foo:shared,size=50%").options,
              ElementsAre("shared", "size=50%", "rw", "nosuid", "nodev", "tmpcopyup"));
  EXPECT_EQ(parse_tmpfs("/a/../foo/").target, "/foo");
}

TEST(ParseTmpfsTest, SizesTheKernelDoesNotTakeAreBytes) {
  const auto size_of = [](const std::string& size) {
    return parse_tmpfs("/foo:size=" + size).options.at(0);
  };
  for (const char* size : {"0", "4096", "64k", "64M", "1g", "50%"}) {
    EXPECT_EQ(size_of(size), base::cat("size=", size));
  }
  EXPECT_EQ(size_of("1.5g"), "size=1610612736");
  EXPECT_EQ(size_of("64mb"), "size=67108864");
  EXPECT_EQ(size_of("64 m"), "size=67108864");
  EXPECT_EQ(size_of("512b"), "size=512");
  EXPECT_EQ(size_of("1i"), "size=1");
  for (const char* size : {"0.1b", "0.0", "1.5.5g", "-1", "1x", "99999999999g", "%", "1.5%"}) {
    EXPECT_NE(complaint([&] { parse_tmpfs(base::cat("/foo:size=", size)); }), "") << size;
  }
}

TEST(ParseTmpfsTest, BadOptionsAreRefused) {
  for (const char* text : {"",
                           "foo",
                           "/",
                           "/foo:",
                           "/foo:bar",
                           "/foo:uid=5",
                           "/foo:nr_inodes=4",
                           "/foo:bind",
                           "/foo:z",
                           "/foo:noatime",
                           "/foo:ro,rw",
                           "/foo:exec,noexec",
                           "/foo:dev,dev",
                           "/foo:private,rprivate",
                           "/foo:size=1m,size=2m",
                           "/foo:mode=1,mode=2",
                           "/foo:size=",
                           "/foo:size=x",
                           "/foo:size=%",
                           "/foo:mode=8",
                           "/foo:mode=0x1",
                           "/foo:rw:ro",
                           "/foo:tmpcopyup,notmpcopyup"}) {
    EXPECT_NE(complaint([&] { parse_tmpfs(text); }), "") << text;
  }
}

TEST(ParseVolumeTest, AccessIsOptional) {
  EXPECT_EQ(parse_volume("/a:/b"), (VolumeMapping{"/a", "/b", false}));
  EXPECT_EQ(parse_volume("rel:/b/:ro"), (VolumeMapping{"rel", "/b", true}));
  for (const char* text : {"", "/a", ":/x", "/a:", "/a:x", "/a:/", "/a:/b:foo", "/a:/b:ro:c",
                           "/a:/b:ro,rw", "/a:/b:"}) {
    EXPECT_NE(complaint([&] { parse_volume(text); }), "") << text;
  }
}

TEST(ParsePublishTest, AllFormsOfPodman) {
  EXPECT_THAT(parse_publish("80"), ElementsAre(PortMapping{"", 0, 80, false}));
  EXPECT_THAT(parse_publish(":80"), ElementsAre(PortMapping{"", 0, 80, false}));
  EXPECT_THAT(parse_publish("8080:80/udp"), ElementsAre(PortMapping{"", 8080, 80, true}));
  EXPECT_THAT(parse_publish("1.2.3.4::81"), ElementsAre(PortMapping{"1.2.3.4", 0, 81, false}));
  EXPECT_THAT(parse_publish("[::1]:80:80"), ElementsAre(PortMapping{"::1", 80, 80, false}));
  EXPECT_THAT(parse_publish("8000-8001:9000-9001"),
              ElementsAre(PortMapping{"", 8000, 9000, false}, PortMapping{"", 8001, 9001, false}));
}

TEST(ParsePublishTest, WhatPodmanRefusesIsRefused) {
  for (const char* text : {"", "x", "80:x", "0:80", "80:0", "70000:1", "80:80/foo", "1.2.3:80:80",
                           "80-81:80", "81-80:1-2", "80-80:80-80", "a:80:80", "80:", "80:80:80",
                           "::80", "::1:80:80", "80:80/tcp/udp", "+80", "80 "}) {
    EXPECT_THAT(complaint([&] { parse_publish(text); }), HasSubstr("port mapping")) << text;
  }
}

TEST(ParseAddHostTest, NameAndAddress) {
  EXPECT_EQ(parse_add_host("a:1.2.3.4"), (HostEntry{"a", "1.2.3.4"}));
  EXPECT_EQ(parse_add_host("a:::1"), (HostEntry{"a", "::1"}));
  for (const char* text :
       {"a", "a:b", ":1.2.3.4", "a:host-gateway", "a b:1.2.3.4", "a\n:1.2.3.4", "a:1.2.3.4 b"}) {
    EXPECT_NE(complaint([&] { parse_add_host(text); }), "") << text;
  }
}

TEST(ParseChoicesTest, UnknownWordsNameTheKnownOnes) {
  EXPECT_EQ(parse_network("none"), NetworkMode::kNone);
  EXPECT_EQ(parse_pull("never"), image::PullPolicy::kNever);
  EXPECT_EQ(parse_engine("crun"), Engine::kCrun);
  EXPECT_EQ(parse_hypervisor("qemu"), HypervisorChoice::kQemu);
  EXPECT_EQ(parse_accel("tcg"), AccelChoice::kTcg);
  EXPECT_EQ(complaint([] { parse_pull("foo"); }),
            "unknown pull policy 'foo': it is one of missing, always, never, newer");
  EXPECT_EQ(parse_restart("on-failure:3").max, 3);
  EXPECT_EQ(parse_restart("always").policy, RestartPolicy::kAlways);
  for (const char* text : {"", "foo", "always:2", "on-failure:x", "on-failure:-1", "on-failure:"}) {
    EXPECT_THAT(complaint([&] { parse_restart(text); }), HasSubstr("restart policy")) << text;
  }
}

TEST(ParseHealthCommandTest, ShellJsonAndNone) {
  EXPECT_THAT(parse_health_command("none"), ElementsAre("NONE"));
  EXPECT_THAT(parse_health_command("curl x"), ElementsAre("CMD-SHELL", "curl x"));
  EXPECT_THAT(parse_health_command(R"(["curl","x"])"), ElementsAre("CMD", "curl", "x"));
  EXPECT_THAT(parse_health_command(R"(["CMD-SHELL","x"])"), ElementsAre("CMD-SHELL", "x"));
  EXPECT_NE(complaint([] { parse_health_command("[]"); }), "");
}

TEST(ParseDetachKeysTest, ControlKeysBecomeBytes) {
  EXPECT_EQ(parse_detach_keys("ctrl-p,ctrl-q"), RunOptions{}.detach_keys);
  EXPECT_EQ(parse_detach_keys("a,ctrl-["), "a\x1b");
  EXPECT_EQ(parse_detach_keys(""), "");
  for (const char* text : {"foo", "ctrl-", "ctrl-A", "a,,b", "ctrl-p,"}) {
    EXPECT_NE(complaint([&] { parse_detach_keys(text); }), "") << text;
  }
}

}  // namespace
}  // namespace vm
