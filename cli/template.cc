#include "cli/template.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "base/error.h"
#include "cli/detail/template_ast.h"
#include "cli/output.h"

namespace cli {
namespace {

using Json = nlohmann::json;
using Node = detail::TemplateNode;
using Pipeline = detail::TemplatePipeline;
using Operand = detail::TemplateOperand;
using Value = detail::TemplateValue;

// Fields that are maps in podman's records: what they lack is empty, not an error.
constexpr std::array<std::string_view, 8> kMaps{
    "Annotations", "Labels", "Networks", "PortBindings", "Ports", "Sysctls", "Timings", "Tmpfs"};

std::string known_fields(const Json& object) {
  std::string names;
  for (const auto& [name, value] : object.items()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

class Evaluation {
 public:
  explicit Evaluation(const Json& data) : dot_{data} { variables_.emplace_back("$", dot_); }

  std::string take_output() { return std::move(output_); }

  void run(const std::vector<Node>& nodes) {
    const std::size_t scope = variables_.size();
    for (const auto& node : nodes) {
      step();
      switch (node.kind) {
        case Node::Kind::kText:
          print(node.text);
          break;
        case Node::Kind::kPrint:
          print_value(node.pipeline);
          break;
        case Node::Kind::kRange:
          range(node);
          break;
        case Node::Kind::kIf:
        case Node::Kind::kWith:
          branch(node);
          break;
      }
    }
    variables_.resize(scope, {"", {}});
  }

 private:
  void step() {
    if (++steps_ > Template::kMaxSteps) throw base::Error("the template takes too many steps");
  }

  void print(const std::string& text) {
    output_ += text;
    if (output_.size() > Template::kMaxOutputBytes) {
      throw base::Error("the template prints too much");
    }
  }

  void print_value(const Pipeline& pipeline) {
    const Value value = evaluate(pipeline);
    if (!pipeline.variables.empty()) return;
    print(value.json.is_null() ? "<no value>" : detail::template_text(value.json, value.is_map));
  }

  void branch(const Node& node) {
    const std::size_t scope = variables_.size();
    Value value = evaluate(node.pipeline);
    const bool holds = detail::template_truth(value);
    if (holds && node.kind == Node::Kind::kWith) {
      const Value outer = std::exchange(dot_, std::move(value));
      run(node.body);
      dot_ = outer;
    } else {
      run(holds ? node.body : node.otherwise);
    }
    variables_.resize(scope, {"", {}});
  }

  void range(const Node& node) {
    Pipeline plain;
    plain.calls = node.pipeline.calls;
    const Value list = evaluate(plain);
    if (list.json.is_null() || (list.json.is_structured() && list.json.empty())) {
      run(node.otherwise);
      return;
    }
    if (!list.json.is_structured()) throw base::Error("range: it takes a list or a map");
    const auto& names = node.pipeline.variables;
    const Value outer = dot_;
    const std::size_t scope = variables_.size();
    std::size_t position = 0;
    for (const auto& [key, element] : list.json.items()) {
      step();
      dot_ = {element};
      if (!names.empty()) set(node.pipeline, names.back(), dot_);
      if (names.size() == 2) {
        set(node.pipeline, names.front(), {list.json.is_array() ? Json(position) : Json(key)});
      }
      ++position;
      run(node.body);
      variables_.resize(scope, {"", {}});
    }
    dot_ = outer;
  }

  void set(const Pipeline& pipeline, const std::string& name, Value value) {
    if (!pipeline.assigns) {
      variables_.emplace_back(name, std::move(value));
      return;
    }
    variable(name) = std::move(value);
  }

  Value& variable(const std::string& name) {
    const auto found = std::find_if(variables_.rbegin(), variables_.rend(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (found == variables_.rend()) {
      throw base::Error(base::cat("undefined variable ", base::quoted(name)));
    }
    return found->second;
  }

  Value evaluate(const Pipeline& pipeline) {
    Value value;
    for (const auto& call : pipeline.calls) {
      step();
      std::vector<Value> arguments;
      for (const auto& operand : call.arguments) arguments.push_back(evaluate(operand));
      if (&call != &pipeline.calls.front()) arguments.push_back(std::move(value));
      value = call.function.empty()
                  ? std::move(arguments.front())
                  : detail::call_template_function(call.function, std::move(arguments));
    }
    if (!pipeline.variables.empty()) set(pipeline, pipeline.variables.front(), value);
    return value;
  }

  Value evaluate(const Operand& operand) {
    step();
    switch (operand.kind) {
      case Operand::Kind::kDot:
        return fields_of(dot_, operand.fields);
      case Operand::Kind::kVariable:
        return fields_of(variable(operand.name), operand.fields);
      case Operand::Kind::kLiteral:
        return {operand.literal};
      case Operand::Kind::kPipeline:
        return fields_of(evaluate(operand.pipeline.front()), operand.fields);
    }
    return {};
  }

  static Value fields_of(const Value& value, const std::vector<std::string>& names) {
    const Json* at = &value.json;
    bool is_map = value.is_map;
    std::string path;
    for (const auto& name : names) {
      path += '.' + name;
      if (!at->is_object()) throw base::Error(base::cat("there is no field ", path));
      const auto found = at->find(name);
      if (found == at->end()) {
        if (is_map) return {};
        throw base::Error(base::cat("there is no field ", path))
            .set_hint(base::cat("fields are ", known_fields(*at)));
      }
      at = &*found;
      is_map = std::find(kMaps.begin(), kMaps.end(), name) != kMaps.end();
    }
    return {*at, is_map};
  }

  Value dot_;
  std::vector<std::pair<std::string, Value>> variables_;
  std::string output_;
  std::size_t steps_ = 0;
};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

// "CreatedAt" as "CREATED AT".
std::string heading_of(const std::string& field) {
  std::string text;
  for (std::size_t i = 0; i < field.size(); ++i) {
    const auto is_upper = [&](std::size_t at) {
      return std::isupper(static_cast<unsigned char>(field[at])) != 0;
    };
    if (i != 0 && is_upper(i) && !is_upper(i - 1)) text += ' ';
    text += static_cast<char>(std::toupper(static_cast<unsigned char>(field[i])));
  }
  return text;
}

// Lines of cells with tabs between them, in columns.
std::string aligned(const std::string& text) {
  constexpr std::size_t kMinWidth = 12;  // with the two spaces behind a cell, as podman's tables
  std::vector<std::vector<std::string>> rows;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    rows.emplace_back();
    for (std::size_t cell = begin; cell <= end;) {
      const std::size_t tab = std::min(text.find('\t', cell), end);
      rows.back().push_back(text.substr(cell, tab - cell));
      cell = tab + 1;
    }
    begin = end + 1;
  }
  return render_table(rows, kMinWidth);
}

}  // namespace

Template::Template(std::string_view text) : nodes_(detail::parse_template(text)) {}
Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

std::string Template::render(const nlohmann::json& data) const {
  Evaluation evaluation(data);
  evaluation.run(nodes_);
  return evaluation.take_output();
}

nlohmann::json template_time(std::string_view rfc3339) {
  return Json::binary({rfc3339.begin(), rfc3339.end()}, detail::kTemplateTime);
}

ListFormat::ListFormat(std::string_view text) {
  std::string format(text);
  if (format == "json") {
    is_json_ = true;
    return;
  }
  if (format.starts_with("table ")) {
    is_table_ = true;
    format.erase(0, 6);
    replace_all(format, "}} {{", "}}\t{{");
  }
  replace_all(format, "\\n", "\n");
  replace_all(format, "\\t", "\t");
  if (!format.ends_with('\n')) format += '\n';
  if (!format.starts_with("{{range")) format = "{{range .}}" + format + "{{end}}";
  base::with_context("template", [&] { template_.emplace_back(format); });
}

std::string ListFormat::render(const nlohmann::json& rows, const nlohmann::json& headings,
                               bool with_heading) const {
  return base::with_context("template", [&] {
    std::string text = template_.front().render(rows);
    if (!is_table_) return text;
    if (with_heading) {
      // The heading is the template applied to the columns' names.
      Json names = headings;
      for (const auto& [field, heading] : headings.items()) {
        if (heading.is_null()) names[field] = heading_of(field);
      }
      text.insert(0, template_.front().render(Json::array({names})));
    }
    return aligned(text);
  });
}

}  // namespace cli
