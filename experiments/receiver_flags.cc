#include "experiments/receiver_flags.h"

namespace qc2c {

void ReceiverFlags::Add(CLI::App& command, ReceiverFlags& flags) {
  command
      .add_option("--receiver", flags.address, "where the receiver listens: unix:PATH or HOST:PORT")
      ->envname("QC2C_RECEIVER")
      ->required();
  command.add_flag("--allow-insecure-remote", flags.allow_insecure_remote,
                   "allow a receiver on another machine; the connection is not encrypted");
}

absl::StatusOr<std::unique_ptr<ReceiverClient>> ReceiverFlags::Connect() const {
  return ReceiverClient::Create(
      address, allow_insecure_remote ? RemoteAccess::kAllowInsecureRemote : RemoteAccess::kRefuse);
}

}  // namespace qc2c
