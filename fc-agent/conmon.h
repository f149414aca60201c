#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"

namespace fc_agent {

// The agent in the place of conmon(8), the process by which podman has a container made and watched.
//
// Podman starts its conmon once per container. The one we name to it is this very program: it hands
// what it was asked to the agent, which makes the container as its own, with the streams of the
// guest link for a standard input and output, and so learns the exact end of it as PID 1 does. With
// the real conmon every byte would pass two programs more, and a reader that stalls on one of the
// two outputs would hold the other one up.

// What podman (libpod/oci_conmon_common.go) asks of conmon: to make a container, not to start it.
struct ConmonRequest {
  std::string container_id;                  // -c
  std::string bundle;                        // -b
  std::string pid_file;                      // -p
  std::string conmon_pid_file;               // --conmon-pidfile
  std::string runtime;                       // -r
  std::vector<std::string> runtime_options;  // --runtime-arg: before the runtime's command
  std::vector<std::string> create_options;   // --no-pivot, --no-new-keyring: behind it
};

// From conmon's command line, without its name. Options that are about logs, sockets and what to run
// at the end are passed over. Throws base::Error when something needed is missing.
ConmonRequest parse_conmon_arguments(const std::vector<std::string>& arguments);

// The command line of the runtime. `console_socket` may be empty.
std::vector<std::string> create_arguments(const ConmonRequest& request,
                                          const std::string& console_socket);

// Takes the one request of the podman that is starting the container. Loop thread.
class ConmonServer {
 public:
  using Handler = std::function<void(ConmonRequest request)>;

  // Makes `socket_path`. `on_request` is called once, from the loop; a peer that talks nonsense is
  // told so, and podman then fails.
  ConmonServer(base::EventLoop& loop, std::string socket_path, Handler on_request);
  ~ConmonServer();
  ConmonServer(const ConmonServer&) = delete;
  ConmonServer& operator=(const ConmonServer&) = delete;

  // The answer to the request; the second of them, and one nobody waits for any more, is dropped.
  void created(pid_t pid);
  void refuse(std::string_view why);

 private:
  void on_connection();
  void on_data();
  void answer(const std::string& line);

  base::EventLoop& loop_;
  std::string path_;
  Handler on_request_;
  base::Fd listener_;
  base::EventLoop::Registration listener_watch_;
  base::Fd peer_;
  base::EventLoop::Registration peer_watch_;
  std::string received_;
};

// The program podman starts: passes its arguments to the ConmonServer and the answer to podman.
// Returns its exit status. `--version` is answered by the real conmon.
int conmon_main(const std::vector<std::string>& arguments, const std::string& socket_path);

// By this name the program is conmon.
inline constexpr std::string_view kConmonName = "conmon";

}  // namespace fc_agent
