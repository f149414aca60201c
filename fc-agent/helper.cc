#include "fc-agent/helper.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <exception>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/user_lookup.h"
#include "fc-agent/process_list.h"
#include "fc-agent/root_edits.h"
#include "wire/helper.h"
#include "wire/process_list.h"
#include "wire/tree.h"

namespace fc_agent {
namespace {

void write_out(std::string_view bytes) {
  static const base::Fd& out = *new base::Fd(STDOUT_FILENO);
  base::write_all(out, bytes);
}

std::size_t read_in(char* buffer, std::size_t size) {
  while (true) {
    const ssize_t n = ::read(STDIN_FILENO, buffer, size);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EINTR) base::throw_errno("reading the archive");
  }
}

void put(const wire::TreeRoot& root, const wire::HelperRequest& request) {
  wire::ReceiveOptions options;
  options.any_archive = request.any_archive;
  options.overwrite = request.overwrite;
  // Guest and container are one: there is nobody to protect here from what an archive holds.
  options.trust_special = true;
  if (!request.keep_owner) {
    const std::string files = base::cat("/proc/self/fd/", kHelperRootFd);
    const base::UserInfo user =
        base::lookup_user(request.user, read_inside(files, "/etc/passwd", base::kMaxUserFileBytes),
                          read_inside(files, "/etc/group", base::kMaxUserFileBytes));
    options.owner = {user.uid, user.gid};
  }
  wire::receive_tree(root, request.path, read_in, options);
}

void run(std::string_view text, std::string_view init) {
  const wire::HelperRequest request = wire::parse_helper_request(text);
  base::Fd root(kHelperRootFd);
  ::umask(0);
  switch (request.verb) {
    case wire::HelperRequest::Verb::kTop: {
      pid_t pid = 0;
      std::from_chars(init.data(), init.data() + init.size(), pid);
      const wire::TreeRoot files(std::move(root));
      write_out(wire::to_json(list_processes("/proc", pid, files)));
      return;
    }
    case wire::HelperRequest::Verb::kGet:
      wire::send_tree(wire::TreeRoot(std::move(root)), request.path, write_out);
      return;
    case wire::HelperRequest::Verb::kPut:
      put(wire::TreeRoot(std::move(root)), request);
      return;
  }
}

}  // namespace

int run_helper(std::string_view request, std::string_view init) noexcept {
  ::signal(SIGPIPE, SIG_IGN);
  try {
    run(request, init);
    return 0;
  } catch (const std::exception& error) {
    const std::string line = base::cat(error.what(), "\n");
    [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
    return 1;
  }
}

}  // namespace fc_agent
