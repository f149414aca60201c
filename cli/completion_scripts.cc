#include "cli/completion_scripts.h"

#include <map>

#include "base/error.h"

namespace cli {
namespace {

// Between single quotes. Of zsh's and fish's own escapes there only these two matter.
std::string single_quoted(const std::string& text, bool for_fish) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += for_fish ? "\\'" : "'\\''";
    } else if (c == '\\' && for_fish) {
      quoted += "\\\\";
    } else {
      quoted += c;
    }
  }
  return quoted + '\'';
}

// The words that may follow each beginning of a command: "" to "ls" and "podman", "podman" to "run".
using Words = std::map<std::string, std::map<std::string, std::string>>;

Words words_of(const std::vector<CompletedCommand>& commands) {
  Words words;
  for (const auto& command : commands) {
    const auto space = command.name.find(' ');
    if (command.name.empty()) continue;
    if (space == std::string::npos) {
      words[""][command.name] = command.summary;
    } else {
      const std::string first = command.name.substr(0, space);
      words[""].emplace(first, "Commands of " + first);
      words[first][command.name.substr(space + 1)] = command.summary;
    }
  }
  return words;
}

// `_describe` separates a word from its description by a colon.
std::string zsh_entry(std::string word, const std::string& text) {
  for (std::size_t at = 0; (at = word.find(':', at)) != std::string::npos; at += 2) {
    word.insert(at, "\\");
  }
  return ' ' + single_quoted(word + ':' + text, false);
}

std::string zsh_options(const CompletedCommand& command) {
  std::string text;
  for (const auto& option : command.options) {
    if (option.letter != 0) text += zsh_entry(std::string{'-', option.letter}, option.help);
    text += zsh_entry("--" + option.name, option.help);
  }
  return text;
}

}  // namespace

std::string zsh_completion(const std::vector<CompletedCommand>& commands) {
  const Words words = words_of(commands);
  std::string groups;
  for (const auto& [first, next] : words) {
    if (!first.empty()) groups += (groups.empty() ? "" : " | ") + first;
  }
  std::string text = base::cat(R"(#compdef fcvm
# zsh completion for fcvm, made by fcvm itself.

_fcvm() {
  local fcvm_command= word
  local -a entries
  local -i at arguments=0
  for ((at = 2; at < CURRENT; at++)); do
    word=${words[at]}
    [[ $word == -* ]] && continue
    case $fcvm_command in
      '') fcvm_command=${word/#%ps/ls} ;;
      )",
                               groups, R"() fcvm_command="$fcvm_command $word" ;;
      *) ((arguments++)) ;;
    esac
  done
  if [[ $PREFIX == -* ]]; then
    case $fcvm_command in
)");
  for (const auto& command : commands) {
    text += base::cat("      ", single_quoted(command.name, false), ") entries=(",
                      zsh_options(command), " ) ;;\n");
  }
  text += "    esac\n    _describe -o option entries\n    return\n  fi\n  case $fcvm_command in\n";
  for (const auto& [first, next] : words) {
    text += base::cat("    ", single_quoted(first, false), ")\n      entries=(");
    for (const auto& [word, summary] : next) text += zsh_entry(word, summary);
    text += " )\n      _describe command entries\n      ;;\n";
  }
  std::string with_vms;
  for (const auto& command : commands) {
    if (!command.takes_vms) continue;
    with_vms += (with_vms.empty() ? "" : " | ") + single_quoted(command.name, false);
  }
  text += base::cat("    ", with_vms,
                    ")\n"
                    "      ((arguments)) && [[ $fcvm_command == exec ]] && { _files; return }\n"
                    "      entries=(${(f)\"$(fcvm ls -a --noheading --format '{{.Names}}' "
                    "2> /dev/null)\"})\n"
                    "      compadd -a entries\n"
                    "      ;;\n"
                    "    *) _files ;;\n"
                    "  esac\n"
                    "}\n\n"
                    "compdef _fcvm fcvm\n");
  return text;
}

std::string fish_completion(const std::vector<CompletedCommand>& commands) {
  const Words words = words_of(commands);
  std::string groups;
  for (const auto& [first, next] : words) {
    if (!first.empty()) groups += ' ' + first;
  }
  std::string text = base::cat(R"(# fish completion for fcvm, made by fcvm itself.

# True when the words before the cursor are this command of fcvm.
function __fcvm_at
    set -l found
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; and continue
        test "$word" = ps; and set word ls
        if test (count $found) -eq 0
            set found $word
        else if test (count $found) -eq 1; and contains -- $found[1])",
                               groups, R"(
            set found $found $word
        end
    end
    test "$found" = "$argv[1]"
end

function __fcvm_vms
    fcvm ls -a --noheading --format '{{.Names}}' 2> /dev/null
end

complete -c fcvm -f
)");
  const auto at = [](const std::string& name) {
    return "-n " + single_quoted("__fcvm_at " + single_quoted(name, true), true);
  };
  for (const auto& [first, next] : words) {
    for (const auto& [word, summary] : next) {
      text += base::cat("complete -c fcvm ", at(first), " -a ", single_quoted(word, true), " -d ",
                        single_quoted(summary, true), "\n");
    }
  }
  for (const auto& command : commands) {
    for (const auto& option : command.options) {
      text += base::cat("complete -c fcvm ", at(command.name), " -l ", option.name);
      if (option.letter != 0) text += base::cat(" -s ", std::string(1, option.letter));
      if (!option.argument.empty()) text += " -r -F";
      text += base::cat(" -d ", single_quoted(option.help, true), "\n");
    }
    if (command.takes_vms) {
      text += base::cat("complete -c fcvm ", at(command.name), " -a '(__fcvm_vms)'\n");
    } else if (command.name.starts_with("podman ")) {
      text += base::cat("complete -c fcvm ", at(command.name), " -F\n");
    }
  }
  return text;
}

}  // namespace cli
