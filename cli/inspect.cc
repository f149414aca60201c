#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/json.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/template.h"

namespace cli {
namespace {

using Json = nlohmann::json;

constexpr std::array<const char*, 3> kTimes{"/Created", "/State/StartedAt", "/State/FinishedAt"};
// Maps whose keys are the user's, not ours.
constexpr std::array<std::string_view, 2> kOwnKeys{"Labels", "Timings"};

bool is_upper(char c) {
  return std::isupper(static_cast<unsigned char>(c)) != 0;
}

// "OOMKilled" as "oom_killed".
std::string snake_case(const std::string& name) {
  std::string text;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool starts_word =
        i != 0 && is_upper(name[i]) &&
        (!is_upper(name[i - 1]) || (i + 1 < name.size() && !is_upper(name[i + 1])));
    if (starts_word) text += '_';
    text += static_cast<char>(std::tolower(static_cast<unsigned char>(name[i])));
  }
  return text;
}

// NOLINTNEXTLINE(misc-no-recursion) the document is ours and flat
Json with_snake_case(const Json& value) {
  if (value.is_array()) {
    Json list = Json::array();
    for (const Json& element : value) list.push_back(with_snake_case(element));
    return list;
  }
  if (!value.is_object()) return value;
  Json object = Json::object();
  for (const auto& [name, element] : value.items()) {
    const bool own = std::find(kOwnKeys.begin(), kOwnKeys.end(), name) != kOwnKeys.end();
    object[snake_case(name)] = own ? element : with_snake_case(element);
  }
  return object;
}

std::string rendered(const ListFormat& format, Json document) {
  for (const char* path : kTimes) {
    Json& time = document.at(Json::json_pointer(path));
    time = template_time(time.get<std::string>());
  }
  document["ID"] = document.at("Id");  // podman's templates know both
  return format.render(Json::array({std::move(document)}), Json::object(), false);
}

std::string document_text(const Json& documents) {
  return documents.dump(5, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace

int inspect(Invocation& invocation) {
  bool json = false;
  std::optional<ListFormat> format;
  Options options;
  options.value("format,f", "TEMPLATE", "Print by a Go template instead, or json",
                [&](const std::string& text) {
                  format.reset();
                  if (!text.empty()) format.emplace(text);
                });
  options.flag("json", json, "Print one JSON array with keys in snake_case");
  const auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, false);
  if (json && format) throw UsageError("--json and --format exclude each other");
  if (format && format->is_json()) format.reset();
  vm::VmManager manager = invocation.manager();
  Json documents = Json::array();
  const int status =
      for_each_vm(invocation, manager, names, [&](const vm::VmRecord& vm, const std::string&) {
        Json document = base::parse_json(manager.inspect(vm));
        if (format) {
          print(rendered(*format, std::move(document)));
        } else {
          documents.push_back(json ? with_snake_case(document) : std::move(document));
        }
      });
  if (!format) print(document_text(documents));
  return status;
}

}  // namespace cli
