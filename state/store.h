// A folder of records, one JSON file each. Knows no record type: text in, text out.
//
// A record file is replaced by rename, so a reader sees the old record or the new one, whole, and
// needs no lock. Writers hold the record's lock. What must hold across records (a name is taken
// once) is checked and written under the store's lock. Order: the store's lock before any record's;
// never two records' at once. Locks are flock(2) on files in the folder `.locks`: they end with
// their process, and two stores over one folder exclude each other like two processes.
//
// All members may be called from any thread and block on the disk; those with a timeout also on a
// lock. Files are 0600, the folder is made 0700.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace state {

struct Record {
  std::string id;
  int schema = 0;    // at most the store's; an older one is the owner's to convert
  std::string json;  // a JSON object, compact
};

// A record file that list() could not turn into a Record. It stays where it is.
struct Problem {
  enum class Kind {
    kDamaged,      // torn or altered; repair() moves it aside
    kNewerSchema,  // written by a newer fcvm; left alone
    kUnreadable,   // the system refused (permission, I/O error)
  };
  std::string id;
  Kind kind{};
  std::string reason;  // fit for a user, names the file
};

struct Listing {
  std::vector<Record> records;  // by id
  std::vector<Problem> problems;
};

// The right to write one record. Released when destroyed.
class RecordLock {
 public:
  const std::string& id() const { return id_; }

 private:
  friend class Store;
  RecordLock(std::string id, base::FileLock lock) : id_(std::move(id)), lock_(std::move(lock)) {}
  std::string id_;
  base::FileLock lock_;
};

// True for what may be an id: [a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}. Everything below throws base::Error
// for any other.
bool is_valid_id(std::string_view id);

class Store {
 public:
  static constexpr std::chrono::milliseconds kLockTimeout = std::chrono::seconds(10);

  // `type` is written into every record and demanded of every record read; `schema` >= 1 is what
  // this program writes and the newest it reads. Touches nothing; the folder is made when the first
  // lock or record is.
  Store(std::string directory, std::string type, int schema);

  const std::string& directory() const { return directory_; }

  // An Error with errnum() ENOENT when there is none, with another errno when the system refused,
  // and with errnum() 0 when the record is damaged or of a newer schema.
  base::Result<Record> read(const std::string& id) const;
  Listing list() const;
  bool exists(const std::string& id) const;

  // For what spans records. Throws Error(ETIMEDOUT).
  base::FileLock lock(std::chrono::milliseconds timeout = kLockTimeout) const;
  // A record need not exist to be locked.
  RecordLock lock_record(const std::string& id,
                         std::chrono::milliseconds timeout = kLockTimeout) const;
  // Empty when somebody else holds it.
  std::optional<RecordLock> try_lock_record(const std::string& id) const;

  // Throws Error(EEXIST) when there is one, whole or damaged. Needs no lock: of two creators one
  // wins. `durable`: on disk before it returns.
  void create(const std::string& id, const std::string& json, bool durable = false) const;
  // Throws Error(ENOENT) when the record is gone: an update brings nothing back to life.
  void update(const RecordLock& lock, const std::string& json, bool durable = false) const;
  // read, `change`, update under the record's lock. Throws what read() reports and `change` throws;
  // then nothing is written.
  void modify(const std::string& id, const std::function<std::string(const Record&)>& change,
              std::chrono::milliseconds timeout = kLockTimeout) const;
  // False when there was none. A damaged record is removed too.
  bool remove(RecordLock lock) const;

  // Renames damaged records to `<id>.json.damaged` (`.damaged.1` and so on where that exists, for
  // nothing is lost) and returns their ids. Skips records that are being written.
  std::vector<std::string> repair() const;
  // Ids of which repair() has set a record aside.
  std::vector<std::string> set_aside() const;
  // True unless it is certain that there is neither a record of this id nor one set aside.
  bool may_be_known(const std::string& id) const;
  // Deletes what repair() has set aside.
  void remove_set_aside(const RecordLock& lock) const;
  // Removes what processes that died have left: temporaries of writers, locks without a record.
  void sweep() const;

 private:
  std::string record_path(const std::string& id) const;
  std::string lock_path(const std::string& name) const;
  void make_directory() const;
  std::string encode(const std::string& json) const;

  std::string directory_;
  std::string type_;
  int schema_;
};

}  // namespace state
