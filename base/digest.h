#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace base {

// SHA-256 (FIPS 180-4) through libcrypto, as lower-case hexadecimal. In a library of its own
// (fcvm_base_digest), for the guest agent does without libcrypto.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::string_view data);
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256(std::string_view data);
std::string sha256_file(const std::string& path);

}  // namespace base
