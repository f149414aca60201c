#pragma once

#include "cli/settings.h"

namespace cli {

// Sends what base/log.h gets to stderr: "fcvm: warn: <message>", or one JSON object a line with the
// keys time (RFC 3339), level and message. Call it once, before other threads start.
void install_log_sink(base::LogLevel level, LogFormat format);

}  // namespace cli
