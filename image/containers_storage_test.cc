#include "image/containers_storage.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace image {
namespace {

std::string id(char c) {
  return std::string(64, c);
}

std::string image_json(const std::string& layer) {
  return "[{\"id\":\"" + id('e') + "\",\"layer\":\"" + layer + "\"}]";
}

TEST(ContainersStorageTest, LayersComeTopFirst) {
  const StoredImage image = parse_containers_storage(
      image_json(id('c')), "[{\"id\":\"" + id('a') + "\"},{\"id\":\"" + id('c') +
                               "\",\"parent\":\"" + id('b') + "\"},{\"id\":\"" + id('b') +
                               "\",\"parent\":\"" + id('a') + "\"}]");
  EXPECT_EQ(image.id, id('e'));
  EXPECT_EQ(image.layer_ids, (std::vector<std::string>{id('c'), id('b'), id('a')}));
}

TEST(ContainersStorageTest, ImageWithoutLayersIsRead) {
  EXPECT_TRUE(parse_containers_storage("[{\"id\":\"" + id('e') + "\"}]", "[]").layer_ids.empty());
}

TEST(ContainersStorageTest, RingOfParentsIsRefused) {
  EXPECT_THROW(
      parse_containers_storage(image_json(id('a')),
                               "[{\"id\":\"" + id('a') + "\",\"parent\":\"" + id('a') + "\"}]"),
      base::Error);
}

TEST(ContainersStorageTest, MissingLayerAndOddIdsAreRefused) {
  EXPECT_THROW(parse_containers_storage(image_json(id('a')), "[]"), base::Error);
  EXPECT_THROW(parse_containers_storage("[]", "[]"), base::Error);
  EXPECT_THROW(parse_containers_storage("[{\"id\":\"../x\"}]", "[]"), base::Error);
  EXPECT_THROW(parse_containers_storage("{}", "[]"), base::Error);
  EXPECT_THROW(parse_containers_storage("[1]", "[]"), base::Error);
  EXPECT_THROW(parse_containers_storage(image_json(id('a')), "[{\"id\":\"../../etc\"}]"),
               base::Error);
}

}  // namespace
}  // namespace image
