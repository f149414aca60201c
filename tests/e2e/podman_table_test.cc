// What a podman user types, typed at podman and at fcvm: the same stdout and status, and for errors
// the same meaning. What differs on purpose is in docs/podman-differences.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/fcvm.h"
#include "tests/support/host_podman.h"
#include "tests/support/temp_dir.h"

namespace tests {
namespace {

using testing::HasSubstr;

// One line typed at both. "IMAGE" is the image, "DIR" a folder of the test's.
struct Line {
  std::vector<std::string> words;
  std::optional<std::string> input = std::nullopt;
  // Both refuse with this in their message; what they print on stdout does not matter then.
  std::string refusal = "";
  // Part of the text in docs/podman-differences.md that says why stdout or status differ.
  std::string difference = "";
};

std::string text_of(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  if (from.empty()) return text;
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// Runs lines at both and compares. Ids differ, so the one of the container "box" is written ID.
class Table {
 public:
  Table() : podman_(busybox()) {}
  ~Table() {
    fcvm({"rm", "-f", "box"});
    podman_.call({"rm", "-f", "-t", "0", "box"});
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  // Boots the container both have from here on.
  void start_box(const std::string& script) {
    const std::vector<std::string> words{"run",   "-d", "--name",      "box",     "--network",
                                         "none",  "-e", "COLOUR=blue", "--label", "tier=one",
                                         "IMAGE", "sh", "-c",          script};
    const Outcome ours = fcvm_types(words, std::nullopt);
    const Outcome theirs = podman_types(words, std::nullopt);
    ASSERT_EQ(ours.status, 0) << ours;
    ASSERT_EQ(theirs.status, 0) << theirs;
    our_id_ = ours.out.substr(0, ours.out.find('\n'));
    their_id_ = theirs.out.substr(0, theirs.out.find('\n'));
    wait_until_ready();
  }

  void wait_until_ready() {
    for (int i = 0; i < 600; ++i) {
      if (fcvm({"logs", "box"}).out.find("one") != std::string::npos &&
          podman_.call({"logs", "box"}).out.find("one") != std::string::npos) {
        return;
      }
      ::usleep(50'000);
    }
    ADD_FAILURE() << "the container is not ready";
  }

  void expect_same(const std::vector<Line>& lines) {
    for (const Line& line : lines) expect_same(line);
  }

  int typed() const { return typed_; }
  const TempDir& directory() const { return directory_; }

 private:
  void expect_same(const Line& line) {
    SCOPED_TRACE(text_of(line.words));
    ++typed_;
    const Outcome theirs = podman_types(line.words, line.input);
    const Outcome ours = fcvm_types(line.words, line.input);
    const bool same_out = with_id(ours.out, our_id_) == with_id(theirs.out, their_id_);
    const bool same_status = ours.status == theirs.status;
    if (!line.difference.empty()) {
      EXPECT_FALSE(same_out && same_status) << "it is no difference any more";
      EXPECT_THAT(differences(), HasSubstr(line.difference));
    } else {
      EXPECT_TRUE(same_status) << "fcvm: " << ours << "\npodman: " << theirs;
    }
    if (!line.refusal.empty()) {
      EXPECT_THAT(ours.err, HasSubstr(line.refusal));
      EXPECT_THAT(theirs.err, HasSubstr(line.refusal));
      EXPECT_NE(ours.status, 0);
      EXPECT_NE(theirs.status, 0);
    } else if (line.difference.empty()) {
      EXPECT_TRUE(same_out) << "fcvm: " << ours << "\npodman: " << theirs;
    }
  }

  static std::string with_id(const std::string& text, const std::string& id) {
    return replaced(replaced(text, id, "ID"), id.substr(0, 12), "ID");
  }

  static std::string differences() {
    std::ifstream file(source_dir() / "docs" / "podman-differences.md");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  std::vector<std::string> with_directory(std::vector<std::string> words) const {
    for (auto& word : words) word = replaced(word, "DIR", directory_.path().string());
    return words;
  }

  Outcome podman_types(const std::vector<std::string>& words,
                       const std::optional<std::string>& input) const {
    std::vector<std::string> args = with_directory(words);
    if (args[0] == "run" || args[0] == "create") {
      const auto options = host_podman_run_options();
      args.insert(args.begin() + 1, options.begin(), options.end());
    }
    return podman_.call(args, input);
  }

  Outcome fcvm_types(const std::vector<std::string>& words,
                     const std::optional<std::string>& input) const {
    std::vector<std::string> args = with_directory(words);
    std::replace(args.begin(), args.end(), std::string("IMAGE"), busybox());
    if (args[0] == "run" || args[0] == "create") {
      args.insert(args.begin() + 1, {"--engine", "crun", "--cpus", "1", "--memory", "128m"});
    }
    args.insert(args.begin(), "podman");
    return input ? fcvm(args, *input) : fcvm(args);
  }

  HostPodman podman_;
  TempDir directory_;
  std::string our_id_;
  std::string their_id_;
  int typed_ = 0;
};

// Headings of docs/podman-differences.md.
constexpr const char* kAlways125 = "Failures are always status 125";
constexpr const char* kUntil = "`logs --until` with a duration";

constexpr const char* kBox =
    "trap 'exit 5' TERM; trap 'echo usr1' USR1; echo one; echo two >&2; "
    "while :; do sleep 0.1; done";

std::vector<Line> listing() {
  return {
      {{"ps", "-q"}},
      {{"ps", "-q", "--no-trunc"}},
      {{"ps", "--format", "{{.Names}}"}},
      {{"ps", "--format", "{{.Names}}-{{.Names}}"}},
      {{"ps", "--format", "{{.ID}}"}},
      {{"ps", "-a", "--filter", "name=box", "--format", "{{.Names}}"}},
      {{"ps", "-q", "--filter", "name=nothing"}},
      {{"ps", "--filter", "label=tier=one", "--format", "{{.Names}}"}},
      {{"ps", "--filter", "label=tier=two", "--format", "{{.Names}}"}},
      {{"ps", "--filter", "status=running", "--format", "{{.Names}}"}},
      {{"ps", "--filter", "status=exited", "--format", "{{.Names}}"}},
      {{"container", "ls", "-q"}},
      {{"ps", "--filter", "colour=blue"}, {}, "colour"},
      {{"ps", "--no-such-flag"}, {}, "no-such-flag"},
      {{"inspect", "--format", "{{.State.Status}}", "box"}},
      {{"inspect", "--format", "{{.State.Running}}", "box"}},
      {{"inspect", "-f", "{{.Name}}", "box"}},
      {{"inspect", "--format", "{{.Id}}", "box"}},
      {{"inspect", "--format", "{{json .Config.Cmd}}", "box"}},
      {{"inspect", "--format", "{{index .Config.Labels \"tier\"}}", "box"}},
      {{"inspect", "--format", "{{.State.ExitCode}}", "box"}},
      {{"ps", "--format", "table {{.Names}} {{.ExitCode}}"}},
      {{"ps", "--format", "{{.Labels}} {{len .Names}} {{upper .Names}}"}},
      {{"inspect", "--format", "{{.RestartCount}} {{.State.Health.Status}}", "box"}},
      {{"wait", "--condition", "running", "box"}},
      {{"wait", "--condition", "bogus", "box"}, {}, "bogus"},
      {{"healthcheck", "run", "box"}, {}, "has no "},
      {{"inspect", "nosuch"}, {}, "nosuch"},
      {{"inspect", "--format", "{{.No.Such}}", "box"}, {}, "No"},
  };
}

std::vector<Line> executing() {
  return {
      {{"exec", "box", "echo", "hi"}},
      {{"exec", "box", "sh", "-c", "echo err >&2; exit 9"}},
      {{"exec", "box", "no-such-program"}, {}, "no-such-program"},
      {{"exec", "box", "/etc/passwd"}, {}, "ermission denied"},
      {{"exec", "-w", "/etc", "box", "pwd"}},
      {{"exec", "-w", "/no/such", "box", "pwd"}, {}, "/no/such"},
      {{"exec", "-u", "app", "box", "id"}},
      {{"exec", "-u", "12:34", "box", "id"}},
      {{"exec", "-u", "nosuchuser", "box", "id"}, {}, "nosuchuser", kAlways125},
      {{"exec", "-e", "A=1", "box", "sh", "-c", "echo $A $COLOUR"}},
      {{"exec", "-i", "box", "cat"}, "through\nexec"},
      {{"exec", "box", "cat"}, "not passed"},
      {{"exec", "box", "sh", "-c", "kill -9 $$"}},
      {{"exec", "--privileged", "box", "sh", "-c", "grep CapEff /proc/self/status | wc -l"}},
      {{"exec", "nosuch", "true"}, {}, "nosuch"},
      {{"exec", "box"}, {}, "", kAlways125},
      {{"container", "exec", "box", "hostname", "-f"}},
  };
}

std::vector<Line> logs_and_signals() {
  return {
      {{"logs", "box"}},
      {{"logs", "--tail", "1", "box"}},
      {{"logs", "--tail", "0", "box"}},
      {{"logs", "--since", "1h", "box"}},
      {{"logs", "--until", "1h", "box"}, {}, "", kUntil},
      {{"logs", "nosuch"}, {}, "nosuch"},
      {{"logs", "--tail", "many", "box"}, {}, "many"},
      {{"kill", "-s", "USR1", "box"}},
      {{"kill", "--signal", "NOSUCH", "box"}, {}, "NOSUCH"},
      {{"kill", "nosuch"}, {}, "nosuch"},
      {{"rm", "box"}, {}, "running", kAlways125},
      {{"run", "--name", "box", "IMAGE", "true"}, {}, "box"},
      {{"run", "--name", "-bad-", "IMAGE", "true"}, {}, "[a-zA-Z0-9_.-]*"},
      {{"run", "--memory", "lots", "IMAGE", "true"}, {}, "lots"},
      {{"run", "--no-such-flag", "IMAGE", "true"}, {}, "no-such-flag"},
      {{"run"}},
      {{"run", "--restart", "bogus", "IMAGE", "true"}, {}, "restart policy"},
      {{"run", "--rm", "--restart", "always", "IMAGE", "true"}, {}, "conflicts with --restart"},
      {{"start", "box"}},
      {{"start", "nosuch"}, {}, "nosuch"},
      {{"restart", "nosuch"}, {}, "nosuch"},
      {{"rename", "nosuch", "other"}, {}, "nosuch"},
      {{"stop", "nosuch"}, {}, "nosuch"},
      {{"wait", "nosuch"}, {}, "nosuch"},
      {{"no-such-verb"}},
  };
}

std::vector<Line> ending() {
  return {
      {{"stop", "box"}},
      {{"inspect", "--format", "{{.State.ExitCode}} {{.State.Status}}", "box"}},
      {{"ps", "-q"}},
      {{"ps", "-a", "--format", "{{.Names}}"}},
      {{"ps", "-a", "--filter", "exited=5", "--format", "{{.Names}}"}},
      {{"stop", "box"}},
      {{"wait", "box"}},
      {{"logs", "--tail", "1", "box"}},
      {{"kill", "box"}, {}, "running"},
      {{"exec", "box", "true"}, {}, "running", kAlways125},
      {{"rm", "nosuch"}, {}, "nosuch", kAlways125},
      {{"rm", "-f", "nosuch"}},
      {{"rename", "box", "other"}},
      {{"rename", "other", "box"}},
      {{"rm", "box"}},
      {{"ps", "-aq"}},
      {{"inspect", "box"}, {}, "box"},
  };
}

TEST(PodmanTableTest, SameStdoutStatusAndMeaning) {
  FCVM_REQUIRE(podman);
  Table table;
  ASSERT_NO_FATAL_FAILURE(table.start_box(kBox));
  table.expect_same(listing());
  table.expect_same(executing());
  table.expect_same(logs_and_signals());
  table.expect_same(ending());
  EXPECT_GE(table.typed(), 60);
}

}  // namespace
}  // namespace tests
