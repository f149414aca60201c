#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"

namespace fc_agent {

struct Terminal {
  base::Fd master;
  base::Fd slave;
};
// A new pseudo-terminal of the guest's devpts. Throws base::Error.
Terminal open_terminal();

// TIOCSWINSZ on either side; the foreground group gets SIGWINCH. Nothing happens for 0 rows.
void set_window_size(const base::Fd& terminal, std::uint16_t rows, std::uint16_t columns);

// A listening socket for crun's --console-socket. `path` must fit sun_path.
base::Fd listen_for_console(const std::string& path);
// Takes the one connection waiting there and the descriptor it carries (SCM_RIGHTS): the master side
// of the terminal. Waits at most a second for the sender, who is at it. Throws base::Error.
base::Fd receive_console(const base::Fd& listener);

}  // namespace fc_agent
