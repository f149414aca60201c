#include <sys/random.h>

#include <array>
#include <random>
#include <string>
#include <string_view>

#include "base/error.h"
#include "vm/vm_manager.h"

namespace vm {

std::string random_name() {
  static constexpr std::array<std::string_view, 32> kAdjectives{
      "amber", "brave", "brisk", "calm",  "clear",  "deft",  "eager",  "early",
      "fair",  "fleet", "fond",  "frank", "glad",   "grand", "hardy",  "keen",
      "kind",  "light", "lucid", "merry", "mild",   "neat",  "nimble", "proud",
      "quick", "quiet", "sharp", "sound", "steady", "swift", "warm",   "wise"};
  static constexpr std::array<std::string_view, 32> kNouns{
      "alder", "badger", "birch", "bison",  "brook", "cedar",  "comet",  "condor",
      "crane", "delta",  "elm",   "falcon", "fern",  "finch",  "harbor", "heron",
      "ibex",  "island", "larch", "lynx",   "maple", "marten", "meadow", "orca",
      "otter", "pine",   "raven", "ridge",  "river", "stork",  "tern",   "willow"};
  std::random_device random;
  return base::cat(kAdjectives[random() % kAdjectives.size()], "_",
                   kNouns[random() % kNouns.size()]);
}

std::string random_hex(std::size_t digits) {
  std::string bytes(digits / 2, '\0');
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    base::throw_errno("reading random bytes");
  }
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    text += kHex[static_cast<unsigned char>(c) >> 4];
    text += kHex[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

}  // namespace vm
