// Peers that lie, flood, stall or vanish.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "wire/detail/test_link.h"
#include "wire/mux_link.h"

namespace wire {
namespace {

using test::frame;
using test::RawPeer;
using test::Recorder;

std::string open_frame(std::uint32_t id, std::string service = "stdio") {
  return frame(FrameType::kOpen, id, encode_open({std::move(service), ""}));
}

std::string data_frames(std::uint32_t id, std::size_t bytes) {
  std::string out;
  while (bytes != 0) {
    const std::size_t piece = std::min(bytes, kMaxPayloadBytes);
    out += frame(FrameType::kData, id, std::string(piece, 'd'));
    bytes -= piece;
  }
  return out;
}

std::string credit(std::uint32_t id, std::uint32_t bytes) {
  return frame(FrameType::kCredit, id, encode_u32(bytes));
}

TEST(MuxLinkPeerTest, GuestAnswersTheHostsHelloWithItsEpoch) {
  RawPeer peer(Side::kGuest);
  EXPECT_TRUE(peer.hear().empty()) << "the guest speaks only when spoken to";
  peer.say(RawPeer::hello(42));
  const auto frames = peer.hear();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(decode_hello(frames[0].payload).take().epoch, 42U);
  EXPECT_TRUE(peer.acceptor.ready);
}

TEST(MuxLinkPeerTest, FirstFramesThatAreNoGoodHelloTakeTheLinkDown) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {RawPeer::hello(1, kStreamWindowBytes, kLinkVersion + 1), "speaks version"},
      {RawPeer::hello(1, kStreamWindowBytes, kLinkVersion - 1), "speaks version"},
      {RawPeer::hello(2), "epoch"},
      {RawPeer::hello(1, 0), "window"},
      {RawPeer::hello(1, 0xffffffff), "window"},
      {RawPeer::hello() + RawPeer::hello(), "hello twice"},
      {open_frame(2), "hello first"},
      {"GET / HTTP/1.1\r\n\r\n", "mark"},
  };
  for (const auto& [bytes, why] : cases) {
    RawPeer peer;
    peer.say(bytes);
    EXPECT_EQ(peer.acceptor.down_calls, 1) << why;
    EXPECT_NE(peer.acceptor.why.find(why), std::string::npos) << peer.acceptor.why;
    EXPECT_FALSE(peer.link->ready());
  }
}

TEST(MuxLinkPeerTest, FramesNoPeerOfOursSendsTakeTheLinkDown) {
  std::string unknown_type = frame(FrameType::kEof, 2);
  unknown_type[8] = 99;
  std::string bad_mark = frame(FrameType::kEof, 2);
  bad_mark[11] = 0;
  std::string too_long = frame(FrameType::kData, 2, "x");
  too_long[2] = 1;
  const std::vector<std::string> cases{
      unknown_type,
      bad_mark,
      too_long,
      data_frames(2, 1),                   // never opened, the peer's own numbers
      data_frames(1, 1),                   // never opened by us
      credit(7, 10),                       //
      frame(FrameType::kEof, 4000000000),  //
      open_frame(1),                       // our numbers
      open_frame(2) + open_frame(2),       // used already
      open_frame(4) + open_frame(2),       // older
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    RawPeer peer;
    peer.say(RawPeer::hello() + cases[i]);
    EXPECT_EQ(peer.acceptor.down_calls, 1) << "case " << i;
    for (const auto& arrival : peer.acceptor.arrivals) {
      EXPECT_EQ(arrival.recorder->reset_calls, 1) << "case " << i;
    }
  }
}

TEST(MuxLinkPeerTest, BreachOfOneStreamLeavesTheOthersUnharmed) {
  const std::vector<std::string> breaches{
      data_frames(2, kStreamWindowBytes) + data_frames(2, 1),  // overruns its credit
      credit(2, 1),                                            // more than its window
      credit(2, 0xffffffff),                                   //
      credit(2, 0),                                            //
      frame(FrameType::kEof, 2) + frame(FrameType::kEof, 2),   // ends twice
      frame(FrameType::kEof, 2) + data_frames(2, 1),           // speaks after the end
  };
  for (std::size_t i = 0; i < breaches.size(); ++i) {
    RawPeer peer;
    peer.acceptor.consuming = false;
    peer.say(RawPeer::hello() + open_frame(2) + open_frame(4));
    peer.say(breaches[i]);
    // What follows on the stream is in flight: ignored.
    peer.say(data_frames(2, 100) + credit(2, 5) + frame(FrameType::kEof, 2));
    peer.say(data_frames(4, 3));
    ASSERT_EQ(peer.acceptor.arrivals.size(), 2U) << "case " << i;
    const auto& liar = *peer.acceptor.arrivals[0].recorder;
    const auto& honest = *peer.acceptor.arrivals[1].recorder;
    EXPECT_EQ(liar.reset_calls, 1) << "case " << i;
    EXPECT_EQ(liar.reason, ResetReason::kProtocol) << "case " << i;
    EXPECT_LE(liar.data.size(), kStreamWindowBytes) << "case " << i;
    EXPECT_EQ(honest.data, "ddd") << "case " << i;
    EXPECT_EQ(honest.reset_calls, 0) << "case " << i;
    EXPECT_EQ(peer.acceptor.down_calls, 0) << "case " << i << ": " << peer.acceptor.why;
    EXPECT_EQ(peer.hear_resets(),
              (std::vector<std::pair<std::uint32_t, ResetReason>>{{2, ResetReason::kProtocol}}))
        << "case " << i;
  }
}

TEST(MuxLinkPeerTest, MalformedRequestForAStreamCostsThatStream) {
  RawPeer peer;
  peer.say(RawPeer::hello() + frame(FrameType::kOpen, 2, std::string("\5ab\0", 4)) + open_frame(4));
  EXPECT_EQ(peer.acceptor.arrivals.size(), 1U);
  EXPECT_EQ(peer.acceptor.down_calls, 0);
  EXPECT_EQ(peer.hear_resets().at(0), (std::pair{2U, ResetReason::kProtocol}));
}

TEST(MuxLinkPeerTest, ResetReasonsWeDoNotKnowAreTakenAsAProtocolError) {
  for (const std::uint32_t number : {0U, 5U, 77U, 0xffffffffU}) {
    RawPeer peer;
    peer.say(RawPeer::hello() + open_frame(2) + frame(FrameType::kReset, 2, encode_u32(number)));
    ASSERT_EQ(peer.acceptor.arrivals[0].recorder->reset_calls, 1);
    EXPECT_EQ(peer.acceptor.arrivals[0].recorder->reason, ResetReason::kProtocol);
    EXPECT_TRUE(peer.hear_resets().empty()) << "a reset is not answered";
  }
}

TEST(MuxLinkPeerTest, FramesInFlightAfterOurResetAreIgnored) {
  RawPeer peer;
  peer.say(RawPeer::hello() + open_frame(2));
  peer.acceptor.arrivals[0].recorder->stream.reset();
  peer.say(data_frames(2, 1000) + credit(2, 99) + frame(FrameType::kEof, 2) +
           frame(FrameType::kReset, 2, encode_u32(1)) + open_frame(4));
  EXPECT_EQ(peer.acceptor.down_calls, 0);
  EXPECT_EQ(peer.acceptor.arrivals.size(), 2U);
  EXPECT_EQ(peer.acceptor.arrivals[0].recorder->data, "");
}

TEST(MuxLinkPeerTest, ResetInTheMiddleOfADataFrameSkipsItsRest) {
  RawPeer peer;
  const std::string data = data_frames(2, 5000);
  peer.say(RawPeer::hello() + open_frame(2) + data.substr(0, 1000));
  auto& receiver = *peer.acceptor.arrivals[0].recorder;
  EXPECT_EQ(receiver.data.size(), 1000 - kFrameHeaderBytes) << "data is handed over as it comes";
  receiver.stream.reset();
  peer.say(data.substr(1000) + open_frame(4) + data_frames(4, 2));
  ASSERT_EQ(peer.acceptor.arrivals.size(), 2U);
  EXPECT_EQ(peer.acceptor.arrivals[1].recorder->data, "dd");
}

TEST(MuxLinkPeerTest, FloodOfOpensIsRefusedBeyondTheLimit) {
  MuxOptions options;
  options.max_streams = 8;
  RawPeer peer(Side::kHost, options);
  std::string flood = RawPeer::hello();
  for (std::uint32_t id = 2; id <= 2000; id += 2) flood += open_frame(id);
  peer.say(flood);
  EXPECT_EQ(peer.acceptor.arrivals.size(), 8U);
  const auto resets = peer.hear_resets();
  EXPECT_EQ(resets.size(), 992U);
  for (const auto& [id, reason] : resets) EXPECT_EQ(reason, ResetReason::kRefused);
  EXPECT_EQ(peer.acceptor.down_calls, 0);
}

TEST(MuxLinkPeerTest, StreamsWhoseObjectsAreKeptAfterTheEndCountAgainstTheLimit) {
  MuxOptions options;
  options.max_streams = 4;
  RawPeer peer(Side::kHost, options);
  peer.acceptor.consuming = false;
  peer.say(RawPeer::hello());
  for (std::uint32_t id = 2; id <= 40; id += 2) {
    peer.say(open_frame(id) + data_frames(id, 1000) + frame(FrameType::kReset, id, encode_u32(1)));
  }
  EXPECT_EQ(peer.acceptor.arrivals.size(), 4U) << "what is held for the peer has a limit";
}

TEST(MuxLinkPeerTest, PeerThatDoesNotTakeOurAnswersIsNotReadFrom) {
  MuxOptions options;
  options.max_streams = 1;
  RawPeer peer(Side::kHost, options);
  test::set_socket_buffers(peer.raw, 4096);
  peer.say(RawPeer::hello());
  std::uint32_t id = 2;
  std::size_t sent = 0;
  for (int stuck = 0; stuck < 50;) {
    std::string batch;
    for (int i = 0; i < 100; ++i, id += 2) batch += open_frame(id);
    const ssize_t n = ::send(peer.raw.get(), batch.data(), batch.size(), MSG_DONTWAIT);
    if (n < static_cast<ssize_t>(batch.size())) {
      ++stuck;
      id -= 200;  // part of it may be there; what is asked is only whether more is taken
      if (n > 0) break;
    } else {
      sent += batch.size();
    }
    peer.settle();
    ASSERT_LT(sent, std::size_t{8} << 20) << "it reads on and on while its answers pile up";
  }
  EXPECT_EQ(peer.acceptor.down_calls, 0);
  // Taking the answers makes it read again.
  std::set<std::uint32_t> refused;
  for (int i = 0; i < 20; ++i) {
    for (const auto& [stream, reason] : peer.hear_resets()) refused.insert(stream);
  }
  EXPECT_GT(refused.size(), 1000U);
}

TEST(MuxLinkPeerTest, PeerThatVanishesWhileItsAnswersPileUpIsNoticed) {
  MuxOptions options;
  options.max_streams = 1;
  RawPeer peer(Side::kHost, options);
  peer.say(RawPeer::hello());
  std::string batch;
  for (std::uint32_t id = 2; id < 40000; id += 2) batch += open_frame(id);
  for (std::string_view rest = batch; !rest.empty();) {
    const ssize_t n = ::send(peer.raw.get(), rest.data(), rest.size(), MSG_DONTWAIT);
    peer.settle();
    if (n <= 0) break;
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  peer.raw.reset();
  ASSERT_TRUE(peer.loop.run_until([&] { return peer.acceptor.down_calls == 1; }, test::kPatience));
}

TEST(MuxLinkPeerTest, OpenerThatIsRefusedHearsIt) {
  RawPeer peer(Side::kGuest);
  Recorder sender(peer.link->open("stdio", "x"));
  peer.say(RawPeer::hello());
  peer.say(frame(FrameType::kReset, 2, encode_u32(3)));
  EXPECT_EQ(sender.reset_calls, 1);
  EXPECT_EQ(sender.reason, ResetReason::kRefused);
}

TEST(MuxLinkPeerTest, SmallerWindowOfThePeerIsRespected) {
  RawPeer peer;
  Recorder sender(peer.link->open("stdio", ""));
  sender.stream->write(std::string(kStreamWindowBytes, 'x'));
  peer.say(RawPeer::hello(1, 8192));
  const auto sum = [&] {
    std::size_t bytes = 0;
    for (const auto& f : peer.hear()) {
      if (f.header.type == FrameType::kData) bytes += f.payload.size();
    }
    return bytes;
  };
  EXPECT_EQ(sum(), 8192U);
  peer.say(credit(1, 100));
  EXPECT_EQ(sum(), 100U);
  peer.say(credit(1, 8192));
  EXPECT_EQ(sum(), 8192U);
  EXPECT_EQ(sender.stream->writable(), 0U);
  EXPECT_EQ(sender.reset_calls, 0);
}

TEST(MuxLinkPeerTest, CreditIsGrantedAgainInLargePieces) {
  RawPeer peer;
  peer.say(RawPeer::hello() + open_frame(2));
  std::size_t granted = 0;
  std::size_t frames = 0;
  for (int i = 0; i < 1024; ++i) {
    peer.say(data_frames(2, 1024));
    for (const auto& f : peer.hear()) {
      if (f.header.type != FrameType::kCredit) continue;
      granted += decode_u32(f.payload).take();
      ++frames;
    }
  }
  EXPECT_EQ(peer.acceptor.arrivals[0].recorder->data.size(), 1024U * 1024);
  EXPECT_GE(granted, 1024U * 1024 - kStreamWindowBytes / 4);
  EXPECT_LE(frames, 16U);
}

TEST(MuxLinkPeerTest, PeerThatVanishesAtAnyByteTakesOnlyTheLinkDown) {
  const std::string talk = RawPeer::hello() + open_frame(2) + data_frames(2, 40) + credit(2, 1) +
                           open_frame(4) + frame(FrameType::kEof, 4) +
                           frame(FrameType::kReset, 4, encode_u32(1));
  for (std::size_t cut = 0; cut <= talk.size(); ++cut) {
    RawPeer peer;
    Recorder ours(peer.link->open("control", ""));
    peer.say(talk.substr(0, cut));
    peer.raw.reset();
    peer.settle();
    EXPECT_EQ(peer.acceptor.down_calls, 1) << cut;
    EXPECT_EQ(ours.reset_calls, 1) << cut;
    EXPECT_EQ(ours.reason, ResetReason::kLinkDown) << cut;
    for (const auto& arrival : peer.acceptor.arrivals) {
      EXPECT_EQ(arrival.recorder->reset_calls, 1) << cut;
    }
  }
}

TEST(MuxLinkPeerTest, TalkArrivesTheSameInOneByteSteps) {
  const std::string talk = RawPeer::hello() + open_frame(2) + data_frames(2, 300) + open_frame(4) +
                           data_frames(4, 1) + frame(FrameType::kEof, 4);
  RawPeer peer;
  for (const char byte : talk) peer.say(std::string_view(&byte, 1));
  ASSERT_EQ(peer.acceptor.arrivals.size(), 2U);
  EXPECT_EQ(peer.acceptor.arrivals[0].recorder->data.size(), 300U);
  EXPECT_EQ(peer.acceptor.arrivals[1].recorder->data, "d");
  EXPECT_TRUE(peer.acceptor.arrivals[1].recorder->eof);
}

}  // namespace
}  // namespace wire
