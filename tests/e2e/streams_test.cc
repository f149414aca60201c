// Much data through the container's streams: whole, in order, and with every pipe on the way full.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>

#include "base/fd.h"
#include "tests/support/fcvm.h"

namespace tests {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;

// Data that no two places of have in common, so that a lost, doubled or moved piece shows.
std::string noise(std::size_t bytes) {
  std::string data(bytes, '\0');
  std::uint64_t state = 88172645463325252ULL;
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    data.replace(i, 8, reinterpret_cast<const char*>(&state), 8);
  }
  return data;
}

// EXPECT_EQ would print both.
std::string difference(const std::string& got, const std::string& wanted) {
  if (got == wanted) {
    return "";
  }
  const auto at = std::mismatch(
      got.begin(), got.begin() + static_cast<std::ptrdiff_t>(std::min(got.size(), wanted.size())),
      wanted.begin());
  return std::to_string(got.size()) + " bytes instead of " + std::to_string(wanted.size()) +
         ", first difference at " + std::to_string(at.first - got.begin());
}

void read_available(const base::Fd& fd, std::string& into) {
  std::array<char, 65536> chunk;
  const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
  if (n > 0) {
    into.append(chunk.data(), static_cast<std::size_t>(n));
  }
}

TEST(StreamsTest, SixtyFourMiBThroughCatWithBothPipesSaturated) {
  const std::string data = noise(64 * kMiB);
  base::Pipe in = base::make_pipe();
  base::Pipe out = base::make_pipe();
  Command command = fcvm_command(run_args({"--rm", "-i"}, {"cat"}));
  command.fds = {{in.read.get(), STDIN_FILENO}, {out.write.get(), STDOUT_FILENO}};
  Process process(std::move(command));
  in.read.reset();
  out.write.reset();
  base::set_nonblocking(in.write);

  // Nothing is read until nothing more can be written: then every buffer on the way is full, in
  // both directions.
  std::size_t written = 0;
  constexpr std::chrono::milliseconds kFirst = std::chrono::seconds(30);
  constexpr std::chrono::milliseconds kFull = std::chrono::seconds(2);
  while (written < data.size() &&
         base::wait_for(in.write.get(), POLLOUT, written < kMiB / 8 ? kFirst : kFull)) {
    const ssize_t n = ::write(in.write.get(), data.data() + written, data.size() - written);
    ASSERT_GT(n, 0) << process.err();
    written += static_cast<std::size_t>(n);
  }
  ASSERT_LT(written, data.size()) << "something on the way takes any amount of data into memory";

  std::string got;
  got.reserve(data.size());
  while (got.size() < data.size()) {
    std::array<pollfd, 2> polled{
        {{out.read.get(), POLLIN, 0}, {in.write.valid() ? in.write.get() : -1, POLLOUT, 0}}};
    ASSERT_GT(::poll(polled.data(), polled.size(), 30'000), 0)
        << "stalled after " << got.size() << " of " << written << " bytes";
    if (polled[1].revents != 0) {
      const ssize_t n = ::write(in.write.get(), data.data() + written, data.size() - written);
      ASSERT_TRUE(n > 0 || errno == EAGAIN) << process.err();
      written += n > 0 ? static_cast<std::size_t>(n) : 0;
      if (written == data.size()) {
        in.write.reset();
      }
    }
    if (polled[0].revents != 0) {
      const std::size_t before = got.size();
      read_available(out.read, got);
      ASSERT_GT(got.size(), before) << "the output ended early: " << process.err();
    }
  }
  EXPECT_EQ(base::read_to_end(out.read, kMiB), "");
  EXPECT_EQ(difference(got, data), "");
  const Outcome outcome = process.wait();
  EXPECT_EQ(outcome.status, 0) << outcome;
}

TEST(StreamsTest, StalledStdoutDoesNotHoldStderrUp) {
  base::Pipe out = base::make_pipe();
  Command command =
      fcvm_command(run_args({"--rm"}, {"sh", "-c",
                                       "head -c 8388608 /dev/zero & head -c 8388608 /dev/zero >&2; "
                                       "echo end >&2; wait; echo end"}));
  command.fds = {{out.write.get(), STDOUT_FILENO}};
  Process process(std::move(command));
  out.write.reset();
  // stdout is not read at all before all of stderr is there.
  EXPECT_TRUE(process.wait_for_err("end\n"));
  const std::string rest = base::read_to_end(out.read, 16 * kMiB);
  EXPECT_EQ(difference(rest, std::string(8 * kMiB, '\0') + "end\n"), "");
  const Outcome outcome = process.wait();
  EXPECT_EQ(difference(outcome.err, std::string(8 * kMiB, '\0') + "end\n"), "");
  EXPECT_EQ(outcome.status, 0);
}

TEST(StreamsTest, BothOutputsOfOneInputAreWhole) {
  const std::string data = noise(16 * kMiB);
  const Outcome outcome = fcvm(run_args({"--rm", "-i"}, {"tee", "/dev/stderr"}), data);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(difference(outcome.out, data), "");
  EXPECT_EQ(difference(outcome.err, data), "");
}

TEST(StreamsTest, InputNobodyReadsIsDropped) {
  const Outcome outcome = fcvm(run_args({"--rm", "-i"}, {"sh", "-c", "exit 5"}), noise(8 * kMiB));
  EXPECT_EQ(outcome.status, 5) << outcome;
  EXPECT_EQ(outcome.err, "");
}

TEST(StreamsTest, ReaderThatLeavesEndsTheCommandAndNotTheContainer) {
  const std::string name = unique_name("reader");
  const RemoveAtEnd remove(name);
  base::Pipe out = base::make_pipe();
  Command command = fcvm_command(run_args({"--rm", "--name", name}, {"yes"}));
  command.fds = {{out.write.get(), STDOUT_FILENO}};
  Process process(std::move(command));
  out.write.reset();
  std::string begin;
  read_available(out.read, begin);
  EXPECT_EQ(begin.substr(0, 2), "y\n");
  out.read.reset();
  const Outcome outcome = process.wait();
  EXPECT_FALSE(outcome.timed_out) << outcome;
  EXPECT_EQ(outcome.status, 126) << "podman's status for it: " << outcome;
  const Outcome exec = fcvm({"exec", name, "echo", "alive"});
  EXPECT_EQ(exec.out, "alive\n") << exec;
}

TEST(StreamsTest, OutputOfAProcessThatOutlivesTheFirstIsNotWaitedFor) {
  const Outcome outcome = run_container({}, {"sh", "-c", "echo first; sleep 1000 & exit 4"});
  EXPECT_EQ(outcome.out, "first\n");
  EXPECT_EQ(outcome.status, 4) << outcome;
}

}  // namespace
}  // namespace tests
