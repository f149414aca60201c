#include "tests/support/registry.h"

#include <csignal>
#include <stdexcept>

namespace tests {
namespace {

// bcrypt of Registry::kPassword, as htpasswd writes it.
constexpr const char* kPasswordLine =
    "tester:$2y$05$fcvmtestsfcvmtestsfcvuZhFtbZB8nioq95tS4WyrueTNk/Bfi5m\n";

std::string config(const std::string& root, const std::string& password_file) {
  std::string text =
      "version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\n"
      "storage: {filesystem: {rootdirectory: " +
      root + "}}\nhttp: {addr: '127.0.0.1:0'}\n";
  if (!password_file.empty()) {
    text += "auth: {htpasswd: {realm: tests, path: " + password_file + "}}\n";
  }
  return text;
}

std::string checked(Command command) {
  const std::string name = command.argv[0];
  const Outcome outcome = run(std::move(command));
  if (outcome.status != 0) throw std::runtime_error(name + ": " + outcome.err);
  return outcome.out;
}

}  // namespace

Registry::Registry(Access access) : access_(access) {
  const std::string passwords =
      access == Access::kPassword ? dir_.write("htpasswd", kPasswordLine).string() : "";
  Command command;
  command.argv = {"docker-registry", "serve",
                  dir_.write("config.yml", config(dir_ / "root", passwords))};
  command.env = {"OTEL_TRACES_EXPORTER=none"};
  command.deadline = std::chrono::minutes(10);
  server_ = std::make_unique<Process>(std::move(command));
  constexpr const char* kListening = "listening on ";
  if (!server_->wait_for_err(kListening, std::chrono::seconds(20))) {
    throw std::runtime_error("docker-registry does not start: " + server_->err());
  }
  const std::string log = server_->err();
  const auto begin = log.find(kListening) + std::string(kListening).size();
  host_ = log.substr(begin, log.find_first_not_of("0123456789.:", begin) - begin);
}

Registry::~Registry() {
  stop();
}

void Registry::stop() {
  if (!server_) return;
  server_->signal(SIGTERM);
  server_->wait();
  server_.reset();
}

std::vector<std::string> Registry::credentials(const std::string& flag) const {
  if (access_ == Access::kOpen) return {};
  return {flag, std::string(kUser) + ":" + kPassword};
}

void Registry::push(const std::string& source, const std::string& name) const {
  Command command;
  command.argv = {"skopeo",
                  "copy",
                  "--quiet",
                  "--all",
                  "--insecure-policy",
                  "--dest-tls-verify=false",
                  "--src-tls-verify=false"};
  for (const auto& word : credentials("--dest-creds")) command.argv.push_back(word);
  command.argv.insert(command.argv.end(), {source, "docker://" + host_ + "/" + name});
  checked(std::move(command));
}

std::string Registry::digest(const std::string& name) const {
  Command command;
  command.argv = {"skopeo",   "inspect",    "--no-tags", "--tls-verify=false",
                  "--format", "{{.Digest}}"};
  for (const auto& word : credentials("--creds")) command.argv.push_back(word);
  command.argv.push_back("docker://" + host_ + "/" + name);
  std::string digest = checked(std::move(command));
  while (!digest.empty() && digest.back() == '\n') digest.pop_back();
  return digest;
}

}  // namespace tests
