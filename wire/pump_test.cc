#include "wire/pump.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>

#include "base/files.h"
#include "tests/support/temp_dir.h"
#include "wire/detail/test_link.h"

namespace wire {
namespace {

using test::LinkPair;
using test::Recorder;

// A pump on the host's side of a link; the guest's side is the test.
class StreamPumpTest : public testing::Test {
 protected:
  StreamPumpTest() { std::signal(SIGPIPE, SIG_IGN); }

  void start(StreamPump::Options options) {
    StreamPump::Handler handler;
    handler.on_source_done = [this] { ++source_done_; };
    handler.on_sink_done = [this] { ++sink_done_; };
    handler.on_source_abandoned = [this] { ++source_abandoned_; };
    handler.on_reset = [this](ResetReason why) {
      ++resets_;
      reason_ = why;
    };
    auto stream = pair_.host->open("stdio", "");
    pump_ = std::make_unique<StreamPump>(pair_.loop, std::move(stream), std::move(options),
                                         std::move(handler));
    ASSERT_TRUE(pair_.until([&] { return !pair_.at_guest.arrivals.empty(); }));
  }
  Recorder& peer() { return *pair_.at_guest.arrivals.at(0).recorder; }

  static base::Fd blocking_copy(const base::Fd& fd) { return base::duplicate(fd); }
  static bool is_nonblocking(const base::Fd& fd) {
    return (::fcntl(fd.get(), F_GETFL) & O_NONBLOCK) != 0;
  }
  // Reads what is there now.
  static std::string drain(const base::Fd& fd) {
    std::string out;
    char buffer[65536];
    base::set_nonblocking(fd);
    for (ssize_t n; (n = ::read(fd.get(), buffer, sizeof buffer)) > 0;) {
      out.append(buffer, static_cast<std::size_t>(n));
    }
    return out;
  }

  LinkPair pair_;
  std::unique_ptr<StreamPump> pump_;
  int source_done_ = 0;
  int sink_done_ = 0;
  int source_abandoned_ = 0;
  int resets_ = 0;
  ResetReason reason_ = ResetReason::kCancelled;
};

TEST_F(StreamPumpTest, PipesCarryBothDirectionsAndTheirEnds) {
  auto in = base::make_pipe();
  auto out = base::make_pipe();
  start({std::move(in.read), std::move(out.write), true, {}, false});
  base::write_all(in.write, std::string("from the process"));
  in.write.reset();
  ASSERT_TRUE(pair_.until([&] { return peer().eof; }));
  EXPECT_EQ(peer().data, "from the process");
  EXPECT_EQ(source_done_, 1);
  EXPECT_TRUE(pump_->source_done());
  peer().stream->write("to the process");
  peer().stream->shutdown_write();
  ASSERT_TRUE(pair_.until([&] { return sink_done_ == 1; }));
  EXPECT_EQ(base::read_to_end(out.read, 100), "to the process") << "the sink was not closed";
  EXPECT_TRUE(pump_->sink_done());
  EXPECT_EQ(resets_, 0);
}

TEST_F(StreamPumpTest, MegabytesPassThroughPipesUnchanged) {
  auto in = base::make_pipe(O_NONBLOCK);
  auto out = base::make_pipe();
  start({std::move(in.read), std::move(out.write), true, {}, false});
  constexpr std::size_t kTotal = 8 << 20;
  std::string sent;
  std::string received;
  std::string text(kTotal, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  std::size_t to_pipe = 0;
  std::size_t to_peer = 0;
  ASSERT_TRUE(pair_.until([&] {
    if (to_pipe < kTotal) {
      const ssize_t n = ::write(in.write.get(), text.data() + to_pipe, kTotal - to_pipe);
      if (n > 0) to_pipe += static_cast<std::size_t>(n);
      if (to_pipe == kTotal) in.write.reset();
    }
    if (to_peer < kTotal) {
      const std::size_t n = std::min(kTotal - to_peer, peer().stream->writable());
      peer().stream->write(std::string_view(text).substr(to_peer, n));
      to_peer += n;
      if (to_peer == kTotal) peer().stream->shutdown_write();
    }
    received += drain(out.read);
    return peer().eof && sink_done_ == 1;
  }));
  received += drain(out.read);
  EXPECT_TRUE(peer().data == text);
  EXPECT_TRUE(received == text);
}

TEST_F(StreamPumpTest, FullSinkHoldsThePeerAtOneWindowWithoutSpinning) {
  auto out = base::make_pipe();
  start({base::Fd(), std::move(out.write), true, {}, false});
  const std::size_t pipe_bytes = static_cast<std::size_t>(::fcntl(out.read.get(), F_GETPIPE_SZ));
  std::size_t sent = 0;
  for (int i = 0; i < 200; ++i) {
    const std::size_t bytes = peer().stream->writable();
    peer().stream->write(std::string(bytes, 'x'));
    sent += bytes;
    pair_.loop.run_once(std::chrono::milliseconds(0));
  }
  EXPECT_LE(sent, kStreamWindowBytes + pipe_bytes);
  int rounds = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  while (std::chrono::steady_clock::now() < end) {
    pair_.loop.run_once(std::chrono::milliseconds(50));
    ++rounds;
  }
  EXPECT_LT(rounds, 10);
  std::size_t received = 0;
  ASSERT_TRUE(pair_.until([&] {
    received += drain(out.read).size();
    return received == sent;
  }));
}

TEST_F(StreamPumpTest, HungUpSourceWithoutCreditDoesNotSpin) {
  pair_.at_guest.consuming = false;
  auto in = base::make_pipe(O_NONBLOCK);
  ::fcntl(in.write.get(), F_SETPIPE_SZ, 1 << 20);
  start({std::move(in.read), base::Fd(), true, {}, false});
  const std::string text(600'000, 'x');
  ASSERT_EQ(::write(in.write.get(), text.data(), text.size()), 600'000);
  in.write.reset();
  ASSERT_TRUE(pair_.until([&] { return peer().data.size() == kStreamWindowBytes; }));
  pair_.settle();
  int rounds = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  while (std::chrono::steady_clock::now() < end) {
    pair_.loop.run_once(std::chrono::milliseconds(50));
    ++rounds;
  }
  EXPECT_LT(rounds, 10);
  peer().consuming = true;
  peer().stream->consume(kStreamWindowBytes);
  ASSERT_TRUE(pair_.until([&] { return peer().eof; }));
  EXPECT_EQ(peer().data.size(), 600'000U);
}

TEST_F(StreamPumpTest, SinkWhoseReaderHasGoneIsDoneAndTheRestIsLost) {
  auto out = base::make_pipe();
  start({base::Fd(), std::move(out.write), true, {}, false});
  out.read.reset();
  peer().stream->write("x");
  ASSERT_TRUE(pair_.until([&] { return sink_done_ == 1; }));
  std::size_t sent = 0;
  ASSERT_TRUE(pair_.until([&] {
    const std::size_t bytes = peer().stream->writable();
    peer().stream->write(std::string(bytes, 'x'));
    sent += bytes;
    return sent > 4 * kStreamWindowBytes;
  })) << "a dead sink must not stop the peer";
  peer().stream->shutdown_write();
  pair_.settle();
  EXPECT_EQ(sink_done_, 1);
  EXPECT_EQ(resets_, 0);
}

TEST_F(StreamPumpTest, MissingSourceAndSinkEndAtOnceAndSwallowEverything) {
  start({});
  ASSERT_TRUE(pair_.until([&] { return peer().eof && source_done_ == 1; }));
  peer().stream->write("lost");
  peer().stream->shutdown_write();
  ASSERT_TRUE(pair_.until([&] { return sink_done_ == 1; }));
}

TEST_F(StreamPumpTest, RegularFilesThatEpollRefusesWork) {
  tests::TempDir dir;
  const std::string content(300'000, 'f');
  const auto source = dir.write("in", content);
  base::Fd sink = base::open_file((dir / "out").string(), O_WRONLY | O_CREAT, 0600);
  start({base::open_file(source.string(), O_RDONLY), std::move(sink), true, {}, false});
  ASSERT_TRUE(pair_.until([&] { return peer().eof; }));
  EXPECT_EQ(peer().data, content);
  peer().stream->write("written");
  peer().stream->shutdown_write();
  ASSERT_TRUE(pair_.until([&] { return sink_done_ == 1; }));
  EXPECT_EQ(tests::read_file(dir / "out"), "written");
}

TEST_F(StreamPumpTest, DevNullAsSourceEndsAtOnce) {
  start({base::open_file("/dev/null", O_RDONLY),
         base::open_file("/dev/null", O_WRONLY),
         false,
         {},
         false});
  ASSERT_TRUE(pair_.until([&] { return peer().eof; }));
  peer().stream->write("x");
  peer().stream->shutdown_write();
  ASSERT_TRUE(pair_.until([&] { return sink_done_ == 1; }));
}

struct Pty {
  base::Fd master;
  base::Fd slave;
  Pty() : master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    ::grantpt(master.get());
    ::unlockpt(master.get());
    slave = base::open_file(::ptsname(master.get()), O_RDWR | O_NOCTTY);
    termios settings{};
    ::tcgetattr(slave.get(), &settings);
    ::cfmakeraw(&settings);
    ::tcsetattr(slave.get(), TCSANOW, &settings);
  }
};

TEST_F(StreamPumpTest, TerminalWhoseLastUserLeftEndsTheSource) {
  Pty pty;
  start({base::duplicate(pty.master), base::duplicate(pty.master), true, {}, true});
  base::write_all(pty.slave, std::string("prompt"));
  peer().stream->write("typed");
  ASSERT_TRUE(pair_.until([&] { return peer().data == "prompt"; }));
  std::string typed(5, '\0');
  base::read_exactly(pty.slave, std::as_writable_bytes(std::span(typed)));
  EXPECT_EQ(typed, "typed");
  base::write_all(pty.slave, std::string(" bye"));
  pty.slave.reset();
  ASSERT_TRUE(pair_.until([&] { return peer().eof && source_done_ == 1; }));
  EXPECT_EQ(peer().data, "prompt bye");
}

TEST_F(StreamPumpTest, SharedDescriptorsKeepTheirFlagsAndNeverBlockTheLoop) {
  auto in = base::make_pipe();
  auto out = base::make_pipe();
  start({blocking_copy(in.read), blocking_copy(out.write), false, {}, false});
  EXPECT_FALSE(is_nonblocking(in.read));
  EXPECT_FALSE(is_nonblocking(out.write));
  std::size_t sent = 0;
  for (int i = 0; i < 200; ++i) {
    const std::size_t bytes = peer().stream->writable();
    peer().stream->write(std::string(bytes, 'x'));
    sent += bytes;
    pair_.loop.run_once(std::chrono::milliseconds(0));
  }
  base::write_all(in.write, std::string("input"));
  ASSERT_TRUE(pair_.until([&] { return peer().data == "input"; })) << "blocked in a full pipe";
  std::size_t received = 0;
  ASSERT_TRUE(pair_.until([&] {
    received += drain(out.read).size();
    return received == sent;
  }));
  EXPECT_FALSE(is_nonblocking(in.read));
  EXPECT_FALSE(is_nonblocking(out.write));
}

TEST_F(StreamPumpTest, SharedSocketsWork) {
  auto sockets = base::make_socket_pair(SOCK_STREAM);
  start({base::duplicate(sockets.first), base::duplicate(sockets.first), false, {}, false});
  base::write_all(sockets.second, std::string("ping"));
  peer().stream->write("pong");
  ASSERT_TRUE(pair_.until([&] { return peer().data == "ping"; }));
  std::string answer(4, '\0');
  base::read_exactly(sockets.second, std::as_writable_bytes(std::span(answer)));
  EXPECT_EQ(answer, "pong");
  EXPECT_FALSE(is_nonblocking(sockets.first));
}

TEST_F(StreamPumpTest, FinishSourceTakesWhatIsThereAlthoughAWriterRemains) {
  auto in = base::make_pipe(O_NONBLOCK);
  ::fcntl(in.write.get(), F_SETPIPE_SZ, 1 << 20);
  pair_.at_guest.consuming = false;
  start({std::move(in.read), base::Fd(), true, {}, false});
  const std::string text(500'000, 'x');
  ASSERT_EQ(::write(in.write.get(), text.data(), text.size()), 500'000);
  ASSERT_TRUE(pair_.until([&] { return peer().data.size() == kStreamWindowBytes; }));
  pump_->finish_source();
  ASSERT_GT(::write(in.write.get(), "later", 5), 0) << "a grandchild goes on writing";
  EXPECT_EQ(source_done_, 0) << "told inside finish_source()";
  peer().consuming = true;
  peer().stream->consume(kStreamWindowBytes);
  ASSERT_TRUE(pair_.until([&] { return peer().eof && source_done_ == 1; }));
  EXPECT_EQ(peer().data.size(), 500'000U);
}

TEST_F(StreamPumpTest, FinishSourceOfAnEmptyPipeEndsIt) {
  auto in = base::make_pipe();
  start({std::move(in.read), base::Fd(), true, {}, false});
  pump_->finish_source();
  ASSERT_TRUE(pair_.until([&] { return peer().eof && source_done_ == 1; }));
}

TEST_F(StreamPumpTest, FinishSourceOfATerminalEndsIt) {
  Pty pty;
  start({base::duplicate(pty.master), base::Fd(), true, {}, true});
  base::write_all(pty.slave, std::string("tail"));
  pump_->finish_source();
  ASSERT_TRUE(pair_.until([&] { return peer().eof && source_done_ == 1; }));
  EXPECT_EQ(peer().data, "tail");
}

TEST_F(StreamPumpTest, FilterSeesWhatIsReadAndCutsItOff) {
  auto in = base::make_pipe();
  std::string seen;
  const auto filter = [&seen](std::string_view data) {
    seen += data;
    const auto at = data.find('!');
    return at == std::string_view::npos ? data.size() : at;
  };
  start({std::move(in.read), base::Fd(), true, filter, false});
  base::write_all(in.write, std::string("one "));
  ASSERT_TRUE(pair_.until([&] { return peer().data == "one "; }));
  base::write_all(in.write, std::string("two!three"));
  ASSERT_TRUE(pair_.until([&] { return peer().data == "one two"; }));
  base::write_all(in.write, std::string("four"));
  pair_.settle();
  EXPECT_EQ(seen, "one two!three");
  EXPECT_EQ(peer().data, "one two");
  EXPECT_FALSE(peer().eof);
  EXPECT_EQ(source_done_, 0);
}

TEST_F(StreamPumpTest, ResetClosesBothDescriptorsAfterWhatCameBefore) {
  auto in = base::make_pipe();
  auto out = base::make_pipe();
  start({std::move(in.read), std::move(out.write), true, {}, false});
  const std::string text(150'000, 'x');  // more than the pipe takes
  peer().stream->write(text);
  peer().stream->shutdown_write();
  ASSERT_TRUE(pair_.until([&] { return peer().stream->writable() == 0; }));
  pair_.settle();
  peer().stream.reset();
  std::string received;
  ASSERT_TRUE(pair_.until([&] {
    received += drain(out.read);
    return resets_ == 1;
  }));
  received += drain(out.read);
  EXPECT_EQ(received.size(), text.size());
  EXPECT_EQ(sink_done_, 1);
  EXPECT_EQ(source_done_, 0);
  EXPECT_EQ(::write(in.write.get(), "x", 1), -1) << "the source was not closed";
  EXPECT_EQ(reason_, ResetReason::kCancelled);
}

TEST_F(StreamPumpTest, CloseSinkWritesWhatIsOnItsWayAndLosesTheRest) {
  auto out = base::make_pipe();
  start({base::Fd(), std::move(out.write), true, {}, false});
  const std::string text(150'000, 'x');  // more than the pipe takes
  peer().stream->write(text);
  pair_.settle();
  pump_->close_sink();
  EXPECT_EQ(sink_done_, 0);
  std::string received;
  ASSERT_TRUE(pair_.until([&] {
    received += drain(out.read);
    return sink_done_ == 1;
  }));
  received += drain(out.read);
  EXPECT_EQ(received.size(), text.size());
  EXPECT_EQ(pump_->sink_error(), 0);
  for (int i = 0; i < 20; ++i) {
    peer().stream->write(std::string(peer().stream->writable(), 'y'));
    pair_.settle();
  }
  EXPECT_GT(peer().stream->writable(), 0U) << "what is lost must still be granted again";
  EXPECT_EQ(drain(out.read), "");
}

TEST_F(StreamPumpTest, LostSinkIsToldFromAFinishedOne) {
  auto out = base::make_pipe();
  start({base::Fd(), std::move(out.write), true, {}, false});
  out.read.reset();
  peer().stream->write("x");
  ASSERT_TRUE(pair_.until([&] { return sink_done_ == 1; }));
  EXPECT_EQ(pump_->sink_error(), EPIPE);
}

TEST_F(StreamPumpTest, SinkWithoutSpaceSaysSo) {
  start({base::Fd(), base::open_file("/dev/full", O_WRONLY), false, {}, false});
  peer().stream->write("x");
  ASSERT_TRUE(pair_.until([&] { return sink_done_ == 1; }));
  EXPECT_EQ(pump_->sink_error(), ENOSPC);
}

TEST_F(StreamPumpTest, ResetTellsOfAnAbandonedSourceAtOnceAlthoughTheSinkIsStillBusy) {
  auto in = base::make_pipe();
  auto out = base::make_pipe();
  start({std::move(in.read), std::move(out.write), true, {}, false});
  peer().stream->write(std::string(150'000, 'x'));
  peer().stream->shutdown_write();
  pair_.settle();
  peer().stream.reset();
  ASSERT_TRUE(pair_.until([&] { return source_abandoned_ == 1; }));
  EXPECT_EQ(resets_, 0);
  ASSERT_TRUE(pair_.until([&] {
    drain(out.read);
    return resets_ == 1;
  }));
  EXPECT_EQ(source_abandoned_, 1);
}

TEST_F(StreamPumpTest, CallbacksMayDestroyThePump) {
  for (const int which : {0, 1, 2}) {
    LinkPair pair;
    auto in = base::make_pipe();
    auto out = base::make_pipe();
    std::unique_ptr<StreamPump> pump;
    bool called = false;
    const auto destroy = [&] {
      called = true;
      pump.reset();
    };
    StreamPump::Handler handler;
    if (which == 0) handler.on_source_done = destroy;
    if (which == 1) handler.on_sink_done = destroy;
    if (which == 2) handler.on_reset = [&](ResetReason) { destroy(); };
    pump = std::make_unique<StreamPump>(
        pair.loop, pair.host->open("stdio", ""),
        StreamPump::Options{std::move(in.read), std::move(out.write), true, {}, false},
        std::move(handler));
    ASSERT_TRUE(pair.until([&] { return !pair.at_guest.arrivals.empty(); }));
    auto& peer = *pair.at_guest.arrivals[0].recorder;
    if (which == 0) in.write.reset();
    if (which == 1) peer.stream->shutdown_write();
    if (which == 2) peer.stream.reset();
    ASSERT_TRUE(pair.until([&] { return called; })) << which;
    pair.settle();
  }
}

}  // namespace
}  // namespace wire
