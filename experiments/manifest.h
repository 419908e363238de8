// What a run was made with.
#pragma once

#include <nlohmann/json.hpp>

#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

// Code version (git describe: the file REVISION of a bundle or container, or of the checkout in
// which the program lies), compiler and library versions.
nlohmann::ordered_json CodeManifest();
// CPU, cores, memory, operating system.
nlohmann::ordered_json MachineManifest();
// Models, fuser, layer map, alignment, and which codebooks and channel means the sharers have, as
// the receiver describes them.
nlohmann::ordered_json ModelManifest(const v1::ReceiverCard& card);

}  // namespace qc2c
