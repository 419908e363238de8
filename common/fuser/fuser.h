// Projects a sharer's KV cache into a receiver's: one C2CProjector a receiver layer
// (Cache-to-Cache, arXiv:2510.03215; behaviour of the public code github.com/thu-nics/C2C).
//
// For X in {key, value}, with independent weights:
//   h = mlp1(in([sharer_X, receiver_X]));  p = proj_out(proj_mlp2(h));  w =
//   sigmoid(scalar_head(...)) out_X = receiver_X + gate_X * w * p
// The sum is done in fp32 and rounded once to the cache's dtype; a closed gate leaves the cache as
// it is, bit for bit.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/fuser/layer_map.h"
#include "common/model/model.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

struct FuserConfig {
  KvLayout receiver;
  KvLayout sharer;
  LayerMap layer_map;               // one entry a receiver layer
  int32_t hidden_dim = 1024;        // H of the projector's blocks
  int32_t intermediate_dim = 1024;  // I
  int32_t num_blocks = 3;           // the reference's num_layers, at least 3
};

// The sizes and the layer map of a checkpoint folder, read without its tensors or its models. The
// sharer has as many layers as the map reads. Errors as those of Fuser::Load.
absl::StatusOr<FuserConfig> ReadFuserConfig(const std::filesystem::path& folder);

// The sharer's side of a batch, row by row at the receiver's slots: slot i of row b holds the
// sharer token that is aligned with receiver token i.
struct SharerCache {
  std::vector<at::Tensor>
      keys;  // S tensors [B, Hs, T, Ds]; undefined where no receiver layer reads
  std::vector<at::Tensor> values;  // the same
  at::Tensor selected;  // [B, T] bool: this token was sent. The others stay the receiver's own
  // By sharer layer, where a tensor was sent for other tokens than `selected`, or for none: its own
  // [B, T]. Empty lists and undefined entries: `selected`.
  std::vector<at::Tensor> selected_keys;
  std::vector<at::Tensor> selected_values;

  const at::Tensor& SelectedOf(int32_t layer, Half half) const {
    const std::vector<at::Tensor>& own = half == Half::kKey ? selected_keys : selected_values;
    const bool has_own = static_cast<size_t>(layer) < own.size() && own[layer].defined();
    return has_own ? own[layer] : selected;
  }
};

struct FuseOptions {
  // Serving: a gate is open if its logit is above 0. Training: sigmoid((logit + n) / temperature)
  // with Gumbel noise n a batch row, head and token.
  enum class Gates { kHard, kSampled } gates = Gates::kHard;
  double temperature = 1.0;
  // Of the projector's blocks, 0 <= dropout < 1 and 0 for kHard. Drawn from the default generator.
  double dropout = 0.0;
  std::optional<at::Generator> generator;  // for kSampled; the default generator if absent
  // Whether layers and halves, which have projectors of one shape, go through their products one by
  // one or many at a time. kByDevice: together on a GPU, where one by one is bound by launches.
  enum class Products { kByDevice, kOneByOne, kTogether } products = Products::kByDevice;
};

struct CacheDifference {
  std::vector<at::Tensor> keys;    // L tensors [B, Ht, S, Dt]; undefined where the gate is closed
  std::vector<at::Tensor> values;  // the same
};

// Thread-safe for concurrent Fuse. Move-only.
class Fuser {
 public:
  // Reads a checkpoint folder in the published layout: FOLDER/final/projector_{p}.pt (or
  // .safetensors) and .json, projector_config.json (the folder `final` itself is accepted too). The
  // tensors are rounded to the options' dtype, as the reference casts a fuser to its receiver's. A
  // folder whose layer count, head counts or sizes do not match the pair, and a missing, surplus or
  // misshapen tensor, are refused by name (FAILED_PRECONDITION for a wrong pair, INVALID_ARGUMENT
  // or DATA_LOSS for a bad file).
  static absl::StatusOr<Fuser> Load(const std::filesystem::path& folder, const KvLayout& receiver,
                                    const KvLayout& sharer, const ModelOptions& options);

  // PyTorch's default initialisation (Linear uniform in +-1/sqrt(fan_in), norms 1, gates 0) from
  // the default generator.
  static absl::StatusOr<Fuser> Create(const FuserConfig& config, const ModelOptions& options);

  // Writes FOLDER/final/... as Load reads it, tensors in `dtype`.
  absl::Status Save(const std::filesystem::path& folder, at::ScalarType dtype) const;

  // The receiver's cache with its first T slots fused where `sharer.selected`. T <=
  // receiver.num_slots(). INVALID_ARGUMENT naming the layer if a needed sharer tensor is absent or
  // misshapen; a half that only closed gates would read is not needed.
  absl::StatusOr<KvCache> Fuse(const SharerCache& sharer, const KvCache& receiver,
                               const FuseOptions& options = {}) const;

  // What Fuse would add to the receiver's cache, before it is rounded to the cache's dtype: fp32
  // for hard gates. 0 for a token that was not sent. Arguments and errors as those of Fuse.
  absl::StatusOr<CacheDifference> Difference(const SharerCache& sharer, const KvCache& receiver,
                                             const FuseOptions& options = {}) const;

  // "projectors.{t}.key_in.weight" ...: the reference's state_dict names behind the layer. Gates
  // are the 0-dim tensors "projectors.{t}.key_gate_logit". The tensors share storage with the
  // fuser.
  const std::vector<std::pair<std::string, at::Tensor>>& parameters() const;

  const FuserConfig& config() const;
  // Whether the hard gate of a receiver layer is open.
  bool GateIsOpen(int32_t receiver_layer, Half half) const;
  // The sharer layers whose keys (or values) some open hard gate reads, ascending: all that has to
  // travel.
  std::vector<int32_t> SharerLayersRead(Half half) const;
  uint64_t fingerprint() const;  // XXH3 over the checkpoint's files; 0 for a created fuser

  Fuser(Fuser&&) noexcept;
  Fuser& operator=(Fuser&&) noexcept;
  ~Fuser();

 private:
  struct Impl;
  explicit Fuser(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace qc2c
