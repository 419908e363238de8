// A table of text, as a terminal or as Markdown wants it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace qc2c {

struct TextTable {
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kRight;
  };
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  // each as long as `columns`; UTF-8

  void Drop(size_t column);
  std::string Terminal() const;
  std::string Markdown() const;
};

}  // namespace qc2c
