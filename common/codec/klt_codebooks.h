// The codebooks that a daemon holds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec_spec.h"
#include "common/codec/klt_codebook.h"

namespace qc2c {

// Immutable once loaded; pointers stay valid as long as it lives.
class KltCodebooks {
 public:
  // Errors as KltCodebook::Load; FAILED_PRECONDITION naming the file for one that was made for
  // another sharer, INVALID_ARGUMENT for one that is given twice.
  static absl::StatusOr<KltCodebooks> Load(const std::vector<std::string>& paths,
                                           uint64_t sharer_fingerprint);

  // nullptr if there is none.
  const KltCodebook* Find(uint64_t id) const;
  // The codebook that a codec names. FAILED_PRECONDITION listing what there is, INVALID_ARGUMENT
  // for a level that it does not have.
  absl::StatusOr<const KltCodebook*> Get(const KltChoice& choice) const;
  std::vector<uint64_t> ids() const;
  std::string IdsText() const;  // for the ready line: "none" or ids joined with commas

 private:
  std::vector<std::unique_ptr<const KltCodebook>> books_;
};

}  // namespace qc2c
