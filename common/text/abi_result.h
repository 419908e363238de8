// Results of the C ABI as C++ values that own and free them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/text/qc2c_text_abi.h"

namespace qc2c {

// A result string of the ABI. Pass `out()` to one call.
class AbiBytes {
 public:
  AbiBytes() = default;
  ~AbiBytes() { qc2c_text_bytes_free(bytes_); }
  AbiBytes(const AbiBytes&) = delete;
  AbiBytes& operator=(const AbiBytes&) = delete;

  qc2c_text_bytes* out() { return &bytes_; }
  bool is_null() const { return bytes_.data == nullptr; }
  std::string text() const { return std::string(bytes_.data, bytes_.size); }

 private:
  qc2c_text_bytes bytes_{};
};

// OK, or the message behind `what` ("tokenizer /x/tokenizer.json").
inline absl::Status AbiStatus(qc2c_text_code code, const AbiBytes& error, const std::string& what) {
  if (code == QC2C_TEXT_OK) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", error.text());
  return code == QC2C_TEXT_INVALID ? absl::InvalidArgumentError(message)
                                   : absl::InternalError(message);
}

}  // namespace qc2c
