#include "common/model/model_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

absl::Status InRange(const char* field, int64_t value, int64_t max) {
  if (value >= 1 && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model config: ", field, " is ", value, ": expected 1 to ", max));
}

}  // namespace

absl::Status ModelConfig::Validate() const {
  RETURN_IF_ERROR(Layout().Validate());
  RETURN_IF_ERROR(InRange("hidden_size", hidden_size, kMaxWidth));
  RETURN_IF_ERROR(InRange("intermediate_size", intermediate_size, kMaxWidth));
  RETURN_IF_ERROR(InRange("num_heads", num_heads, KvLayout::kMaxKvHeads));
  RETURN_IF_ERROR(InRange("vocab_size", vocab_size, kMaxVocab));
  RETURN_IF_ERROR(InRange("max_positions", max_positions, KvLayout::kMaxTokens));
  if (num_heads % num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("model config: num_heads is ", num_heads,
                                                   ": expected a multiple of num_kv_heads, ",
                                                   num_kv_heads));
  }
  if (head_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("model config: head_dim is ", head_dim, ": expected an even number"));
  }
  if (!attention.empty() && attention.size() != static_cast<size_t>(num_layers)) {
    return absl::InvalidArgumentError(absl::StrCat("model config: attention has ", attention.size(),
                                                   " entries: expected ", num_layers));
  }
  if (std::find(attention.begin(), attention.end(), Attention::kWindow) != attention.end()) {
    RETURN_IF_ERROR(InRange("window", window, KvLayout::kMaxTokens));
  }
  return absl::OkStatus();
}

}  // namespace qc2c
