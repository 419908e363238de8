// Checkpoint folders in the layout of the published fusers: final/projector_{i}.{safetensors,json}
// and final/projector_config.json.
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/fuser/fuser_impl.h"
#include "common/model/json_fields.h"
#include "common/model/torch_status.h"

namespace qc2c {
namespace {

namespace fs = std::filesystem;

constexpr char kMapFile[] = "projector_config.json";
constexpr char kTemperature[] = "gate_temperature";
constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();

fs::path ProjectorFile(const fs::path& folder, int32_t index, const char* extension) {
  return folder / absl::StrCat("projector_", index, extension);
}

absl::Status WrongPair(const std::string& where, int64_t found, const std::string& expected) {
  return absl::FailedPreconditionError(
      absl::StrCat("the fuser does not fit this pair: ", where, " is ", found, ": ", expected));
}

struct LayerEntry {
  int32_t sharer_layer = 0;
  int32_t projector = 0;  // index of its files
};

// The one entry of an object that maps a model's index to something.
absl::StatusOr<JsonFields> OnlyEntry(const JsonFields& json, const std::string& what) {
  if (json.object().size() == 1) return json.Object(json.object().items().begin().key());
  return absl::InvalidArgumentError(
      absl::StrCat(json.name(), ": ", json.object().size(), " ", what, " models: expected one"));
}

// {"0": {"1": {"<receiver layer>": [[sharer layer, projector], ...]}}}; only the first pair is
// used.
absl::StatusOr<std::vector<LayerEntry>> ReadLayerEntries(const fs::path& folder,
                                                         const KvLayout& receiver,
                                                         const KvLayout& sharer) {
  ASSIGN_OR_RETURN(const JsonFields file, JsonFields::Load(folder / kMapFile));
  ASSIGN_OR_RETURN(const JsonFields target, OnlyEntry(file, "receiver"));
  ASSIGN_OR_RETURN(const JsonFields layers, OnlyEntry(target, "sharer"));
  if (layers.object().size() != static_cast<size_t>(receiver.num_layers)) {
    return WrongPair(absl::StrCat(file.name(), ": number of layers"), layers.object().size(),
                     absl::StrCat("the receiver has ", receiver.num_layers));
  }
  std::vector<LayerEntry> entries(receiver.num_layers);
  for (int32_t t = 0; t < receiver.num_layers; ++t) {
    const std::string key = absl::StrCat(t);
    const std::string expected = "a list of [sharer layer, projector] pairs";
    if (!layers.Has(key) || !layers.at(key).is_array() || layers.at(key).empty()) {
      return layers.Wrong(key, expected);
    }
    const nlohmann::json& pair = layers.at(key)[0];
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_unsigned() ||
        !pair[1].is_number_unsigned() || pair[0].get<uint64_t>() > uint64_t{kMaxInt} ||
        pair[1].get<uint64_t>() > uint64_t{kMaxInt}) {
      return layers.Wrong(key, expected);
    }
    entries[t] = {pair[0].get<int32_t>(), pair[1].get<int32_t>()};
    if (entries[t].sharer_layer >= sharer.num_layers) {
      return WrongPair(absl::StrCat(layers.name(), ": sharer layer of ", key),
                       entries[t].sharer_layer,
                       absl::StrCat("the sharer has ", sharer.num_layers, " layers"));
    }
  }
  return entries;
}

// A projector file that no layer uses means that the folder is of another pair, or half-written.
absl::Status CheckNoSurplusFile(const fs::path& folder, const std::vector<LayerEntry>& entries) {
  std::set<int32_t> used;
  for (const LayerEntry& entry : entries) used.insert(entry.projector);
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder, error)) {
    const std::string stem = file.path().stem().string();
    absl::string_view digits = stem;
    int32_t index = 0;
    if (absl::ConsumePrefix(&digits, "projector_") && absl::SimpleAtoi(digits, &index) &&
        used.count(index) == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(file.path().string(), ": no layer in ", kMapFile, " uses this projector"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckClass(const JsonFields& json) {
  ASSIGN_OR_RETURN(const std::string name, json.Text("class"));
  if (name == "C2CProjector" || name == "c2cprojector") return absl::OkStatus();
  return json.Wrong("class", "\"C2CProjector\"");
}

absl::Status CheckPairField(const JsonFields& args, const std::string& key, int32_t absent,
                            int32_t of_model, const std::string& what) {
  ASSIGN_OR_RETURN(const int32_t value, args.IntOr(key, 1, kMaxInt, absent));
  if (value == of_model) return absl::OkStatus();
  return WrongPair(absl::StrCat(args.name(), ": ", key), value, absl::StrCat(what, " ", of_model));
}

// The sizes that one projector's JSON gives, in a config that holds the pair already.
absl::Status ReadArguments(const fs::path& path, FuserConfig& config) {
  ASSIGN_OR_RETURN(const JsonFields json, JsonFields::Load(path));
  RETURN_IF_ERROR(CheckClass(json));
  ASSIGN_OR_RETURN(const JsonFields args, json.Object("init_args"));
  static const auto* known = new std::set<std::string>{"source_dim",
                                                       "target_dim",
                                                       "source_num_heads",
                                                       "target_num_heads",
                                                       "intermediate_dim",
                                                       "hidden_dim",
                                                       "num_layers",
                                                       "dropout",
                                                       "dtype",
                                                       "final_temperature",
                                                       "initial_temperature",
                                                       "anneal_steps",
                                                       "zero_init"};
  for (const auto& [key, value] : args.object().items()) {
    if (known->count(key) == 0) return args.Wrong(key, "no such argument of C2CProjector");
  }
  for (const char* key : {"source_dim", "target_dim"}) {
    if (!args.Has(key)) return args.Wrong(key, "an integer");
  }
  RETURN_IF_ERROR(CheckPairField(args, "source_num_heads", 1, config.sharer.num_kv_heads,
                                 "the sharer's KV heads are"));
  RETURN_IF_ERROR(
      CheckPairField(args, "source_dim", 0, config.sharer.head_dim, "the sharer's head size is"));
  RETURN_IF_ERROR(CheckPairField(args, "target_num_heads", 1, config.receiver.num_kv_heads,
                                 "the receiver's KV heads are"));
  RETURN_IF_ERROR(CheckPairField(args, "target_dim", 0, config.receiver.head_dim,
                                 "the receiver's head size is"));
  ASSIGN_OR_RETURN(config.hidden_dim, args.IntOr("hidden_dim", 1, kMaxInt, 1024));
  ASSIGN_OR_RETURN(config.intermediate_dim, args.IntOr("intermediate_dim", 1, kMaxInt, 1024));
  ASSIGN_OR_RETURN(config.num_blocks, args.IntOr("num_layers", 3, kMaxInt, 3));
  return absl::OkStatus();
}

absl::StatusOr<FuserConfig> ReadConfig(const fs::path& folder, const KvLayout& receiver,
                                       const KvLayout& sharer,
                                       const std::vector<LayerEntry>& entries) {
  FuserConfig config{.receiver = receiver, .sharer = sharer};
  for (size_t t = 0; t < entries.size(); ++t) {
    config.layer_map.push_back(entries[t].sharer_layer);
    FuserConfig own = config;
    const fs::path path = ProjectorFile(folder, entries[t].projector, ".json");
    RETURN_IF_ERROR(ReadArguments(path, own));
    const auto sizes = [](const FuserConfig& c) {
      return absl::StrCat("hidden_dim ", c.hidden_dim, ", intermediate_dim ", c.intermediate_dim,
                          ", num_layers ", c.num_blocks);
    };
    if (t > 0 && sizes(own) != sizes(config)) {
      return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", sizes(own),
                                                     ": expected as in layer 0, ", sizes(config)));
    }
    config = std::move(own);
  }
  return config;
}

// Copies the file's tensors into the parameters of layer t. Strict: all of them, and no other.
absl::Status LoadLayer(const fs::path& path, int32_t t, const NamedTensors& named) {
  ASSIGN_OR_RETURN(const NamedTensors read, ReadSafetensors(path));
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

nlohmann::ordered_json Arguments(const FuserConfig& config, at::ScalarType dtype) {
  const char* name = dtype == at::kFloat ? "float32" : dtype == at::kHalf ? "float16" : "bfloat16";
  return {{"class", "C2CProjector"},
          {"init_args",
           {{"source_dim", config.sharer.head_dim},
            {"target_dim", config.receiver.head_dim},
            {"source_num_heads", config.sharer.num_kv_heads},
            {"target_num_heads", config.receiver.num_kv_heads},
            {"intermediate_dim", config.intermediate_dim},
            {"hidden_dim", config.hidden_dim},
            {"num_layers", config.num_blocks},
            {"dtype", {{"__type__", "torch.dtype"}, {"value", name}}}}}};
}

// The files of a folder in a fixed order, for the fingerprint.
std::vector<fs::path> FilesOf(const fs::path& folder, const std::vector<LayerEntry>& entries) {
  std::vector<fs::path> files = {folder / kMapFile};
  for (const LayerEntry& entry : entries) {
    files.push_back(ProjectorFile(folder, entry.projector, ".json"));
    files.push_back(ProjectorFile(folder, entry.projector, ".safetensors"));
  }
  return files;
}

}  // namespace

absl::StatusOr<Fuser> Fuser::Load(const fs::path& folder, const KvLayout& receiver,
                                  const KvLayout& sharer, const ModelOptions& options) {
  return CatchTorch([&]() -> absl::StatusOr<Fuser> {
    const at::NoGradGuard no_grad;
    RETURN_IF_ERROR(receiver.Validate());
    RETURN_IF_ERROR(sharer.Validate());
    std::error_code error;
    const fs::path own = fs::exists(folder / kMapFile, error) ? folder : folder / "final";
    ASSIGN_OR_RETURN(const std::vector<LayerEntry> entries,
                     ReadLayerEntries(own, receiver, sharer));
    RETURN_IF_ERROR(CheckNoSurplusFile(own, entries));
    ASSIGN_OR_RETURN(const FuserConfig config, ReadConfig(own, receiver, sharer, entries));
    RETURN_IF_ERROR(CheckFuser(config, options));
    auto impl = std::make_unique<Impl>(config, options);
    for (int32_t t = 0; t < receiver.num_layers; ++t) {
      RETURN_IF_ERROR(
          LoadLayer(ProjectorFile(own, entries[t].projector, ".safetensors"), t, impl->named));
    }
    ASSIGN_OR_RETURN(impl->fingerprint, HashFiles(FilesOf(own, entries)));
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
    nlohmann::ordered_json layers = nlohmann::ordered_json::object();
    for (int32_t t = 0; t < impl_->config.receiver.num_layers; ++t) {
      NamedTensors tensors = {{kTemperature, at::ones({}, dtype)}};
      const std::string prefix = absl::StrCat("projectors.", t, ".");
      for (const auto& [name, parameter] : impl_->named) {
        absl::string_view suffix = name;
        if (!absl::ConsumePrefix(&suffix, prefix)) continue;
        tensors.emplace_back(std::string(suffix), parameter.to(dtype));
      }
      RETURN_IF_ERROR(WriteSafetensors(ProjectorFile(own, t, ".safetensors"), tensors));
      RETURN_IF_ERROR(WriteFileAtomically(ProjectorFile(own, t, ".json"),
                                          Arguments(impl_->config, dtype).dump(2) + "\n"));
      // Spelt out: {{s, t}} would be a copy of [s, t], not a list that holds it.
      layers[absl::StrCat(t)] = nlohmann::ordered_json::array(
          {nlohmann::ordered_json::array({impl_->config.layer_map[t], t})});
    }
    const nlohmann::ordered_json map = {{"0", {{"1", layers}}}};
    return WriteFileAtomically(own / kMapFile, map.dump(2) + "\n");
  });
}

}  // namespace qc2c
