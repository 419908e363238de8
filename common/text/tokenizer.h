// Text to token ids and back, exactly as Hugging Face `tokenizers` does for the same
// tokenizer.json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct qc2c_text_tokenizer;

namespace qc2c {

// What Encode adds. A special token that is written in the text (a chat template's "<|im_start|>")
// becomes its id either way, as in transformers.
enum class SpecialTokens {
  kAsWritten,  // nothing: add_special_tokens=False
  kAdd,        // what the tokenizer's post-processor adds (BOS, EOS): add_special_tokens=True
};

// What Decode does with special tokens.
enum class DecodeSpecial { kKeep, kSkip };

struct EncodedText {
  struct Range {
    size_t begin;  // in bytes of the text
    size_t end;
    friend bool operator==(const Range&, const Range&) = default;
  };

  std::vector<int32_t> ids;
  // offsets[i] is what ids[i] was made of. Tokens that share one character's bytes each name the
  // whole character; an added token is empty, [0, 0).
  std::vector<Range> offsets;
};

// One tokenizer.json. Thread-safe: every method may be called from any thread. Move-only; a
// moved-from Tokenizer may only be destroyed or assigned to. Truncation and padding that the file
// carries are switched off, as transformers does.
class Tokenizer {
 public:
  // Reads folder/tokenizer.json. NOT_FOUND without that file, INVALID_ARGUMENT if it is no
  // tokenizer.
  static absl::StatusOr<Tokenizer> Load(const std::filesystem::path& folder);

  // The same of the content of a tokenizer.json, such as one that came over the wire. `name` stands
  // for it in messages.
  static absl::StatusOr<Tokenizer> FromJson(std::string_view json,
                                            std::string_view name = "tokenizer.json");

  // INVALID_ARGUMENT if the text is not UTF-8. Empty text gives no ids (but what kAdd adds).
  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, SpecialTokens special = SpecialTokens::kAsWritten) const;
  absl::StatusOr<EncodedText> EncodeWithOffsets(
      std::string_view text, SpecialTokens special = SpecialTokens::kAsWritten) const;

  // Valid UTF-8: bytes that form no character become U+FFFD. An id that the vocabulary lacks is
  // left out, as in the Python library; INVALID_ARGUMENT for a negative one.
  absl::StatusOr<std::string> Decode(const std::vector<int32_t>& ids,
                                     DecodeSpecial special = DecodeSpecial::kSkip) const;

  std::optional<int32_t> TokenToId(std::string_view token) const;
  std::optional<std::string> IdToToken(int32_t id) const;  // as the vocabulary spells it

  // Distinct tokens, added ones included. A model's embedding may have more rows.
  size_t vocab_size() const { return vocab_size_; }

  // XXH3-64 of tokenizer.json (HashFiles): equal hashes, equal ids.
  uint64_t hash() const { return hash_; }

 private:
  struct Free {
    void operator()(qc2c_text_tokenizer* handle) const;
  };

  Tokenizer() = default;

  std::unique_ptr<qc2c_text_tokenizer, Free> handle_;
  size_t vocab_size_ = 0;
  uint64_t hash_ = 0;
};

// Decodes a sequence while it grows. The pieces, Finish included, joined are Decode of all ids.
// Thread-compatible; borrows the tokenizer.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, DecodeSpecial special = DecodeSpecial::kSkip)
      : tokenizer_(&tokenizer), special_(special) {}

  // The text that this id made certain: no later id can change it. Empty while a character is
  // incomplete. Errors as Decode, and then the id is as if it had not been pushed.
  absl::StatusOr<std::string> Push(int32_t id);

  // The rest, at the end of the sequence: incomplete characters as U+FFFD. The decoder is empty
  // then.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  DecodeSpecial special_;
  // What decoders do at the start of a sequence (strip a space) must not be done in its middle. So
  // the window keeps the ids of the last certain piece in front of those that are held back.
  std::vector<int32_t> window_;
  size_t num_certain_ = 0;    // ids of the window whose text was returned
  size_t certain_bytes_ = 0;  // and the size of their text
  std::string window_text_;
};

}  // namespace qc2c
