#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"
#include "vm/vm_manager.h"

namespace vm {
namespace {

TEST(WaitConditionTest, VmThatWasRemovedIsNamed) {
  const tests::TempDir dir;
  const VmManager manager{storage::DataDirectory(dir.path())};
  VmRecord record;
  record.id = std::string(64, 'a');
  record.name = "web";
  manager.store().create(record);
  manager.store().destroy(manager.store().records().lock_record(record.id), record);
  try {
    manager.wait_until(record, {"exited"});
    FAIL() << "nothing was there";
  } catch (const base::Error& error) {
    EXPECT_STREQ(error.what(), "VM 'web' has ended and was removed");
  }
  base::remove_tree(manager.store().data().run());
}

}  // namespace
}  // namespace vm
