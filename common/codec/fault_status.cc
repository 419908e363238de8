#include "common/codec/fault_status.h"

#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/codec/rows.h"

namespace qc2c {

namespace {

// " at token 3, head 1" for the first row that holds one.
std::string FirstNotFinite(const BlockRows& rows) {
  std::array<float, KvLayout::kMaxHeadDim> values;
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h) {
      LoadRow(rows.dtype, rows.Row(i, h), rows.head_dim, values.data());
      if (MaxMagnitudeBits(values.data(), rows.head_dim) < kNotFiniteBits) continue;
      return absl::StrCat(" at token ", rows.positions[i], ", head ", h);
    }
  }
  return "";
}

}  // namespace

absl::Status FaultStatus(BlockFaults faults, const KvTensorId& tensor, const BlockRows& rows,
                         const CodecSpec& codec) {
  if (faults == 0) return absl::OkStatus();
  const std::string where =
      absl::StrCat("cache layer ", tensor.layer, " ", std::string(HalfName(tensor.half)));
  if ((faults & kNotFinite) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, " holds NaN or infinity", FirstNotFinite(rows), ": expected finite values"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      where, " holds values too large for ", codec.ToString(),
      codec.scale_type == ScaleType::kNone
          ? ""
          : absl::StrCat(" (scale ", std::string(ScaleTypeName(codec.scale_type)), " overflows)")));
}

}  // namespace qc2c
