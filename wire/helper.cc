#include "wire/helper.h"

#include "base/base64.h"
#include "base/json.h"
#include "wire/detail/json_fields.h"

namespace wire {
namespace {

constexpr std::size_t kMaxRequestBytes = 64 * 1024;
constexpr std::size_t kMaxUserBytes = 4096;

constexpr std::pair<std::string_view, HelperRequest::Verb> kVerbs[] = {
    {"top", HelperRequest::Verb::kTop},
    {"get", HelperRequest::Verb::kGet},
    {"put", HelperRequest::Verb::kPut},
};

}  // namespace

std::string to_json(const HelperRequest& request) {
  return detail::dump(nlohmann::json{
      {"verb", detail::word_of(request.verb, kVerbs)},
      {"path", base::encode_base64(request.path)},  // may hold any byte
      {"any_archive", request.any_archive},
      {"overwrite", request.overwrite},
      {"keep_owner", request.keep_owner},
      {"user", request.user},
  });
}

HelperRequest parse_helper_request(std::string_view text) {
  const nlohmann::json value = base::parse_json(text, kMaxRequestBytes);
  const detail::JsonFields fields(value, "helper request");
  HelperRequest request;
  request.verb = fields.one_of("verb", kVerbs);
  request.path = fields.base64("path", detail::kMaxPathBytes);
  if (request.path.find('\0') != std::string::npos) fields.fail("path", "holds a zero byte");
  if (request.verb != HelperRequest::Verb::kTop && !request.path.starts_with('/')) {
    fields.fail("path", "is not absolute");
  }
  request.any_archive = fields.boolean("any_archive");
  request.overwrite = fields.boolean("overwrite");
  request.keep_owner = fields.boolean("keep_owner");
  request.user = fields.text("user", kMaxUserBytes);
  return request;
}

}  // namespace wire
