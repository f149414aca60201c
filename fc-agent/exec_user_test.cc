#include "fc-agent/exec_user.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/user_lookup.h"
#include "tests/support/temp_dir.h"

namespace fc_agent {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ExecUserTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_.write("root/etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:\n");
    directory_.write("root/etc/group", "app:x:1001:\nwheel:x:10:app,root\naudio:x:29:app\n");
  }

  json resolve(const std::string& user, const std::vector<std::string>& env = {}) const {
    const json process{{"args", {"id"}},
                       {"env", env},
                       {"resolve_user",
                        {{"user", user},
                         {"root_capabilities", {{"bounding", {"CAP_A"}}}},
                         {"other_capabilities", {{"bounding", {"CAP_B"}}}}}}};
    return json::parse(with_user(process.dump(), directory_ / "root"));
  }
  std::string complaint(const std::string& user) const {
    try {
      resolve(user);
      return "";
    } catch (const base::Error& error) {
      return error.what();
    }
  }

  tests::TempDir directory_;
};

TEST_F(ExecUserTest, UserIsWhoTheContainersFilesSayNow) {
  const json process = resolve("app");
  EXPECT_EQ(process.at("user").dump(), R"({"additionalGids":[10,29],"gid":1001,"uid":1000})");
  EXPECT_EQ(process.at("capabilities").dump(), R"({"bounding":["CAP_B"]})");
  EXPECT_EQ(process.at("env").dump(), R"(["HOME=/home/app"])");
  EXPECT_FALSE(process.contains("resolve_user"));
  directory_.write("root/etc/passwd", "app:x:0:5::/new:\nlate:x:7:8::/late:/bin/sh\n");
  EXPECT_EQ(resolve("app").at("capabilities").dump(), R"({"bounding":["CAP_A"]})");
  EXPECT_EQ(resolve("late").at("user").dump(), R"({"gid":8,"uid":7})");
  EXPECT_EQ(resolve("late:wheel").at("user").at("gid"), 10);
}

TEST_F(ExecUserTest, HomeThatWasGivenStaysAndAnUnknownNumberLivesInTheRoot) {
  EXPECT_EQ(resolve("app", {"A=1", "HOME=/else"}).at("env").dump(), R"(["A=1","HOME=/else"])");
  EXPECT_EQ(resolve("4321").at("env").dump(), R"(["HOME=/"])");
  EXPECT_EQ(resolve("").at("user").dump(), R"({"gid":0,"uid":0})");
}

TEST_F(ExecUserTest, FilesThatAreMissingKnowNobody) {
  fs::remove_all(directory_ / "root/etc");
  EXPECT_EQ(resolve("12:13").at("user").dump(), R"({"gid":13,"uid":12})");
  EXPECT_NE(complaint("app").find("unable to find user app"), std::string::npos);
}

TEST_F(ExecUserTest, LinksOfTheContainerStayInside) {
  directory_.write("outside", "app:x:1:1::/outside:\n");
  fs::remove(directory_ / "root/etc/passwd");
  fs::create_symlink("../../outside", directory_ / "root/etc/passwd");
  EXPECT_NE(complaint("app").find("unable to find user app"), std::string::npos);
  directory_.write("root/outside", "app:x:2:2::/inside:\n");
  EXPECT_EQ(resolve("app").at("user").at("uid"), 2);
}

TEST_F(ExecUserTest, WhatIsNoFileOrTooLongIsRefused) {
  const fs::path passwd = directory_ / "root/etc/passwd";
  fs::resize_file(passwd, base::kMaxUserFileBytes + 1);
  EXPECT_NE(complaint("app").find("/etc/passwd"), std::string::npos);
  fs::remove(passwd);
  // Opening it for reading would wait for a writer.
  ASSERT_EQ(::mkfifo(passwd.c_str(), 0600), 0);
  EXPECT_NE(complaint("app").find("not a file"), std::string::npos) << complaint("app");
  fs::remove(passwd);
  fs::create_symlink("passwd", passwd);
  EXPECT_NE(complaint("app"), "");
}

TEST_F(ExecUserTest, ProcessThatNeedsNobodyIsLeftAsItIs) {
  const std::string process = R"({ "args":["a"], "user":{"uid":5} })";
  EXPECT_EQ(with_user(process, "/nowhere"), process);
  EXPECT_THROW(with_user(R"({"resolve_user":{}})", directory_ / "root"), base::Error);
  EXPECT_THROW(with_user("[", directory_ / "root"), base::Error);
}

}  // namespace
}  // namespace fc_agent
