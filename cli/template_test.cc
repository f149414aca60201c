// Expected texts are what podman 4.3 prints for the same template.
#include "cli/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"

namespace cli {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

const Json& record() {
  static const Json json{
      {"Name", "web"},
      {"Created", template_time("2026-11-23T01:41:01.907206500Z")},
      {"Never", template_time("0001-01-01T00:00:00Z")},
      {"State", {{"Status", "running"}, {"Running", true}, {"ExitCode", 0}, {"Pid", 42}}},
      {"Config", {{"Labels", {{"a", "b"}, {"c", "d"}}}, {"Env", {"A=1", "B=2"}}}},
      {"Args", {"1000", "x"}},
      {"Health", nullptr},
      {"Empty", Json::array()},
      {"Ratio", 0.25}};
  return json;
}

std::string rendered(std::string_view text) {
  return Template(text).render(record());
}

std::string complaint(std::string_view text) {
  try {
    return "printed " + rendered(text);
  } catch (const base::Error& error) {
    return error.what();
  }
}

TEST(TemplateTest, FieldsArePrintedAsGoPrintsThem) {
  EXPECT_EQ(rendered("{{.Name}} {{ .State.Status }}"), "web running");
  EXPECT_EQ(rendered("{{.State.ExitCode}} {{.State.Running}} {{.Ratio}}"), "0 true 0.25");
  EXPECT_EQ(rendered("{{.Args}} {{.Config.Labels}}"), "[1000 x] map[a:b c:d]");
  EXPECT_EQ(rendered("{{.Created}}"), "2026-11-23 01:41:01.9072065 +0000 UTC");
  EXPECT_EQ(rendered("{{.Never}}"), "0001-01-01 00:00:00 +0000 UTC");
  EXPECT_EQ(rendered("{{.Config.Labels.a}}|{{.Config.Labels.zz}}"), "b|<no value>");
  EXPECT_EQ(rendered("{{$.Name}}"), "web");
}

TEST(TemplateTest, JsonIsCompact) {
  EXPECT_EQ(rendered("{{json .Args}}{{json .Name}}"), R"(["1000","x"]"web")");
  EXPECT_EQ(rendered("{{json .Created}}"), "\"2026-11-23T01:41:01.907206500Z\"");
  EXPECT_THAT(rendered("{{json .}}"), HasSubstr(R"("Created":"2026-11-23T01:41:01.907206500Z")"));
}

TEST(TemplateTest, BlocksBranchAndRepeat) {
  EXPECT_EQ(rendered("{{if .State.Running}}up{{else}}down{{end}}"), "up");
  EXPECT_EQ(rendered("{{if .Empty}}1{{else if eq .Name \"web\"}}2{{else}}3{{end}}"), "2");
  EXPECT_EQ(rendered("{{if .Empty}}1{{else if .Health}}2{{else}}3{{end}}!"), "3!");
  EXPECT_EQ(rendered("{{range .Args}}<{{.}}>{{end}}"), "<1000><x>");
  EXPECT_EQ(rendered("{{range .Empty}}x{{else}}none{{end}}"), "none");
  EXPECT_EQ(rendered("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}"), "a=b c=d ");
  EXPECT_EQ(rendered("{{range $i, $v := .Args}}{{$i}}{{end}}"), "01");
  EXPECT_EQ(rendered("{{range .Args}}{{$.Name}}{{end}}"), "webweb");
  EXPECT_EQ(rendered("{{with .State}}{{.Status}}{{end}}{{with .Health}}x{{else}}-{{end}}"),
            "running-");
  EXPECT_EQ(rendered("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}"), "2");
}

TEST(TemplateTest, FunctionsAndPipelines) {
  EXPECT_EQ(rendered("{{.State.Status | upper}} {{lower \"AbC\"}} {{title \"a bc\"}}"),
            "RUNNING abc A Bc");
  EXPECT_EQ(rendered("{{len .Args}} {{len .Name}} {{len .Config.Labels}}"), "2 3 2");
  EXPECT_EQ(rendered("{{index .Args 1}} {{index .Config.Labels \"a\"}}"), "x b");
  EXPECT_EQ(rendered("[{{index .Config.Labels \"nope\"}}]"), "[]");
  EXPECT_EQ(rendered("{{join .Config.Env \",\"}} {{split \"a-b\" \"-\"}}"), "A=1,B=2 [a b]");
  EXPECT_EQ(rendered("{{eq .State.ExitCode 0}} {{ne .Name \"x\"}} {{eq 3 1 2 3}}"),
            "true true true");
  EXPECT_EQ(rendered("{{and true .State.Running}} {{or false 0}} {{not true}} {{gt .State.Pid 1}}"),
            "true 0 false true");
  EXPECT_EQ(rendered("{{printf \"%s-%d|%-5s|%05d|%v|%q|%%\" .Name 3 \"a\" 42 .Args `q`}}"),
            "web-3|a    |00042|[1000 x]|\"q\"|%");
  EXPECT_EQ(rendered("{{slice .Name 0 1}}{{truncate .Name 2}}[{{pad .Name 1 2}}]"), "wwe[ web  ]");
  EXPECT_EQ(rendered("{{(index .Args 0) | len}} {{len (printf \"%s\" .Name)}}"), "4 3");
  EXPECT_EQ(rendered("{{index (split \"a,b\" \",\") 1}}"), "b");
}

TEST(TemplateTest, CommentsAndTrimMarkers) {
  EXPECT_EQ(rendered("a {{/* a }} comment */}}b"), "a b");
  EXPECT_EQ(rendered("a  {{- \"x\" -}}  b"), "axb");
  EXPECT_EQ(rendered("a\n{{- if true }} b {{ end -}} \n c"), "a b c");
  EXPECT_EQ(rendered("{{\"a}}b\\t\\\"\"}}"), "a}}b\t\"");
}

TEST(TemplateTest, WhatIsMalformedIsNamed) {
  EXPECT_THAT(complaint("{{.Name"), HasSubstr("'}}' is missing"));
  EXPECT_THAT(complaint("{{.Name{{.Name}}"), HasSubstr("'}}' is missing"));
  EXPECT_THAT(complaint("{{if .Name}}x"), HasSubstr("{{end}} is missing"));
  EXPECT_THAT(complaint("{{if .Name}}x{{else}}y"), HasSubstr("{{end}} is missing"));
  EXPECT_THAT(complaint("x{{end}}"), HasSubstr("{{end}} without a block"));
  EXPECT_THAT(complaint("{{else}}"), HasSubstr("without a block"));
  EXPECT_THAT(complaint("{{if true}}{{else}}{{else}}{{end}}"), HasSubstr("twice"));
  EXPECT_THAT(complaint("{{nofunc .Name}}"), HasSubstr("unknown function 'nofunc'"));
  EXPECT_THAT(complaint("{{}}"), HasSubstr("a value is missing"));
  EXPECT_THAT(complaint("{{.Name .Name}}"), HasSubstr("two values"));
  EXPECT_THAT(complaint("{{\"open}}"), HasSubstr("'}}' is missing"));
  EXPECT_THAT(complaint("{{(len .Name}}"), HasSubstr("')' is missing"));
  EXPECT_THAT(complaint("{{.Name | .Args}}"), HasSubstr("no function"));
  EXPECT_THAT(complaint("{{1x}}"), HasSubstr("malformed number '1x'"));
  EXPECT_THAT(complaint("{{.Name ! }}"), HasSubstr("unexpected '!'"));
  EXPECT_THAT(complaint("{{define \"x\"}}{{end}}"), HasSubstr("{{define}} is not supported"));
}

TEST(TemplateTest, WhatTheRecordLacksIsNamed) {
  EXPECT_EQ(complaint("{{.Foo}}"), "there is no field .Foo");
  EXPECT_EQ(complaint("{{.State.Foo}}"), "there is no field .State.Foo");
  EXPECT_EQ(complaint("{{.Name.Foo}}"), "there is no field .Name.Foo");
  EXPECT_EQ(complaint("{{$x}}"), "undefined variable '$x'");
  EXPECT_THAT(complaint("{{index .Args 5}}"), HasSubstr("there is no element 5"));
  EXPECT_THAT(complaint("{{index .Args -1}}"), HasSubstr("there is no element -1"));
  EXPECT_THAT(complaint("{{join .Name \",\"}}"), HasSubstr("join: it takes a list"));
  EXPECT_THAT(complaint("{{upper .State.Pid}}"), HasSubstr("upper: it takes a text"));
  EXPECT_THAT(complaint("{{eq .Name 1}}"), HasSubstr("cannot be compared"));
  EXPECT_THAT(complaint("{{len}}"), HasSubstr("wrong number of values"));
  EXPECT_THAT(complaint("{{printf \"%d\" .Name}}"), HasSubstr("does not fit %d"));
  EXPECT_THAT(complaint("{{printf \"%s\"}}"), HasSubstr("a value is missing"));
  EXPECT_THAT(complaint("{{range .Name}}{{end}}"), HasSubstr("range"));
}

TEST(TemplateTest, DepthStepsAndOutputAreBounded) {
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "{{if true}}";
  EXPECT_THAT(complaint(deep), HasSubstr("nested too deeply"));
  EXPECT_THAT(complaint("{{" + std::string(1000, '(') + "1" + std::string(1000, ')') + "}}"),
              HasSubstr("nested too deeply"));
  EXPECT_THAT(complaint(std::string(Template::kMaxTextBytes + 1, 'x')), HasSubstr("longer than"));
  std::string many;
  for (int i = 0; i < 24; ++i) many += "{{range $.Args}}";
  many += "{{.}}";
  for (int i = 0; i < 24; ++i) many += "{{end}}";
  EXPECT_THAT(complaint(many), HasSubstr("too many steps"));
}

const Json& rows() {
  static const Json json{{{"Names", "c1"}, {"CreatedAt", "now"}, {"Labels", {{"a", "b"}}}},
                         {{"Names", "c22"}, {"CreatedAt", ""}, {"Labels", Json::object()}}};
  return json;
}

std::string listed(std::string_view format, bool heading = true) {
  const Json headings{{"Names", "NAMES"}, {"CreatedAt", nullptr}, {"Labels", nullptr}};
  return ListFormat(format).render(rows(), headings, heading);
}

TEST(ListFormatTest, OneLineForEachRow) {
  EXPECT_EQ(listed("{{.Names}}"), "c1\nc22\n");
  EXPECT_EQ(listed("{{.Names}}\\t{{.CreatedAt}}\\n"), "c1\tnow\nc22\t\n");
  EXPECT_EQ(listed("lit"), "lit\nlit\n");
  EXPECT_EQ(listed("table"), "table\ntable\n");
  EXPECT_EQ(listed("{{range .}}{{.Names}};{{end}}"), "c1;c22;\n");
}

TEST(ListFormatTest, TableHasAHeadingAndColumns) {
  EXPECT_EQ(listed("table {{.Names}} {{.CreatedAt}}"),
            "NAMES       CREATED AT\nc1          now\nc22         \n");
  EXPECT_EQ(listed("table {{.Names}}\\t{{.CreatedAt}}", false), "c1          now\nc22         \n");
  EXPECT_EQ(ListFormat("table {{.Names}}").render(Json::array(), {{"Names", "NAMES"}}, true),
            "NAMES\n");
}

TEST(ListFormatTest, JsonIsNoTemplate) {
  EXPECT_TRUE(ListFormat("json").is_json());
  EXPECT_FALSE(ListFormat("{{json .}}").is_json());
}

TEST(ListFormatTest, ErrorsSayThatTheTemplateIsMeant) {
  try {
    listed("table {{.Nope}}");
    FAIL() << "it was taken";
  } catch (const base::Error& error) {
    EXPECT_STREQ(error.what(), "template: there is no field .Nope");
    EXPECT_EQ(error.hint(), "fields are CreatedAt, Labels, Names");
  }
}

}  // namespace
}  // namespace cli
