#include "common/codec/klt_codebook.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace qc2c {

float KltPower(int exponent) {
  // 2^(1/4), 2^(1/2), 2^(3/4) rounded to fp32.
  constexpr float kQuarters[] = {1.0f, 1.18920708f, 1.41421354f, 1.68179286f};
  const int octave = exponent >= 0 ? exponent / 4 : -((3 - exponent) / 4);
  return std::ldexp(kQuarters[exponent - 4 * octave], octave);
}

size_t KltBasis::NumSent(int step) const {
  return std::ranges::partition_point(
             sigma, [&](int16_t exponent) { return exponent - step >= kKltMinSpread; }) -
         sigma.begin();
}

size_t KltCodebook::Dim(Half half) const {
  return layers.Of(half).size() * layout.num_kv_heads * layout.head_dim;
}

absl::Status KltCodebook::CheckLevel(uint32_t level) const {
  if (level < levels.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("codec: level is ", level, ": expected 0 to ",
                                                 levels.size() - 1,
                                                 ", the levels of the codebook"));
}

size_t KltCodebook::NumRead(const KltLevel& level, size_t num_tokens) const {
  if (level.middle_step) return num_tokens - prompt_template.num_prefix();
  if (level.tail_step) {
    return level.last_tokens == 0 ? prompt_template.num_tail() : level.last_tokens;
  }
  return level.joint_step ? joint_tokens : 0;
}

std::vector<uint32_t> KltCodebook::KeptTokens(const KltLevel& level, uint32_t num_tokens) const {
  const uint32_t count = level.last_tokens == 0 ? num_tokens : level.last_tokens;
  std::vector<uint32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), num_tokens - count);
  return tokens;
}

absl::StatusOr<KltCodebook> KltCodebook::Load(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  return Parse(AsBytes(content), path.string());
}

}  // namespace qc2c
