#include "cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "base/utf8.h"

namespace cli {
namespace {

// Characters, not bytes: names of images may hold others than ASCII.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string decimal_size(std::uint64_t bytes, int digits, const char* space) {
  constexpr std::array kUnits{"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1000 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.*g%s%s", digits, value, space, kUnits[unit]);
  return text.data();
}

}  // namespace

void print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      base::throw_errno("writing standard output");
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

void print_error_text(std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string error_text(std::string_view verb, std::string_view why, std::string_view hint) {
  std::string text = "fcvm: ";
  if (!verb.empty()) text += base::cat(verb, ": ");
  text += base::printable(why) + '\n';
  if (!hint.empty()) text += base::cat("hint: ", base::printable(hint), "\n");
  return text;
}

void print_error(std::string_view verb, const base::Error& error) noexcept {
  print_error_text(error_text(verb, error.what(), error.hint()));
}

std::string render_table(const std::vector<std::vector<std::string>>& rows, std::size_t min_width) {
  constexpr std::size_t kGap = 2;
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), min_width > kGap ? min_width - kGap : 0);
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - width(row[i]) + kGap, ' ');
    }
    if (min_width == 0) line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string human_duration(std::int64_t seconds) {
  const std::int64_t minutes = seconds / 60;
  const std::int64_t hours = (seconds + 1800) / 3600;
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return base::cat(seconds, " seconds");
  if (minutes == 1) return "About a minute";
  if (minutes < 46) return base::cat(minutes, " minutes");
  if (hours == 1) return "About an hour";
  if (hours < 48) return base::cat(hours, " hours");
  if (hours < 24 * 7 * 2) return base::cat(hours / 24, " days");
  if (hours < 24 * 30 * 2) return base::cat(hours / 24 / 7, " weeks");
  if (hours < 24 * 365 * 2) return base::cat(hours / 24 / 30, " months");
  return base::cat(hours / 24 / 365, " years");
}

std::string human_size(std::uint64_t bytes) {
  return decimal_size(bytes, 4, "");
}

std::string human_bytes(std::uint64_t bytes) {
  return decimal_size(bytes, 3, " ");
}

std::string human_mib(std::uint64_t mib) {
  if (mib < 1024) return base::cat(mib, " MiB");
  char text[32];
  const double gib = static_cast<double>(mib) / 1024;
  std::snprintf(text, sizeof text, mib % 1024 == 0 ? "%.0f GiB" : "%.1f GiB", gib);
  return text;
}

}  // namespace cli
