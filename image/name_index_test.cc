#include "image/name_index.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace image {
namespace {

std::string digest(char digit) {
  return "sha256:" + std::string(64, digit);
}

class NameIndexTest : public ::testing::Test {
 protected:
  std::string only_file() const {
    const auto names = base::list_directory(data_.image_names());
    EXPECT_EQ(names.size(), 1U);
    return data_.image_names() + "/" + names.at(0);
  }

  tests::TempDir dir_;
  storage::DataDirectory data_{dir_ / "data"};
  NameIndex index_{data_};
};

TEST_F(NameIndexTest, NameIsFoundUntilItIsRemoved) {
  const NameEntry a{"docker.io/library/a:latest", digest('a')};
  const NameEntry b{"quay.io/b@" + digest('c'), digest('b')};
  EXPECT_TRUE(index_.list().empty());
  index_.set(b);
  index_.set(a);
  EXPECT_EQ(index_.find(a.name), a);
  EXPECT_EQ(index_.list(), (std::vector<NameEntry>{a, b}));
  index_.remove(a.name);
  index_.remove(a.name);
  EXPECT_EQ(index_.find(a.name), std::nullopt);
  EXPECT_EQ(index_.list(), std::vector<NameEntry>{b});
}

TEST_F(NameIndexTest, NameMovesToAnotherImage) {
  index_.set({"localhost/a:1", digest('a')});
  index_.set({"localhost/a:1", digest('b')});
  EXPECT_EQ(index_.find("localhost/a:1")->digest, digest('b'));
  only_file();
}

TEST_F(NameIndexTest, FileTornAnywhereIsAnUnknownNameAndHeals) {
  const NameEntry entry{"localhost/a:1", digest('a')};
  index_.set(entry);
  const std::string file = only_file();
  const std::string whole = base::read_file(file);
  // Without the newline at its end it still says all.
  for (std::size_t length = 0; length + 1 < whole.size(); ++length) {
    base::write_file(file, whole.substr(0, length));
    EXPECT_EQ(index_.find(entry.name), std::nullopt) << length;
    EXPECT_TRUE(index_.list().empty()) << length;
  }
  index_.set(entry);
  EXPECT_EQ(index_.find(entry.name), entry);
}

TEST_F(NameIndexTest, FileAboutAnotherNameIsSkipped) {
  index_.set({"localhost/a:1", digest('a')});
  const std::string file = only_file();
  base::write_file(file, serialize_name_entry({"localhost/b:1", digest('a')}));
  EXPECT_EQ(index_.find("localhost/a:1"), std::nullopt);
  EXPECT_TRUE(index_.list().empty());
}

TEST_F(NameIndexTest, OtherVersionsAndBadMembersAreRefused) {
  for (const std::string& text :
       {std::string("[]"), std::string("{}"), std::string(R"({"schema":2})"),
        serialize_name_entry({"short:1", digest('a')}),
        serialize_name_entry({"localhost/a", digest('a')}),
        serialize_name_entry({"localhost/a:1", "sha256:12"})}) {
    EXPECT_THROW(parse_name_entry(text), base::Error) << text;
  }
}

}  // namespace
}  // namespace image
