// ZIP archives whose entries are stored, not compressed: the container of torch.save. The reader
// trusts nothing in the file and copies nothing.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace qc2c {

// The entries of the archive `file` by name, as spans of it. INVALID_ARGUMENT or DATA_LOSS, naming
// the entry and the fault: no end record, a directory or an entry that passes the end, entries that
// overlap or repeat a name, compression, encryption, several disks, a wrong CRC-32. ZIP64 sizes are
// understood.
absl::StatusOr<std::map<std::string, ByteSpan>> ReadStoredZip(ByteSpan file);

}  // namespace qc2c
