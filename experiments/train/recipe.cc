#include "experiments/train/recipe.h"

#include <yaml-cpp/yaml.h>

#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

struct Range {
  double low = std::numeric_limits<double>::lowest();
  double high = std::numeric_limits<double>::max();
};

constexpr Range kPositive = {1e-300};
constexpr Range kNotNegative = {0.0};
constexpr Range kAtLeastOne = {1.0};
constexpr Range kShare = {0.0, 1.0};

// Reads the fields of one YAML map; the first fault is kept, and Finish also reports unknown
// fields.
class FieldReader {
 public:
  FieldReader(const YAML::Node& node, std::string where) : node_(node), where_(std::move(where)) {
    if (!node_.IsMap()) Fail(absl::StrCat(where_, ": expected a map"));
  }

  template <typename T>
  void Optional(const std::string& name, T& value, Range range = {}) {
    known_.insert(name);
    if (!status_.ok() || !node_[name]) return;
    try {
      const T read = node_[name].template as<T>();
      if constexpr (std::is_arithmetic_v<T>) {
        if (!(read >= range.low && read <= range.high)) {
          Fail(absl::StrCat(where_, ".", name, ": ", read, ", expected ", range.low, " .. ",
                            range.high));
          return;
        }
      }
      value = read;
    } catch (const YAML::Exception&) {
      Fail(absl::StrCat(where_, ".", name, ": '", YAML::Dump(node_[name]), "' has the wrong type"));
    }
  }

  template <typename T>
  void Required(const std::string& name, T& value, Range range = {}) {
    Optional(name, value, range);
    if (status_.ok() && !node_[name]) Fail(absl::StrCat(where_, ".", name, ": missing"));
  }

  void OptionalPath(const std::string& name, std::filesystem::path& value) {
    std::string text = value.string();
    Optional(name, text);
    value = text;
  }

  // A child map; an empty one if absent.
  FieldReader Child(const std::string& name) {
    known_.insert(name);
    const bool present = status_.ok() && node_[name];
    return FieldReader(present ? node_[name] : YAML::Node(YAML::NodeType::Map),
                       absl::StrCat(where_, ".", name));
  }

  YAML::Node Node(const std::string& name) {
    known_.insert(name);
    return status_.ok() ? YAML::Node(node_[name]) : YAML::Node();
  }

  void Fail(const std::string& message) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(message);
  }
  void Update(const absl::Status& status) { status_.Update(status); }
  const std::string& where() const { return where_; }

  absl::Status Finish() {
    if (!status_.ok()) return status_;
    for (const auto& field : node_) {
      const std::string name = field.first.IsScalar() ? field.first.Scalar() : "(not text)";
      if (!known_.contains(name)) {
        return absl::InvalidArgumentError(absl::StrCat(
            where_, ".", name, ": unknown field, expected one of ", absl::StrJoin(known_, ", ")));
      }
    }
    return absl::OkStatus();
  }

 private:
  YAML::Node node_;
  std::string where_;
  std::set<std::string> known_;
  absl::Status status_;
};

void ReadPhases(FieldReader& fields, std::vector<Phase>& phases) {
  const YAML::Node list = fields.Node("phases");
  if (!list || !list.IsSequence() || list.size() == 0) {
    fields.Fail(absl::StrCat(fields.where(), ".phases: expected a list of {steps, mix}"));
    return;
  }
  for (size_t i = 0; i < list.size(); ++i) {
    FieldReader phase(list[i], absl::StrCat(fields.where(), ".phases[", i, "]"));
    Phase& read = phases.emplace_back();
    phase.Required("steps", read.steps, kAtLeastOne);
    phase.Required("mix", read.mix);
    for (const auto& [kind, share] : read.mix) {
      if (!(share > 0)) phase.Fail(absl::StrCat(phase.where(), ".mix.", kind, ": expected > 0"));
    }
    if (read.mix.empty()) phase.Fail(absl::StrCat(phase.where(), ".mix: empty"));
    fields.Update(phase.Finish());
  }
}

void ReadAdamW(FieldReader& fields, AdamWOptions& adamw) {
  FieldReader child = fields.Child("adamw");
  child.Required("lr", adamw.lr, kPositive);
  child.Optional("beta1", adamw.beta1, {0.0, 0.999999});
  child.Optional("beta2", adamw.beta2, {0.0, 0.999999});
  child.Optional("eps", adamw.eps, kPositive);
  child.Optional("decay", adamw.decay, kNotNegative);
  fields.Update(child.Finish());
}

void ReadTraining(FieldReader& fields, TrainingOptions& training) {
  fields.Required("seed", training.seed);
  fields.OptionalPath("documents", training.documents);
  fields.OptionalPath("check_documents", training.check_documents);
  fields.OptionalPath("state", training.state);
  fields.Optional("batch_size", training.batch_size, kAtLeastOne);
  fields.Optional("warmup_steps", training.warmup_steps, kNotNegative);
  fields.Optional("final_lr_ratio", training.final_lr_ratio, kShare);
  fields.Optional("clip", training.clip, kPositive);
  fields.Optional("checkpoint_every", training.checkpoint_every, kAtLeastOne);
  fields.Optional("check_every", training.check_every, kAtLeastOne);
  fields.Optional("log_every", training.log_every, kAtLeastOne);
  fields.Optional("threads", training.threads, {1, 1024});
  fields.Optional("device", training.device);
  ReadPhases(fields, training.phases);
  ReadAdamW(fields, training.adamw);
}

// One of `names`, each with its value; `value` stays as it is if the field is absent.
template <typename T>
void ReadChoice(FieldReader& fields, const std::string& name,
                const std::map<std::string, T>& choices, T& value) {
  std::string text;
  fields.Optional(name, text);
  if (text.empty()) return;
  const auto choice = choices.find(text);
  if (choice != choices.end()) {
    value = choice->second;
    return;
  }
  const auto append_name = [](std::string* out, const auto& entry) { *out += entry.first; };
  fields.Fail(absl::StrCat(fields.where(), ".", name, ": '", text, "', expected one of ",
                           absl::StrJoin(choices, ", ", append_name)));
}

void ReadNoise(FieldReader& fields, std::optional<CodecNoise>& noise) {
  FieldReader child = fields.Child("noise");
  CodecNoise read;
  child.Optional("bits", read.bits);
  child.Optional("prune_probability", read.prune_probability, kShare);
  child.Optional("min_keep_ratio", read.min_keep_ratio, kShare);
  for (const int32_t bits : read.bits) {
    if ((bits >= 1 && bits <= 8) || bits == 16) continue;
    child.Fail(absl::StrCat(child.where(), ".bits: ", bits, ", expected 1 to 8 or 16"));
  }
  fields.Update(child.Finish());
  if (read.bits.empty() && read.prune_probability == 0) return;
  if (read.bits.empty()) read.bits = {16};  // pruning alone
  noise = read;
}

absl::StatusOr<YAML::Node> ParseYaml(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", error.what()));
  }
}

}  // namespace

int64_t TrainingOptions::TotalSteps() const {
  return std::accumulate(phases.begin(), phases.end(), int64_t{0},
                         [](int64_t sum, const Phase& phase) { return sum + phase.steps; });
}

absl::StatusOr<LmRecipe> ReadLmRecipe(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const YAML::Node node, ParseYaml(path));
  FieldReader fields(node, path.string());
  LmRecipe recipe;
  ReadTraining(fields, recipe.training);
  fields.OptionalPath("model", recipe.model);
  fields.Optional("init_std", recipe.init_std, kPositive);
  fields.Optional("match_scale", recipe.match_scale, kPositive);
  FieldReader muon = fields.Child("muon");
  muon.Required("lr", recipe.muon.lr, kPositive);
  muon.Optional("momentum", recipe.muon.momentum, {0.0, 0.999999});
  muon.Optional("decay", recipe.muon.decay, kNotNegative);
  fields.Update(muon.Finish());
  RETURN_IF_ERROR(fields.Finish());
  return recipe;
}

absl::StatusOr<FuserRecipe> ReadFuserRecipe(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const YAML::Node node, ParseYaml(path));
  FieldReader fields(node, path.string());
  FuserRecipe recipe;
  ReadTraining(fields, recipe.training);
  fields.OptionalPath("receiver", recipe.receiver);
  fields.OptionalPath("sharer", recipe.sharer);
  fields.OptionalPath("fuser", recipe.fuser);
  fields.Optional("mapping", recipe.mapping);
  ReadChoice<std::string>(fields, "alignment", {{"same_ids", "same_ids"}, {"span", "span"}},
                          recipe.alignment);
  ReadChoice<at::ScalarType>(fields, "dtype", {{"fp32", at::kFloat}, {"bf16", at::kBFloat16}},
                             recipe.dtype);
  ReadChoice<at::ScalarType>(fields, "file_dtype",
                             {{"fp32", at::kFloat}, {"fp16", at::kHalf}, {"bf16", at::kBFloat16}},
                             recipe.file_dtype);
  ReadChoice<FuserTraining::Sharer>(fields, "sharer_cache",
                                    {{"prompt", FuserTraining::Sharer::kPrompt},
                                     {"zero_cache", FuserTraining::Sharer::kZeroCache}},
                                    recipe.sharer_cache);
  ReadNoise(fields, recipe.noise);
  fields.Optional("hidden_dim", recipe.hidden_dim, kAtLeastOne);
  fields.Optional("intermediate_dim", recipe.intermediate_dim, kAtLeastOne);
  fields.Optional("num_blocks", recipe.num_blocks, {3, 1024});
  fields.Optional("initial_temperature", recipe.initial_temperature, kPositive);
  fields.Optional("final_temperature", recipe.final_temperature, kPositive);
  RETURN_IF_ERROR(fields.Finish());
  return recipe;
}

}  // namespace qc2c
