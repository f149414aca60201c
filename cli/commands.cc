#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>

#include "cli/command.h"
#include "cli/output.h"
#include "vm/flag_parsers.h"

namespace cli {
namespace {

constexpr auto kCommands = std::to_array<Command>({
    {"attach", "[OPTIONS] VM", "Join the streams of a container",
     "Exit status: the container's own; 0 when the detach keys were typed; 125 fcvm failed.",
     attach},
    {"completions", "SHELL", "Print the completion script of a shell (bash, zsh, fish)",
     "Load it with: source <(fcvm completions bash), the same with zsh, and with fish: fcvm "
     "completions fish | source",
     completions},
    {"cp", "[OPTIONS] [VM:]SOURCE [VM:]DESTINATION", "Copy files between a container and this host",
     "One of the two is of a VM that runs. '-' is a tar archive on standard input or output.", cp},
    {"doctor", "[OPTIONS]", "Say what this machine can do, and what to do about the rest",
     "Exit status: 0; 1 when 'podman run' cannot work; 125 fcvm failed.", doctor},
    {"exec", "[OPTIONS] VM COMMAND [ARG...]", "Run a further process in a VM's container",
     "Exit status: the process's own; 128+N after signal N; 125 fcvm failed; 126 not executable; "
     "127 not found.",
     exec},
    {"healthcheck run", "VM", "Check the health of a VM's container now",
     "Exit status: 0 when the check passed, 1 when it failed, 125 when there is none.",
     healthcheck_run},
    {"image load", "[OPTIONS]", "Load images from an archive",
     "The archive is docker's or OCI's, compressed or not.", image_load},
    {"image ls", "[OPTIONS] [IMAGE]", "List images (also: images)", "", image_ls},
    {"image prune", "[OPTIONS]", "Remove images without a name that no VM uses", "", image_prune},
    {"image pull", "[OPTIONS] IMAGE [IMAGE...]", "Get images from registries (also: pull)",
     "IMAGE is what podman run takes.", image_pull},
    {"image rm", "[OPTIONS] IMAGE [IMAGE...]", "Remove images (also: rmi)", "", image_rm},
    {"inspect", "[OPTIONS] VM [VM...]", "Print all that is known of VMs, as JSON", "", inspect},
    {"kill", "[OPTIONS] VM [VM...]", "Send a signal to containers", "", kill},
    {"logs", "[OPTIONS] VM [VM...]", "Print what containers have written", "", logs},
    {"ls", "[OPTIONS]", "List VMs (also: ps)", "", ls},
    {"pause", "[OPTIONS] VM [VM...]", "Make VMs stand still", "", pause},
    {"podman create", "[OPTIONS] IMAGE [COMMAND [ARG...]]",
     "Make a VM without starting it, and print its ID",
     "fcvm start starts it; flags are those of podman run.", podman_create},
    {"podman run", "[OPTIONS] IMAGE [COMMAND [ARG...]]", "Boot a VM and run a container in it",
     "IMAGE is one of [REGISTRY/]NAME[:TAG], NAME@DIGEST, docker-archive:FILE, oci:DIR[:TAG], "
     "oci-archive:FILE, containers-storage:REF, docker-daemon:REF, dir:DIR. Everything behind "
     "IMAGE "
     "is the container's.\n\n"
     "Exit status: the container's own; 128+N after signal N; 125 fcvm failed; 126 not executable; "
     "127 not found.",
     podman_run},
    {"port", "[OPTIONS] VM [PORT[/PROTOCOL]]", "Print the published ports of VMs", "", port},
    {"rename", "VM NAME", "Give a VM another name", "", rename},
    {"restart", "[OPTIONS] VM [VM...]", "Stop VMs and start them again",
     "The disk stays as it is. A VM that does not run is started.", restart},
    {"rm", "[OPTIONS] VM [VM...]", "Remove VMs", "", rm},
    {"setup", "[OPTIONS]", "Make the data directory, kernel, initramfs and base root file system",
     "Everything is made once; what is there is kept.", setup},
    {"snapshot create", "[OPTIONS] VM", "Save a VM that runs, to be cloned",
     "The VM goes on; its container stands still meanwhile.", snapshot_create},
    {"snapshot inspect", "[OPTIONS] TAG [TAG...]", "Print all that is known of snapshots, as JSON",
     "", snapshot_inspect},
    {"snapshot ls", "[OPTIONS]", "List snapshots", "", snapshot_ls},
    {"snapshot rm", "[OPTIONS] TAG [TAG...]", "Remove snapshots",
     "One that clones run on is not removed.", snapshot_rm},
    {"snapshot run", "[OPTIONS]", "Run a clone of a snapshot",
     "The clone's container goes on where the snapshot was made, with a name, host name, "
     "machine-id, "
     "clock and random numbers of its own.\n\n"
     "Exit status: the container's own, or that of --exec's command; 125 fcvm failed.",
     snapshot_run},
    {"start", "[OPTIONS] VM [VM...]", "Start VMs that were created or have ended", "", start},
    {"stats", "[OPTIONS] [VM...]", "Show what VMs use", "", stats},
    {"stop", "[OPTIONS] VM [VM...]", "Stop containers and their VMs", "", stop},
    {"system df", "[OPTIONS]", "Say what the data directory holds and what of it may go", "",
     system_df},
    {"system prune", "[OPTIONS]", "Remove all VMs that do not run", "", system_prune},
    {"system reconcile", "[OPTIONS]", "Remove what crashes have left, and say what that was",
     "Every command does it silently when it begins.", system_reconcile},
    {"top", "[OPTIONS] VM [DESCRIPTOR... | PS-OPTIONS...]", "Show the processes of a container",
     "Descriptors: args capamb capbnd capeff capinh capprm comm etime group groups hpid nice pcpu "
     "pgid pid ppid rgroup rss ruser seccomp state stime time tty user vsz. Behind the VM an "
     "option "
     "of ps(1) makes the container's own ps answer.",
     top},
    {"unpause", "[OPTIONS] VM [VM...]", "Let paused VMs run again", "", unpause},
    {"version", "[OPTIONS]", "Print the version", "", version},
    {"wait", "[OPTIONS] VM [VM...]", "Wait until containers have ended and print their exit codes",
     "", wait},
});

// Other words podman's users have for them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kAliases{{
    {"create", "podman create"},
    {"images", "image ls"},
    {"load", "image load"},
    {"ps", "ls"},
    {"pull", "image pull"},
    {"rmi", "image rm"},
    {"run", "podman run"},
}};

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

std::vector<std::string> canonical_words(std::vector<std::string> words) {
  // "podman exec" and "container exec" are "exec"; "run" alone is "podman run".
  while (words.size() > 1 && (words[0] == "podman" || words[0] == "container")) {
    words.erase(words.begin());
  }
  if (words.empty()) return words;
  for (const auto& [alias, name] : kAliases) {
    if (words[0] != alias) continue;
    const auto space = name.find(' ');
    words[0] = name.substr(0, space);
    if (space != std::string_view::npos) {
      words.insert(words.begin() + 1, std::string(name.substr(space + 1)));
    }
    break;
  }
  if (words.size() > 1 && words[0] == "image") {
    if (words[1] == "list") words[1] = "ls";
    if (words[1] == "remove") words[1] = "rm";
  }
  return words;
}

const Command* find_command(const std::vector<std::string>& words) {
  if (words.empty()) return nullptr;
  const std::string& first = words[0];
  const std::string both = words.size() > 1 ? first + ' ' + words[1] : first;
  for (const auto& command : kCommands) {
    if (command.name == first || command.name == both) return &command;
  }
  return nullptr;
}

std::vector<std::string> Invocation::parse(Options& options, Order order) const {
  if (described != nullptr) {
    *described = options.describe();
    throw HelpShown{};
  }
  try {
    return options.parse(words, order);
  } catch (const Options::HelpRequested&) {
    print(help_text(*command, options));
    throw HelpShown{};
  } catch (const base::Error& error) {
    throw UsageError(error);
  }
}

vm::VmManager Invocation::manager() const {
  return vm::VmManager(images().data());
}

image::ImageStore Invocation::images() const {
  image::ImageStore store(storage::open_data_directory(settings.data_dir));
  store.sweep();
  return store;
}

std::string help_text(const Command& command, const Options& options) {
  std::string text = base::cat("Usage: fcvm ", command.name, " ", command.arguments, "\n\n",
                               command.summary, ".\n");
  if (!command.details.empty()) text += base::cat("\n", command.details, "\n");
  return text + "\nOptions:\n" + options.help();
}

std::string overview_text(const Options& global) {
  std::string text =
      "Usage: fcvm [OPTIONS] COMMAND\n\n"
      "Runs each container in a microVM of its own.\n\nCommands:\n";
  std::size_t width = 0;
  for (const auto& command : kCommands) width = std::max(width, command.name.size());
  for (const auto& command : kCommands) {
    text += base::cat("  ", command.name, std::string(width - command.name.size() + 2, ' '),
                      command.summary, "\n");
  }
  text += "\nOptions:\n" + global.help();
  text += "\n'fcvm COMMAND --help' tells more of a command.\n";
  return text;
}

int for_each_vm(const Invocation& invocation, const vm::VmManager& manager,
                const std::vector<std::string>& names,
                const std::function<void(const vm::VmRecord&, const std::string& name)>& act,
                const std::function<bool(const std::string& name)>& missing) {
  int status = 0;
  for (const auto& name : names) {
    try {
      std::optional<vm::VmRecord> record = manager.try_find(name);
      if (!record && missing && missing(name)) continue;
      if (!record) record = manager.find(name);  // says that there is none
      act(*record, name);
    } catch (const base::Error& error) {
      print_error(invocation.command->name, error);
      status = kFailed;
    }
  }
  return status;
}

void require_names(const std::vector<std::string>& names, bool all) {
  if (all && !names.empty()) throw UsageError("name VMs or give --all, not both");
  if (!all && names.empty()) throw UsageError("name at least one VM");
}

int parse_stop_timeout(const std::string& text) {
  if (text == "-1") return -1;
  const auto seconds = vm::parse_seconds(text).count();
  if (seconds > INT_MAX) throw base::Error(base::cat(base::quoted(text), " is too long"));
  return static_cast<int>(seconds);
}

std::size_t parse_count(const std::string& text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw base::Error(base::cat("invalid number ", base::quoted(text)));
  }
  return value;
}

std::vector<std::string> host_environment() {
  std::vector<std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    environment.emplace_back(*entry);
  }
  return environment;
}

}  // namespace cli
