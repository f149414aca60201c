// The commands of fcvm: one file each, listed in commands.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/options.h"
#include "cli/settings.h"
#include "image/image_store.h"
#include "vm/vm_manager.h"

namespace cli {

// Exit status when fcvm itself fails, as podman's.
inline constexpr int kFailed = 125;

struct Invocation;

struct Command {
  std::string_view name;       // "podman run"
  std::string_view arguments;  // "[OPTIONS] IMAGE [COMMAND [ARG…]]", for the help
  std::string_view summary;    // one line
  std::string_view details;    // more of the help; may be empty
  // Returns the exit status. Throws base::Error (125), UsageError, HelpShown and base::Cancelled.
  int (*run)(Invocation& invocation);
};
std::span<const Command> commands();
// The words of a command line with podman's other words for a command ("podman ps", "container ls")
// replaced by ours ("ls").
std::vector<std::string> canonical_words(std::vector<std::string> words);
// By its canonical words, the longest name first; empty when there is none.
const Command* find_command(const std::vector<std::string>& words);

// A mistake on the command line: the hint leads to the help unless there is a better one.
class UsageError : public base::Error {
 public:
  using base::Error::Error;
  explicit UsageError(const base::Error& error) : base::Error(error) {}
};

// The help was asked for and has been printed.
struct HelpShown {};

// What a command is given.
struct Invocation {
  const Command* command = nullptr;
  Settings settings;
  std::vector<std::string> words;  // behind the command's name
  std::int64_t start_ns = 0;       // CLOCK_MONOTONIC when the program began
  // Set: parse() writes the command's options there and throws HelpShown, for completions.
  std::vector<OptionDescription>* described = nullptr;

  // options.parse() with every error a UsageError; prints the help when it was asked for and throws
  // HelpShown.
  std::vector<std::string> parse(Options& options, Order order) const;
  // Opens the data directory and reconciles.
  vm::VmManager manager() const;
  // Opens the data directory and removes what was left half-made there.
  image::ImageStore images() const;
};

std::string help_text(const Command& command, const Options& options);
std::string overview_text(const Options& global);

// Runs `act` on each of the VMs the user named, in order; errors are printed one by one. 0, or
// `kFailed` when any failed. A name nobody has is given to `missing`, which may deal with it (true).
int for_each_vm(const Invocation& invocation, const vm::VmManager& manager,
                const std::vector<std::string>& names,
                const std::function<void(const vm::VmRecord&, const std::string& name)>& act,
                const std::function<bool(const std::string& name)>& missing = nullptr);

// Throws UsageError unless VMs were named, or --all was given instead.
void require_names(const std::vector<std::string>& names, bool all);

// "10", or "-1" for no limit. And a whole number from 0 up. Both throw base::Error.
int parse_stop_timeout(const std::string& text);
std::size_t parse_count(const std::string& text);

// The host's environment as "NAME=value".
std::vector<std::string> host_environment();

int attach(Invocation& invocation);
int cp(Invocation& invocation);
int port(Invocation& invocation);
int setup(Invocation& invocation);
int image_load(Invocation& invocation);
int image_ls(Invocation& invocation);
int image_prune(Invocation& invocation);
int image_pull(Invocation& invocation);
int image_rm(Invocation& invocation);
int snapshot_create(Invocation& invocation);
int snapshot_inspect(Invocation& invocation);
int snapshot_ls(Invocation& invocation);
int snapshot_rm(Invocation& invocation);
int snapshot_run(Invocation& invocation);
int stats(Invocation& invocation);
int top(Invocation& invocation);
int podman_run(Invocation& invocation);
int ls(Invocation& invocation);
int exec(Invocation& invocation);
int logs(Invocation& invocation);
int wait(Invocation& invocation);
int stop(Invocation& invocation);
int kill(Invocation& invocation);
int rm(Invocation& invocation);
int healthcheck_run(Invocation& invocation);
int inspect(Invocation& invocation);
int pause(Invocation& invocation);
int podman_create(Invocation& invocation);
int rename(Invocation& invocation);
int restart(Invocation& invocation);
int start(Invocation& invocation);
int system_df(Invocation& invocation);
int system_prune(Invocation& invocation);
int system_reconcile(Invocation& invocation);
int unpause(Invocation& invocation);
int version(Invocation& invocation);
int completions(Invocation& invocation);
int doctor(Invocation& invocation);

}  // namespace cli
