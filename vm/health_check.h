#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/image_meta.h"
#include "vm/run_options.h"

namespace vm {

// How a container's health is found out, podman's defaults filled in. Kept in the launch plan.
struct HealthCheck {
  std::vector<std::string> test;            // {"CMD", word…} or {"CMD-SHELL", text}; empty: none
  std::chrono::nanoseconds interval{};      // between two checks; 0: only when somebody asks
  std::chrono::nanoseconds timeout{};       // of one check
  std::chrono::nanoseconds start_period{};  // from the start, in which failures do not count
  int retries = 0;                          // failures in a row that make it unhealthy
};

// The flags', else the image's, which is raised to what is bearable. Throws base::Error for a check
// that cannot be one.
HealthCheck resolve_health_check(const HealthOptions& options,
                                 const std::optional<image::Healthcheck>& image);

// The check as a command to exec.
std::vector<std::string> health_command(const HealthCheck& check);

// A JSON object and back; parsing throws base::Error.
std::string to_json(const HealthCheck& check);
HealthCheck parse_health_check(std::string_view json);

}  // namespace vm
