// Links that come to rest for a snapshot, and go on: in the same epoch, or in a clone's new one.
#include <gtest/gtest.h>

#include <string>

#include "wire/detail/test_link.h"
#include "wire/mux_link.h"

namespace wire {
namespace {

using test::frame;
using test::LinkPair;
using test::RawPeer;
using test::Recorder;

bool suspend(LinkPair& links) {
  bool suspended = false;
  links.host->suspend([&] { suspended = true; });
  return links.until([&] { return suspended; });
}

TEST(MuxRestTest, WhatWasSentArrivesBeforeTheLinkRestsAndTheRestAfterResume) {
  LinkPair links;
  Recorder stream(links.host->open("stdio", ""));
  ASSERT_TRUE(links.until([&] { return links.at_guest.arrivals.size() == 1; }));
  Recorder& guest = *links.at_guest.arrivals[0].recorder;
  stream.stream->write("before");
  guest.stream->write("from the guest");
  ASSERT_TRUE(suspend(links));
  EXPECT_EQ(guest.data, "before");
  EXPECT_EQ(stream.data, "from the guest");

  stream.stream->write(" after");
  guest.stream->write(", later");
  links.settle();
  EXPECT_EQ(guest.data, "before") << "nothing moves in a link at rest";
  EXPECT_EQ(stream.data, "from the guest");

  links.host->resume();
  EXPECT_TRUE(links.until([&] { return guest.data == "before after"; }));
  EXPECT_TRUE(links.until([&] { return stream.data == "from the guest, later"; }));
  EXPECT_EQ(links.at_guest.renewals, 0);
  ASSERT_TRUE(suspend(links)) << "it can rest again";
  links.host->resume();
}

TEST(MuxRestTest, SuspensionThatIsGivenUpLeavesTheLinkAsItWas) {
  LinkPair links;
  Recorder stream(links.host->open("stdio", ""));
  ASSERT_TRUE(links.until([&] { return links.at_guest.arrivals.size() == 1; }));
  bool suspended = false;
  links.host->suspend([&] { suspended = true; });
  links.host->resume();
  stream.stream->write("data");
  EXPECT_TRUE(links.until([&] { return links.at_guest.arrivals[0].recorder->data == "data"; }));
  EXPECT_FALSE(suspended);
  EXPECT_EQ(links.at_host.down_calls + links.at_guest.down_calls, 0);
}

TEST(MuxRestTest, NewEpochResetsStreamsAndServesNewOnesUnderTheSameNumbers) {
  RawPeer peer(Side::kGuest);
  peer.say(RawPeer::hello(1) + frame(FrameType::kOpen, 1, encode_open({"stdio", "old"})));
  ASSERT_EQ(peer.acceptor.arrivals.size(), 1U);
  Recorder& old = *peer.acceptor.arrivals[0].recorder;
  peer.say(frame(FrameType::kSuspend, 0));
  auto heard = peer.hear();
  ASSERT_FALSE(heard.empty());
  EXPECT_EQ(heard.back().header.type, FrameType::kSuspend);
  old.stream->write("never sent");
  EXPECT_TRUE(peer.hear().empty());

  peer.say(RawPeer::hello(2));
  EXPECT_EQ(peer.acceptor.renewals, 1);
  EXPECT_EQ(old.reset_calls, 1);
  EXPECT_EQ(old.reason, ResetReason::kLinkDown);
  heard = peer.hear();
  ASSERT_EQ(heard.size(), 1U) << "nothing of the old epoch is left";
  EXPECT_EQ(decode_hello(heard[0].payload).take().epoch, 2U);

  peer.say(frame(FrameType::kOpen, 1, encode_open({"stdio", "new"})) +
           frame(FrameType::kData, 1, "hello"));
  ASSERT_EQ(peer.acceptor.arrivals.size(), 2U);
  EXPECT_EQ(peer.acceptor.arrivals[1].argument, "new");
  EXPECT_EQ(peer.acceptor.arrivals[1].recorder->data, "hello");
  // The old one's owner lets go of it: the new stream of that number must not suffer.
  old.stream.reset();
  peer.say(frame(FrameType::kData, 1, " again"));
  EXPECT_EQ(peer.acceptor.arrivals[1].recorder->data, "hello again");
  EXPECT_EQ(peer.acceptor.down_calls, 0);
}

TEST(MuxRestTest, HelloToAGuestThatIsNotAtRestOrOfNoLaterEpochTakesTheLinkDown) {
  RawPeer awake(Side::kGuest);
  awake.say(RawPeer::hello(1) + RawPeer::hello(2));
  EXPECT_EQ(awake.acceptor.down_calls, 1);
  RawPeer same_epoch(Side::kGuest);
  same_epoch.say(RawPeer::hello(3));
  same_epoch.say(frame(FrameType::kSuspend, 0));
  same_epoch.say(RawPeer::hello(3));
  EXPECT_EQ(same_epoch.acceptor.down_calls, 1);
}

TEST(MuxRestTest, GuestThatClaimsToRestUnaskedIsNotBelieved) {
  RawPeer peer(Side::kHost);
  peer.say(RawPeer::hello() + frame(FrameType::kSuspend, 0) + frame(FrameType::kResume, 0));
  EXPECT_EQ(peer.acceptor.down_calls, 0);
  Recorder stream(peer.link->open("stdio", ""));
  stream.stream->write("goes out");
  bool sent = false;
  for (const auto& heard : peer.hear()) sent = sent || heard.header.type == FrameType::kData;
  EXPECT_TRUE(sent);
}

}  // namespace
}  // namespace wire
