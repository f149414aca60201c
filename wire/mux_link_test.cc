#include "wire/mux_link.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "wire/detail/test_link.h"

namespace wire {
namespace {

using test::LinkPair;
using test::Recorder;

// A walk through a table of pseudo-random bytes, from a place of its own: cheap to make and to
// compare, and bytes that are lost, doubled or another stream's do not match.
class Pattern {
 public:
  explicit Pattern(std::uint64_t seed) : at_(seed * 104'729 % table().size()) {}
  std::string next(std::size_t bytes) {
    std::string out;
    while (out.size() < bytes) {
      const std::size_t piece = std::min(bytes - out.size(), table().size() - at_);
      out.append(table(), at_, piece);
      at_ = (at_ + piece) % table().size();
    }
    return out;
  }

 private:
  static const std::string& table() {
    static const std::string bytes = [] {
      std::mt19937 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same in every run
      std::string out(1'000'003, '\0');
      for (char& c : out) c = static_cast<char>(random());
      return out;
    }();
    return bytes;
  }
  std::size_t at_;
};

// Sends `total` bytes of a pattern as credit allows, and checks those of the peer.
struct Traffic {
  std::unique_ptr<Stream> stream;
  Pattern out;
  Pattern in;
  std::size_t total;
  std::size_t sent = 0;
  std::size_t received = 0;
  bool matches = true;
  bool eof = false;
  int resets = 0;

  Traffic(std::unique_ptr<Stream> s, std::uint64_t out_seed, std::uint64_t in_seed,
          std::size_t bytes)
      : stream(std::move(s)), out(out_seed), in(in_seed), total(bytes) {
    stream->set_handler({[this](std::string_view data) {
                           matches = matches && data == in.next(data.size());
                           received += data.size();
                           stream->consume(data.size());
                         },
                         [this] { eof = true; }, [this] { push(); },
                         [this](ResetReason) { ++resets; }});
    push();
  }
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  void push() {
    while (sent < total && stream->writable() > 0) {
      const std::size_t bytes = std::min({total - sent, stream->writable(), std::size_t{50'000}});
      stream->write(out.next(bytes));
      sent += bytes;
    }
    if (sent == total) stream->shutdown_write();
  }
  bool done() const { return eof && sent == total && received == total; }
};

TEST(MuxLinkTest, HelloMakesBothSidesReady) {
  LinkPair pair;
  ASSERT_TRUE(pair.until([&] { return pair.at_host.ready && pair.at_guest.ready; }));
  EXPECT_TRUE(pair.host->ready());
  EXPECT_TRUE(pair.guest->ready());
}

TEST(MuxLinkTest, StreamWrittenBeforeThePeerIsThereArrivesWhole) {
  LinkPair pair;
  Recorder sender(pair.host->open("stdio", "p1"));
  sender.stream->write("hello");
  sender.stream->shutdown_write();
  ASSERT_TRUE(pair.until(
      [&] { return !pair.at_guest.arrivals.empty() && pair.at_guest.arrivals[0].recorder->eof; }));
  const auto& arrival = pair.at_guest.arrivals[0];
  EXPECT_EQ(arrival.service, "stdio");
  EXPECT_EQ(arrival.argument, "p1");
  EXPECT_EQ(arrival.recorder->data, "hello");
  EXPECT_TRUE(arrival.recorder->stream->open());
}

TEST(MuxLinkTest, StreamDestroyedBeforeThePeerIsThereIsNeverHeardOf) {
  LinkPair pair;
  pair.host->open("gone", "")->write("x");
  Recorder kept(pair.host->open("kept", ""));
  ASSERT_TRUE(pair.until([&] { return !pair.at_guest.arrivals.empty(); }));
  pair.settle();
  ASSERT_EQ(pair.at_guest.arrivals.size(), 1U);
  EXPECT_EQ(pair.at_guest.arrivals[0].service, "kept");
}

TEST(MuxLinkTest, HalfClosedStreamStillCarriesTheOtherDirection) {
  LinkPair pair;
  Recorder sender(pair.guest->open("boot", ""));
  sender.stream->write("question");
  sender.stream->shutdown_write();
  ASSERT_TRUE(pair.until(
      [&] { return !pair.at_host.arrivals.empty() && pair.at_host.arrivals[0].recorder->eof; }));
  auto& receiver = *pair.at_host.arrivals[0].recorder;
  EXPECT_EQ(sender.stream->writable(), 0U);
  receiver.stream->write("answer");
  receiver.stream->shutdown_write();
  ASSERT_TRUE(pair.until([&] { return sender.eof; }));
  EXPECT_EQ(sender.data, "answer");
  EXPECT_FALSE(sender.stream->open());
  EXPECT_FALSE(receiver.stream->open());
  EXPECT_EQ(sender.reset_calls + receiver.reset_calls, 0);
}

TEST(MuxLinkTest, SixtyFourMebibytesBothWaysAtOnceArriveUnchanged) {
  LinkPair pair(4096);
  constexpr std::size_t kTotal = 64 << 20;
  std::unique_ptr<Traffic> at_guest;
  Link::Handler handler;
  handler.on_stream = [&](std::unique_ptr<Stream> stream, const std::string&, const std::string&) {
    at_guest = std::make_unique<Traffic>(std::move(stream), 2, 1, kTotal);
  };
  pair.guest->set_handler(std::move(handler));
  Traffic at_host(pair.host->open("stdio", "big"), 1, 2, kTotal);
  ASSERT_TRUE(pair.loop.run_until([&] { return at_host.done() && at_guest && at_guest->done(); },
                                  std::chrono::seconds(55)));
  EXPECT_TRUE(at_host.matches);
  EXPECT_TRUE(at_guest->matches);
  EXPECT_EQ(at_host.resets + at_guest->resets, 0);
}

TEST(MuxLinkTest, TwoHundredStreamsAtOnceKeepTheirBytesApart) {
  LinkPair pair(4096);
  constexpr std::size_t kTotal = 300'000;
  std::vector<std::unique_ptr<Traffic>> guests;
  Link::Handler handler;
  handler.on_stream = [&](std::unique_ptr<Stream> stream, const std::string&,
                          const std::string& argument) {
    const auto number = static_cast<std::uint64_t>(std::stoi(argument));
    guests.push_back(std::make_unique<Traffic>(std::move(stream), 1000 + number, number, kTotal));
  };
  pair.guest->set_handler(std::move(handler));
  std::vector<std::unique_ptr<Traffic>> hosts;
  for (std::uint64_t i = 0; i < 200; ++i) {
    hosts.push_back(std::make_unique<Traffic>(pair.host->open("stdio", std::to_string(i)), i,
                                              1000 + i, kTotal));
  }
  const auto all_done = [&] {
    const auto done = [](const auto& traffic) { return traffic->done(); };
    return guests.size() == 200 && std::all_of(hosts.begin(), hosts.end(), done) &&
           std::all_of(guests.begin(), guests.end(), done);
  };
  ASSERT_TRUE(pair.loop.run_until(all_done, std::chrono::seconds(55)));
  for (std::size_t i = 0; i < 200; ++i) {
    EXPECT_TRUE(hosts[i]->matches && guests[i]->matches) << i;
    EXPECT_EQ(hosts[i]->resets + guests[i]->resets, 0) << i;
  }
}

TEST(MuxLinkTest, StalledStdoutDoesNotBlockStderr) {
  LinkPair pair(4096);
  pair.at_host.consuming = false;
  Recorder out(pair.guest->open("stdio", "p"));
  ASSERT_TRUE(pair.until([&] { return pair.guest->ready(); }));
  out.stream->write(std::string(kStreamWindowBytes, 'o'));
  ASSERT_TRUE(pair.until([&] {
    return !pair.at_host.arrivals.empty() &&
           pair.at_host.arrivals[0].recorder->data.size() == kStreamWindowBytes;
  }));
  EXPECT_EQ(out.stream->writable(), 0U) << "nobody consumed, so there is no credit";

  pair.at_host.consuming = true;
  Recorder err(pair.guest->open("stderr", "p"));
  err.stream->write("still here");
  ASSERT_TRUE(pair.until([&] {
    return pair.at_host.arrivals.size() == 2 &&
           pair.at_host.arrivals[1].recorder->data.size() == 10;
  }));
  EXPECT_EQ(out.stream->writable(), 0U);

  Recorder& stalled = *pair.at_host.arrivals[0].recorder;
  stalled.stream->consume(kStreamWindowBytes);
  ASSERT_TRUE(pair.until([&] { return out.stream->writable() == kStreamWindowBytes; }));
  EXPECT_EQ(out.writable_calls, 1);
}

TEST(MuxLinkTest, LargeWriteDoesNotDelayASmallStreamBehindIt) {
  LinkPair pair(4096);
  ASSERT_TRUE(pair.until([&] { return pair.host->ready(); }));
  Recorder big(pair.host->open("stdio", "big"));
  Recorder small(pair.host->open("stdio", "small"));
  big.stream->write(std::string(kStreamWindowBytes, 'b'));
  small.stream->write("s");
  ASSERT_TRUE(pair.until([&] {
    return pair.at_guest.arrivals.size() == 2 && !pair.at_guest.arrivals[1].recorder->data.empty();
  }));
  EXPECT_LT(pair.at_guest.arrivals[0].recorder->data.size(), kStreamWindowBytes)
      << "the small stream waited for all of the big one";
}

TEST(MuxLinkTest, ReceiverHoldsNoMoreThanTheWindowWhoeverIsSlow) {
  LinkPair pair;
  pair.at_guest.consuming = false;
  Traffic sender(pair.host->open("stdio", ""), 1, 2, 10 << 20);
  ASSERT_TRUE(pair.until([&] { return !pair.at_guest.arrivals.empty(); }));
  for (int i = 0; i < 200; ++i) pair.loop.run_once(std::chrono::milliseconds(0));
  EXPECT_EQ(pair.at_guest.arrivals[0].recorder->data.size(), kStreamWindowBytes);
  EXPECT_EQ(sender.sent, kStreamWindowBytes);
}

TEST(MuxLinkTest, DataBeforeTheHandlerIsDeliveredInOrderFromTheLoop) {
  LinkPair pair;
  std::unique_ptr<Stream> kept;
  Link::Handler handler;
  handler.on_stream = [&](std::unique_ptr<Stream> stream, const std::string&, const std::string&) {
    kept = std::move(stream);
  };
  pair.guest->set_handler(std::move(handler));
  auto sender = pair.host->open("stdio", "");
  sender->write("late");
  sender->shutdown_write();
  sender.reset();
  ASSERT_TRUE(pair.until([&] { return kept != nullptr; }));
  pair.settle();
  std::string seen;
  kept->set_handler({[&](std::string_view data) { seen += data; },
                     [&] { seen += "|eof"; },
                     {},
                     [&](ResetReason reason) { seen += base::cat("|", to_string(reason)); }});
  EXPECT_EQ(seen, "") << "delivered inside set_handler";
  ASSERT_TRUE(pair.until([&] { return seen.ends_with("cancelled"); }));
  EXPECT_EQ(seen, "late|eof|cancelled");
}

TEST(MuxLinkTest, DestroyedAfterShutdownDeliversWhatWasWritten) {
  LinkPair pair(4096);
  ASSERT_TRUE(pair.until([&] { return pair.host->ready(); }));
  {
    auto stream = pair.host->open("stdio", "");
    stream->write(std::string(200'000, 'x'));
    stream->shutdown_write();
  }
  ASSERT_TRUE(pair.until([&] {
    return !pair.at_guest.arrivals.empty() && pair.at_guest.arrivals[0].recorder->reset_calls == 1;
  }));
  const auto& receiver = *pair.at_guest.arrivals[0].recorder;
  EXPECT_EQ(receiver.data.size(), 200'000U);
  EXPECT_TRUE(receiver.eof);
  EXPECT_EQ(receiver.reason, ResetReason::kCancelled);
}

TEST(MuxLinkTest, DestroyingAnUnfinishedStreamResetsItForThePeer) {
  LinkPair pair;
  auto stream = pair.host->open("stdio", "");
  ASSERT_TRUE(pair.until([&] { return !pair.at_guest.arrivals.empty(); }));
  stream.reset();
  auto& receiver = *pair.at_guest.arrivals[0].recorder;
  ASSERT_TRUE(pair.until([&] { return receiver.reset_calls == 1; }));
  EXPECT_EQ(receiver.reason, ResetReason::kCancelled);
  EXPECT_FALSE(receiver.stream->open());
  EXPECT_EQ(receiver.stream->writable(), 0U);
  receiver.stream->write("");
  receiver.stream->consume(100);
  receiver.stream->shutdown_write();
  receiver.stream->reset(ResetReason::kProtocol);
  pair.settle();
  EXPECT_EQ(receiver.reset_calls, 1);
}

TEST(MuxLinkTest, ResetByTheOwnerIsReportedFromTheLoop) {
  LinkPair pair;
  Recorder sender(pair.host->open("stdio", ""));
  sender.stream->reset(ResetReason::kProtocol);
  EXPECT_EQ(sender.reset_calls, 0);
  EXPECT_FALSE(sender.stream->open());
  ASSERT_TRUE(pair.until([&] { return sender.reset_calls == 1; }));
  EXPECT_EQ(sender.reason, ResetReason::kProtocol);
}

TEST(MuxLinkTest, NobodyServingIsAnsweredWithNoService) {
  LinkPair pair;
  pair.guest->set_handler({});
  Recorder sender(pair.host->open("stdio", ""));
  ASSERT_TRUE(pair.until([&] { return sender.reset_calls == 1; }));
  EXPECT_EQ(sender.reason, ResetReason::kNoService);
}

TEST(MuxLinkTest, StreamDestroyedByTheAcceptorIsRefused) {
  LinkPair pair;
  Link::Handler handler;
  handler.on_stream = [](std::unique_ptr<Stream>, const std::string&, const std::string&) {};
  pair.guest->set_handler(std::move(handler));
  Recorder sender(pair.host->open("stdio", ""));
  ASSERT_TRUE(pair.until([&] { return sender.reset_calls == 1; }));
  EXPECT_EQ(sender.reason, ResetReason::kRefused);
}

TEST(MuxLinkTest, MoreStreamsThanAllowedAreRefusedAndPlaceIsMadeByClosing) {
  LinkPair pair(0, 2);
  auto first = std::make_unique<Recorder>(pair.host->open("a", ""));
  Recorder second(pair.host->open("b", ""));
  Recorder third(pair.host->open("c", ""));
  ASSERT_TRUE(pair.until([&] { return third.reset_calls == 1; }));
  EXPECT_EQ(third.reason, ResetReason::kRefused);
  EXPECT_EQ(second.reset_calls, 0);
  ASSERT_TRUE(pair.until([&] { return pair.at_guest.arrivals.size() == 2; }));
  first.reset();
  ASSERT_TRUE(pair.until([&] { return pair.at_guest.arrivals[0].recorder->reset_calls == 1; }));
  pair.at_guest.arrivals.erase(pair.at_guest.arrivals.begin());
  Recorder fourth(pair.host->open("d", ""));
  ASSERT_TRUE(pair.until([&] { return pair.at_guest.arrivals.size() == 2; }));
  EXPECT_EQ(fourth.reset_calls, 0);
}

TEST(MuxLinkTest, WriteBeyondWritableIsRefusedAndChangesNothing) {
  LinkPair pair;
  Recorder sender(pair.host->open("stdio", ""));
  EXPECT_THROW(sender.stream->write(std::string(kStreamWindowBytes + 1, 'x')), std::length_error);
  EXPECT_EQ(sender.stream->writable(), kStreamWindowBytes);
}

TEST(MuxLinkTest, HandlerThatThrowsCostsItsStreamOnly) {
  LinkPair pair;
  std::unique_ptr<Stream> thrower;
  int resets = 0;
  std::vector<std::unique_ptr<Recorder>> others;
  Link::Handler handler;
  handler.on_stream = [&](std::unique_ptr<Stream> stream, const std::string& service,
                          const std::string&) {
    if (service != "bad") {
      others.push_back(std::make_unique<Recorder>(std::move(stream)));
      return;
    }
    thrower = std::move(stream);
    thrower->set_handler({[](std::string_view) { throw base::Error("malformed"); },
                          {},
                          {},
                          [&](ResetReason) { ++resets; }});
  };
  pair.guest->set_handler(std::move(handler));
  Recorder bad(pair.host->open("bad", ""));
  Recorder good(pair.host->open("good", ""));
  bad.stream->write("x");
  good.stream->write("y");
  ASSERT_TRUE(pair.until([&] {
    return bad.reset_calls == 1 && resets == 1 && others.size() == 1 && others[0]->data == "y";
  }));
  EXPECT_EQ(bad.reason, ResetReason::kProtocol);
  EXPECT_EQ(good.reset_calls, 0);
}

TEST(MuxLinkTest, PeerThatVanishesResetsEveryStreamBeforeTheLinkGoesDown) {
  LinkPair pair;
  Recorder one(pair.host->open("a", ""));
  Recorder two(pair.host->open("b", ""));
  int resets_before_down = -1;
  Link::Handler handler;
  handler.on_down = [&](const std::string&) {
    resets_before_down = one.reset_calls + two.reset_calls;
  };
  pair.host->set_handler(std::move(handler));
  ASSERT_TRUE(pair.until([&] { return pair.at_guest.arrivals.size() == 2; }));
  pair.guest.reset();
  for (const auto& arrival : pair.at_guest.arrivals) {
    EXPECT_EQ(arrival.recorder->reset_calls, 1) << "the destroyed side hears it at once";
    EXPECT_EQ(arrival.recorder->reason, ResetReason::kLinkDown);
  }
  ASSERT_TRUE(pair.until([&] { return resets_before_down >= 0; }));
  EXPECT_EQ(resets_before_down, 2);
  EXPECT_EQ(one.reason, ResetReason::kLinkDown);
  EXPECT_FALSE(pair.host->ready());

  Recorder late(pair.host->open("c", ""));
  EXPECT_EQ(late.reset_calls, 0);
  ASSERT_TRUE(pair.until([&] { return late.reset_calls == 1; }));
  EXPECT_EQ(late.reason, ResetReason::kLinkDown);
}

TEST(MuxLinkTest, WhatThePeerSaidBeforeItVanishedIsHeardEvenWhenWritingFails) {
  LinkPair pair;
  Recorder sender(pair.host->open("stdio", ""));
  ASSERT_TRUE(pair.until([&] { return pair.at_guest.arrivals.size() == 1; }));
  auto& peer = *pair.at_guest.arrivals[0].recorder;
  peer.stream->write("last words");
  pair.guest.reset();
  sender.stream->write("into the void");
  ASSERT_TRUE(pair.until([&] { return pair.at_host.down_calls == 1; }));
  EXPECT_EQ(sender.data, "last words");
  EXPECT_EQ(sender.reset_calls, 1);
}

TEST(MuxLinkTest, HandlersMayDestroyTheirStreamOrTheLink) {
  for (const bool destroy_link : {false, true}) {
    for (const int when : {0, 1, 2}) {  // on_data, on_eof, on_reset
      LinkPair pair;
      std::unique_ptr<Stream> stream;
      bool called = false;
      const auto destroy = [&] {
        called = true;
        if (destroy_link) {
          pair.guest.reset();
        }
        stream.reset();
      };
      Link::Handler handler;
      handler.on_stream = [&](std::unique_ptr<Stream> s, const std::string&, const std::string&) {
        stream = std::move(s);
        stream->set_handler({[&](std::string_view) {
                               if (when == 0) destroy();
                             },
                             [&] {
                               if (when == 1) destroy();
                             },
                             {},
                             [&](ResetReason) {
                               if (when == 2 && !called) destroy();
                             }});
      };
      pair.guest->set_handler(std::move(handler));
      auto sender = pair.host->open("stdio", "");
      sender->write(std::string(100'000, 'x'));
      sender->shutdown_write();
      sender.reset();
      ASSERT_TRUE(pair.until([&] { return called; })) << destroy_link << when;
      pair.settle();
    }
  }
}

TEST(MuxLinkTest, OwnerMayOpenAndDestroyManyStreamsWithoutLeavingAny) {
  LinkPair pair(0, 4);
  for (int i = 0; i < 2000; ++i) {
    auto stream = pair.host->open("stdio", "");
    stream->write("x");
    if (i % 2 == 0) stream->shutdown_write();
    stream.reset();
    pair.loop.run_once(std::chrono::milliseconds(0));
  }
  pair.settle();
  pair.at_guest.arrivals.clear();
  Recorder last(pair.host->open("last", ""));
  ASSERT_TRUE(pair.until([&] {
    return !pair.at_guest.arrivals.empty() && pair.at_guest.arrivals.back().service == "last";
  }));
  EXPECT_EQ(last.reset_calls, 0);
}

// A pty behaves as a virtio-serial port whose host side is closed: hung up, and reads fail.
struct Terminal {
  base::Fd master;
  std::string name;

  Terminal() : master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    ::grantpt(master.get());
    ::unlockpt(master.get());
    name = ::ptsname(master.get());
    open_raw();  // closed again: from now on the master is hung up
  }
  base::Fd open_raw() const {
    base::Fd fd = base::open_file(name, O_RDWR | O_NOCTTY);
    termios settings{};
    ::tcgetattr(fd.get(), &settings);
    ::cfmakeraw(&settings);
    ::tcsetattr(fd.get(), TCSANOW, &settings);
    return fd;
  }
};

TEST(MuxLinkTest, DeviceWhoseHostIsMissingWaitsWithoutSpinningAndConnectsLater) {
  base::EventLoop loop;
  Terminal terminal;
  test::Acceptor at_guest;
  auto guest = make_mux_link(loop, std::move(terminal.master), {Side::kGuest, 0, 16});
  guest->set_handler(at_guest.handler());
  Recorder sender(guest->open("boot", ""));
  sender.stream->write("hello");

  int rounds = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
  while (std::chrono::steady_clock::now() < end) {
    loop.run_once(std::chrono::milliseconds(100));
    ++rounds;
  }
  EXPECT_LT(rounds, 10) << "the hang-up is reported over and over";
  EXPECT_EQ(at_guest.down_calls, 0);

  test::Acceptor at_host;
  auto host = make_mux_link(loop, terminal.open_raw(), {Side::kHost, 3, 16});
  host->set_handler(at_host.handler());
  ASSERT_TRUE(loop.run_until(
      [&] { return !at_host.arrivals.empty() && at_host.arrivals[0].recorder->data == "hello"; },
      test::kPatience));
  EXPECT_TRUE(at_guest.ready);

  host.reset();
  ASSERT_TRUE(loop.run_until([&] { return at_guest.down_calls == 1; }, test::kPatience));
  EXPECT_EQ(sender.reset_calls, 1);
}

}  // namespace
}  // namespace wire
