#include "state/store.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>

#include "base/fd.h"
#include "base/process.h"
#include "state/envelope.h"

namespace state {
namespace {

constexpr std::string_view kSuffix = ".json";
constexpr std::string_view kTemporarySuffix = ".tmp";
constexpr std::string_view kAsideSuffix = ".damaged";
// No id: ids do not begin with a dot.
constexpr const char* kStoreLock = ".store";

void require_valid(const std::string& id) {
  if (!is_valid_id(id)) throw base::Error(base::cat("invalid record id ", base::quoted(id)));
}

// The id in the name of a record that was set aside, or empty.
std::string_view id_of_aside(std::string_view file_name) {
  const auto marker = file_name.rfind(".json.damaged");
  if (marker == std::string_view::npos) return {};
  const std::string_view id = file_name.substr(0, marker);
  return is_valid_id(id) ? id : std::string_view();
}

// False only when it is certain that nothing has this name.
bool may_exist(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 || errno != ENOENT;
}

// The id of a record file's name, or empty.
std::string_view id_of(std::string_view file_name) {
  if (!file_name.ends_with(kSuffix)) return {};
  file_name.remove_suffix(kSuffix.size());
  return is_valid_id(file_name) ? file_name : std::string_view();
}

// A lock file may be unlinked by the remover of its record while somebody waits for it; what he
// then gets locks nothing.
bool still_linked(const base::FileLock& lock, const std::string& path) {
  struct stat held {};
  struct stat named {};
  if (::fstat(lock.fd().get(), &held) != 0) return false;
  if (::stat(path.c_str(), &named) != 0) return false;
  return held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

base::FileLock acquire_linked(const std::string& path, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    auto left = timeout;
    if (timeout.count() >= 0) {
      left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      left = std::max(left, std::chrono::milliseconds(0));
    }
    base::FileLock lock = base::FileLock::acquire(path, true, left);
    if (still_linked(lock, path)) return lock;
  }
}

// `<id>.json.<pid>.<n>.tmp`, as base::replace_file and create() name them. 0 for any other name.
pid_t writer_of_temporary(std::string_view name) {
  if (!name.ends_with(kTemporarySuffix)) return 0;
  const auto marker = name.find(".json.");
  if (marker == std::string_view::npos) return 0;
  name.remove_prefix(marker + 6);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  return error == std::errc() && end != name.data() + name.size() && *end == '.' ? pid : 0;
}

// A zombie writes nothing any more, and may stand as long as its parent likes.
bool is_gone(pid_t pid) {
  if (::kill(pid, 0) != 0) return errno == ESRCH;
  const auto process = base::identify_process(pid);
  return process && !base::process_alive(*process);
}

base::Error newer_schema(const std::string& path, int found, int known) {
  base::Error error(base::cat("reading ", base::quoted(path), ": the record has schema ", found,
                              ", this fcvm knows up to ", known));
  error.set_hint("use the newer fcvm that wrote it");
  return error;
}

struct Outcome {
  std::optional<Record> record;
  std::optional<Problem::Kind> problem;  // empty with no record: there is none
  base::Error error{ENOENT, "reading record"};
};

Outcome load(const std::string& path, const std::string& id, const std::string& type, int schema) {
  Outcome outcome;
  std::optional<std::string> text;
  try {
    text = base::try_read_file(path, 2 * kMaxRecordBytes);
  } catch (const base::Error& error) {
    // Too long is the only refusal without an errno.
    outcome.problem = error.errnum() == 0 ? Problem::Kind::kDamaged : Problem::Kind::kUnreadable;
    outcome.error = error;
    return outcome;
  }
  if (!text) {
    outcome.error = base::Error(ENOENT, "reading record", id);
    return outcome;
  }
  base::Result<Envelope> envelope = decode_envelope(*text);
  if (!envelope) {
    outcome.problem = Problem::Kind::kDamaged;
    outcome.error = envelope.error();
    outcome.error.add_context(base::cat("reading ", base::quoted(path)));
    return outcome;
  }
  if (envelope.value().type != type) {
    outcome.problem = Problem::Kind::kDamaged;
    outcome.error =
        base::Error(base::cat("reading ", base::quoted(path), ": a record of type ",
                              base::quoted(envelope.value().type), ", not ", base::quoted(type)));
    return outcome;
  }
  if (envelope.value().schema > schema) {
    outcome.problem = Problem::Kind::kNewerSchema;
    outcome.error = newer_schema(path, envelope.value().schema, schema);
    return outcome;
  }
  outcome.record = Record{id, envelope.value().schema, std::move(envelope.value().json)};
  return outcome;
}

// Gives the file another name without ever replacing one; returns it.
std::string move_aside(const std::string& path) {
  for (int n = 0;; ++n) {
    const std::string target =
        n == 0 ? base::cat(path, kAsideSuffix) : base::cat(path, kAsideSuffix, ".", n);
    if (::link(path.c_str(), target.c_str()) == 0) {
      if (::unlink(path.c_str()) != 0) base::throw_errno("moving aside", path);
      return target;
    }
    if (errno != EEXIST) base::throw_errno("moving aside", path);
  }
}

}  // namespace

bool is_valid_id(std::string_view id) {
  const auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (id.empty() || id.size() > 64 || !alphanumeric(id.front())) return false;
  return std::all_of(id.begin(), id.end(),
                     [&](char c) { return alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

Store::Store(std::string directory, std::string type, int schema)
    : directory_(std::move(directory)), type_(std::move(type)), schema_(schema) {}

std::string Store::record_path(const std::string& id) const {
  return base::cat(directory_, "/", id, kSuffix);
}

std::string Store::lock_path(const std::string& name) const {
  return directory_ + "/.locks/" + name;
}

void Store::make_directory() const {
  const std::string locks = directory_ + "/.locks";
  if (!base::is_directory(locks)) base::make_directories(locks, 0700);
}

std::string Store::encode(const std::string& json) const {
  return encode_envelope({type_, schema_, json});
}

base::Result<Record> Store::read(const std::string& id) const {
  require_valid(id);
  Outcome outcome = load(record_path(id), id, type_, schema_);
  if (!outcome.record) return outcome.error;
  return std::move(*outcome.record);
}

Listing Store::list() const {
  Listing listing;
  for (const std::string& name : base::list_directory(directory_)) {
    const std::string id(id_of(name));
    if (id.empty()) continue;
    Outcome outcome = load(record_path(id), id, type_, schema_);
    if (outcome.record) {
      listing.records.push_back(std::move(*outcome.record));
    } else if (outcome.problem) {
      listing.problems.push_back({id, *outcome.problem, outcome.error.what()});
    }
  }
  return listing;
}

bool Store::exists(const std::string& id) const {
  require_valid(id);
  return base::path_exists(record_path(id));
}

base::FileLock Store::lock(std::chrono::milliseconds timeout) const {
  make_directory();
  return base::with_context("locking the records", [&] {
    return base::FileLock::acquire(lock_path(kStoreLock), true, timeout);
  });
}

RecordLock Store::lock_record(const std::string& id, std::chrono::milliseconds timeout) const {
  require_valid(id);
  make_directory();
  return base::with_context(base::cat("locking record ", base::quoted(id)),
                            [&] { return RecordLock(id, acquire_linked(lock_path(id), timeout)); });
}

std::optional<RecordLock> Store::try_lock_record(const std::string& id) const {
  require_valid(id);
  make_directory();
  const std::string path = lock_path(id);
  for (;;) {
    base::FileLock lock = base::FileLock::try_acquire(path);
    if (!lock.held()) return std::nullopt;
    if (still_linked(lock, path)) return RecordLock(id, std::move(lock));
  }
}

void Store::create(const std::string& id, const std::string& json, bool durable) const {
  static std::atomic<unsigned> counter{0};
  require_valid(id);
  const std::string text = encode(json);
  make_directory();
  const std::string path = record_path(id);
  const std::string temporary =
      base::cat(path, ".", ::getpid(), ".c", counter.fetch_add(1), kTemporarySuffix);
  base::replace_file(temporary, text, 0600, durable);
  // link(2) is the one call that publishes a whole file and refuses to replace another, on every
  // file system.
  const int errnum = ::link(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
  ::unlink(temporary.c_str());
  if (errnum != 0) throw base::Error(errnum, "creating record", id);
  if (durable) base::fsync_path(directory_);
}

void Store::update(const RecordLock& lock, const std::string& json, bool durable) const {
  const std::string text = encode(json);
  const std::string path = record_path(lock.id());
  // No race: only remove() takes a record away, and that needs the same lock.
  if (!base::path_exists(path)) throw base::Error(ENOENT, "updating record", lock.id());
  base::replace_file(path, text, 0600, durable);
}

void Store::modify(const std::string& id, const std::function<std::string(const Record&)>& change,
                   std::chrono::milliseconds timeout) const {
  const RecordLock lock = lock_record(id, timeout);
  update(lock, change(read(id).take()));
}

bool Store::remove(RecordLock lock) const {
  const std::string path = record_path(lock.id());
  const bool existed = ::unlink(path.c_str()) == 0;
  if (!existed && errno != ENOENT) base::throw_errno("removing record", lock.id());
  // While it is held: whoever waits for it finds the name gone and makes a new one.
  ::unlink(lock_path(lock.id()).c_str());
  return existed;
}

std::vector<std::string> Store::repair() const {
  std::vector<std::string> moved;
  for (const std::string& name : base::list_directory(directory_)) {
    const std::string path = directory_ + "/" + name;
    const std::string id(id_of(name));
    if (id.empty()) continue;
    if (load(path, id, type_, schema_).problem != Problem::Kind::kDamaged) continue;
    const std::optional<RecordLock> lock = try_lock_record(id);
    // Once more under the lock: it may have been written or removed in between.
    if (lock && load(path, id, type_, schema_).problem == Problem::Kind::kDamaged) {
      move_aside(path);
      moved.push_back(id);
    }
  }
  return moved;
}

std::vector<std::string> Store::set_aside() const {
  std::vector<std::string> ids;
  for (const std::string& name : base::list_directory(directory_)) {
    if (const auto id = id_of_aside(name); !id.empty()) ids.emplace_back(id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

bool Store::may_be_known(const std::string& id) const {
  require_valid(id);
  // In this order: a record is set aside before its name goes.
  return may_exist(record_path(id)) || may_exist(base::cat(record_path(id), kAsideSuffix));
}

void Store::remove_set_aside(const RecordLock& lock) const {
  for (const std::string& name : base::list_directory(directory_)) {
    if (id_of_aside(name) != lock.id()) continue;
    const std::string path = directory_ + "/" + name;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) base::throw_errno("removing", path);
  }
}

void Store::sweep() const {
  for (const std::string& name : base::list_directory(directory_)) {
    const pid_t writer = writer_of_temporary(name);
    if (writer <= 0 || !is_gone(writer)) continue;
    ::unlink((directory_ + "/" + name).c_str());
  }
  for (const std::string& name : base::list_directory(directory_ + "/.locks")) {
    if (!is_valid_id(name) || may_be_known(name)) continue;
    // Held, it is somebody's who is about to make the record.
    const std::optional<RecordLock> lock = try_lock_record(name);
    if (lock && !may_be_known(name)) ::unlink(lock_path(name).c_str());
  }
}

}  // namespace state
