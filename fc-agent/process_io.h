#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "wire/link.h"
#include "wire/process.h"
#include "wire/pump.h"

namespace fc_agent {

// The standard streams of one process, as pipes or a terminal, and the wire streams they are pumped
// to. What the host does not take waits in the pipe, so a slow reader slows the process as a pipe
// would. When the host gives up a stream, its output is read and thrown away: the process neither
// stalls nor dies of it, as with a container whose client has gone.
class ProcessIo {
 public:
  struct Streams {
    std::unique_ptr<wire::Stream> stdio;
    std::unique_ptr<wire::Stream> stderr_stream;
  };

  // Makes the pipes. With a terminal there are none: it is given to set_terminal() later. The
  // container's own input stays open when its stream is reset, for a clone's host comes with another.
  ProcessIo(base::EventLoop& loop, const wire::ProcessStart& start, Streams streams);
  ~ProcessIo();
  ProcessIo(const ProcessIo&) = delete;
  ProcessIo& operator=(const ProcessIo&) = delete;

  // (ours, number in the child), for the spawn; empty with a terminal.
  std::vector<std::pair<int, int>> child_fds() const;
  // Gives the child's ends to the user it will run as, so that it may open /dev/stdout itself.
  void give_to_user(uid_t uid, gid_t gid);
  // After the spawn: the child has its own.
  void close_child_ends();

  // The master side, from now on owned here.
  void set_terminal(base::Fd master);
  bool has_terminal() const { return terminal_.valid(); }
  void resize(std::uint16_t rows, std::uint16_t columns);
  void close_stdin();

  // Starts to move bytes. stderr has a start of its own: until the runtime is done the pipe may
  // hold a message of the runtime, which is not the process's.
  void start_stdio();
  void start_stderr();
  // New streams in place of those that were reset. Only for the container, and when it was started.
  void reattach(Streams streams);

  // The process has ended: hands over what its pipes hold now and calls `done`, once, when all of it
  // is with the streams or the streams are gone. A grandchild that keeps a pipe open is not waited
  // for.
  void finish(std::function<void()> done);

 private:
  class Channel;

  void check_finished();

  base::EventLoop& loop_;
  Streams streams_;
  base::Pipe stdin_;
  base::Pipe stdout_;
  base::Pipe stderr_;
  base::Fd terminal_;
  bool keeps_stdin_;
  std::unique_ptr<Channel> stdio_channel_;
  std::unique_ptr<Channel> stderr_channel_;
  std::function<void()> done_;
};

}  // namespace fc_agent
