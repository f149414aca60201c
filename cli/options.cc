#include "cli/options.h"

#include <algorithm>
#include <boost/program_options/options_description.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <boost/program_options/variables_map.hpp>
#include <map>

#include "base/error.h"

namespace cli {
namespace {

namespace po = boost::program_options;
using Values = std::vector<std::string>;

constexpr std::size_t kHelpColumn = 28;
constexpr std::size_t kHelpWidth = 100;

bool is_flag(const po::option_description& option) {
  return option.semantic()->max_tokens() == 0;
}

std::string parse_bool(const std::string& text) {
  for (const char* yes : {"true", "1", "t", "T", "TRUE", "True"}) {
    if (text == yes) return "true";
  }
  for (const char* no : {"false", "0", "f", "F", "FALSE", "False"}) {
    if (text == no) return "false";
  }
  throw base::Error(base::cat("invalid value ", base::quoted(text), " for a switch"));
}

// Words to what the library stores. Its own command line parser knows neither "--name=" (an empty
// value) nor values that look like options, both of which podman takes.
class Scanner {
 public:
  Scanner(const po::options_description& table, const std::vector<std::string>& words, Order order)
      : table_(table), words_(words), order_(order), parsed_(&table) {}

  po::parsed_options scan(std::vector<std::string>& arguments) {
    while (at_ < words_.size()) {
      const std::string& word = words_[at_++];
      if (word == "--") {
        arguments.insert(arguments.end(), words_.begin() + position(), words_.end());
        break;
      }
      if (word.size() > 2 && word.starts_with("--")) {
        take_long(word);
      } else if (word.size() > 1 && word.front() == '-') {
        take_short(word);
      } else {
        arguments.push_back(word);
        if (order_ == Order::kBeforeArguments) {
          arguments.insert(arguments.end(), words_.begin() + position(), words_.end());
          break;
        }
      }
    }
    return std::move(parsed_);
  }

 private:
  std::ptrdiff_t position() const { return static_cast<std::ptrdiff_t>(at_); }

  void take_long(const std::string& word) {
    const auto equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    const po::option_description* option = find("--" + name, name);
    if (is_flag(*option)) {
      store(*option, equals == std::string::npos ? "true" : parse_bool(word.substr(equals + 1)));
    } else if (equals != std::string::npos) {
      store(*option, word.substr(equals + 1));
    } else {
      store(*option, next_word("--" + name));
    }
  }

  void take_short(const std::string& word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const std::string name = word.substr(i, 1);
      const po::option_description* option = find("-" + name, "-" + name);
      if (is_flag(*option)) {
        store(*option, "true");
        continue;
      }
      std::string rest = word.substr(i + 1);
      if (rest.empty()) {
        rest = next_word("-" + name);
      } else if (rest.front() == '=') {
        rest.erase(0, 1);
      }
      store(*option, rest);
      return;
    }
  }

  const po::option_description* find(const std::string& shown, const std::string& name) const {
    const po::option_description* option = table_.find_nothrow(name, false);
    if (option == nullptr) throw base::Error(base::cat("unknown option ", base::quoted(shown)));
    return option;
  }

  const std::string& next_word(const std::string& shown) {
    if (at_ == words_.size()) {
      throw base::Error(base::cat("option ", base::quoted(shown), " needs a value"));
    }
    return words_[at_++];
  }

  void store(const po::option_description& option, std::string value) {
    parsed_.options.emplace_back(option.long_name(), Values{std::move(value)});
  }

  const po::options_description& table_;
  const std::vector<std::string>& words_;
  Order order_;
  std::size_t at_ = 0;
  po::parsed_options parsed_;
};

// A switch: takes no word, and yet the scanner may store "--flag=false".
class SwitchSemantic : public po::typed_value<Values> {
 public:
  SwitchSemantic() : po::typed_value<Values>(nullptr) { composing(); }
  unsigned max_tokens() const override { return 0; }
  unsigned min_tokens() const override { return 0; }
};

std::string wrapped(const std::string& head, const std::string& text) {
  std::string out = head;
  std::size_t column = head.size();
  const auto new_line = [&] {
    out += '\n' + std::string(kHelpColumn, ' ');
    column = kHelpColumn;
  };
  if (column + 2 > kHelpColumn) {
    new_line();
  } else {
    out.append(kHelpColumn - column, ' ');
    column = kHelpColumn;
  }
  std::size_t begin = 0;
  bool first = true;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (!first && column + 1 + (end - begin) > kHelpWidth) {
      new_line();
      first = true;
    }
    if (!first) {
      out += ' ';
      ++column;
    }
    out.append(text, begin, end - begin);
    column += end - begin;
    first = false;
    begin = end + 1;
  }
  return out + '\n';
}

}  // namespace

struct Options::State {
  struct Entry {
    std::string name;
    bool every = false;  // the setter sees every value, not the last one only
    Setter set;
  };
  po::options_description table;
  std::vector<Entry> entries;
};

Options::Options() : state_(std::make_unique<State>()) {}
Options::~Options() = default;

namespace {

std::string long_name(const std::string& names) {
  return names.substr(0, names.find(','));
}

}  // namespace

void Options::flag(const std::string& names, bool& target, const std::string& help) {
  state_->table.add_options()(names.c_str(), new SwitchSemantic, help.c_str());
  state_->entries.push_back(
      {long_name(names), false, [&target](const std::string& text) { target = text == "true"; }});
}

void Options::value(const std::string& names, const std::string& argument, const std::string& help,
                    Setter set) {
  state_->table.add_options()(names.c_str(), po::value<Values>()->composing()->value_name(argument),
                              help.c_str());
  state_->entries.push_back({long_name(names), false, std::move(set)});
}

void Options::value(const std::string& names, const std::string& argument, const std::string& help,
                    std::string& target) {
  value(names, argument, help, [&target](const std::string& text) { target = text; });
}

void Options::list(const std::string& names, const std::string& argument, const std::string& help,
                   Setter add) {
  value(names, argument, help, std::move(add));
  state_->entries.back().every = true;
}

std::vector<std::string> Options::parse(const std::vector<std::string>& words, Order order) {
  bool help_wanted = false;
  if (state_->table.find_nothrow("help", false) == nullptr) {
    flag("help,h", help_wanted, "Print this and exit");
    state_->entries.pop_back();
  }
  std::vector<std::string> arguments;
  try {
    po::variables_map values;
    po::store(Scanner(state_->table, words, order).scan(arguments), values);
    if (values.count("help") != 0 && values["help"].as<Values>().back() == "true") {
      throw HelpRequested{};
    }
    for (const auto& entry : state_->entries) {
      if (values.count(entry.name) == 0) continue;
      const auto& given = values[entry.name].as<Values>();
      base::with_context("--" + entry.name, [&] {
        for (auto value = entry.every ? given.begin() : given.end() - 1; value != given.end();
             ++value) {
          entry.set(*value);
        }
      });
    }
  } catch (const po::error& error) {
    throw base::Error(error.what());
  }
  return arguments;
}

std::vector<OptionDescription> Options::describe() const {
  std::vector<OptionDescription> options;
  bool has_help = false;
  for (const auto& option : state_->table.options()) {
    const std::string name = option->long_name();
    has_help = has_help || name == "help";
    // "-t" where there is a letter, the long name otherwise.
    const std::string shown =
        option->canonical_display_name(po::command_line_style::allow_dash_for_short);
    const char letter = shown.size() == 2 && shown[0] == '-' ? shown[1] : '\0';
    options.push_back(
        {name, letter, is_flag(*option) ? "" : option->semantic()->name(), option->description()});
  }
  if (!has_help) options.push_back({"help", 'h', "", "Print this and exit"});
  std::sort(options.begin(), options.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return options;
}

std::string Options::help() const {
  std::string text;
  for (const auto& [name, letter, argument, help] : describe()) {
    std::string head = letter != 0 ? base::cat("  -", letter, ", --", name) : "      --" + name;
    if (!argument.empty()) head += ' ' + argument;
    text += wrapped(head, help);
  }
  return text;
}

}  // namespace cli
