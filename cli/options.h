// The options of one command: declared once, and used for parsing, for the help, and through the
// help for checking the man page and the completion.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// Where options may stand. podman run and exec pass everything behind their first argument on.
enum class Order {
  kAnywhere,
  kBeforeArguments,
};

struct OptionDescription {
  std::string name;      // without dashes
  char letter = 0;       // 0: none
  std::string argument;  // empty: a switch
  std::string help;
};

// Names are given as "long,s" or "long". Text is read as podman reads it: "--long value",
// "--long=value", "-s value", "-svalue", "-abc" for flags together, "--flag=false"; "--" ends the
// options. A flag or a value given twice counts as the last time. Every command has "help,h".
class Options {
 public:
  using Setter = std::function<void(const std::string&)>;

  Options();
  ~Options();
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  void flag(const std::string& names, bool& target, const std::string& help);
  // `argument` is its name in the help. `set` throws base::Error for what it does not take; the
  // option's name is put in front.
  void value(const std::string& names, const std::string& argument, const std::string& help,
             Setter set);
  void value(const std::string& names, const std::string& argument, const std::string& help,
             std::string& target);
  // May be given many times; `add` sees them in order.
  void list(const std::string& names, const std::string& argument, const std::string& help,
            Setter add);

  // Returns the arguments. Setters run in the order of declaration. Throws base::Error for unknown
  // options and missing values, and HelpRequested.
  std::vector<std::string> parse(const std::vector<std::string>& words, Order order);
  struct HelpRequested {};

  // Every option, "help" among them, by name.
  std::vector<OptionDescription> describe() const;
  // "  -t, --tty            text", one line or more for each option.
  std::string help() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cli
