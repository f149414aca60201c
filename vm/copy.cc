#include "vm/copy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "vm/helper_session.h"
#include "wire/tree.h"

namespace vm {
namespace {

void require_running(const VmRecord& record) {
  if (record.status == VmStatus::kRunning) return;
  throw base::Error(base::cat("VM ", base::quoted(record.name), " is ", to_string(record.status),
                              ", and only a running one can be looked into"));
}

// Where the container's process began and as whom.
struct ContainerSide {
  std::string directory;
  std::string user;
};

ContainerSide container_side(const VmManager& manager, const VmRecord& record) {
  ExecOptions exec;
  exec.command = {"true"};
  const auto process = base::parse_json(manager.exec_process(record, exec));
  ContainerSide side;
  side.directory = process.at("cwd").get<std::string>();
  side.user = process.at("resolve_user").at("user").get<std::string>();
  return side;
}

wire::HelperRequest request_for(wire::HelperRequest::Verb verb, const std::string& path,
                                const ContainerSide& side) {
  wire::HelperRequest request;
  request.verb = verb;
  request.path = path.starts_with('/') ? path : side.directory + '/' + path;
  request.user = side.user;
  return request;
}

void check(const HelperResult& result, const VmRecord& record) {
  if (result.exit_code == 0) return;
  throw base::Error(base::cat("in VM ", base::quoted(record.name), ": ", result.error));
}

// What the copy of `path` is called: by what was asked for, for the guest's links would choose any
// name. Empty when only what is in it was.
std::string name_of(const std::string& path) {
  if (path.ends_with("/.")) return "";
  const std::filesystem::path whole = std::filesystem::path(path).lexically_normal();
  return whole.has_filename() ? whole.filename() : whole.parent_path().filename();
}

std::size_t read_some(const base::Fd& from, char* buffer, std::size_t size) {
  while (true) {
    const ssize_t n = ::read(from.get(), buffer, size);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EINTR) base::throw_errno("reading the archive");
  }
}

}  // namespace

void copy_from_vm(const VmManager& manager, const VmRecord& record,
                  const std::string& container_path, const std::string& host_path,
                  const CopyOptions& options) {
  require_running(record);
  const wire::HelperRequest request =
      request_for(wire::HelperRequest::Verb::kGet, container_path, container_side(manager, record));
  if (host_path == "-") {
    check(run_helper(manager.connect(record), request, {-1, STDOUT_FILENO}), record);
    return;
  }
  base::Pipe pipe = base::make_pipe();
  const auto work = [&] {
    const base::Fd from = std::move(pipe.read);
    wire::ReceiveOptions receive;
    receive.overwrite = options.overwrite;
    receive.name = name_of(request.path);
    if (options.change_owner) receive.owner = {::geteuid(), ::getegid()};
    wire::receive_tree(
        wire::TreeRoot(), host_path,
        [&](char* buffer, std::size_t size) { return read_some(from, buffer, size); }, receive);
  };
  check(run_helper(manager.connect(record), request, {-1, pipe.write.get()}, work,
                   [&] { pipe.write.reset(); }),
        record);
}

void copy_to_vm(const VmManager& manager, const VmRecord& record, const std::string& host_path,
                const std::string& container_path, const CopyOptions& options) {
  require_running(record);
  wire::HelperRequest request =
      request_for(wire::HelperRequest::Verb::kPut, container_path, container_side(manager, record));
  request.overwrite = options.overwrite;
  request.keep_owner = !options.change_owner;
  if (host_path == "-") {
    request.any_archive = true;
    check(run_helper(manager.connect(record), request, {STDIN_FILENO, -1}), record);
    return;
  }
  base::Pipe pipe = base::make_pipe();
  const auto work = [&] {
    const base::Fd to = std::move(pipe.write);
    try {
      wire::send_tree(wire::TreeRoot(), host_path,
                      [&](std::string_view bytes) { base::write_all(to, bytes); });
    } catch (const base::Error& error) {
      // The guest has stopped to read, and says why.
      if (error.errnum() != EPIPE) throw;
    }
  };
  // What is wrong with the source is said first: the guest then only sees an archive without an end.
  if (const base::Fd source = base::try_open_file(host_path, O_PATH); !source) {
    base::throw_errno("finding", host_path);
  }
  check(run_helper(manager.connect(record), request, {pipe.read.get(), -1}, work,
                   [&] { pipe.read.reset(); }),
        record);
}

wire::ProcessList container_processes(const VmManager& manager, const VmRecord& record) {
  require_running(record);
  base::Pipe pipe = base::make_pipe();
  std::string text;
  const auto work = [&] {
    const base::Fd from = std::move(pipe.read);
    text = base::read_to_end(from, wire::ProcessList::kMaxBytes);
  };
  check(run_helper(manager.connect(record), wire::HelperRequest{}, {-1, pipe.write.get()}, work,
                   [&] { pipe.write.reset(); }),
        record);
  return wire::parse_process_list(text);
}

}  // namespace vm
