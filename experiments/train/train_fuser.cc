#include "experiments/train/train_fuser.h"

#include <ATen/Parallel.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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
        {"is_do_alignment", false},
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
  const ModelOptions options{at::Device(recipe.training.device), at::kFloat};
  ASSIGN_OR_RETURN(Model receiver, Model::Load(recipe.receiver, options));
  ASSIGN_OR_RETURN(Model sharer, Model::Load(recipe.sharer, options));
  if (receiver.config().vocab_size != sharer.config().vocab_size) {
    return absl::FailedPreconditionError(absl::StrCat(
        "vocabularies differ: receiver ", receiver.config().vocab_size, ", sharer ",
        sharer.config().vocab_size, "; the documents hold one sequence of ids for both"));
  }
  return FrozenPair{std::move(receiver), std::move(sharer)};
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

absl::Status Train(const FuserRecipe& recipe) {
  const TrainingOptions& training = recipe.training;
  at::set_num_threads(training.threads);
  ASSIGN_OR_RETURN(const FrozenPair pair, LoadPair(recipe));
  const int32_t vocab_size = pair.receiver.config().vocab_size;
  ASSIGN_OR_RETURN(const DocumentPools documents, ReadDocuments(training.documents, vocab_size));
  DocumentPools check_documents;
  if (!training.check_documents.empty()) {
    ASSIGN_OR_RETURN(check_documents, ReadDocuments(training.check_documents, vocab_size));
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
    FuseOptions options;
    options.gates = FuseOptions::Gates::kSampled;
    options.temperature = AnnealedTemperature(step, training.TotalSteps(),
                                              recipe.initial_temperature, recipe.final_temperature);
    return FuserLoss(pair.receiver, pair.sharer, fuser, options, batch);
  };
  task.check = [&](const DocumentPools& pools) {
    return CheckFused(pair.receiver, pair.sharer, fuser, pools);
  };
  const std::string rest = absl::StrFormat(
      "fuser %s %d %d %d %.17g %.17g %d %d", recipe.mapping, recipe.hidden_dim,
      recipe.intermediate_dim, recipe.num_blocks, recipe.initial_temperature,
      recipe.final_temperature, pair.receiver.fingerprint(), pair.sharer.fingerprint());
  ASSIGN_OR_RETURN(task.fingerprint, Fingerprint(training, rest));
  RETURN_IF_ERROR(RunTraining(task, documents, check_documents, training));
  RETURN_IF_ERROR(fuser.Save(recipe.fuser, at::kHalf));
  return WriteFileAtomically(recipe.fuser / "config.json", ConfigJson(recipe, pair));
}

absl::StatusOr<std::map<std::string, Accuracy>> Check(const CheckRequest& request) {
  at::set_num_threads(request.threads);
  const ModelOptions options{at::Device(request.device), at::kFloat};
  std::map<std::string, Accuracy> table;
  ASSIGN_OR_RETURN(const Model receiver, Model::Load(request.receiver, options));
  ASSIGN_OR_RETURN(const DocumentPools pools,
                   ReadDocuments(request.documents, receiver.config().vocab_size));
  ASSIGN_OR_RETURN(table["receiver"], CheckAlone(receiver, pools));
  if (request.sharer.empty()) return table;
  ASSIGN_OR_RETURN(const Model sharer, Model::Load(request.sharer, options));
  ASSIGN_OR_RETURN(table["sharer"], CheckAlone(sharer, pools));
  if (request.fuser.empty()) return table;
  ASSIGN_OR_RETURN(const Fuser fuser, Fuser::Load(request.fuser, receiver.config().Layout(),
                                                  sharer.config().Layout(), options));
  ASSIGN_OR_RETURN(table["fused"], CheckFused(receiver, sharer, fuser, pools));
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
