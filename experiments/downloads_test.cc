#include "experiments/downloads.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace qc2c {
namespace {

TEST(RecipePathTest, DownloadsLieInTheirFoldersAndAllElseBesideTheRecipe) {
  setenv("QC2C_MODELS", "/m", 1);
  unsetenv("QC2C_QUESTIONS");
  setenv("XDG_CACHE_HOME", "/c", 1);
  EXPECT_EQ(RecipePath("/r/recipes", "$MODELS/a"), "/m/a");
  EXPECT_EQ(RecipePath("/r/recipes", "$QUESTIONS/b.jsonl"), "/c/qc2c/questions/b.jsonl");
  EXPECT_EQ(RecipePath("/r/recipes", "../data/x"), "/r/data/x");
  EXPECT_EQ(RecipePath("/r/recipes", "/abs/$MODELS/x"), "/abs/$MODELS/x");
}

}  // namespace
}  // namespace qc2c
