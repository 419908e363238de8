#include "experiments/text_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace qc2c {
namespace {

// Code points, which is what a terminal gives a cell each for the text that we print.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string Padded(const std::string& text, size_t width, TextTable::Align align) {
  const std::string space(width - std::min(width, Width(text)), ' ');
  return align == TextTable::Align::kLeft ? text + space : space + text;
}

}  // namespace

void TextTable::Drop(size_t column) {
  const auto at = static_cast<std::ptrdiff_t>(column);
  columns.erase(columns.begin() + at);
  for (auto& row : rows) row.erase(row.begin() + at);
}

std::string TextTable::Terminal() const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns.size(); ++i) {
    widths.push_back(Width(columns[i].title));
    for (const auto& row : rows) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  const auto add = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < columns.size(); ++i) {
      absl::StrAppend(&line, i == 0 ? "" : "  ", Padded(cells[i], widths[i], columns[i].align));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  };
  std::vector<std::string> titles;
  for (const Column& column : columns) titles.push_back(column.title);
  add(titles);
  size_t total = 0;
  for (const size_t width : widths) total += width + 2;
  absl::StrAppend(&text, std::string(total - 2, '-'), "\n");
  for (const auto& row : rows) add(row);
  return text;
}

std::string TextTable::Markdown() const {
  std::string text = "|";
  for (const Column& column : columns) absl::StrAppend(&text, " ", column.title, " |");
  absl::StrAppend(&text, "\n|");
  for (const Column& column : columns) {
    absl::StrAppend(&text, column.align == Align::kLeft ? "---|" : "---:|");
  }
  for (const auto& row : rows) {
    absl::StrAppend(&text, "\n|");
    for (const std::string& cell : row) {
      absl::StrAppend(&text, " ", absl::StrReplaceAll(cell, {{"|", "\\|"}}), " |");
    }
  }
  return text + "\n";
}

}  // namespace qc2c
