#include "experiments/text_table.h"

#include <gtest/gtest.h>

namespace qc2c {
namespace {

TextTable Small() {
  TextTable table;
  table.columns = {{"name", TextTable::Align::kLeft}, {"empty"}, {"n"}};
  table.rows = {{"ä|b", "", "1,088"}, {"longer", "", "7"}};
  return table;
}

TEST(TextTableTest, AlignsByCharactersNotBytes) {
  EXPECT_EQ(Small().Terminal(),
            "name    empty      n\n"
            "--------------------\n"
            "ä|b            1,088\n"
            "longer             7\n");
}

TEST(TextTableTest, MarkdownEscapesBars) {
  TextTable table = Small();
  table.Drop(1);
  EXPECT_EQ(table.Markdown(),
            "| name | n |\n"
            "|---|---:|\n"
            "| ä\\|b | 1,088 |\n"
            "| longer | 7 |\n");
}

}  // namespace
}  // namespace qc2c
