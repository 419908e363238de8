#include "experiments/inspect/outline.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

std::string Plain(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::vector<std::string> items;
  for (const Json& item : value) items.push_back(Plain(item));
  return items.empty() ? "none" : absl::StrJoin(items, " ");
}

bool IsTable(const Json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const Json& row) { return row.is_object(); });
}

void AppendTable(const Json& rows, const std::string& indent, std::string& text) {
  std::vector<std::vector<std::string>> lines(rows.size() + 1);
  for (const auto& [name, value] : rows.front().items()) {
    std::vector<std::string> column = {name};
    for (const Json& row : rows) column.push_back(row.contains(name) ? Plain(row[name]) : "");
    size_t width = 0;
    for (const std::string& cell : column) width = std::max(width, cell.size());
    for (size_t i = 0; i < column.size(); ++i) {
      lines[i].push_back(std::string(width - column[i].size(), ' ') + column[i]);
    }
  }
  for (const auto& line : lines) absl::StrAppend(&text, indent, absl::StrJoin(line, "  "), "\n");
}

void AppendObject(const Json& object, const std::string& indent, std::string& text) {
  size_t width = 0;
  for (const auto& [name, value] : object.items()) width = std::max(width, name.size());
  for (const auto& [name, value] : object.items()) {
    if (value.is_object()) {
      absl::StrAppend(&text, indent, name, "\n");
      AppendObject(value, indent + "  ", text);
    } else if (IsTable(value)) {
      absl::StrAppend(&text, indent, name, "\n");
      AppendTable(value, indent + "  ", text);
    } else {
      absl::StrAppend(&text, indent, name, std::string(width - name.size() + 2, ' '), Plain(value),
                      "\n");
    }
  }
}

}  // namespace

std::string Outline(const Json& report) {
  std::string text;
  AppendObject(report, "", text);
  return text;
}

}  // namespace qc2c
