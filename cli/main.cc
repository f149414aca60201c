// fcvm: the command line.
#include <time.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/cancellation.h"
#include "base/error.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/log_sink.h"
#include "cli/output.h"
#include "vm/helper_session.h"

namespace {

std::int64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

cli::UsageError unknown_command(const std::vector<std::string>& words) {
  if (words.empty()) return cli::UsageError("no command is given");
  std::string verbs;
  for (const auto& command : cli::commands()) {
    if (command.name.starts_with(words[0] + ' ')) {
      verbs += base::cat(verbs.empty() ? "" : ", ", command.name);
    }
  }
  if (verbs.empty()) {
    return cli::UsageError(base::cat("unknown command ", base::quoted(words[0])));
  }
  if (words.size() == 1) return cli::UsageError(base::cat(words[0], " needs a verb: ", verbs));
  return cli::UsageError(
      base::cat("unknown command ", base::quoted(words[0] + ' ' + words[1]), ": there is ", verbs));
}

int run(int argc, char** argv, std::string& verb) {
  cli::Invocation invocation;
  invocation.start_ns = monotonic_ns();

  cli::Options global;
  cli::SettingFlags flags;
  bool version = false;
  cli::declare_settings(global, flags);
  global.flag("version,v", version, "Print the version and exit");
  std::vector<std::string> words;
  try {
    words = global.parse({argv + 1, argv + argc}, cli::Order::kBeforeArguments);
  } catch (const cli::Options::HelpRequested&) {
    cli::print(cli::overview_text(global));
    return 0;
  } catch (const base::Error& error) {
    throw cli::UsageError(error);
  }
  if (version) {
    cli::print(base::cat("fcvm version ", base::kVersion, "\n"));
    return 0;
  }
  words = cli::canonical_words(std::move(words));
  invocation.command = cli::find_command(words);
  if (invocation.command == nullptr) {
    // What is left of "fcvm podman --help", and all of "fcvm image --help" have nothing of their own to say.
    const auto commands = cli::commands();
    const bool group = words.size() == 2 &&
                       std::any_of(commands.begin(), commands.end(), [&](const auto& command) {
                         return command.name.starts_with(words[0] + ' ');
                       });
    if ((group || words.size() == 1) && (words.back() == "--help" || words.back() == "-h")) {
      cli::print(cli::overview_text(global));
      return 0;
    }
    throw unknown_command(words);
  }
  verb = invocation.command->name;
  const bool two_words = verb.find(' ') != std::string::npos;
  invocation.words.assign(words.begin() + (two_words ? 2 : 1), words.end());
  invocation.settings =
      cli::resolve_settings(flags, ::getenv, [] { return storage::default_data_directory(); });
  cli::install_log_sink(invocation.settings.log_level, invocation.settings.log_format);
  return invocation.command->run(invocation);
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that has gone is an error like any other.
  std::signal(SIGPIPE, SIG_IGN);
  std::string verb;
  try {
    return run(argc, argv, verb);
  } catch (const cli::HelpShown&) {
    return 0;
  } catch (const vm::Interrupted& interrupted) {
    return 128 + interrupted.signal;
  } catch (const base::Cancelled&) {
    return 128 + (cli::InterruptGuard::signal() != 0 ? cli::InterruptGuard::signal() : SIGINT);
  } catch (const cli::UsageError& error) {
    const std::string help = base::cat("see 'fcvm ", verb, verb.empty() ? "" : " ", "--help'");
    cli::print_error_text(
        cli::error_text(verb, error.what(), error.hint().empty() ? help : error.hint()));
  } catch (const base::Error& error) {
    cli::print_error(verb, error);
  } catch (const std::exception& error) {
    cli::print_error_text(cli::error_text(verb, error.what(), ""));
  }
  return cli::kFailed;
}
