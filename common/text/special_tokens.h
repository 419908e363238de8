// The tokens that a model folder calls special, as transformers reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/text/text_files.h"
#include "common/text/tokenizer.h"

namespace qc2c {

struct SpecialTokenNames {
  // What has a part to play, such as {"bos_token", "<s>"}; one that the folder leaves out or sets
  // to null is not listed.
  std::vector<std::pair<std::string, std::string>> named;
  std::vector<std::string> others;  // `additional_special_tokens`, now `extra_special_tokens`
};

// From tokenizer_config.json. special_tokens_map.json goes before it, but is read only beside a
// config without `added_tokens_decoder`. INVALID_ARGUMENT, naming file and field, for a token that
// is not text.
absl::StatusOr<SpecialTokenNames> ReadSpecialTokens(const TextFiles& files);

// Ids of those tokens; a token that the vocabulary lacks has none.
struct SpecialIds {
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  std::optional<int32_t> pad;
  std::optional<int32_t> unk;
  std::vector<int32_t> all;  // named and others, ascending

  static SpecialIds Of(const SpecialTokenNames& names, const Tokenizer& tokenizer);
};

}  // namespace qc2c
