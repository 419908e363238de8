// What a program's exit status says, in the numbers of sysexits.h.
#pragma once

#include "absl/status/status.h"

namespace qc2c {

enum class ExitCode {
  kOk = 0,
  kUsage = 64,         // a flag or an argument
  kDataError = 65,     // a file or message that cannot be right
  kNoInput = 66,       // a file that is not there
  kUnavailable = 69,   // a peer or an address
  kSoftware = 70,      // a defect of ours
  kCannotCreate = 73,  // an output that exists and is not ours
  kTemporary = 75,     // try again
  kNoPermission = 77,
  kConfig = 78,  // parts that do not fit together
};

// INVALID_ARGUMENT -> usage; NOT_FOUND -> no input; DATA_LOSS, OUT_OF_RANGE -> data error;
// UNAVAILABLE, DEADLINE_EXCEEDED -> unavailable; ALREADY_EXISTS -> cannot create; CANCELLED,
// ABORTED, RESOURCE_EXHAUSTED -> temporary; PERMISSION_DENIED, UNAUTHENTICATED -> no permission;
// FAILED_PRECONDITION -> config; anything else -> software.
ExitCode ToExitCode(const absl::Status& status);

}  // namespace qc2c
