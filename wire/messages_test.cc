// The JSON messages of the services: round trips, and what is refused.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "wire/boot_plan.h"
#include "wire/control.h"
#include "wire/message_stream.h"
#include "wire/process.h"

namespace wire {
namespace {

using nlohmann::json;

std::string all_bytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes;
}

BootPlan sample_plan() {
  BootPlan plan;
  plan.host_name = "web1";
  plan.wall_clock_ns = 1'700'000'000'123'456'789;
  plan.entropy = all_bytes();
  plan.machine_id = "0123456789abcdef0123456789abcdef";
  plan.grow_root_to_bytes = 10ULL << 30;
  plan.modules = {"overlay", "virtio-rng"};
  plan.disks = {{"image", "/img", "ext4", true}};
  plan.files = {{"/etc/hosts", "127.0.0.1 localhost\n", 0644}, {"/etc/raw", all_bytes(), 0600}};
  plan.container = {"c1",
                    {"run", "--env=A=" + all_bytes().substr(1), ""},
                    "/run/bundle",
                    R"({"ociVersion":"1.0.0"})",
                    {{"/img/l/2", "/img/l/1"}, "/upper", "/work", "/run/bundle/rootfs"},
                    {{PlanRootEdit::Kind::kAppend, "/etc/passwd", all_bytes(), 0600, 1, 2},
                     {PlanRootEdit::Kind::kBind, "/a/../data", "/run/names/1", 0755, 0, 0}}};
  plan.sysctls = {{"net.ipv4.ping_group_range", "0 0"}};
  plan.log_level = "debug";
  return plan;
}

// What a parser does with an altered message.
using Parser = std::function<void(std::string_view)>;

std::string refusal(const Parser& parse, const std::string& text) {
  try {
    parse(text);
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

// Every key of every object, removed or given another type, is refused by name.
void expect_every_field_is_needed(const Parser& parse, const json& good, const std::string& name) {
  ASSERT_EQ(refusal(parse, good.dump()), "") << name;
  const std::function<void(const json::json_pointer&)> visit = [&](const json::json_pointer& at) {
    const json& value = good[at];
    if (value.is_array()) {
      for (std::size_t i = 0; i < value.size(); ++i) visit(at / i);
    }
    if (!value.is_object()) return;
    for (const auto& [key, field] : value.items()) {
      json without = good;
      without[at].erase(key);
      EXPECT_NE(refusal(parse, without.dump()).find("'" + key + "' is missing"), std::string::npos)
          << name << " without " << (at / key).to_string();
      for (const json& other : {json(nullptr), json(1.5), json("x"), json(true), json(-1),
                                json::array({1}), json::object()}) {
        if (other.type() == field.type() || (other == json(-1) && field.is_number()) ||
            (field.is_number() && other.is_number_integer())) {
          continue;
        }
        json wrong = good;
        wrong[at][key] = other;
        EXPECT_NE(refusal(parse, wrong.dump()), "")
            << name << " with " << (at / key).to_string() << " = " << other;
      }
      visit(at / key);
    }
    json more = good;
    more[at]["from_a_later_version"] = {{"x", 1}};
    EXPECT_EQ(refusal(parse, more.dump()), "") << name << ": unknown keys are ignored";
  };
  visit(json::json_pointer());
  for (const char* text : {"", "null", "[]", "1", "\"x\"", "{", "{}"}) {
    EXPECT_NE(refusal(parse, text), "") << name << " from " << text;
  }
}

// Sets one field and returns the refusal.
std::string with(const Parser& parse, const json& good, const std::string& pointer,
                 const json& value) {
  json altered = good;
  altered[json::json_pointer(pointer)] = value;
  return refusal(parse, altered.dump());
}

TEST(BootPlanTest, SurvivesTheRoundTripWithBinaryContent) {
  const BootPlan plan = sample_plan();
  const BootPlan back = parse_boot_plan(to_json(plan));
  EXPECT_EQ(back.host_name, plan.host_name);
  EXPECT_EQ(back.wall_clock_ns, plan.wall_clock_ns);
  EXPECT_EQ(back.entropy, plan.entropy);
  EXPECT_EQ(back.machine_id, plan.machine_id);
  EXPECT_EQ(back.root_serial, "root");
  EXPECT_EQ(back.grow_root_to_bytes, plan.grow_root_to_bytes);
  EXPECT_EQ(back.modules, plan.modules);
  ASSERT_EQ(back.disks.size(), 1U);
  EXPECT_EQ(back.disks[0].serial, "image");
  EXPECT_EQ(back.disks[0].mount_point, "/img");
  EXPECT_EQ(back.disks[0].fs_type, "ext4");
  EXPECT_TRUE(back.disks[0].read_only);
  ASSERT_EQ(back.files.size(), 2U);
  EXPECT_EQ(back.files[1].content, all_bytes());
  EXPECT_EQ(back.files[1].mode, 0600U);
  EXPECT_EQ(back.container.id, "c1");
  EXPECT_EQ(back.container.podman, plan.container.podman);
  EXPECT_EQ(back.container.bundle, "/run/bundle");
  EXPECT_EQ(back.container.config_json, plan.container.config_json);
  EXPECT_EQ(back.container.root.lower, plan.container.root.lower);
  EXPECT_EQ(back.container.root.upper, "/upper");
  EXPECT_EQ(back.container.root.work, "/work");
  EXPECT_EQ(back.container.root.target, "/run/bundle/rootfs");
  EXPECT_EQ(back.sysctls, plan.sysctls);
  ASSERT_EQ(back.container.root_edits.size(), 2U);
  const PlanRootEdit& edit = back.container.root_edits[0];
  EXPECT_EQ(edit.kind, PlanRootEdit::Kind::kAppend);
  EXPECT_EQ(edit.path, "/etc/passwd");
  EXPECT_EQ(edit.text, all_bytes());
  EXPECT_EQ(edit.mode, 0600U);
  EXPECT_EQ(edit.uid, 1U);
  EXPECT_EQ(edit.gid, 2U);
  EXPECT_EQ(back.container.root_edits[1].kind, PlanRootEdit::Kind::kBind);
  EXPECT_EQ(back.container.root_edits[1].path, "/a/../data");
  EXPECT_EQ(back.log_level, "debug");
}

TEST(BootPlanTest, BinaryContentOfEveryLengthSurvives) {
  for (std::size_t bytes = 0; bytes < 10; ++bytes) {
    BootPlan plan;
    plan.entropy = all_bytes().substr(250 - bytes, bytes);
    EXPECT_EQ(parse_boot_plan(to_json(plan)).entropy, plan.entropy) << bytes;
  }
}

TEST(BootPlanTest, EmptyPlanIsAccepted) {
  EXPECT_NO_THROW(parse_boot_plan(to_json(BootPlan())));
}

TEST(BootPlanTest, EveryFieldIsNeededWithItsType) {
  expect_every_field_is_needed([](std::string_view text) { parse_boot_plan(text); },
                               json::parse(to_json(sample_plan())), "boot plan");
}

TEST(BootPlanTest, ValuesOutOfBoundsAreRefused) {
  const Parser parse = [](std::string_view text) { parse_boot_plan(text); };
  const json good = json::parse(to_json(sample_plan()));
  const std::vector<std::pair<std::string, json>> cases{
      {"/version", 2},
      {"/host_name", std::string(65, 'h')},
      {"/host_name", std::string("a\0b", 3)},
      {"/wall_clock_ns", -1},
      {"/wall_clock_ns", 1ULL << 63},
      {"/entropy", "AAA"},
      {"/entropy", "AAA\n"},
      {"/entropy", "AAB="},
      {"/entropy", "===="},
      {"/entropy", "A==="},
      {"/entropy", std::string(8192, 'A')},
      {"/machine_id", "0123"},
      {"/machine_id", std::string(32, 'x')},
      {"/root_serial", std::string(21, 's')},
      {"/root_serial", ""},
      {"/root_serial", "../../x"},
      {"/modules", std::vector<std::string>(129, "m")},
      {"/modules/0", "../evil"},
      {"/modules/0", ""},
      {"/modules/0", 7},
      {"/disks/0/serial", "a/b"},
      {"/disks/0/mount_point", "img"},
      {"/disks/0/mount_point", "/img/../etc"},
      {"/disks/0/mount_point", ""},
      {"/disks/0", "image"},
      {"/disks/0/fs_type", ""},
      {"/files/0/path", "/a/.."},
      {"/files/0/path", "/" + std::string(4095, 'p')},
      {"/files/0/mode", 010000},
      {"/files/0/mode", -1},
      {"/container/id", "a/b"},
      {"/container/root/lower/0", "relative"},
      {"/container/root/lower/0", json::array()},
      {"/container/root/lower", std::vector<std::string>(501, "/l")},
      {"/container/root/target", ".."},
      {"/container/root_edits/0/kind", "delete"},
      {"/container/root_edits/0/path", "etc"},
      {"/container/root_edits/0/uid", 1LL << 32},
      {"/container/root_edits/1/text", "Li4vZXRj"},  // ../etc
      {"/sysctls/0/name", "../x"},
      {"/sysctls/0/value", std::string(5000, '1')},
      {"/log_level", ""},
  };
  for (const auto& [pointer, value] : cases) {
    EXPECT_NE(with(parse, good, pointer, value), "")
        << pointer << " = " << value.dump().substr(0, 80);
  }
  EXPECT_NE(refusal(parse, std::string(MessageStream::kMaxMessageBytes + 1, ' ')), "");
}

TEST(BootEventTest, SurvivesTheRoundTripAndItsFieldsAreNeeded) {
  const BootEvent event{BootEvent::Kind::kFailed, "mounting root", 1234567, "No such device"};
  const BootEvent back = parse_boot_event(to_json(event));
  EXPECT_EQ(back.kind, event.kind);
  EXPECT_EQ(back.step, event.step);
  EXPECT_EQ(back.since_start_us, event.since_start_us);
  EXPECT_EQ(back.message, event.message);
  expect_every_field_is_needed([](std::string_view text) { parse_boot_event(text); },
                               json::parse(to_json(event)), "boot event");
}

TEST(BootEventTest, TextThatIsNoUtf8OrTooLongIsMadeFit) {
  BootEvent event{BootEvent::Kind::kFailed, "x", 0, "bad \xff byte"};
  EXPECT_EQ(parse_boot_event(to_json(event)).message, "bad \xef\xbf\xbd byte");
  event.message = std::string(100'000, '\xff');
  EXPECT_NO_THROW(parse_boot_event(to_json(event)));
  event.message = std::string(100'000, '\x01');
  EXPECT_NO_THROW(parse_boot_event(to_json(event)));
}

TEST(ProcessMessagesTest, StartSurvivesTheRoundTrip) {
  ProcessStart start;
  start.kind = ProcessStart::Kind::kGuest;
  start.tty = true;
  start.use_stdin = true;
  start.use_stdout = false;
  start.use_stderr = false;
  start.detach = true;
  start.rows = 65535;
  start.columns = 80;
  start.process_json = R"({"args":["sh","-c","echo \"ü\""]})";
  const ProcessStart back = parse_process_start(to_json(start));
  EXPECT_EQ(back.kind, start.kind);
  EXPECT_TRUE(back.tty && back.use_stdin && back.detach);
  EXPECT_FALSE(back.use_stdout || back.use_stderr);
  EXPECT_EQ(back.rows, 65535);
  EXPECT_EQ(back.columns, 80);
  EXPECT_EQ(back.process_json, start.process_json);
}

TEST(ProcessMessagesTest, CommandAndEventSurviveTheRoundTrip) {
  const ProcessCommand command =
      parse_process_command(to_json(ProcessCommand{ProcessCommand::Kind::kResize, 0, 24, 132}));
  EXPECT_EQ(command.kind, ProcessCommand::Kind::kResize);
  EXPECT_EQ(command.rows, 24);
  EXPECT_EQ(command.columns, 132);
  const ProcessEvent event =
      parse_process_event(to_json(ProcessEvent{ProcessEvent::Kind::kExited, 7, 0, 9, true, "why"}));
  EXPECT_EQ(event.kind, ProcessEvent::Kind::kExited);
  EXPECT_EQ(event.pid, 7);
  EXPECT_EQ(event.signal, 9);
  EXPECT_TRUE(event.oom_killed);
  EXPECT_EQ(event.message, "why");
}

TEST(ProcessMessagesTest, EveryFieldIsNeededWithItsType) {
  expect_every_field_is_needed([](std::string_view text) { parse_process_start(text); },
                               json::parse(to_json(ProcessStart())), "process start");
  expect_every_field_is_needed(
      [](std::string_view text) { parse_process_command(text); },
      json::parse(to_json(ProcessCommand{ProcessCommand::Kind::kSignal, 15, 0, 0})),
      "process command");
  expect_every_field_is_needed([](std::string_view text) { parse_process_event(text); },
                               json::parse(to_json(ProcessEvent())), "process event");
}

TEST(ProcessMessagesTest, ValuesOutOfBoundsAreRefused) {
  const Parser start = [](std::string_view text) { parse_process_start(text); };
  const Parser command = [](std::string_view text) { parse_process_command(text); };
  const Parser event = [](std::string_view text) { parse_process_event(text); };
  const json good_start = json::parse(to_json(ProcessStart()));
  const json good_command =
      json::parse(to_json(ProcessCommand{ProcessCommand::Kind::kSignal, 15, 0, 0}));
  const json good_event = json::parse(to_json(ProcessEvent()));
  EXPECT_NE(with(start, good_start, "/kind", "container2"), "");
  EXPECT_NE(with(start, good_start, "/rows", 65536), "");
  EXPECT_NE(with(start, good_start, "/rows", -1), "");
  EXPECT_NE(with(command, good_command, "/signal", 0), "");
  EXPECT_NE(with(command, good_command, "/signal", 65), "");
  EXPECT_NE(with(command, good_command, "/signal", 15.0), "");
  EXPECT_NE(with(event, good_event, "/code", 256), "");
  EXPECT_NE(with(event, good_event, "/pid", -1), "");
  EXPECT_NE(with(event, good_event, "/pid", 1LL << 40), "");
  EXPECT_NE(with(event, good_event, "/message", std::string(17'000, 'm')), "");
}

TEST(ControlMessagesTest, IdentityOfACloneSurvivesAndMalformedOnesAreRefused) {
  ControlRequest request;
  request.op = ControlRequest::Op::kIdentify;
  request.identity = GuestIdentity{"clone",
                                   std::string(32, 'a'),
                                   std::string("\0\xff random", 9),
                                   {{"/run/fcvm/files/hosts", "127.0.0.1 clone\n", 0644}}};
  const ControlRequest back = parse_control_request(to_json(request));
  ASSERT_TRUE(back.identity.has_value());
  EXPECT_EQ(back.identity->host_name, "clone");
  EXPECT_EQ(back.identity->machine_id, request.identity->machine_id);
  EXPECT_EQ(back.identity->entropy, request.identity->entropy);
  ASSERT_EQ(back.identity->files.size(), 1U);
  EXPECT_EQ(back.identity->files[0].content, "127.0.0.1 clone\n");

  const json good = json::parse(to_json(request));
  const auto refused = [&](const char* field, const json& value) {
    json bad = good;
    bad["identity"][field] = value;
    EXPECT_THROW(parse_control_request(bad.dump()), base::Error) << field;
  };
  refused("machine_id", "short");
  refused("machine_id", std::string(32, 'g'));
  refused("host_name", std::string(65, 'h'));
  refused("entropy", "not base64!");
  refused("files", json::array({{{"path", "relative"}, {"content", ""}}}));
  json without = good;
  without.erase("identity");
  EXPECT_THROW(parse_control_request(without.dump()), base::Error);
}

TEST(ControlMessagesTest, SurviveTheRoundTripAndTheirFieldsAreNeeded) {
  const ControlRequest request{~0ULL, ControlRequest::Op::kShutdown, 15, true, 10'000, 99};
  const ControlRequest back = parse_control_request(to_json(request));
  EXPECT_EQ(back.id, ~0ULL);
  EXPECT_EQ(back.op, request.op);
  EXPECT_EQ(back.signal, 15);
  EXPECT_TRUE(back.all);
  EXPECT_EQ(back.timeout_ms, 10'000);
  EXPECT_EQ(back.wall_clock_ns, 99);
  expect_every_field_is_needed([](std::string_view text) { parse_control_request(text); },
                               json::parse(to_json(request)), "control request");

  const ControlReply reply{3, false, "no", 1, 2, 3, 4, 5, 6};
  const ControlReply reply_back = parse_control_reply(to_json(reply));
  EXPECT_EQ(reply_back.id, 3U);
  EXPECT_FALSE(reply_back.ok);
  EXPECT_EQ(reply_back.error, "no");
  EXPECT_EQ(reply_back.mem_total_kib, 1U);
  EXPECT_EQ(reply_back.mem_available_kib, 2U);
  EXPECT_EQ(reply_back.agent_private_kib, 3U);
  EXPECT_EQ(reply_back.processes, 4U);
  EXPECT_EQ(reply_back.container_cpu_us, 5U);
  EXPECT_EQ(reply_back.container_mem_bytes, 6U);
  expect_every_field_is_needed([](std::string_view text) { parse_control_reply(text); },
                               json::parse(to_json(reply)), "control reply");
}

TEST(ControlMessagesTest, NumbersThatDoNotFitAreRefusedNotWrapped) {
  const Parser parse = [](std::string_view text) { parse_control_request(text); };
  const json good = json::parse(to_json(ControlRequest()));
  EXPECT_NE(with(parse, good, "/timeout_ms", ~0ULL), "");
  EXPECT_NE(with(parse, good, "/id", -1), "");
  EXPECT_NE(with(parse, good, "/signal", 1LL << 32), "");
  std::string huge = good.dump();
  huge.replace(huge.find("\"id\":0"), 6, "\"id\":1e400");
  EXPECT_NE(refusal(parse, huge), "");
}

}  // namespace
}  // namespace wire
