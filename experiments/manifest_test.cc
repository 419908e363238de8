#include "experiments/manifest.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/base/files.h"
#include "experiments/fake_receiver.h"

namespace qc2c {
namespace {

TEST(ManifestTest, TheRevisionOfABundleIsThatOfItsFile) {
  const std::filesystem::path bundle = FreshFolder();
  std::filesystem::create_directories(bundle / "experiments" / "recipes");
  ASSERT_TRUE(WriteFileAtomically(bundle / "experiments" / "recipes" / "demo.yaml", "").ok());
  ASSERT_TRUE(WriteFileAtomically(bundle / "REVISION", "v1-2-g345\n").ok());
  const char* before = std::getenv("QC2C_ROOT");
  const std::string root = before == nullptr ? "" : before;
  setenv("QC2C_ROOT", bundle.c_str(), 1);
  EXPECT_EQ(CodeManifest()["git"], "v1-2-g345");
  std::filesystem::remove(bundle / "REVISION");
  EXPECT_NE(CodeManifest()["git"], "");
  setenv("QC2C_ROOT", root.c_str(), 1);  // empty is as unset
  std::filesystem::remove_all(bundle);
}

}  // namespace
}  // namespace qc2c
