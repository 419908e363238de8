#include <utility>

#include "common/base/status_macros.h"
#include "common/text/tokenizer.h"

namespace qc2c {
namespace {

// A byte of a vocabulary with byte fallback, "<0xE4>". A run of such tokens is one unit: an invalid
// byte at its end turns the whole run into U+FFFD.
bool IsByteToken(const Tokenizer& tokenizer, int32_t id) {
  const std::optional<std::string> token = tokenizer.IdToToken(id);
  return token && token->size() == 6 && token->starts_with("<0x") && token->back() == '>';
}

}  // namespace

absl::StatusOr<std::string> StreamDecoder::Push(int32_t id) {
  window_.push_back(id);
  absl::StatusOr<std::string> decoded = tokenizer_->Decode(window_, special_);
  if (!decoded.ok()) {
    window_.pop_back();
    return decoded.status();
  }
  const bool unchanged = *decoded == window_text_;
  window_text_ = *std::move(decoded);
  // U+FFFD at the end may be the first bytes of a character; a skipped token decides nothing.
  if (unchanged || window_text_.size() < certain_bytes_ || window_text_.ends_with("\uFFFD") ||
      IsByteToken(*tokenizer_, id)) {
    return std::string();
  }
  std::string piece = window_text_.substr(certain_bytes_);
  window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(num_certain_));
  num_certain_ = window_.size();
  ASSIGN_OR_RETURN(window_text_, tokenizer_->Decode(window_, special_));
  certain_bytes_ = window_text_.size();
  return piece;
}

std::string StreamDecoder::Finish() {
  std::string piece =
      window_text_.size() > certain_bytes_ ? window_text_.substr(certain_bytes_) : std::string();
  window_.clear();
  window_text_.clear();
  num_certain_ = certain_bytes_ = 0;
  return piece;
}

}  // namespace qc2c
