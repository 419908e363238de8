// The flags by which a command finds its receiver.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "experiments/receiver_client.h"

namespace qc2c {

struct ReceiverFlags {
  std::string address;
  std::string insecure_remote = "off";  // on or off

  // `flags` must outlive the parse.
  static void Add(CLI::App& command, ReceiverFlags& flags);
  absl::StatusOr<std::unique_ptr<ReceiverClient>> Connect() const;
};

}  // namespace qc2c
