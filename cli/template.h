// Templates of --format: the part of Go's text/template that people write, over JSON values.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

namespace detail {
struct TemplateNode;
}

// Understands {{.Field.Field}}, $ and $variables, literals, pipelines, parentheses, comments, trim
// markers, if/else if/else, range (also with two variables), with, and the functions podman adds to
// Go's: see man/fcvm-ls.1. Bounded: text, nesting, steps and output.
class Template {
 public:
  static constexpr std::size_t kMaxTextBytes = 64 << 10;
  static constexpr std::size_t kMaxOutputBytes = 16 << 20;
  static constexpr std::size_t kMaxSteps = 100'000;
  static constexpr int kMaxDepth = 32;

  // Throws base::Error, one line, for what is malformed or not supported.
  explicit Template(std::string_view text);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // Throws base::Error for a field `data` does not have and for a function's wrong arguments.
  std::string render(const nlohmann::json& data) const;

 private:
  std::vector<detail::TemplateNode> nodes_;
};

// A point of time in the data of a template: prints as Go prints times, and as RFC 3339 with json.
nlohmann::json template_time(std::string_view rfc3339);

// --format of a command that prints records, as podman reads it: "json", a template, or "table "
// and a template, whose output has a heading and aligned columns.
class ListFormat {
 public:
  // Throws base::Error.
  explicit ListFormat(std::string_view text);

  bool is_json() const { return is_json_; }
  bool is_table() const { return is_table_; }
  // A line for each of the array's objects. `headings` has the heading of every field they have, or
  // null for the field's own name: that of "CreatedAt" is "CREATED AT".
  std::string render(const nlohmann::json& rows, const nlohmann::json& headings,
                     bool with_heading) const;

 private:
  bool is_json_ = false;
  bool is_table_ = false;
  std::vector<Template> template_;  // one, or none with is_json_
};

}  // namespace cli
