#include "common/codec/fault_status.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace qc2c {

absl::Status FaultStatus(BlockFaults faults, int32_t layer, Half half, const CodecSpec& codec) {
  if (faults == 0) return absl::OkStatus();
  const std::string where = absl::StrCat("cache layer ", layer, " ", std::string(HalfName(half)));
  if ((faults & kNotFinite) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " holds NaN or infinity: expected finite values"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      where, " holds values too large for ", codec.ToString(),
      codec.scale_type == ScaleType::kNone
          ? ""
          : absl::StrCat(" (scale ", std::string(ScaleTypeName(codec.scale_type)), " overflows)")));
}

}  // namespace qc2c
