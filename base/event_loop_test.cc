#include "base/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace base {
namespace {

using std::chrono::milliseconds;
constexpr auto kPatience = std::chrono::seconds(10);

TEST(EventLoopTest, TimersRunInTheOrderOfTheirTimes) {
  EventLoop loop;
  std::string order;
  const auto now = EventLoop::Clock::now();
  const auto c = loop.at(now + milliseconds(20), [&] { order += 'c'; });
  const auto a = loop.at(now + milliseconds(5), [&] { order += 'a'; });
  const auto b1 = loop.at(now + milliseconds(10), [&] { order += '1'; });
  const auto b2 = loop.at(now + milliseconds(10), [&] { order += '2'; });
  EXPECT_TRUE(loop.run_until([&] { return order.size() == 4; }, kPatience));
  EXPECT_EQ(order, "a12c");
}

TEST(EventLoopTest, TimerIsNeverEarlyAndDroppedOnesDoNotRun) {
  EventLoop loop;
  bool ran = false;
  bool dropped_ran = false;
  const auto start = EventLoop::Clock::now();
  const auto timer = loop.after(milliseconds(30), [&] { ran = true; });
  {
    const auto dropped = loop.after(milliseconds(1), [&] { dropped_ran = true; });
  }
  EXPECT_TRUE(loop.run_until([&] { return ran; }, kPatience));
  EXPECT_GE(EventLoop::Clock::now() - start, milliseconds(30));
  EXPECT_FALSE(dropped_ran);
}

TEST(EventLoopTest, TimerBeyondTheEndOfTimeNeverRuns) {
  EventLoop loop;
  bool ran = false;
  const auto timer = loop.after(EventLoop::Clock::duration::max(), [&] { ran = true; });
  EXPECT_FALSE(loop.run_until([&] { return ran; }, milliseconds(20)));
}

TEST(EventLoopTest, TimerMayDropAnotherDueOneAndItself) {
  EventLoop loop;
  int ran = 0;
  EventLoop::Registration first;
  EventLoop::Registration second;
  const auto when = EventLoop::Clock::now() + milliseconds(1);
  first = loop.at(when, [&] {
    ++ran;
    first.reset();
    second.reset();
  });
  second = loop.at(when, [&] { ++ran; });
  loop.run_until([] { return false; }, milliseconds(30));
  EXPECT_EQ(ran, 1);
}

TEST(EventLoopTest, WatchIsLevelTriggered) {
  EventLoop loop;
  const Pipe pipe = make_pipe();
  int calls = 0;
  const auto watch = loop.watch(pipe.read.get(), EPOLLIN, [&](std::uint32_t events) {
    EXPECT_TRUE(events & EPOLLIN);
    ++calls;
  });
  write_all(pipe.write, std::string_view("x"));
  EXPECT_TRUE(loop.run_until([&] { return calls == 3; }, kPatience));
}

TEST(EventLoopTest, PausedWatchIsSilentUntilResumed) {
  EventLoop loop;
  const Pipe pipe = make_pipe();
  int calls = 0;
  const auto watch = loop.watch(pipe.read.get(), EPOLLIN, [&](std::uint32_t) { ++calls; });
  loop.set_events(watch, 0);
  write_all(pipe.write, std::string_view("x"));
  loop.run_once(milliseconds(0));
  EXPECT_EQ(calls, 0);
  loop.set_events(watch, EPOLLIN);
  EXPECT_TRUE(loop.run_until([&] { return calls == 1; }, kPatience));
}

TEST(EventLoopTest, CallbackMayRemoveItselfAndOthersOfTheSameRound) {
  EventLoop loop;
  const Pipe one = make_pipe();
  const Pipe two = make_pipe();
  write_all(one.write, std::string_view("x"));
  write_all(two.write, std::string_view("x"));
  int calls = 0;
  EventLoop::Registration first;
  EventLoop::Registration second;
  const auto callback = [&](std::uint32_t) {
    ++calls;
    first.reset();
    second.reset();
  };
  first = loop.watch(one.read.get(), EPOLLIN, callback);
  second = loop.watch(two.read.get(), EPOLLIN, callback);
  for (int i = 0; i < 5; ++i) loop.run_once(milliseconds(0));
  EXPECT_EQ(calls, 1);
}

TEST(EventLoopTest, RemovedWatchMayBeReplacedForTheSameDescriptorInsideItsCallback) {
  EventLoop loop;
  const Pipe pipe = make_pipe();
  write_all(pipe.write, std::string_view("x"));
  std::string calls;
  EventLoop::Registration watch;
  watch = loop.watch(pipe.read.get(), EPOLLIN, [&](std::uint32_t) {
    calls += '1';
    watch.reset();
    watch = loop.watch(pipe.read.get(), EPOLLIN, [&](std::uint32_t) { calls += '2'; });
  });
  EXPECT_TRUE(loop.run_until([&] { return calls.size() == 3; }, kPatience));
  EXPECT_EQ(calls, "122");
}

TEST(EventLoopTest, RegularFilesAreAlwaysReadyAndCanBePaused) {
  EventLoop loop;
  const tests::TempDir dir;
  const Fd file = open_file(dir.write("f", "content").string(), O_RDONLY);
  int calls = 0;
  auto watch = loop.watch(file.get(), EPOLLIN, [&](std::uint32_t events) {
    EXPECT_EQ(events, static_cast<std::uint32_t>(EPOLLIN));
    ++calls;
  });
  EXPECT_TRUE(loop.run_until([&] { return calls == 2; }, kPatience));
  loop.set_events(watch, 0);
  const auto start = EventLoop::Clock::now();
  loop.run_once(milliseconds(20));
  EXPECT_EQ(calls, 2);
  EXPECT_GE(EventLoop::Clock::now() - start, milliseconds(19)) << "a paused file keeps it busy";
  loop.set_events(watch, EPOLLIN);
  EXPECT_TRUE(loop.run_until([&] { return calls == 3; }, kPatience));
  watch.reset();
  loop.run_once(milliseconds(0));
  EXPECT_EQ(calls, 3);
}

TEST(EventLoopTest, PostFromAnotherThreadWakesTheLoop) {
  EventLoop loop;
  std::atomic<int> posted{0};
  int ran = 0;
  std::thread poster([&] {
    for (int i = 0; i < 1000; ++i) {
      loop.post([&ran] { ++ran; });
      ++posted;
    }
  });
  EXPECT_TRUE(loop.run_until([&] { return ran == 1000; }, kPatience));
  poster.join();
  EXPECT_EQ(posted, 1000);
}

TEST(EventLoopTest, WhatIsPostedByAPostedCallbackRunsInTheNextRound) {
  EventLoop loop;
  std::string order;
  loop.post([&] {
    order += '1';
    loop.post([&] { order += '3'; });
  });
  loop.post([&] { order += '2'; });
  loop.run_once(milliseconds(0));
  EXPECT_EQ(order, "12");
  loop.run_once(milliseconds(1000));
  EXPECT_EQ(order, "123");
}

TEST(EventLoopTest, ExceptionEndsTheRoundButLosesNoOtherCallback) {
  EventLoop loop;
  std::string order;
  loop.post([&] { order += '1'; });
  loop.post([] { throw std::runtime_error("x"); });
  loop.post([&] { order += '2'; });
  EXPECT_THROW(loop.run(), std::runtime_error);
  EXPECT_EQ(order, "1");
  loop.run_once(milliseconds(1000));
  EXPECT_EQ(order, "12");
}

TEST(EventLoopTest, StopEndsRun) {
  EventLoop loop;
  loop.post([&] { loop.stop(); });
  loop.run();
  const auto timer = loop.after(milliseconds(1), [&] { loop.stop(); });
  loop.run();
}

TEST(EventLoopTest, RunUntilGivesUpInTime) {
  EventLoop loop;
  const auto start = EventLoop::Clock::now();
  EXPECT_FALSE(loop.run_until([] { return false; }, milliseconds(20)));
  EXPECT_GE(EventLoop::Clock::now() - start, milliseconds(20));
}

TEST(EventLoopTest, DescriptorThatIsNotOpenIsRefused) {
  EventLoop loop;
  EXPECT_THROW((void)loop.watch(1000, EPOLLIN, [](std::uint32_t) {}), Error);
}

}  // namespace
}  // namespace base
