#include "image/short_names.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"

namespace image {
namespace {

constexpr std::size_t kMaxFileBytes = 1 << 20;
constexpr std::string_view kBlank = " \t\r";

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

// The part of TOML (toml.io, v1.0) these files are written in: tables, and keys with texts or lists
// of texts. Any other value is stepped over.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  // The next line that says something: without its comment, a list over several lines as one.
  bool next(std::string& line) {
    line.clear();
    while (at_ < text_.size()) {
      const auto end = std::min(text_.find('\n', at_), text_.size());
      append(text_.substr(at_, end - at_), line);
      at_ = end + 1;
      ++number_;
      const std::string_view said = trim(line);
      if (said.empty()) {
        line.clear();
        continue;
      }
      // A table's heading has its brackets on one line.
      if (said.front() == '[' || depth_ <= 0) {
        depth_ = 0;
        line = said;
        return true;
      }
    }
    if (depth_ > 0) fail("a list does not end");
    return false;
  }

  [[noreturn]] void fail(std::string_view why) const {
    throw base::Error(base::cat("line ", number_, ": ", why));
  }

 private:
  void append(std::string_view part, std::string& line) {
    char quote = 0;
    for (std::size_t i = 0; i < part.size(); ++i) {
      const char c = part[i];
      if (quote != 0) {
        if (quote == '"' && c == '\\' && i + 1 < part.size()) {
          line += c;
          line += part[++i];
          continue;
        }
        if (c == quote) quote = 0;
      } else if (c == '#') {
        break;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (c == '[') {
        ++depth_;
      } else if (c == ']') {
        --depth_;
      }
      line += c;
    }
    line += ' ';
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int number_ = 0;
  int depth_ = 0;
};

// A quoted text at the beginning of `rest`, which is moved behind it.
std::string take_text(const Reader& reader, std::string_view& rest) {
  rest = trim(rest);
  if (rest.empty() || (rest.front() != '"' && rest.front() != '\'')) {
    reader.fail("a text in quotes is expected");
  }
  const char quote = rest.front();
  std::string out;
  for (std::size_t i = 1; i < rest.size(); ++i) {
    if (rest[i] == quote) {
      rest = trim(rest.substr(i + 1));
      return out;
    }
    if (quote == '"' && rest[i] == '\\' && i + 1 < rest.size()) ++i;
    out += rest[i];
  }
  reader.fail("a text does not end");
}

std::vector<std::string> take_list(const Reader& reader, std::string_view rest) {
  rest = trim(rest);
  if (rest.empty() || rest.front() != '[') reader.fail("a list is expected");
  rest = trim(rest.substr(1));
  std::vector<std::string> out;
  while (!rest.empty() && rest.front() != ']') {
    out.push_back(take_text(reader, rest));
    if (!rest.empty() && rest.front() == ',') rest = trim(rest.substr(1));
  }
  return out;
}

std::string take_key(const Reader& reader, std::string_view text) {
  text = trim(text);
  if (text.empty()) reader.fail("a key is missing");
  return text.front() == '"' || text.front() == '\'' ? take_text(reader, text) : std::string(text);
}

// The '=' behind the key, which may be quoted and hold one.
std::size_t equals_of(std::string_view line) {
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (quote != 0) {
      if (line[i] == quote) quote = 0;
    } else if (line[i] == '"' || line[i] == '\'') {
      quote = line[i];
    } else if (line[i] == '=') {
      return i;
    }
  }
  return std::string_view::npos;
}

void add_file(const std::string& path, ShortNames& names) {
  const auto text = base::try_read_file(path, kMaxFileBytes);
  if (!text) return;
  base::with_context(base::cat("reading ", base::quoted(path)),
                     [&] { add_registries_conf(*text, names); });
}

void add_directory(const std::string& path, ShortNames& names) {
  for (const std::string& name : base::list_directory(path)) {
    if (name.ends_with(".conf")) add_file(path + "/" + name, names);
  }
}

// "registry/path", without a tag, as the value of an alias.
RegistryName of_alias(const std::string& value, const RegistryName& name) {
  RegistryName out =
      base::with_context("an alias of registries.conf", [&] { return parse_registry_name(value); });
  out.tag = name.tag;
  out.digest = name.digest;
  return out;
}

void add_unless_there(std::vector<RegistryName>& names, RegistryName name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

}  // namespace

std::vector<RegistryName> ShortNames::remote(const RegistryName& name) const {
  if (!name.is_short()) return {name};
  if (const auto alias = aliases.find(name.path); alias != aliases.end()) {
    return {of_alias(alias->second, name)};
  }
  if (search.empty()) return {name.in("docker.io")};
  std::vector<RegistryName> out;
  for (const std::string& domain : search) add_unless_there(out, name.in(domain));
  if (enforcing && out.size() > 1) {
    std::string list;
    for (const auto& candidate : out) list += (list.empty() ? "" : ", ") + candidate.text();
    throw base::Error(base::cat("the short name ", base::quoted(name.text()),
                                " may be in several registries and short-name-mode is enforcing"))
        .set_hint(base::cat("name one of: ", list));
  }
  return out;
}

std::vector<RegistryName> ShortNames::local(const RegistryName& name) const {
  if (!name.is_short()) return {name};
  std::vector<RegistryName> out;
  if (const auto alias = aliases.find(name.path); alias != aliases.end()) {
    out.push_back(of_alias(alias->second, name));
  }
  add_unless_there(out, name.in("localhost"));
  for (const std::string& domain : search) add_unless_there(out, name.in(domain));
  add_unless_there(out, name.in("docker.io"));
  return out;
}

void add_registries_conf(std::string_view text, ShortNames& names) {
  Reader reader(text);
  std::string table;
  for (std::string line; reader.next(line);) {
    if (line.front() == '[') {
      table = line;
      continue;
    }
    const auto equals = equals_of(line);
    if (equals == std::string::npos) reader.fail("it is no KEY = VALUE");
    std::string_view value = std::string_view(line).substr(equals + 1);
    const std::string key = take_key(reader, std::string_view(line).substr(0, equals));
    if (table == "[aliases]") {
      const std::string target = take_text(reader, value);
      // An empty value takes back what another file said.
      if (target.empty()) {
        names.aliases.erase(key);
      } else {
        names.aliases[key] = target;
      }
    } else if (!table.empty()) {
      continue;
    } else if (key == "unqualified-search-registries") {
      names.search = take_list(reader, value);
    } else if (key == "short-name-mode") {
      const std::string mode = take_text(reader, value);
      if (mode != "enforcing" && mode != "permissive" && mode != "disabled") {
        reader.fail(base::cat("unknown short-name-mode ", base::quoted(mode)));
      }
      names.enforcing = mode == "enforcing";
    }
  }
}

ShortNames load_short_names(const Environment& environment, const std::string& system) {
  const auto variable = [&](const char* name) {
    const char* value = environment(name);
    return std::string(value == nullptr ? "" : value);
  };
  ShortNames names;
  const std::string home = variable("HOME");
  const std::string own = home.empty() ? std::string() : home + "/.config/containers";
  if (const std::string named = variable("CONTAINERS_REGISTRIES_CONF"); !named.empty()) {
    if (!base::path_exists(named)) throw base::Error(ENOENT, "reading", named);
    add_file(named, names);
  } else {
    const bool has_own = !own.empty() && base::path_exists(own + "/registries.conf");
    add_file((has_own ? own : system) + "/registries.conf", names);
    add_directory(system + "/registries.conf.d", names);
    if (!own.empty()) add_directory(own + "/registries.conf.d", names);
  }
  if (::geteuid() == 0) {
    add_file("/var/cache/containers/short-name-aliases.conf", names);
  } else if (!home.empty()) {
    add_file(home + "/.cache/containers/short-name-aliases.conf", names);
  }
  return names;
}

}  // namespace image
