// A report for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace qc2c {

// One line a field, nested objects indented; a list of objects becomes a table whose columns are
// the first one's fields, any other list one line. Ends with a line feed.
std::string Outline(const nlohmann::ordered_json& report);

}  // namespace qc2c
