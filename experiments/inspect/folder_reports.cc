#include "experiments/inspect/folder_reports.h"

#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/fuser/fuser.h"
#include "common/fuser/published_pair.h"
#include "common/model/json_fields.h"
#include "common/model/model.h"
#include "common/model/model_weights.h"
#include "common/serving/language_model.h"
#include "common/text/tokenizer.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

// Takes half the memory of fp32, and no size or sign depends on it.
ModelOptions LoadOptions() { return {.dtype = at::kBFloat16}; }

Json LayoutReport(const KvLayout& layout) {
  return {{"num_layers", layout.num_layers},
          {"num_kv_heads", layout.num_kv_heads},
          {"head_dim", layout.head_dim}};
}

int64_t NumParameters(const std::vector<std::pair<std::string, at::Tensor>>& parameters) {
  int64_t count = 0;
  for (const auto& [name, tensor] : parameters) count += tensor.numel();
  return count;
}

// Positions as config.json describes them: under whatever names its version of transformers uses.
absl::StatusOr<Json> PositionFields(const fs::path& folder) {
  ASSIGN_OR_RETURN(const JsonFields config, JsonFields::Load(folder / "config.json"));
  Json fields = Json::object();
  for (const char* key : {"max_position_embeddings", "rope_theta", "rope_scaling",
                          "rope_parameters", "rope_local_base_freq", "sliding_window"}) {
    if (config.Has(key)) fields[key] = Json::parse(config.at(key).dump());
  }
  return fields;
}

absl::StatusOr<Json> WeightReport(const fs::path& folder) {
  ASSIGN_OR_RETURN(const std::vector<fs::path> files, WeightFiles(folder));
  std::set<std::string> dtypes;
  uint64_t bytes = 0;
  size_t num_tensors = 0;
  for (const fs::path& file : files) {
    ASSIGN_OR_RETURN(const NamedTensors tensors, ReadSafetensors(file));
    num_tensors += tensors.size();
    for (const auto& [name, tensor] : tensors) {
      dtypes.insert(c10::toString(tensor.scalar_type()));
      bytes += tensor.nbytes();
    }
  }
  return Json{
      {"files", files.size()}, {"tensors", num_tensors}, {"dtypes", dtypes}, {"bytes", bytes}};
}

absl::StatusOr<Json> TokenizerReport(const fs::path& folder) {
  const absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(folder);
  if (absl::IsNotFound(tokenizer.status())) return Json("none");
  RETURN_IF_ERROR(tokenizer.status());
  return Json{{"hash", HashText(tokenizer->hash())}, {"vocab_size", tokenizer->vocab_size()}};
}

absl::StatusOr<Json> ModelReport(const fs::path& folder) {
  ASSIGN_OR_RETURN(const Model model, Model::Load(folder, LoadOptions()));
  ASSIGN_OR_RETURN(const Json positions, PositionFields(folder));
  ASSIGN_OR_RETURN(const Json weights, WeightReport(folder));
  ASSIGN_OR_RETURN(const Json tokenizer, TokenizerReport(folder));
  const ModelConfig& config = model.config();
  return Json{{"architecture", config.architecture},
              {"cache", LayoutReport(config.Layout())},
              {"cache_bytes_per_token_bf16",
               int64_t{4} * config.num_layers * config.num_kv_heads * config.head_dim},
              {"hidden_size", config.hidden_size},
              {"intermediate_size", config.intermediate_size},
              {"num_heads", config.num_heads},
              {"vocab_size", config.vocab_size},
              {"eos_ids", config.eos_ids},
              {"positions", positions},
              {"weights", weights},
              {"parameters", NumParameters(model.parameters())},
              {"fingerprint", HashText(model.fingerprint())},
              {"tokenizer", tokenizer}};
}

absl::StatusOr<Json> PairReport(const fs::path& folder) {
  ASSIGN_OR_RETURN(const PublishedPair pair, ReadPublishedPair(folder));
  Json report = Json::object();
  if (!pair.base_model.empty()) report["base_model"] = pair.base_model;
  if (!pair.teacher_models.empty()) report["teacher_models"] = pair.teacher_models;
  report["alignment"] = pair.alignment == PublishedPair::Alignment::kNone
                            ? "none"
                            : absl::StrCat("by token: ", pair.alignment_strategy);
  return report;
}

absl::StatusOr<Json> FuserReport(const fs::path& folder) {
  ASSIGN_OR_RETURN(const FuserConfig config, ReadFuserConfig(folder));
  ASSIGN_OR_RETURN(const Fuser fuser,
                   Fuser::Load(folder, config.receiver, config.sharer, LoadOptions()));
  ASSIGN_OR_RETURN(const Json pair, PairReport(folder));
  Json layers = Json::array();
  for (int32_t t = 0; t < config.receiver.num_layers; ++t) {
    const auto gate = [&](Half half) { return fuser.GateIsOpen(t, half) ? "open" : "closed"; };
    layers.push_back({{"layer", t},
                      {"sharer_layer", config.layer_map[t]},
                      {"key_gate", gate(Half::kKey)},
                      {"value_gate", gate(Half::kValue)}});
  }
  Json sharer = LayoutReport(config.sharer);
  sharer["num_layers"] = absl::StrCat("at least ", config.sharer.num_layers);
  return Json{{"class", "C2CProjector"},
              {"pair", pair},
              {"receiver", LayoutReport(config.receiver)},
              {"sharer", sharer},
              {"hidden_dim", config.hidden_dim},
              {"intermediate_dim", config.intermediate_dim},
              {"num_layers", config.num_blocks},
              {"parameters", NumParameters(fuser.parameters())},
              {"fingerprint", HashText(fuser.fingerprint())},
              {"sharer_layers_of_keys", fuser.SharerLayersRead(Half::kKey)},
              {"sharer_layers_of_values", fuser.SharerLayersRead(Half::kValue)},
              {"layers", layers}};
}

absl::StatusOr<Json> OfFile(absl::StatusOr<Json> report) {
  if (!report.ok()) return AsFileError(report.status());
  return report;
}

}  // namespace

absl::StatusOr<Json> ReportModel(const fs::path& folder) { return OfFile(ModelReport(folder)); }

absl::StatusOr<Json> ReportFuser(const fs::path& folder) { return OfFile(FuserReport(folder)); }

}  // namespace qc2c
