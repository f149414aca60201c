#include "vm/helper_session.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/event_loop.h"
#include "vm/session.h"
#include "wire/process.h"

namespace vm {
namespace {

constexpr std::size_t kMaxErrorBytes = 4096;

// A thread that takes no signals, for those are the session's.
std::thread start_thread(std::function<void()> body) {
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &old);
  try {
    std::thread thread(std::move(body));
    ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
    return thread;
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
    throw;
  }
}

// To the end, so that the writer never waits; keeps the beginning.
std::string drain(const base::Fd& from) {
  std::string text;
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t n = ::read(from.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer.data(), std::min(static_cast<std::size_t>(n), kMaxErrorBytes - text.size()));
  }
}

// The guest's words: one line, nothing a terminal would obey.
std::string plain_line(std::string text) {
  text = text.substr(0, text.find('\n'));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  return text;
}

}  // namespace

HelperResult run_helper(base::Fd monitor, const wire::HelperRequest& request,
                        const HelperStreams& streams, const std::function<void()>& work,
                        const std::function<void()>& release) {
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kHelper;
  start.use_stdin = streams.stdin_fd >= 0;
  start.use_stdout = streams.stdout_fd >= 0;
  start.process_json = wire::to_json(request);

  base::Pipe errors = base::make_pipe();
  std::string said;
  std::exception_ptr failure;
  std::thread listener = start_thread([&] { said = drain(errors.read); });
  std::thread worker;
  const auto finish = [&] {
    if (release) release();
    errors.write.reset();
    if (worker.joinable()) worker.join();
    listener.join();
  };
  SessionOptions options;
  options.stdin_fd = streams.stdin_fd;
  options.stdout_fd = streams.stdout_fd;
  options.stderr_fd = errors.write.get();
  options.signals_end = true;
  SessionResult session;
  try {
    if (work) {
      worker = start_thread([&] {
        try {
          work();
        } catch (...) {
          failure = std::current_exception();
        }
      });
    }
    base::EventLoop loop;
    session = run_session(loop, std::move(monitor), start, options);
  } catch (...) {
    finish();
    throw;
  }
  finish();

  HelperResult result;
  result.exit_code = session.exit_code;
  result.error = plain_line(said);
  if (result.error.empty() && session.end == SessionResult::End::kFailed) {
    result.error = plain_line(session.message);
  }
  if (session.signal != 0 && (result.exit_code != 0 || failure)) {
    Interrupted interrupted;
    interrupted.signal = session.signal;
    throw interrupted;
  }
  // When our side stopped first the helper's failure only follows from it.
  const bool ours_first = session.end == SessionResult::End::kOutputClosed;
  if (failure && (ours_first || result.exit_code == 0 || result.error.empty())) {
    std::rethrow_exception(failure);
  }
  if (ours_first && session.output_error) throw base::Error(*session.output_error);
  if (result.exit_code != 0 && result.error.empty()) {
    result.error = base::cat("the guest's helper ended with ", result.exit_code);
  }
  return result;
}

}  // namespace vm
