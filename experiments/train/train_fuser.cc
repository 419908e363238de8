#include "experiments/train/train_fuser.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/fuser/fuser.h"
#include "common/model/torch_status.h"
#include "experiments/train/documents.h"
#include "experiments/train/schedule.h"
#include "experiments/train/training_loop.h"

namespace qc2c {
namespace {

struct FrozenPair {
  Model receiver;
  Model sharer;
};

// The recipe in the words of the published checkpoints' config.json, and which two models these
// were: a receiver refuses the fuser for others.
std::string ConfigJson(const FuserRecipe& recipe, const FrozenPair& pair) {
  const TrainingOptions& training = recipe.training;
  const nlohmann::ordered_json json = {
      {"model",
       {{"base_model", recipe.receiver.filename().string()},
        {"base_fingerprint", HashText(pair.receiver.fingerprint())},
        {"teacher_model", recipe.sharer.filename().string()},
        {"teacher_fingerprint", HashText(pair.sharer.fingerprint())},
        {"is_do_alignment", recipe.alignment != "same_ids"},
        {"alignment_strategy", recipe.alignment},
        {"mapping", recipe.mapping},
        {"projector",
         {{"type", "C2CProjector"},
          {"params",
           {{"hidden_dim", recipe.hidden_dim},
            {"intermediate_dim", recipe.intermediate_dim},
            {"num_layers", recipe.num_blocks},
            {"dropout", 0.0},
            {"initial_temperature", recipe.initial_temperature},
            {"final_temperature", recipe.final_temperature},
            {"anneal_steps", training.TotalSteps()}}}}}}},
      {"training",
       {{"learning_rate", training.adamw.lr},
        {"weight_decay", training.adamw.decay},
        {"max_steps", training.TotalSteps()},
        {"batch_size", training.batch_size},
        {"seed", training.seed}}}};
  return json.dump(2) + "\n";
}

absl::StatusOr<FrozenPair> LoadPair(const FuserRecipe& recipe) {
  const ModelOptions options{at::Device(recipe.training.device), recipe.dtype};
  ASSIGN_OR_RETURN(Model receiver, Model::Load(recipe.receiver, options));
  ASSIGN_OR_RETURN(Model sharer, Model::Load(recipe.sharer, options));
  if (recipe.alignment == "same_ids" &&
      receiver.config().vocab_size != sharer.config().vocab_size) {
    return absl::FailedPreconditionError(absl::StrCat(
        "vocabularies differ: receiver ", receiver.config().vocab_size, ", sharer ",
        sharer.config().vocab_size, "; with alignment same_ids one sequence of ids is for both"));
  }
  return FrozenPair{std::move(receiver), std::move(sharer)};
}

// The documents as the recipe's alignment wants them.
absl::StatusOr<DocumentPools> ReadPairDocuments(const std::filesystem::path& path,
                                                const FuserRecipe& recipe, const FrozenPair& pair) {
  const bool own_tokens = recipe.alignment != "same_ids";
  const int32_t sharer_vocab = own_tokens ? pair.sharer.config().vocab_size : 0;
  ASSIGN_OR_RETURN(DocumentPools pools,
                   ReadDocuments(path, {pair.receiver.config().vocab_size, sharer_vocab}));
  for (const auto& [kind, documents] : pools) {
    for (const Document& document : documents) {
      if (own_tokens == !document.sharer_ids.empty()) continue;
      return absl::InvalidArgumentError(absl::StrCat(path.string(), ": a document of kind '", kind,
                                                     "' has no field sharer, which ", "alignment ",
                                                     recipe.alignment, " needs"));
    }
  }
  return pools;
}

absl::StatusOr<Fuser> CreateFuser(const FuserRecipe& recipe, const FrozenPair& pair) {
  FuserConfig config;
  config.receiver = pair.receiver.config().Layout();
  config.sharer = pair.sharer.config().Layout();
  ASSIGN_OR_RETURN(config.layer_map, MakeLayerMap(recipe.mapping, config.receiver.num_layers,
                                                  config.sharer.num_layers));
  config.hidden_dim = recipe.hidden_dim;
  config.intermediate_dim = recipe.intermediate_dim;
  config.num_blocks = recipe.num_blocks;
  return Fuser::Create(config, pair.receiver.options());
}

// What decides the weights, besides the shared options and the documents.
std::string FingerprintText(const FuserRecipe& recipe, const FrozenPair& pair) {
  std::string text = absl::StrFormat("fuser %s %d %d %d %.17g %.17g %d %d", recipe.mapping,
                                     recipe.hidden_dim, recipe.intermediate_dim, recipe.num_blocks,
                                     recipe.initial_temperature, recipe.final_temperature,
                                     pair.receiver.fingerprint(), pair.sharer.fingerprint());
  absl::StrAppend(&text, " ", c10::toString(recipe.dtype), " ",
                  static_cast<int>(recipe.sharer_cache));
  if (!recipe.noise) return text;
  absl::StrAppendFormat(&text, " noise %s %.17g %.17g", absl::StrJoin(recipe.noise->bits, ","),
                        recipe.noise->prune_probability, recipe.noise->min_keep_ratio);
  return text;
}

absl::Status Train(const FuserRecipe& recipe) {
  const TrainingOptions& training = recipe.training;
  at::set_num_threads(training.threads);
  // cuDNN's attention is the suspect for gradients that were NaN under a finite loss (bf16, H100).
  at::globalContext().setSDPUseCuDNN(false);
  ASSIGN_OR_RETURN(const FrozenPair pair, LoadPair(recipe));
  ASSIGN_OR_RETURN(const DocumentPools documents,
                   ReadPairDocuments(training.documents, recipe, pair));
  DocumentPools check_documents;
  if (!training.check_documents.empty()) {
    ASSIGN_OR_RETURN(check_documents, ReadPairDocuments(training.check_documents, recipe, pair));
  }
  at::manual_seed(training.seed);
  ASSIGN_OR_RETURN(Fuser fuser, CreateFuser(recipe, pair));

  TrainingTask task;
  task.name = absl::StrCat("fuser ", recipe.fuser.filename().string());
  for (auto [name, tensor] : fuser.parameters()) {
    task.parameters.emplace_back(name, tensor.requires_grad_(true));
  }
  task.optimizers.push_back(MakeAdamW(task.parameters, training.adamw));
  task.mix_by = BatchSampler::MixBy::kBatch;
  task.loss = [&](const DocumentBatch& batch, int64_t step) {
    FuserTraining how{.options = {}, .sharer = recipe.sharer_cache, .noise = recipe.noise};
    how.options.gates = FuseOptions::Gates::kSampled;
    how.options.temperature = AnnealedTemperature(
        step, training.TotalSteps(), recipe.initial_temperature, recipe.final_temperature);
    return FuserLoss(pair.receiver, pair.sharer, fuser, how, batch);
  };
  task.check = [&](const DocumentPools& pools) {
    return CheckFused(pair.receiver, pair.sharer, fuser, recipe.sharer_cache, pools);
  };
  const std::string rest = FingerprintText(recipe, pair);
  ASSIGN_OR_RETURN(task.fingerprint, Fingerprint(training, rest));
  RETURN_IF_ERROR(RunTraining(task, documents, check_documents, training));
  RETURN_IF_ERROR(fuser.Save(recipe.fuser, recipe.file_dtype));
  return WriteFileAtomically(recipe.fuser / "config.json", ConfigJson(recipe, pair));
}

absl::StatusOr<std::map<std::string, Accuracy>> Check(const CheckRequest& request) {
  at::set_num_threads(request.threads);
  const ModelOptions options{at::Device(request.device), request.dtype};
  std::map<std::string, Accuracy> table;
  ASSIGN_OR_RETURN(const Model receiver, Model::Load(request.receiver, options));
  std::optional<Model> sharer;
  if (!request.sharer.empty()) {
    ASSIGN_OR_RETURN(sharer, Model::Load(request.sharer, options));
  }
  ASSIGN_OR_RETURN(const DocumentPools pools,
                   ReadDocuments(request.documents, {receiver.config().vocab_size,
                                                     sharer ? sharer->config().vocab_size : 0}));
  ASSIGN_OR_RETURN(table["receiver"], CheckAlone(receiver, pools));
  if (!sharer) return table;
  const bool same_ids = std::all_of(pools.begin(), pools.end(), [](const auto& pool) {
    return pool.second.front().sharer_ids.empty();
  });
  // Answers are the receiver's tokens: a sharer that reads others cannot be scored on them.
  if (same_ids) {
    ASSIGN_OR_RETURN(table["sharer"], CheckAlone(*sharer, pools));
  }
  if (request.fuser.empty()) return table;
  ASSIGN_OR_RETURN(const Fuser fuser, Fuser::Load(request.fuser, receiver.config().Layout(),
                                                  sharer->config().Layout(), options));
  ASSIGN_OR_RETURN(table["fused"],
                   CheckFused(receiver, *sharer, fuser, FuserTraining::Sharer::kPrompt, pools));
  ASSIGN_OR_RETURN(table["zero_cache"],
                   CheckFused(receiver, *sharer, fuser, FuserTraining::Sharer::kZeroCache, pools));
  return table;
}

}  // namespace

absl::Status TrainFuser(const FuserRecipe& recipe) {
  return CatchTorch([&] { return Train(recipe); });
}

absl::StatusOr<std::map<std::string, Accuracy>> CheckModels(const CheckRequest& request) {
  return CatchTorch([&] { return Check(request); });
}

}  // namespace qc2c
