#include "wire/message_stream.h"

#include <gtest/gtest.h>

#include "wire/detail/test_link.h"

namespace wire {
namespace {

using test::LinkPair;
using test::Recorder;

struct Messages {
  std::unique_ptr<MessageStream> stream;
  std::vector<std::string> received;
  bool ended = false;
  int resets = 0;
  ResetReason reason = ResetReason::kCancelled;

  explicit Messages(std::unique_ptr<Stream> s)
      : stream(std::make_unique<MessageStream>(std::move(s))) {
    stream->set_handler({[this](std::string_view message) { received.emplace_back(message); },
                         [this] { ended = true; },
                         [this](ResetReason why) {
                           ++resets;
                           reason = why;
                         }});
  }
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;
};

// Messages on the host's side, and what the guest's side makes of the stream.
struct MessagePair : LinkPair {
  std::unique_ptr<Messages> there;
  std::unique_ptr<Stream> raw;

  // With `keep_raw` the guest gets the bare stream.
  explicit MessagePair(bool keep_raw = false, int buffer_bytes = 0) : LinkPair(buffer_bytes) {
    Link::Handler handler;
    handler.on_stream = [this, keep_raw](std::unique_ptr<Stream> stream, const std::string&,
                                         const std::string&) {
      if (keep_raw) {
        raw = std::move(stream);
      } else {
        there = std::make_unique<Messages>(std::move(stream));
      }
    };
    guest->set_handler(std::move(handler));
  }
};

std::string prefix(std::size_t bytes) {
  return encode_u32(static_cast<std::uint32_t>(bytes));
}

TEST(MessageStreamTest, MessagesArriveWholeAndInOrder) {
  MessagePair pair(false, 4096);
  Messages here(pair.host->open("control", ""));
  const std::vector<std::string> sent{"a", "", std::string(MessageStream::kMaxMessageBytes, 'x'),
                                      std::string(70'000, 'y'), "z"};
  for (const auto& message : sent) here.stream->send(message);
  here.stream->finish();
  ASSERT_TRUE(pair.until([&] { return pair.there && pair.there->ended; }));
  EXPECT_EQ(pair.there->received, sent);
  EXPECT_EQ(pair.there->resets + here.resets, 0);
}

TEST(MessageStreamTest, AnswersFlowTheOtherWayAfterTheEnd) {
  MessagePair pair;
  Messages here(pair.host->open("control", ""));
  here.stream->send("question");
  here.stream->finish();
  ASSERT_TRUE(pair.until([&] { return pair.there && pair.there->ended; }));
  pair.there->stream->send("answer");
  pair.there->stream->finish();
  ASSERT_TRUE(pair.until([&] { return here.ended; }));
  EXPECT_EQ(here.received, std::vector<std::string>{"answer"});
  EXPECT_FALSE(here.stream->open());
}

TEST(MessageStreamTest, MessageOverTheLimitIsNotSent) {
  MessagePair pair;
  Messages here(pair.host->open("control", ""));
  EXPECT_THROW(here.stream->send(std::string(MessageStream::kMaxMessageBytes + 1, 'x')),
               base::Error);
  EXPECT_TRUE(here.stream->open());
}

TEST(MessageStreamTest, AnnouncedLengthOverTheLimitResetsBothSides) {
  MessagePair pair(true);
  Messages here(pair.host->open("control", ""));
  ASSERT_TRUE(pair.until([&] { return pair.raw != nullptr; }));
  Recorder liar(std::move(pair.raw));
  liar.stream->write(prefix(1) + "x" + prefix(MessageStream::kMaxMessageBytes + 1));
  ASSERT_TRUE(pair.until([&] { return here.resets == 1 && liar.reset_calls == 1; }));
  EXPECT_EQ(here.received, std::vector<std::string>{"x"});
  EXPECT_EQ(here.reason, ResetReason::kProtocol);
  EXPECT_EQ(liar.reason, ResetReason::kProtocol);
}

TEST(MessageStreamTest, EndInsideAMessageIsAProtocolError) {
  const std::string talk = prefix(3) + "abc" + prefix(5) + "12345";
  for (std::size_t cut = 0; cut <= talk.size(); ++cut) {
    MessagePair pair(true);
    Messages here(pair.host->open("control", ""));
    ASSERT_TRUE(pair.until([&] { return pair.raw != nullptr; }));
    Recorder peer(std::move(pair.raw));
    peer.stream->write(talk.substr(0, cut));
    peer.stream->shutdown_write();
    ASSERT_TRUE(pair.until([&] { return here.ended || here.resets != 0; })) << cut;
    const bool whole = cut == 0 || cut == 7 || cut == talk.size();
    EXPECT_EQ(here.ended, whole) << cut;
    EXPECT_EQ(here.resets, whole ? 0 : 1) << cut;
  }
}

TEST(MessageStreamTest, MessagesInOneByteStepsAreTheSame) {
  MessagePair pair(true);
  Messages here(pair.host->open("control", ""));
  ASSERT_TRUE(pair.until([&] { return pair.raw != nullptr; }));
  for (const char byte : prefix(3) + "abc" + prefix(0) + prefix(1) + "d") {
    pair.raw->write(std::string(1, byte));
    pair.settle();
  }
  ASSERT_TRUE(pair.until([&] { return here.received.size() == 3; }));
  EXPECT_EQ(here.received, (std::vector<std::string>{"abc", "", "d"}));
}

TEST(MessageStreamTest, PeerThatStopsReadingIsGivenUpAtTheQueueLimit) {
  MessagePair pair(true);
  Messages here(pair.host->open("control", ""));
  ASSERT_TRUE(pair.until([&] { return pair.raw != nullptr; }));
  const std::string message(100'000, 'x');
  int sent = 0;
  while (here.stream->open() && sent < 1000) {
    here.stream->send(message);
    ++sent;
  }
  EXPECT_LT(sent, 50);
  EXPECT_GT(sent, 40);
  EXPECT_EQ(here.resets, 0) << "on_reset called inside send()";
  ASSERT_TRUE(pair.until([&] { return here.resets == 1; }));
  EXPECT_EQ(here.reason, ResetReason::kRefused);
}

TEST(MessageStreamTest, HandlerMayDestroyTheStreamBetweenTwoMessages) {
  MessagePair pair;
  int calls = 0;
  std::unique_ptr<MessageStream> receiver;
  Link::Handler handler;
  handler.on_stream = [&](std::unique_ptr<Stream> s, const std::string&, const std::string&) {
    receiver = std::make_unique<MessageStream>(std::move(s));
    receiver->set_handler({[&](std::string_view) {
                             ++calls;
                             receiver.reset();
                           },
                           {},
                           {}});
  };
  pair.guest->set_handler(std::move(handler));
  Messages here(pair.host->open("control", ""));
  here.stream->send("1");
  here.stream->send("2");
  ASSERT_TRUE(pair.until([&] { return here.resets == 1; }));
  EXPECT_EQ(calls, 1);
}

TEST(MessageStreamTest, HandlerThatThrowsAtAMessageResetsTheStream) {
  MessagePair pair(true);
  Messages here(pair.host->open("control", ""));
  ASSERT_TRUE(pair.until([&] { return pair.raw != nullptr; }));
  MessageStream thrower(std::move(pair.raw));
  int resets = 0;
  thrower.set_handler({[](std::string_view) { throw base::Error("not JSON"); },
                       {},
                       [&](ResetReason) { ++resets; }});
  here.stream->send("x");
  ASSERT_TRUE(pair.until([&] { return here.resets == 1 && resets == 1; }));
  EXPECT_EQ(here.reason, ResetReason::kProtocol);
}

TEST(MessageStreamTest, WhatWasSentBeforeTheHandlerWasSetArrivesToo) {
  MessagePair pair;
  MessageStream sender(pair.host->open("control", ""));
  const std::string large(2 * kStreamWindowBytes, 'x');
  sender.send(large);
  pair.settle();
  sender.set_handler({});
  ASSERT_TRUE(pair.until([&] { return pair.there && pair.there->received.size() == 1; }));
  EXPECT_EQ(pair.there->received[0], large);
}

}  // namespace
}  // namespace wire
