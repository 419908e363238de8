#include "common/fuser/fuser_folder.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/model/json_fields.h"

namespace qc2c {
namespace {

namespace fs = std::filesystem;

constexpr char kMapFile[] = "projector_config.json";
constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();
constexpr double kMaxDouble = std::numeric_limits<double>::max();

struct LayerEntry {
  int32_t sharer_layer = 0;
  int32_t projector = 0;  // index of its files
};

struct LayerEntries {
  std::vector<LayerEntry> first;  // of each receiver layer: the one that counts
  std::set<int32_t> projectors;   // all that the file names
};

// The one entry of an object that maps a model's index to something.
absl::StatusOr<JsonFields> OnlyEntry(const JsonFields& json, const std::string& what) {
  if (json.object().size() == 1) return json.Object(json.object().items().begin().key());
  return absl::InvalidArgumentError(
      absl::StrCat(json.name(), ": ", json.object().size(), " ", what, " models: expected one"));
}

bool IsIndex(const nlohmann::json& value, int32_t max) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(max);
}

// {"0": {"1": {"<receiver layer>": [[sharer layer, projector], ...]}}}
absl::StatusOr<LayerEntries> ReadLayerEntries(const fs::path& path) {
  ASSIGN_OR_RETURN(const JsonFields file, JsonFields::Load(path));
  ASSIGN_OR_RETURN(const JsonFields target, OnlyEntry(file, "receiver"));
  ASSIGN_OR_RETURN(const JsonFields layers, OnlyEntry(target, "sharer"));
  const size_t num_layers = layers.object().size();
  if (num_layers == 0 || num_layers > size_t{KvLayout::kMaxLayers}) {
    return absl::InvalidArgumentError(absl::StrCat(
        layers.name(), ": ", num_layers, " layers: expected 1 to ", KvLayout::kMaxLayers));
  }
  LayerEntries entries;
  for (size_t t = 0; t < num_layers; ++t) {
    const std::string key = absl::StrCat(t);
    const auto wrong = [&] {
      return layers.Wrong(key, "a list of [sharer layer, projector] pairs");
    };
    if (!layers.Has(key) || !layers.at(key).is_array() || layers.at(key).empty()) return wrong();
    for (const nlohmann::json& pair : layers.at(key)) {
      if (!pair.is_array() || pair.size() != 2 || !IsIndex(pair[0], KvLayout::kMaxLayers - 1) ||
          !IsIndex(pair[1], kMaxInt)) {
        return wrong();
      }
      entries.projectors.insert(pair[1].get<int32_t>());
    }
    const nlohmann::json& first = layers.at(key)[0];
    entries.first.push_back({first[0].get<int32_t>(), first[1].get<int32_t>()});
  }
  return entries;
}

// A projector that the map does not name means that the folder is of another pair, or half-written.
absl::Status CheckNoSurplusFile(const fs::path& folder, const std::set<int32_t>& projectors) {
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder, error)) {
    const std::string stem = file.path().stem().string();
    absl::string_view digits = stem;
    int32_t index = 0;
    if (absl::ConsumePrefix(&digits, "projector_") && absl::SimpleAtoi(digits, &index) &&
        projectors.count(index) == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(file.path().string(), ": no layer in ", kMapFile, " uses this projector"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<fs::path> TensorFile(const fs::path& folder, int32_t projector) {
  const fs::path pickled = ProjectorFile(folder, projector, ".pt");
  const fs::path safe = ProjectorFile(folder, projector, ".safetensors");
  std::error_code error;
  const bool has_pickled = fs::exists(pickled, error);
  const bool has_safe = fs::exists(safe, error);
  if (has_pickled && has_safe) {
    return absl::InvalidArgumentError(absl::StrCat(
        pickled.string(), " and ", safe.filename().string(), ": expected one of them"));
  }
  if (!has_pickled && !has_safe) {
    return absl::NotFoundError(
        absl::StrCat(pickled.string(), ": no such file, nor ", safe.filename().string()));
  }
  return has_pickled ? pickled : safe;
}

absl::Status CheckClass(const JsonFields& json) {
  ASSIGN_OR_RETURN(const std::string name, json.Text("class"));
  if (name == "C2CProjector" || name == "c2cprojector") return absl::OkStatus();
  return json.Wrong("class", "\"C2CProjector\"");
}

// What training alone reads must still be what it should be.
absl::Status CheckTrainingArguments(const JsonFields& args) {
  RETURN_IF_ERROR(args.DoubleOr("dropout", 0, 1, 0.1).status());
  RETURN_IF_ERROR(args.DoubleOr("initial_temperature", 0, kMaxDouble, 1).status());
  RETURN_IF_ERROR(args.DoubleOr("final_temperature", 0, kMaxDouble, 0.001).status());
  RETURN_IF_ERROR(args.IntOr("anneal_steps", 0, kMaxInt, 1929).status());
  if (args.Has("zero_init") && !args.at("zero_init").is_boolean()) {
    return args.Wrong("zero_init", "true or false");
  }
  return absl::OkStatus();
}

// JSON has no dtypes: {"__type__": "torch.dtype", "value": "bfloat16"}.
absl::Status CheckDtype(const JsonFields& args) {
  if (!args.Has("dtype")) return absl::OkStatus();
  for (const char* name : {"float32", "bfloat16", "float16"}) {
    const nlohmann::json tagged = {{"__type__", "torch.dtype"}, {"value", name}};
    if (args.at("dtype") == tagged) return absl::OkStatus();
  }
  return args.Wrong("dtype",
                    R"({"__type__": "torch.dtype", "value": float32, bfloat16 or float16})");
}

absl::Status CheckArgumentNames(const JsonFields& args) {
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
  return absl::OkStatus();
}

// The sizes that one projector's JSON gives.
absl::Status ReadArguments(const fs::path& path, FuserConfig& config) {
  ASSIGN_OR_RETURN(const JsonFields json, JsonFields::Load(path));
  RETURN_IF_ERROR(CheckClass(json));
  ASSIGN_OR_RETURN(const JsonFields args, json.Object("init_args"));
  RETURN_IF_ERROR(CheckArgumentNames(args));
  ASSIGN_OR_RETURN(config.sharer.num_kv_heads,
                   args.IntOr("source_num_heads", 1, KvLayout::kMaxKvHeads, 1));
  ASSIGN_OR_RETURN(config.sharer.head_dim, args.Int("source_dim", 1, KvLayout::kMaxHeadDim));
  ASSIGN_OR_RETURN(config.receiver.num_kv_heads,
                   args.IntOr("target_num_heads", 1, KvLayout::kMaxKvHeads, 1));
  ASSIGN_OR_RETURN(config.receiver.head_dim, args.Int("target_dim", 1, KvLayout::kMaxHeadDim));
  ASSIGN_OR_RETURN(config.hidden_dim, args.IntOr("hidden_dim", 1, kMaxInt, 1024));
  ASSIGN_OR_RETURN(config.intermediate_dim, args.IntOr("intermediate_dim", 1, kMaxInt, 1024));
  ASSIGN_OR_RETURN(config.num_blocks, args.IntOr("num_layers", 3, kMaxInt, 3));
  RETURN_IF_ERROR(CheckDtype(args));
  return CheckTrainingArguments(args);
}

std::string Sizes(const FuserConfig& config) {
  return absl::StrCat("source_num_heads ", config.sharer.num_kv_heads, ", source_dim ",
                      config.sharer.head_dim, ", target_num_heads ", config.receiver.num_kv_heads,
                      ", target_dim ", config.receiver.head_dim, ", hidden_dim ", config.hidden_dim,
                      ", intermediate_dim ", config.intermediate_dim, ", num_layers ",
                      config.num_blocks);
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

}  // namespace

fs::path ProjectorFile(const fs::path& folder, int32_t index, const char* extension) {
  return folder / absl::StrCat("projector_", index, extension);
}

std::vector<fs::path> FuserFolder::Files() const {
  std::vector<fs::path> files = {folder / kMapFile};
  for (const fs::path& file : tensors) {
    fs::path arguments = file;
    files.push_back(arguments.replace_extension(".json"));
    files.push_back(file);
  }
  return files;
}

absl::StatusOr<FuserFolder> ReadFuserFolder(const fs::path& folder) {
  std::error_code error;
  FuserFolder read;
  read.folder = fs::exists(folder / kMapFile, error) ? folder : folder / "final";
  ASSIGN_OR_RETURN(const LayerEntries entries, ReadLayerEntries(read.folder / kMapFile));
  RETURN_IF_ERROR(CheckNoSurplusFile(read.folder, entries.projectors));
  FuserConfig& config = read.config;
  for (const LayerEntry& entry : entries.first) {
    FuserConfig own = config;
    const fs::path path = ProjectorFile(read.folder, entry.projector, ".json");
    RETURN_IF_ERROR(ReadArguments(path, own));
    if (!config.layer_map.empty() && Sizes(own) != Sizes(config)) {
      return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", Sizes(own),
                                                     ": expected as in layer 0, ", Sizes(config)));
    }
    config = std::move(own);
    config.layer_map.push_back(entry.sharer_layer);
    ASSIGN_OR_RETURN(fs::path tensors, TensorFile(read.folder, entry.projector));
    read.tensors.push_back(std::move(tensors));
  }
  config.receiver.num_layers = static_cast<int32_t>(entries.first.size());
  config.sharer.num_layers =
      1 + *std::max_element(config.layer_map.begin(), config.layer_map.end());
  return read;
}

absl::Status CheckPair(const FuserFolder& folder, const KvLayout& receiver,
                       const KvLayout& sharer) {
  const FuserConfig& own = folder.config;
  struct Field {
    const char* name;
    int32_t found;
    const char* of_model;
    int32_t expected;
  };
  for (const Field& field :
       {Field{"number of layers", own.receiver.num_layers, "the receiver's layers are",
              receiver.num_layers},
        Field{"source_num_heads", own.sharer.num_kv_heads, "the sharer's KV heads are",
              sharer.num_kv_heads},
        Field{"source_dim", own.sharer.head_dim, "the sharer's head size is", sharer.head_dim},
        Field{"target_num_heads", own.receiver.num_kv_heads, "the receiver's KV heads are",
              receiver.num_kv_heads},
        Field{"target_dim", own.receiver.head_dim, "the receiver's head size is",
              receiver.head_dim},
        Field{"last sharer layer", own.sharer.num_layers - 1, "the sharer's last layer is",
              std::min(own.sharer.num_layers, sharer.num_layers) - 1}}) {
    if (field.found == field.expected) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("the fuser does not fit this pair: ", folder.folder.string(), ": ", field.name,
                     " is ", field.found, ": ", field.of_model, " ", field.expected));
  }
  return absl::OkStatus();
}

absl::Status WriteFuserJson(const fs::path& folder, const FuserConfig& config,
                            at::ScalarType dtype) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::object();
  for (int32_t t = 0; t < config.receiver.num_layers; ++t) {
    RETURN_IF_ERROR(WriteFileAtomically(ProjectorFile(folder, t, ".json"),
                                        Arguments(config, dtype).dump(2) + "\n"));
    // Spelt out: {{s, t}} would be a copy of [s, t], not a list that holds it.
    layers[absl::StrCat(t)] =
        nlohmann::ordered_json::array({nlohmann::ordered_json::array({config.layer_map[t], t})});
  }
  const nlohmann::ordered_json map = {{"0", {{"1", layers}}}};
  return WriteFileAtomically(folder / kMapFile, map.dump(2) + "\n");
}

}  // namespace qc2c
