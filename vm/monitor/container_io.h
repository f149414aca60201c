#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "vm/monitor/log_file.h"
#include "wire/link.h"

namespace vm {

// The standard streams of a container: output of the guest goes to the log and to every attached
// client, input comes from any client that attached with stdin. A byte of output is consumed (its
// credit goes back to the guest) when it is logged and no client has more than kBacklogBytes still
// to take; so a client that stops reading slows the container down, as with a pipe, and one that
// goes away does not. Event loop thread only.
class ContainerIo {
 public:
  static constexpr std::size_t kBacklogBytes = 64 * 1024;
  // After release(): a client with more than this still to take is dropped.
  static constexpr std::size_t kReleasedBacklogBytes = 8 << 20;

  explicit ContainerIo(LogFile& log);
  ~ContainerIo();
  ContainerIo(const ContainerIo&) = delete;
  ContainerIo& operator=(const ContainerIo&) = delete;

  // The guest's ends; `err` is null with a tty. `on_output_end` is called once, when both have
  // ended.
  void connect_guest(std::unique_ptr<wire::Stream> out, std::unique_ptr<wire::Stream> err,
                     std::function<void()> on_output_end);

  struct ClientOptions {
    bool use_stdin = false;
    // The client's end of input is the container's too (`run -i`); otherwise input stays open for
    // whoever attaches next.
    bool close_stdin_at_eof = true;
  };
  // A client's streams; either may be null. Output from before is not repeated.
  void attach(std::unique_ptr<wire::Stream> out, std::unique_ptr<wire::Stream> err,
              ClientOptions options);
  // Ends the input of the container, now.
  void close_stdin();

  // From here on output is consumed whether or not clients take it, for the container is to end.
  void release();
  // No more output will come (the guest is gone): clients get their end.
  void end_output();
  // True when every client has taken all there was.
  bool flushed() const;
  // Called, from then on, each time flushed() may have become true.
  void on_flushed(std::function<void()> callback) { on_flushed_ = std::move(callback); }

 private:
  // One direction of one attached client.
  struct Client {
    std::unique_ptr<wire::Stream> stream;
    std::string pending;  // output it has not taken yet
    std::string input;    // input the guest has not taken yet
    bool input_eof = false;
    bool gone = false;
    ClientOptions options;
  };
  // One output stream of the guest.
  struct Output {
    LogStream kind;
    std::unique_ptr<wire::Stream> stream;
    std::list<Client> clients;
    std::size_t owed = 0;  // received and not yet consumed
    bool ended = false;
  };

  void take_output(Output& output, std::string_view data);
  void output_ended(Output& output);
  void flush_client(Output& output, Client& client);
  void settle(Output& output);
  void add_client(Output& output, std::unique_ptr<wire::Stream> stream, ClientOptions options);
  void push_input();

  LogFile& log_;
  Output out_{LogStream::kStdout, nullptr, {}, 0, false};
  Output err_{LogStream::kStderr, nullptr, {}, 0, false};
  std::function<void()> on_output_end_;
  std::function<void()> on_flushed_;
  bool stdin_closed_ = false;
  bool released_ = false;
};

}  // namespace vm
