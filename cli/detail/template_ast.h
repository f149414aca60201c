// What a template is after it was parsed.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace cli::detail {

struct TemplatePipeline;

struct TemplateOperand {
  enum class Kind { kDot, kVariable, kLiteral, kPipeline };
  Kind kind = Kind::kDot;
  std::string name;                        // kVariable, with its dollar
  nlohmann::json literal;                  // kLiteral
  std::vector<TemplatePipeline> pipeline;  // kPipeline: one
  std::vector<std::string> fields;         // looked up in what stands before them
};

struct TemplateCall {
  std::string function;  // empty: the one argument itself
  std::vector<TemplateOperand> arguments;
};

struct TemplatePipeline {
  std::vector<std::string> variables;  // set to the value; of range: key and element
  bool assigns = false;                // "=": the variables exist already
  std::vector<TemplateCall> calls;     // each gets the value of the one before as last argument
};

struct TemplateNode {
  enum class Kind { kText, kPrint, kIf, kRange, kWith };
  Kind kind = Kind::kText;
  std::string text;
  TemplatePipeline pipeline;
  std::vector<TemplateNode> body;
  std::vector<TemplateNode> otherwise;
};

// Throws base::Error.
std::vector<TemplateNode> parse_template(std::string_view text);

bool is_template_function(std::string_view name);

// A value and what JSON does not tell of it: a Go map lacks any key in silence, a Go struct does not.
struct TemplateValue {
  nlohmann::json json;
  bool is_map = false;
};
// Throws base::Error. `name` is a function's.
TemplateValue call_template_function(const std::string& name, std::vector<TemplateValue> arguments);
bool template_truth(const TemplateValue& value);
// As Go's fmt prints it with %v.
std::string template_text(const nlohmann::json& value, bool is_map);

// Times are JSON binaries of this subtype, which no JSON text becomes.
inline constexpr std::uint64_t kTemplateTime = 1;

}  // namespace cli::detail
