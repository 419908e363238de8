#include "common/text/tokenizer.h"

#include <utility>

#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/text/abi_result.h"

namespace qc2c {
namespace {

// A result of qc2c_text_encode.
struct AbiEncoding {
  AbiEncoding() = default;
  ~AbiEncoding() { qc2c_text_encoding_free(value); }
  AbiEncoding(const AbiEncoding&) = delete;
  AbiEncoding& operator=(const AbiEncoding&) = delete;

  qc2c_text_encoding value{};
};

uint32_t Flags(SpecialTokens special) {
  return special == SpecialTokens::kAdd ? QC2C_TEXT_ADD_SPECIAL : 0;
}

absl::Status EncodeInto(const qc2c_text_tokenizer* handle, std::string_view text, uint32_t flags,
                        AbiEncoding& encoding) {
  AbiBytes error;
  return AbiStatus(
      qc2c_text_encode(handle, text.data(), text.size(), flags, &encoding.value, error.out()),
      error, "encode");
}

}  // namespace

void Tokenizer::Free::operator()(qc2c_text_tokenizer* handle) const {
  qc2c_text_tokenizer_free(handle);
}

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer.json";
  ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  return FromJson(json, path.string());
}

absl::StatusOr<Tokenizer> Tokenizer::FromJson(std::string_view json, std::string_view name) {
  Tokenizer tokenizer;
  qc2c_text_tokenizer* handle = nullptr;
  AbiBytes error;
  RETURN_IF_ERROR(AbiStatus(qc2c_text_tokenizer_new(json.data(), json.size(), &handle, error.out()),
                            error, absl::StrCat("tokenizer ", std::string(name))));
  tokenizer.handle_.reset(handle);
  tokenizer.vocab_size_ = qc2c_text_vocab_size(handle);
  const ByteSpan bytes{reinterpret_cast<const uint8_t*>(json.data()), json.size()};
  tokenizer.hash_ = Hasher().AddU64(bytes.size()).Add(bytes).Digest();
  return tokenizer;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       SpecialTokens special) const {
  AbiEncoding encoding;
  RETURN_IF_ERROR(EncodeInto(handle_.get(), text, Flags(special), encoding));
  return std::vector<int32_t>(encoding.value.ids, encoding.value.ids + encoding.value.size);
}

absl::StatusOr<EncodedText> Tokenizer::EncodeWithOffsets(std::string_view text,
                                                         SpecialTokens special) const {
  AbiEncoding encoding;
  RETURN_IF_ERROR(
      EncodeInto(handle_.get(), text, Flags(special) | QC2C_TEXT_WITH_OFFSETS, encoding));
  const qc2c_text_encoding& value = encoding.value;
  EncodedText result;
  result.ids.assign(value.ids, value.ids + value.size);
  result.offsets.reserve(value.size);
  for (size_t i = 0; i < value.size; ++i) {
    result.offsets.push_back({value.offsets[2 * i], value.offsets[2 * i + 1]});
  }
  return result;
}

absl::StatusOr<std::string> Tokenizer::Decode(const std::vector<int32_t>& ids,
                                              DecodeSpecial special) const {
  AbiBytes text;
  AbiBytes error;
  RETURN_IF_ERROR(
      AbiStatus(qc2c_text_decode(handle_.get(), ids.data(), ids.size(),
                                 special == DecodeSpecial::kSkip, text.out(), error.out()),
                error, "decode"));
  return text.text();
}

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  int32_t id = -1;
  AbiBytes error;
  const qc2c_text_code code =
      qc2c_text_token_to_id(handle_.get(), token.data(), token.size(), &id, error.out());
  if (code != QC2C_TEXT_OK || id < 0) return std::nullopt;
  return id;
}

std::optional<std::string> Tokenizer::IdToToken(int32_t id) const {
  AbiBytes token;
  AbiBytes error;
  if (qc2c_text_id_to_token(handle_.get(), id, token.out(), error.out()) != QC2C_TEXT_OK ||
      token.is_null()) {
    return std::nullopt;
  }
  return token.text();
}

}  // namespace qc2c
