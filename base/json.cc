#include "base/json.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace base {

nlohmann::json parse_json(std::string_view text, std::size_t max_bytes, int max_depth) {
  if (text.size() > max_bytes) {
    throw Error(cat("parsing JSON: ", text.size(), " bytes, the limit is ", max_bytes));
  }
  try {
    return nlohmann::json::parse(
        text, [max_depth](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
          if (depth > max_depth) throw Error(cat("parsing JSON: nested over ", max_depth));
          return true;
        });
  } catch (const nlohmann::json::parse_error& error) {
    throw Error(cat("parsing JSON: invalid at byte ", error.byte));
  } catch (const nlohmann::json::out_of_range&) {
    throw Error("parsing JSON: a number is out of range");
  } catch (const nlohmann::json::exception&) {
    throw Error("parsing JSON: a number is out of range");
  }
}

}  // namespace base
