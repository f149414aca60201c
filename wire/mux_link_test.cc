#include "wire/mux_link.h"

#include <gtest/gtest.h>

#include "wire/detail/test_link.h"

namespace wire {
namespace {

using test::LinkPair;
using test::Recorder;

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

TEST(MuxLinkTest, BothDirectionsFinishedClosesTheStreamWithoutReset) {
  LinkPair pair;
  Recorder sender(pair.guest->open("boot", ""));
  sender.stream->shutdown_write();
  ASSERT_TRUE(pair.until(
      [&] { return !pair.at_host.arrivals.empty() && pair.at_host.arrivals[0].recorder->eof; }));
  auto& receiver = *pair.at_host.arrivals[0].recorder;
  receiver.stream->write("bye");
  receiver.stream->shutdown_write();
  ASSERT_TRUE(pair.until([&] { return sender.eof; }));
  EXPECT_EQ(sender.data, "bye");
  EXPECT_FALSE(sender.stream->open());
  EXPECT_FALSE(receiver.stream->open());
  EXPECT_EQ(sender.reset_calls + receiver.reset_calls, 0);
}

}  // namespace
}  // namespace wire
