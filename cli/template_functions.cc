// The functions templates may call, and how values are printed.
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>

#include "base/error.h"
#include "cli/detail/template_ast.h"
#include "cli/template.h"

namespace cli::detail {
namespace {

using Json = nlohmann::json;
using Value = TemplateValue;
using Arguments = std::vector<Value>;

constexpr std::size_t kMaxPadding = 1000;

bool is_time(const Json& value) {
  return value.is_binary() && value.get_binary().has_subtype() &&
         value.get_binary().subtype() == kTemplateTime;
}

std::string rfc3339_of(const Json& time) {
  return {time.get_binary().begin(), time.get_binary().end()};
}

// "2026-11-23T01:41:01.900Z" as "2026-11-23 01:41:01.9 +0000 UTC".
std::string go_time(std::string text) {
  if (!text.empty() && text.back() == 'Z') text.pop_back();
  if (const auto t = text.find('T'); t != std::string::npos) text[t] = ' ';
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text + " +0000 UTC";
}

// Times become text, for json.
Json plain(const Json& value) {
  if (is_time(value)) return rfc3339_of(value);
  if (!value.is_structured()) return value;
  Json copy = value;
  for (auto& element : copy) element = plain(element);
  return copy;
}

[[noreturn]] void wrong(const std::string& name, const std::string& what) {
  throw base::Error(base::cat(name, ": ", what));
}

const std::string& text_of(const std::string& name, const Value& value) {
  if (!value.json.is_string()) wrong(name, "it takes a text");
  return value.json.get_ref<const std::string&>();
}

std::int64_t integer_of(const std::string& name, const Value& value) {
  if (!value.json.is_number_integer()) wrong(name, "it takes a whole number");
  if (value.json.is_number_unsigned() && value.json.get<std::uint64_t>() > INT64_MAX) {
    wrong(name, "the number is too large");
  }
  return value.json.get<std::int64_t>();
}

template <typename Change>
Value changed(std::string text, Change change) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [&](char c) { return static_cast<char>(change(static_cast<unsigned char>(c))); });
  return {std::move(text)};
}

Value title(std::string text) {
  bool first = true;
  for (char& c : text) {
    if (first) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    first = c == ' ' || c == '\t' || c == '\n';
  }
  return {std::move(text)};
}

// -1, 0, 1 for values that can be compared at all.
int compare(const std::string& name, const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return a < b ? -1 : a == b ? 0 : 1;
  if (a.is_string() && b.is_string()) return a < b ? -1 : a == b ? 0 : 1;
  if (a.is_boolean() && b.is_boolean() && (name == "eq" || name == "ne")) return a == b ? 0 : 1;
  if ((a.is_null() || b.is_null()) && (name == "eq" || name == "ne")) return a == b ? 0 : 1;
  wrong(name, "these values cannot be compared");
}

Value length(const Value& value) {
  if (value.json.is_string()) return {text_of("len", value).size()};
  if (value.json.is_array() || value.json.is_object()) return {value.json.size()};
  if (value.json.is_null()) return {0};
  wrong("len", "it takes a text, a list or a map");
}

Value index(const Arguments& arguments) {
  Value value = arguments.front();
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    if (value.json.is_array()) {
      const std::int64_t at = integer_of("index", arguments[i]);
      if (at < 0 || static_cast<std::size_t>(at) >= value.json.size()) {
        wrong("index", base::cat("there is no element ", at));
      }
      value = {Json(value.json[static_cast<std::size_t>(at)])};
    } else if (value.json.is_object()) {
      const auto found = value.json.find(text_of("index", arguments[i]));
      if (found == value.json.end() && !value.is_map) {
        wrong("index",
              base::cat("there is no field ", base::quoted(text_of("index", arguments[i]))));
      }
      value = found == value.json.end() ? Value{""} : Value{Json(*found)};
    } else if (value.json.is_null()) {
      value = {""};  // an empty map
    } else {
      wrong("index", "it takes a list or a map");
    }
  }
  return value;
}

Value slice(const Arguments& arguments) {
  const Json& value = arguments.front().json;
  if (!value.is_string() && !value.is_array()) wrong("slice", "it takes a text or a list");
  const auto size = static_cast<std::int64_t>(
      value.is_string() ? text_of("slice", arguments.front()).size() : value.size());
  const std::int64_t begin = arguments.size() > 1 ? integer_of("slice", arguments[1]) : 0;
  const std::int64_t end = arguments.size() > 2 ? integer_of("slice", arguments[2]) : size;
  if (begin < 0 || end < begin || end > size) wrong("slice", "it reaches beyond the end");
  if (value.is_string()) {
    return {text_of("slice", arguments.front())
                .substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))};
  }
  return {Json(Json::array_t(value.begin() + begin, value.begin() + end))};
}

Value join(const Arguments& arguments) {
  const Json& list = arguments[0].json;
  const std::string& separator = text_of("join", arguments[1]);
  if (list.is_null()) return {""};
  if (!list.is_array()) wrong("join", "it takes a list and a text");
  std::string text;
  for (const auto& element : list) {
    if (!element.is_string()) wrong("join", "it takes a list of texts");
    text += (&element == &list.front() ? "" : separator) + element.get_ref<const std::string&>();
    if (text.size() > Template::kMaxOutputBytes) wrong("join", "the text becomes too long");
  }
  return {std::move(text)};
}

Value split(const Arguments& arguments) {
  const std::string& text = text_of("split", arguments[0]);
  const std::string& separator = text_of("split", arguments[1]);
  Json list = Json::array();
  if (separator.empty()) wrong("split", "the separator is empty");
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find(separator, begin)) != std::string::npos;
       begin = end + separator.size()) {
    list.push_back(text.substr(begin, end - begin));
  }
  list.push_back(text.substr(begin));
  return {std::move(list)};
}

std::size_t padding(const std::string& name, const Value& value) {
  const std::int64_t count = integer_of(name, value);
  if (count < 0 || static_cast<std::size_t>(count) > kMaxPadding) {
    wrong(name, base::cat("a number of characters is from 0 to ", kMaxPadding));
  }
  return static_cast<std::size_t>(count);
}

std::string joined_texts(const Arguments& arguments, bool spaced) {
  std::string text;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    // Print puts a space between two values when neither is a text.
    const bool space =
        i != 0 &&
        (spaced || (!arguments[i].json.is_string() && !arguments[i - 1].json.is_string()));
    text += (space ? " " : "") + template_text(arguments[i].json, arguments[i].is_map);
  }
  return text;
}

// One verb of printf with its flags: "%-8s".
std::string formatted(char verb, const Value& value) {
  switch (verb) {
    case 'v':
      return template_text(value.json, value.is_map);
    case 's':
      if (value.json.is_number() || value.json.is_boolean()) break;
      return template_text(value.json, value.is_map);
    case 'q':
      return Json(text_of("printf", value)).dump(-1, ' ', false, Json::error_handler_t::replace);
    case 'd':
      if (!value.json.is_number_integer()) break;
      return value.json.dump();
    case 't':
      if (!value.json.is_boolean()) break;
      return value.json.dump();
    default:
      wrong("printf", base::cat("unknown verb %", std::string(1, verb)));
  }
  wrong("printf", base::cat("the value does not fit %", std::string(1, verb)));
}

Value print_format(const Arguments& arguments) {
  const std::string& format = text_of("printf", arguments.front());
  std::string text;
  std::size_t next = 1;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      text += format[i];
      continue;
    }
    if (++i < format.size() && format[i] == '%') {
      text += '%';
      continue;
    }
    bool left = false;
    bool zeros = false;
    for (; i < format.size() && (format[i] == '-' || format[i] == '0'); ++i) {
      (format[i] == '-' ? left : zeros) = true;
    }
    std::size_t width = 0;
    for (; i < format.size() && std::isdigit(static_cast<unsigned char>(format[i])) != 0; ++i) {
      width = width * 10 + static_cast<std::size_t>(format[i] - '0');
      if (width > kMaxPadding) wrong("printf", "the width is too large");
    }
    if (i >= format.size()) wrong("printf", "the format ends after %");
    if (next >= arguments.size()) wrong("printf", "a value is missing");
    const std::string word = formatted(format[i], arguments[next++]);
    const std::string pad(width > word.size() ? width - word.size() : 0,
                          zeros && !left ? '0' : ' ');
    text += left ? word + pad : pad + word;
    if (text.size() > Template::kMaxOutputBytes) wrong("printf", "the text becomes too long");
  }
  if (next != arguments.size()) wrong("printf", "there are more values than verbs");
  return {std::move(text)};
}

struct Function {
  std::string_view name;
  std::size_t least;
  std::size_t most;
};
constexpr std::size_t kMany = 64;
constexpr std::array<Function, 23> kFunctions{{
    {"and", 1, kMany},    {"eq", 2, kMany},      {"ge", 2, 2},    {"gt", 2, 2},
    {"index", 1, kMany},  {"join", 2, 2},        {"json", 1, 1},  {"le", 2, 2},
    {"len", 1, 1},        {"lower", 1, 1},       {"lt", 2, 2},    {"ne", 2, 2},
    {"not", 1, 1},        {"or", 1, kMany},      {"pad", 3, 3},   {"print", 0, kMany},
    {"printf", 1, kMany}, {"println", 0, kMany}, {"slice", 1, 3}, {"split", 2, 2},
    {"title", 1, 1},      {"truncate", 2, 2},    {"upper", 1, 1},
}};

}  // namespace

bool is_template_function(std::string_view name) {
  return std::any_of(kFunctions.begin(), kFunctions.end(),
                     [&](const Function& function) { return function.name == name; });
}

bool template_truth(const TemplateValue& value) {
  const Json& json = value.json;
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number()) return json != 0;
  if (json.is_string() || json.is_array()) return !json.empty() && json != "";
  if (json.is_object()) return !value.is_map || !json.empty();
  return !json.is_null();
}

std::string template_text(const nlohmann::json& value, bool is_map) {
  if (is_time(value)) return go_time(rfc3339_of(value));
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "<nil>";
  if (value.is_number_float()) {
    std::array<char, 64> digits{};
    const auto end =
        std::to_chars(digits.data(), digits.data() + digits.size(), value.get<double>()).ptr;
    return {digits.data(), end};
  }
  if (!value.is_structured()) return value.dump();
  std::string text;
  for (const auto& [key, element] : value.items()) {
    if (!text.empty()) text += ' ';
    if (is_map) text += key + ':';
    text += template_text(element, false);
  }
  if (value.is_array()) return '[' + text + ']';
  return is_map ? "map[" + text + ']' : '{' + text + '}';
}

TemplateValue call_template_function(const std::string& name,
                                     std::vector<TemplateValue> arguments) {
  const auto* function =
      std::find_if(kFunctions.begin(), kFunctions.end(),
                   [&](const Function& candidate) { return candidate.name == name; });
  if (arguments.size() < function->least || arguments.size() > function->most) {
    wrong(name, base::cat("wrong number of values: ", arguments.size()));
  }
  if (name == "and" || name == "or") {
    for (auto& argument : arguments) {
      if (template_truth(argument) == (name == "or")) return std::move(argument);
    }
    return std::move(arguments.back());
  }
  if (name == "not") return {!template_truth(arguments[0])};
  if (name == "eq") {
    return {std::any_of(arguments.begin() + 1, arguments.end(), [&](const Value& other) {
      return compare(name, arguments[0].json, other.json) == 0;
    })};
  }
  if (name == "ne") return {compare(name, arguments[0].json, arguments[1].json) != 0};
  if (name == "lt") return {compare(name, arguments[0].json, arguments[1].json) < 0};
  if (name == "le") return {compare(name, arguments[0].json, arguments[1].json) <= 0};
  if (name == "gt") return {compare(name, arguments[0].json, arguments[1].json) > 0};
  if (name == "ge") return {compare(name, arguments[0].json, arguments[1].json) >= 0};
  if (name == "len") return length(arguments[0]);
  if (name == "index") return index(arguments);
  if (name == "slice") return slice(arguments);
  if (name == "join") return join(arguments);
  if (name == "split") return split(arguments);
  if (name == "upper") return changed(text_of(name, arguments[0]), ::toupper);
  if (name == "lower") return changed(text_of(name, arguments[0]), ::tolower);
  if (name == "title") return title(text_of(name, arguments[0]));
  if (name == "print") return {joined_texts(arguments, false)};
  if (name == "println") return {joined_texts(arguments, true) + '\n'};
  if (name == "printf") return print_format(arguments);
  if (name == "pad") {
    const std::string& text = text_of(name, arguments[0]);
    if (text.empty()) return {text};
    return {std::string(padding(name, arguments[1]), ' ') + text +
            std::string(padding(name, arguments[2]), ' ')};
  }
  if (name == "truncate") {
    return {text_of(name, arguments[0]).substr(0, padding(name, arguments[1]))};
  }
  if (name == "json") {
    return {plain(arguments[0].json).dump(-1, ' ', false, Json::error_handler_t::replace)};
  }
  return {};
}

}  // namespace cli::detail
