// How a codebook's file is taken apart: its metadata field by field, its tensors by name. For the
// reader of that file alone.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/tensor/dtype.h"
#include "common/tensor/safetensors_view.h"

namespace qc2c {

// Takes fields out of a JSON object; the first fault sticks.
class CodebookFields {
 public:
  CodebookFields(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {
    if (!object.is_object()) Fail("", "expected an object");
  }

  int64_t Int(const std::string& name, int64_t min, int64_t max) {
    return IntOf(Find(name), name, min, max);
  }
  // Nothing if it is null or absent.
  std::optional<int> OptionalInt(const std::string& name, int64_t min, int64_t max) {
    const nlohmann::json* value = Find(name);
    if (value == nullptr || value->is_null()) return std::nullopt;
    return static_cast<int>(IntOf(value, name, min, max));
  }
  std::string Text(const std::string& name) {
    const nlohmann::json* value = Find(name);
    if (value != nullptr && value->is_string()) return value->get<std::string>();
    Fail(name, "expected text");
    return "";
  }
  uint64_t Hash(const std::string& name) {
    const std::string text = Text(name);
    uint64_t hash = 0;
    const auto end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, hash, 16);
    if (text.size() != 16 || parsed.ec != std::errc() || parsed.ptr != end) {
      Fail(name, "expected 16 hexadecimal digits");
    }
    return hash;
  }
  template <typename T>
  std::vector<T> Ints(const std::string& name, int64_t min, int64_t max) {
    std::vector<T> values;
    for (const nlohmann::json& item : List(name))
      values.push_back(static_cast<T>(IntOf(&item, name, min, max)));
    return values;
  }
  const nlohmann::json& List(const std::string& name) {
    static const nlohmann::json kEmpty = nlohmann::json::array();
    const nlohmann::json* value = Find(name);
    if (value != nullptr && value->is_array()) return *value;
    Fail(name, "expected a list");
    return kEmpty;
  }
  const nlohmann::json& Object(const std::string& name) {
    static const nlohmann::json kEmpty = nlohmann::json::object();
    const nlohmann::json* value = Find(name);
    if (value != nullptr && value->is_object()) return *value;
    Fail(name, "expected an object");
    return kEmpty;
  }
  const absl::Status& status() const { return status_; }

 private:
  const nlohmann::json* Find(const std::string& name) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }
  int64_t IntOf(const nlohmann::json* value, const std::string& name, int64_t min, int64_t max) {
    if (value != nullptr && value->is_number_integer()) {
      const int64_t number = value->get<int64_t>();
      if (number >= min && number <= max) return number;
    }
    Fail(name, absl::StrCat("expected a whole number of ", min, " to ", max));
    return min;
  }
  void Fail(const std::string& name, const std::string& problem) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat(where_, ".", name, ": ", problem));
  }

  const nlohmann::json& object_;
  const std::string where_;
  absl::Status status_;
};

// Takes tensors out of the file by name, dtype and shape.
class CodebookTensors {
 public:
  CodebookTensors(const SafetensorsView& view, std::string file) : file_(std::move(file)) {
    for (const StoredTensor& tensor : view.tensors) tensors_[tensor.name] = &tensor;
  }

  // F32 or BF16 values, all finite.
  absl::Status Floats(const std::string& name, const std::vector<int64_t>& shape,
                      std::vector<float>& values) {
    ASSIGN_OR_RETURN(const StoredTensor* tensor, Take(name, {"F32", "BF16"}, shape));
    const size_t width = SafetensorsElementBytes(tensor->dtype);
    values.resize(tensor->data.size() / width);
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = width == 4 ? LoadAs<float>(*tensor, i) : Bf16ToFp32(LoadAs<uint16_t>(*tensor, i));
      if (!std::isfinite(values[i])) {
        return Refuse(name, absl::StrCat("value ", i, " is not finite"));
      }
    }
    return absl::OkStatus();
  }
  // The shape of a tensor of this rank, for a first dimension that the file decides.
  absl::StatusOr<int64_t> FirstDimension(const std::string& name, int64_t max) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return Refuse(name, "is missing");
    const std::vector<int64_t>& shape = found->second->shape;
    if (shape.empty() || shape.front() > max) {
      return Refuse(name, absl::StrCat("has shape [", absl::StrJoin(shape, ", "),
                                       "]: expected at most ", max, " rows"));
    }
    return shape.front();
  }
  // I16 values in a range.
  absl::StatusOr<std::vector<int16_t>> Shorts(const std::string& name,
                                              const std::vector<int64_t>& shape, int min, int max) {
    ASSIGN_OR_RETURN(const StoredTensor* tensor, Take(name, {"I16"}, shape));
    std::vector<int16_t> values(tensor->data.size() / sizeof(int16_t));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = LoadAs<int16_t>(*tensor, i);
      if (values[i] >= min && values[i] <= max) continue;
      return Refuse(name,
                    absl::StrCat("value ", i, " is ", values[i], ": expected ", min, " to ", max));
    }
    return values;
  }
  absl::Status NoneLeft() const {
    if (tensors_.empty()) return absl::OkStatus();
    return Refuse(tensors_.begin()->first, "has no place in a codebook");
  }
  absl::Status Refuse(const std::string& name, const std::string& problem) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, ": tensor ", name, " ", problem));
  }

 private:
  template <typename T>
  static T LoadAs(const StoredTensor& tensor, size_t i) {
    T value;
    std::memcpy(&value, tensor.data.data() + i * sizeof(T), sizeof(T));
    return value;
  }
  absl::StatusOr<const StoredTensor*> Take(const std::string& name,
                                           const std::set<std::string>& dtypes,
                                           const std::vector<int64_t>& shape) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return Refuse(name, "is missing");
    const StoredTensor* tensor = found->second;
    if (!dtypes.contains(tensor->dtype)) {
      return Refuse(name, absl::StrCat("has dtype ", tensor->dtype, ": expected ",
                                       absl::StrJoin(dtypes, " or ")));
    }
    if (tensor->shape != shape) {
      return Refuse(name, absl::StrCat("has shape [", absl::StrJoin(tensor->shape, ", "),
                                       "]: expected [", absl::StrJoin(shape, ", "), "]"));
    }
    tensors_.erase(found);
    return tensor;
  }

  const std::string file_;
  std::map<std::string, const StoredTensor*> tensors_;
};

}  // namespace qc2c
