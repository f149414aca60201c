#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "cli/detail/template_ast.h"
#include "cli/template.h"

namespace cli::detail {
namespace {

using Node = TemplateNode;
using Pipeline = TemplatePipeline;
using Call = TemplateCall;
using Operand = TemplateOperand;

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct Token {
  enum class Kind { kWord, kField, kVariable, kLiteral, kSymbol, kDot, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;
  nlohmann::json literal;
  bool glued = false;  // no space before it
};

// The words of one action: what stands between {{ and }}.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : rest_(text) { advance(); }

  const Token& peek() const { return token_; }
  Token take() {
    Token token = std::move(token_);
    advance();
    return token;
  }
  bool take_symbol(std::string_view symbol) {
    if (token_.kind != Token::Kind::kSymbol || token_.text != symbol) return false;
    advance();
    return true;
  }

 private:
  void advance() {
    token_ = {};
    token_.glued = true;
    while (!rest_.empty() && is_space(rest_.front())) {
      rest_.remove_prefix(1);
      token_.glued = false;
    }
    if (rest_.empty()) return;
    const char c = rest_.front();
    if (c == '"' || c == '`') {
      quoted(c);
    } else if (c == '$') {
      token_.kind = Token::Kind::kVariable;
      token_.text = "$" + word(1);
      rest_.remove_prefix(token_.text.size());
    } else if (c == '.' && rest_.size() > 1 && is_word(rest_[1])) {
      token_.kind = Token::Kind::kField;
      token_.text = word(1);
      rest_.remove_prefix(token_.text.size() + 1);
    } else if (c == '.') {
      token_.kind = Token::Kind::kDot;
      rest_.remove_prefix(1);
    } else if (std::isdigit(static_cast<unsigned char>(c)) != 0 ||
               ((c == '-' || c == '+') && rest_.size() > 1 &&
                std::isdigit(static_cast<unsigned char>(rest_[1])) != 0)) {
      number();
    } else if (is_word(c)) {
      token_.kind = Token::Kind::kWord;
      token_.text = word(0);
      rest_.remove_prefix(token_.text.size());
      if (token_.text == "true" || token_.text == "false" || token_.text == "nil") {
        token_.kind = Token::Kind::kLiteral;
        if (token_.text != "nil") token_.literal = token_.text == "true";
      }
    } else {
      symbol();
    }
  }

  std::string word(std::size_t from) const {
    std::size_t end = from;
    while (end < rest_.size() && is_word(rest_[end])) ++end;
    return std::string(rest_.substr(from, end - from));
  }

  void quoted(char quote) {
    std::size_t end = 1;
    while (end < rest_.size() && rest_[end] != quote) {
      end += quote == '"' && rest_[end] == '\\' ? 2 : 1;
    }
    if (end >= rest_.size()) throw base::Error("a text in quotes does not end");
    token_.kind = Token::Kind::kLiteral;
    const std::string_view text = rest_.substr(0, end + 1);
    token_.literal =
        quote == '"' ? unescaped(text.substr(1, end - 1)) : std::string(text.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
  }

  static std::string unescaped(std::string_view text) {
    static constexpr std::string_view kLetters = "ntr\\\"'";
    static constexpr std::string_view kMeanings = "\n\t\r\\\"'";
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        result += text[i];
        continue;
      }
      const std::size_t at = ++i < text.size() ? kLetters.find(text[i]) : std::string_view::npos;
      if (at == std::string_view::npos) {
        throw base::Error(base::cat("unknown escape in ", base::quoted(text)));
      }
      result += kMeanings[at];
    }
    return result;
  }

  void number() {
    std::size_t end = 1;
    while (end < rest_.size() && (is_word(rest_[end]) || rest_[end] == '.')) ++end;
    std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end);
    if (text.front() == '+') text.remove_prefix(1);
    token_.kind = Token::Kind::kLiteral;
    std::int64_t integer = 0;
    const char* const last = text.data() + text.size();
    if (const auto [at, error] = std::from_chars(text.data(), last, integer);
        error == std::errc() && at == last) {
      token_.literal = integer;
      return;
    }
    double real = 0;
    if (const auto [at, error] = std::from_chars(text.data(), last, real);
        error != std::errc() || at != last) {
      throw base::Error(base::cat("malformed number ", base::quoted(text)));
    }
    token_.literal = real;
  }

  void symbol() {
    token_.kind = Token::Kind::kSymbol;
    token_.text = std::string(rest_.substr(0, rest_.starts_with(":=") ? 2 : 1));
    static constexpr std::string_view kKnown = "|(),=:";
    if (kKnown.find(token_.text.front()) == std::string_view::npos || token_.text == ":") {
      throw base::Error(base::cat("unexpected ", base::quoted(token_.text)));
    }
    rest_.remove_prefix(token_.text.size());
  }

  std::string_view rest_;
  Token token_;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  std::vector<Node> parse() {
    std::vector<Node> nodes;
    if (const auto end = block(nodes, 0)) {
      throw base::Error(base::cat("{{", *end, "}} without a block"));
    }
    return nodes;
  }

 private:
  // Until the text ends (nothing is returned) or an action that ends the block: "end", or "else"
  // with what is behind it.
  std::optional<std::string> block(std::vector<Node>& nodes, int depth) {
    if (depth > Template::kMaxDepth) throw base::Error("blocks are nested too deeply");
    while (true) {
      const std::size_t begin = rest_.find("{{");
      std::string_view text = rest_.substr(0, begin);
      rest_.remove_prefix(text.size());
      if (std::exchange(trim_next_, false)) {
        while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
      }
      if (rest_.starts_with("{{-") && rest_.size() > 3 && is_space(rest_[3])) {
        while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
      }
      if (!text.empty()) {
        nodes.emplace_back();
        nodes.back().text = std::string(text);
      }
      if (rest_.empty()) return std::nullopt;
      if (auto end = action(nodes, depth)) return end;
    }
  }

  // The text of the action at the beginning of rest_, which goes behind it.
  std::string_view take_action() {
    rest_.remove_prefix(2);
    if (rest_.size() > 1 && rest_.front() == '-' && is_space(rest_[1])) rest_.remove_prefix(1);
    std::size_t end = 0;
    char quote = 0;
    for (; end < rest_.size(); ++end) {
      const char c = rest_[end];
      if (quote != 0) {
        if (c == '\\' && quote == '"') {
          ++end;
        } else if (c == quote) {
          quote = 0;
        }
      } else if (c == '"' || c == '`') {
        quote = c;
      } else if (rest_.substr(end, 2) == "}}") {
        break;
      } else if (rest_.substr(end, 2) == "/*") {
        end = rest_.find("*/", end + 2);
        if (end == std::string_view::npos) throw base::Error("a comment does not end");
        ++end;
      } else if (rest_.substr(end, 2) == "{{") {
        break;
      }
    }
    if (rest_.substr(std::min(end, rest_.size()), 2) != "}}") {
      throw base::Error("an action does not end: '}}' is missing");
    }
    std::string_view inside = rest_.substr(0, end);
    rest_.remove_prefix(end + 2);
    if (inside.size() > 1 && inside.back() == '-' && is_space(inside[inside.size() - 2])) {
      inside.remove_suffix(1);
      trim_next_ = true;
    }
    while (!inside.empty() && is_space(inside.front())) inside.remove_prefix(1);
    while (!inside.empty() && is_space(inside.back())) inside.remove_suffix(1);
    return inside;
  }

  std::optional<std::string> action(std::vector<Node>& nodes, int depth) {
    const std::string_view inside = take_action();
    if (inside.starts_with("/*") && inside.ends_with("*/")) return std::nullopt;
    const std::size_t space = std::min(inside.find_first_of(" \t\n\r("), inside.size());
    const std::string_view word = inside.substr(0, space);
    if (word == "end" || word == "else") {
      if (word == "end" && word != inside) throw base::Error("text behind {{end}}");
      return std::string(inside);
    }
    for (const std::string_view other : {"define", "template", "block", "break", "continue"}) {
      if (word == other) throw base::Error(base::cat("{{", word, "}} is not supported"));
    }
    nodes.emplace_back();
    Node& node = nodes.back();
    node.kind = Node::Kind::kPrint;
    if (word == "if") node.kind = Node::Kind::kIf;
    if (word == "range") node.kind = Node::Kind::kRange;
    if (word == "with") node.kind = Node::Kind::kWith;
    if (node.kind == Node::Kind::kPrint) {
      node.pipeline = whole_pipeline(inside, false);
    } else {
      open_block(node, inside.substr(space), depth);
    }
    return std::nullopt;
  }

  void open_block(Node& node, std::string_view condition, int depth) {
    if (depth > Template::kMaxDepth) throw base::Error("blocks are nested too deeply");
    node.pipeline = whole_pipeline(condition, node.kind == Node::Kind::kRange);
    const auto end = block(node.body, depth + 1);
    if (!end) throw base::Error("a block does not end: {{end}} is missing");
    if (*end == "end") return;
    std::string_view behind = std::string_view(*end).substr(4);
    while (!behind.empty() && is_space(behind.front())) behind.remove_prefix(1);
    if (behind.empty()) {
      const auto last = block(node.otherwise, depth + 1);
      if (!last) throw base::Error("a block does not end: {{end}} is missing");
      if (*last != "end") throw base::Error("{{else}} twice in a block");
      return;
    }
    if (node.kind != Node::Kind::kIf || !behind.starts_with("if") || behind.size() < 3 ||
        !is_space(behind[2])) {
      throw base::Error(base::cat("unexpected ", base::quoted(behind), " behind else"));
    }
    // One {{end}} ends the whole chain.
    node.otherwise.emplace_back();
    node.otherwise.back().kind = Node::Kind::kIf;
    open_block(node.otherwise.back(), behind.substr(2), depth + 1);
  }

  static Pipeline whole_pipeline(std::string_view text, bool of_range) {
    Lexer lexer(text);
    Pipeline result = pipeline(lexer, 0, true);
    if (lexer.peek().kind != Token::Kind::kEnd) {
      throw base::Error(base::cat("unexpected ", base::quoted(lexer.peek().text)));
    }
    if (result.variables.size() > (of_range ? 2U : 1U)) throw base::Error("too many variables");
    return result;
  }

  static Pipeline pipeline(Lexer& lexer, int depth, bool may_declare) {
    if (depth > Template::kMaxDepth) throw base::Error("parentheses are nested too deeply");
    Pipeline result;
    Call first;
    if (may_declare && lexer.peek().kind == Token::Kind::kVariable) {
      const std::string name = lexer.take().text;
      std::vector<std::string> names{name};
      if (lexer.take_symbol(",")) {
        if (lexer.peek().kind != Token::Kind::kVariable) throw base::Error("a variable is missing");
        names.push_back(lexer.take().text);
      }
      const bool declares = lexer.take_symbol(":=");
      if (declares || lexer.take_symbol("=")) {
        result.variables = std::move(names);
        result.assigns = !declares;
      } else if (names.size() > 1) {
        throw base::Error("':=' is missing behind the variables");
      } else {
        Operand operand;
        operand.kind = Operand::Kind::kVariable;
        operand.name = name;
        fields(lexer, operand);
        first.arguments.push_back(std::move(operand));
      }
    }
    result.calls.push_back(call(lexer, depth, std::move(first)));
    while (lexer.take_symbol("|")) {
      result.calls.push_back(call(lexer, depth, {}));
      if (result.calls.back().function.empty()) {
        throw base::Error("behind '|' stands no function");
      }
    }
    return result;
  }

  static Call call(Lexer& lexer, int depth, Call result) {
    if (result.arguments.empty() && lexer.peek().kind == Token::Kind::kWord) {
      result.function = lexer.take().text;
      if (!is_template_function(result.function)) {
        throw base::Error(base::cat("unknown function ", base::quoted(result.function)));
      }
    }
    while (auto argument = operand(lexer, depth)) {
      result.arguments.push_back(std::move(*argument));
      if (result.function.empty() && result.arguments.size() > 1) {
        throw base::Error("two values without a function");
      }
    }
    if (result.function.empty() && result.arguments.empty()) {
      throw base::Error("a value is missing");
    }
    return result;
  }

  static void fields(Lexer& lexer, Operand& operand) {
    while (lexer.peek().kind == Token::Kind::kField && lexer.peek().glued) {
      operand.fields.push_back(lexer.take().text);
    }
  }

  static std::optional<Operand> operand(Lexer& lexer, int depth) {
    Operand result;
    switch (lexer.peek().kind) {
      case Token::Kind::kDot:
        lexer.take();
        return result;
      case Token::Kind::kField:
        result.fields.push_back(lexer.take().text);
        fields(lexer, result);
        return result;
      case Token::Kind::kVariable:
        result.kind = Operand::Kind::kVariable;
        result.name = lexer.take().text;
        fields(lexer, result);
        return result;
      case Token::Kind::kLiteral:
        result.kind = Operand::Kind::kLiteral;
        result.literal = lexer.take().literal;
        return result;
      case Token::Kind::kWord: {
        // A function without arguments may stand as one.
        result.kind = Operand::Kind::kPipeline;
        Call alone;
        alone.function = lexer.take().text;
        if (!is_template_function(alone.function)) {
          throw base::Error(base::cat("unknown function ", base::quoted(alone.function)));
        }
        result.pipeline.emplace_back();
        result.pipeline.back().calls.push_back(std::move(alone));
        return result;
      }
      case Token::Kind::kSymbol:
        if (!lexer.take_symbol("(")) return std::nullopt;
        result.kind = Operand::Kind::kPipeline;
        result.pipeline.push_back(pipeline(lexer, depth + 1, false));
        if (!lexer.take_symbol(")")) throw base::Error("')' is missing");
        fields(lexer, result);
        return result;
      case Token::Kind::kEnd:
        return std::nullopt;
    }
    return std::nullopt;
  }

  std::string_view rest_;
  bool trim_next_ = false;
};

}  // namespace

std::vector<TemplateNode> parse_template(std::string_view text) {
  if (text.size() > Template::kMaxTextBytes) {
    throw base::Error(base::cat("the template is longer than ", Template::kMaxTextBytes, " bytes"));
  }
  return Parser(text).parse();
}

}  // namespace cli::detail
