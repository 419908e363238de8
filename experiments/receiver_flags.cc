#include "experiments/receiver_flags.h"

namespace qc2c {

void ReceiverFlags::Add(CLI::App& command, ReceiverFlags& flags) {
  command
      .add_option("--receiver", flags.address, "where the receiver listens: unix:PATH or HOST:PORT")
      ->envname("QC2C_RECEIVER")
      ->required();
  command
      .add_option("--insecure-remote", flags.insecure_remote,
                  "whether a receiver on another machine is allowed, unencrypted: on or off")
      ->check(CLI::IsMember({"on", "off"}));
}

absl::StatusOr<std::unique_ptr<ReceiverClient>> ReceiverFlags::Connect() const {
  return ReceiverClient::Create(address, insecure_remote == "on"
                                             ? RemoteAccess::kAllowInsecureRemote
                                             : RemoteAccess::kRefuse);
}

}  // namespace qc2c
