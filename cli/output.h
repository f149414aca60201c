// What commands print.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cli {

// To stdout and stderr, unbuffered. A closed stdout throws base::Error(EPIPE).
void print(std::string_view text);
void print_error_text(std::string_view text) noexcept;

// "fcvm: podman run: <why>" on one line, and "hint: <what to do>" on a second where there is one.
std::string error_text(std::string_view verb, std::string_view why, std::string_view hint);
void print_error(std::string_view verb, const base::Error& error) noexcept;

// Columns as wide as their widest cell, two spaces apart; the last one is not padded. The first row
// is the heading. With `min_width` a column has at least this width, spaces included, and lines keep
// the spaces at their end, as podman's tables do.
std::string render_table(const std::vector<std::vector<std::string>>& rows,
                         std::size_t min_width = 0);

// "About an hour", "3 minutes", "2 weeks", as podman says how long something took; below a second
// "Less than a second".
std::string human_duration(std::int64_t seconds);

// "0B", "2.2MB", "1.234GB": powers of 1000 and four digits, as podman prints sizes.
std::string human_size(std::uint64_t bytes);
// "4.49 MB": powers of 1000 and three digits, as podman prints sizes of images.
std::string human_bytes(std::uint64_t bytes);

// "512 MiB", "1.5 GiB".
std::string human_mib(std::uint64_t mib);

}  // namespace cli
