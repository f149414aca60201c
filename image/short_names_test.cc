#include "image/short_names.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace image {
namespace {

std::vector<std::string> texts(const std::vector<RegistryName>& names) {
  std::vector<std::string> out;
  out.reserve(names.size());
  for (const auto& name : names) out.push_back(name.text());
  return out;
}

using Texts = std::vector<std::string>;

TEST(ShortNamesTest, WithoutConfigurationItIsDockerIo) {
  const ShortNames names;
  EXPECT_EQ(texts(names.remote(parse_registry_name("busybox"))),
            Texts{"docker.io/library/busybox:latest"});
  EXPECT_EQ(texts(names.local(parse_registry_name("a/b:1"))),
            (Texts{"localhost/a/b:1", "docker.io/a/b:1"}));
}

TEST(ShortNamesTest, CompleteNameIsItself) {
  ShortNames names;
  names.search = {"quay.io"};
  EXPECT_EQ(texts(names.remote(parse_registry_name("localhost/a"))), Texts{"localhost/a:latest"});
  EXPECT_EQ(texts(names.local(parse_registry_name("quay.io/a"))), Texts{"quay.io/a:latest"});
}

TEST(ShortNamesTest, AliasesAndSearchListAreRead) {
  ShortNames names;
  add_registries_conf(
      "# a comment with a [bracket\n"
      "unqualified-search-registries = [ # why not\n"
      "  \"quay.io\", 'example.org:5000',\n"
      "]\n"
      "short-name-mode = \"permissive\"\n"
      "credential-helpers = [\"a#b\"]\n"
      "[[registry]]\n"
      "location = \"elsewhere.org\"\n"
      "insecure = true\n"
      "unqualified-search-registries = [\"not.this\"]\n"
      "[aliases]\n"
      "  \"tool\" = \"registry.example.org/team/tool\" # theirs\n"
      "plain=\"docker.io/library/plain\"\n",
      names);
  EXPECT_EQ(texts(names.remote(parse_registry_name("tool:2"))),
            Texts{"registry.example.org/team/tool:2"});
  EXPECT_EQ(texts(names.remote(parse_registry_name("plain"))),
            Texts{"docker.io/library/plain:latest"});
  EXPECT_EQ(texts(names.remote(parse_registry_name("x"))),
            (Texts{"quay.io/x:latest", "example.org:5000/x:latest"}));
  EXPECT_EQ(texts(names.local(parse_registry_name("x"))),
            (Texts{"localhost/x:latest", "quay.io/x:latest", "example.org:5000/x:latest",
                   "docker.io/library/x:latest"}));
}

TEST(ShortNamesTest, LaterFileReplacesListsAndTakesAliasesBack) {
  ShortNames names;
  add_registries_conf("unqualified-search-registries = [\"a.io\"]\n[aliases]\nx = \"b.io/x\"\n",
                      names);
  add_registries_conf("unqualified-search-registries = [\"c.io\"]\n[aliases]\nx = \"\"\n", names);
  EXPECT_EQ(texts(names.remote(parse_registry_name("x"))), Texts{"c.io/x:latest"});
}

TEST(ShortNamesTest, EnforcingRefusesToGuess) {
  ShortNames names;
  add_registries_conf(
      "unqualified-search-registries = [\"a.io\", \"b.io\"]\nshort-name-mode = \"enforcing\"\n",
      names);
  try {
    names.remote(parse_registry_name("x"));
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_NE(error.hint().find("b.io/x:latest"), std::string::npos) << error.hint();
  }
}

TEST(ShortNamesTest, DamagedFilesAreRefusedByLine) {
  for (const char* text : {"unqualified-search-registries = \"a.io\"\n", "short-name-mode = loud\n",
                           "short-name-mode = \"loud\"\n", "what is this\n",
                           "unqualified-search-registries = [\"a.io\"", "[aliases]\nx = y\n"}) {
    ShortNames names;
    EXPECT_THROW(add_registries_conf(text, names), base::Error) << text;
  }
}

TEST(ShortNamesTest, FilesOfTheUserBeatTheSystems) {
  const tests::TempDir dir;
  dir.write("etc/registries.conf", "unqualified-search-registries = [\"system.io\"]\n");
  dir.write("etc/registries.conf.d/a.conf", "[aliases]\nx = \"alias.io/x\"\n");
  const std::string home = dir / "home";
  const auto environment = [&](const char* name) -> const char* {
    return std::string_view(name) == "HOME" ? home.c_str() : nullptr;
  };
  EXPECT_EQ(load_short_names(environment, dir / "etc").search, Texts{"system.io"});
  dir.write("home/.config/containers/registries.conf",
            "unqualified-search-registries = [\"mine.io\"]\n");
  const ShortNames names = load_short_names(environment, dir / "etc");
  EXPECT_EQ(names.search, Texts{"mine.io"});
  EXPECT_EQ(names.aliases.at("x"), "alias.io/x");

  const std::string chosen =
      dir.write("chosen", "unqualified-search-registries = [\"chosen.io\"]\n");
  const auto with_variable = [&](const char* name) -> const char* {
    return std::string_view(name) == "CONTAINERS_REGISTRIES_CONF" ? chosen.c_str() : nullptr;
  };
  EXPECT_EQ(load_short_names(with_variable, dir / "etc").search, Texts{"chosen.io"});
  EXPECT_TRUE(load_short_names(with_variable, dir / "etc").aliases.empty());
  const auto missing = [](const char* name) -> const char* {
    return std::string_view(name) == "CONTAINERS_REGISTRIES_CONF" ? "/no/such/file" : nullptr;
  };
  EXPECT_THROW(load_short_names(missing, dir / "etc"), base::Error);
}

}  // namespace
}  // namespace image
