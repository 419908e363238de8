// Fusers from and to checkpoint folders: what the projectors' tensor files must hold.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/fuser/fuser_folder.h"
#include "common/fuser/fuser_impl.h"
#include "common/fuser/pickle_state_dict.h"
#include "common/model/torch_status.h"

namespace qc2c {
namespace {

namespace fs = std::filesystem;

constexpr char kTemperature[] = "gate_temperature";

absl::StatusOr<NamedTensors> ReadTensors(const fs::path& path) {
  return path.extension() == ".pt" ? ReadStateDict(path) : ReadSafetensors(path);
}

// Copies the file's tensors into the parameters of layer t. Strict: all of them, and no other.
absl::Status LoadLayer(const fs::path& path, int32_t t, const NamedTensors& named) {
  ASSIGN_OR_RETURN(const NamedTensors read, ReadTensors(path));
  std::map<std::string, at::Tensor> found(read.begin(), read.end());
  const auto take = [&](const std::string& name, at::IntArrayRef shape,
                        at::Tensor& tensor) -> absl::Status {
    const std::string where = absl::StrCat(path.string(), ": tensor ", name);
    const auto it = found.find(name);
    if (it == found.end()) return absl::InvalidArgumentError(absl::StrCat(where, " is missing"));
    if (!at::isFloatingType(it->second.scalar_type())) {
      return absl::InvalidArgumentError(absl::StrCat(where, " has dtype ",
                                                     c10::toString(it->second.scalar_type()),
                                                     ": expected a floating one"));
    }
    if (it->second.sizes() != shape) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, " has shape [", absl::StrJoin(it->second.sizes(), ", "),
                       "]: expected [", absl::StrJoin(shape, ", "), "]"));
    }
    tensor = it->second;
    found.erase(it);
    return absl::OkStatus();
  };
  at::Tensor tensor;
  const std::string prefix = absl::StrCat("projectors.", t, ".");
  for (const auto& [name, parameter] : named) {
    absl::string_view own = name;
    if (!absl::ConsumePrefix(&own, prefix)) continue;
    RETURN_IF_ERROR(take(std::string(own), parameter.sizes(), tensor));
    parameter.copy_(tensor);
  }
  RETURN_IF_ERROR(take(kTemperature, {}, tensor));  // a training state that a hard gate never reads
  if (!found.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": tensor ", found.begin()->first,
                                                   " has no place in a C2CProjector"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FuserConfig> ReadFuserConfig(const fs::path& folder) {
  ASSIGN_OR_RETURN(FuserFolder own, ReadFuserFolder(folder));
  return std::move(own.config);
}

absl::StatusOr<Fuser> Fuser::Load(const fs::path& folder, const KvLayout& receiver,
                                  const KvLayout& sharer, const ModelOptions& options) {
  return CatchTorch([&]() -> absl::StatusOr<Fuser> {
    const at::NoGradGuard no_grad;
    RETURN_IF_ERROR(receiver.Validate());
    RETURN_IF_ERROR(sharer.Validate());
    ASSIGN_OR_RETURN(FuserFolder own, ReadFuserFolder(folder));
    RETURN_IF_ERROR(CheckPair(own, receiver, sharer));
    own.config.sharer = sharer;
    RETURN_IF_ERROR(CheckFuser(own.config, options));
    auto impl = std::make_unique<Impl>(own.config, options);
    for (int32_t t = 0; t < receiver.num_layers; ++t) {
      RETURN_IF_ERROR(LoadLayer(own.tensors[t], t, impl->named));
    }
    ASSIGN_OR_RETURN(impl->fingerprint, HashFiles(own.Files()));
    return Fuser(std::move(impl));
  });
}

absl::Status Fuser::Save(const fs::path& folder, at::ScalarType dtype) const {
  return CatchTorch([&]() -> absl::Status {
    const at::NoGradGuard no_grad;
    if (dtype != at::kFloat && dtype != at::kHalf && dtype != at::kBFloat16) {
      return absl::InvalidArgumentError(absl::StrCat("fuser file dtype is ", c10::toString(dtype),
                                                     ": expected Float, Half or BFloat16"));
    }
    const fs::path own = folder / "final";
    for (int32_t t = 0; t < impl_->config.receiver.num_layers; ++t) {
      NamedTensors tensors = {{kTemperature, at::ones({}, dtype)}};
      const std::string prefix = absl::StrCat("projectors.", t, ".");
      for (const auto& [name, parameter] : impl_->named) {
        absl::string_view suffix = name;
        if (!absl::ConsumePrefix(&suffix, prefix)) continue;
        tensors.emplace_back(std::string(suffix), parameter.to(dtype));
      }
      RETURN_IF_ERROR(WriteSafetensors(ProjectorFile(own, t, ".safetensors"), tensors));
    }
    return WriteFuserJson(own, impl_->config, dtype);
  });
}

}  // namespace qc2c
