#include "experiments/train/train_lm.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/model/torch_status.h"
#include "experiments/train/documents.h"
#include "experiments/train/objective.h"
#include "experiments/train/training_loop.h"

namespace qc2c {
namespace {

bool IsHiddenMatrix(const std::string& name, const at::Tensor& tensor) {
  return tensor.dim() == 2 && !absl::StrContains(name, "embed_tokens") &&
         !absl::StrContains(name, "lm_head");
}

bool WritesResidual(const std::string& name) {
  return absl::StrContains(name, "o_proj") || absl::StrContains(name, "down_proj");
}

// Muon moves the hidden matrices, AdamW the embedding, norms and biases.
std::vector<std::unique_ptr<Optimizer>> MakeOptimizers(const Model& model, const LmRecipe& recipe) {
  NamedTensors hidden, rest;
  for (const auto& entry : model.parameters()) {
    (IsHiddenMatrix(entry.first, entry.second) ? hidden : rest).push_back(entry);
  }
  std::vector<std::unique_ptr<Optimizer>> optimizers;
  optimizers.push_back(MakeMuon(hidden, recipe.muon));
  optimizers.push_back(MakeAdamW(rest, recipe.training.adamw));
  return optimizers;
}

absl::Status WriteWeights(const Model& model, const std::filesystem::path& folder) {
  NamedTensors weights;
  for (const auto& [name, tensor] : model.parameters()) {
    weights.emplace_back(name, tensor.detach().to(at::kHalf));
  }
  return WriteSafetensors(folder / "model.safetensors", weights);
}

absl::Status Train(const LmRecipe& recipe) {
  const TrainingOptions& training = recipe.training;
  ASSIGN_OR_RETURN(const ModelConfig config, ModelConfig::Load(recipe.model));
  ASSIGN_OR_RETURN(const DocumentPools documents,
                   ReadDocuments(training.documents, {config.vocab_size}));
  DocumentPools check_documents;
  if (!training.check_documents.empty()) {
    ASSIGN_OR_RETURN(check_documents, ReadDocuments(training.check_documents, {config.vocab_size}));
  }
  at::set_num_threads(training.threads);
  ASSIGN_OR_RETURN(Model model, Model::Create(config, {at::Device(training.device), at::kFloat}));
  at::manual_seed(training.seed);
  InitializeWeights(model, recipe);

  TrainingTask task;
  task.name = absl::StrCat("lm ", recipe.model.filename().string());
  for (auto [name, tensor] : model.parameters()) {
    task.parameters.emplace_back(name, tensor.requires_grad_(true));
  }
  task.optimizers = MakeOptimizers(model, recipe);
  task.mix_by = BatchSampler::MixBy::kDocument;
  task.loss = [&](const DocumentBatch& batch, int64_t) { return LanguageModelLoss(model, batch); };
  task.check = [&](const DocumentPools& pools) { return CheckAlone(model, pools); };
  // Of the whole file: rotary angles, windows and the like decide the weights and change no shape.
  ASSIGN_OR_RETURN(const uint64_t config_hash, HashFiles({recipe.model / "config.json"}));
  const std::string rest =
      absl::StrFormat("lm %s %d %d %.17g %.17g %.17g %.17g %.17g", config.architecture,
                      config.num_layers, config.hidden_size, recipe.init_std, recipe.match_scale,
                      recipe.muon.lr, recipe.muon.momentum, recipe.muon.decay) +
      absl::StrCat(" ", HashText(config_hash));
  ASSIGN_OR_RETURN(task.fingerprint, Fingerprint(training, rest));
  RETURN_IF_ERROR(RunTraining(task, documents, check_documents, training));
  return WriteWeights(model, recipe.model);
}

}  // namespace

absl::Status TrainLm(const LmRecipe& recipe) {
  return CatchTorch([&] { return Train(recipe); });
}

void InitializeWeights(Model& model, const LmRecipe& recipe) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = model.config();
  std::map<std::string, at::Tensor> by_name;
  for (auto [name, tensor] : model.parameters()) {
    by_name[name] = tensor;
    if (tensor.dim() == 2) {
      const double shrink = WritesResidual(name) ? std::sqrt(2.0 * config.num_layers) : 1.0;
      tensor.normal_(0.0, recipe.init_std / shrink);
    } else {
      // A norm's weight that is one at the start, or that is added to one.
      const bool is_added =
          config.traits.norm_scale == ModelConfig::Traits::NormScale::kOnePlusWeight;
      tensor.fill_(is_added || absl::EndsWith(name, ".bias") ? 0.0 : 1.0);
    }
  }
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".self_attn.");
    at::Tensor query = by_name.at(prefix + "q_proj.weight").narrow(0, 0, config.head_dim);
    query.mul_(recipe.match_scale);
    by_name.at(prefix + "k_proj.weight").narrow(0, 0, config.head_dim).copy_(query);
  }
}

}  // namespace qc2c
