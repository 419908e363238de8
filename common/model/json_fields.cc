#include "common/model/json_fields.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bounded_json.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

constexpr size_t kMaxQuotedBytes = 60;  // a hostile file must not flood the log

std::string Quoted(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxQuotedBytes) text = text.substr(0, kMaxQuotedBytes) + "...";
  return text;
}

bool IsIntIn(const nlohmann::json& value, int32_t min, int32_t max) {
  // A number above int64 is stored as unsigned, and get<int64_t>() would wrap it.
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT32_MAX}) return false;
  return value.is_number_integer() && value.get<int64_t>() >= min && value.get<int64_t>() <= max;
}

}  // namespace

absl::StatusOr<JsonFields> JsonFields::Load(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  nlohmann::json object = ParseBoundedJson<nlohmann::json>(text);
  if (object.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": not valid JSON of at most ", kMaxJsonDepth, " levels"));
  }
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": is ", Quoted(object), ": expected a JSON object"));
  }
  return JsonFields(path.string(), std::move(object));
}

bool JsonFields::Has(const std::string& key) const {
  const auto it = object_.find(key);
  return it != object_.end() && !it->is_null();
}

absl::Status JsonFields::Wrong(const std::string& key, const std::string& expected) const {
  const std::string found = Has(key) ? absl::StrCat("is ", Quoted(object_.at(key))) : "is missing";
  return absl::InvalidArgumentError(
      absl::StrCat(name_, ": ", key, " ", found, ": expected ", expected));
}

absl::StatusOr<int32_t> JsonFields::Int(const std::string& key, int32_t min, int32_t max) const {
  if (Has(key) && IsIntIn(object_.at(key), min, max)) return object_.at(key).get<int32_t>();
  return Wrong(key, absl::StrCat("an integer from ", min, " to ", max));
}

absl::StatusOr<double> JsonFields::Double(const std::string& key, double min, double max) const {
  if (Has(key) && object_.at(key).is_number()) {
    const double value = object_.at(key).get<double>();
    if (value >= min && value <= max) return value;
  }
  return Wrong(key, absl::StrCat("a number from ", min, " to ", max));
}

absl::StatusOr<std::string> JsonFields::Text(const std::string& key) const {
  if (Has(key) && object_.at(key).is_string()) return object_.at(key).get<std::string>();
  return Wrong(key, "a string");
}

absl::StatusOr<JsonFields> JsonFields::Object(const std::string& key) const {
  if (Has(key) && object_.at(key).is_object()) {
    return JsonFields(absl::StrCat(name_, ": ", key), object_.at(key));
  }
  return Wrong(key, "an object");
}

absl::StatusOr<std::vector<int32_t>> JsonFields::IntOrInts(const std::string& key, int32_t min,
                                                           int32_t max) const {
  if (!Has(key)) return std::vector<int32_t>();
  const nlohmann::json& value = object_.at(key);
  const nlohmann::json list = value.is_array() ? value : nlohmann::json::array({value});
  std::vector<int32_t> ints;
  for (const nlohmann::json& item : list) {
    if (!IsIntIn(item, min, max)) {
      return Wrong(key, absl::StrCat("an integer, or a list of integers, from ", min, " to ", max));
    }
    ints.push_back(item.get<int32_t>());
  }
  return ints;
}

absl::StatusOr<int32_t> JsonFields::IntOr(const std::string& key, int32_t min, int32_t max,
                                          int32_t absent) const {
  if (!Has(key)) return absent;
  return Int(key, min, max);
}

absl::StatusOr<double> JsonFields::DoubleOr(const std::string& key, double min, double max,
                                            double absent) const {
  if (!Has(key)) return absent;
  return Double(key, min, max);
}

absl::Status JsonFields::ExpectAbsentOr(const std::string& key,
                                        const nlohmann::json& expected) const {
  if (!Has(key) || object_.at(key) == expected) return absl::OkStatus();
  return Wrong(key, absl::StrCat(Quoted(expected), " or nothing"));
}

}  // namespace qc2c
