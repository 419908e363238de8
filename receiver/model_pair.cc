#include "receiver/model_pair.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/bounded_json.h"
#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/wire/frame_codec.h"
#include "common/wire/peer_codecs.h"

namespace qc2c {
namespace {

using Json = nlohmann::json;

absl::Status CheckFingerprint(const std::filesystem::path& file, const Json& model,
                              const std::string& field, const v1::ModelCard& card) {
  const auto found = model.find(field);
  if (found == model.end()) return absl::OkStatus();
  const std::string expected = HashText(card.model_fingerprint());
  if (found->is_string() && found->get<std::string>() == expected) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(file.string(), ": model.", field, " is ", found->dump(), ": model '",
                   card.model(), "' is ", expected, ", so this fuser is another pair's"));
}

// `model` of FOLDER/config.json; an empty object if there is no such file or field.
absl::StatusOr<Json> ModelOfConfig(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return Json::object();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const Json config = ParseBoundedJson<Json>(text);
  if (config.is_discarded() || !config.is_object()) {
    return absl::DataLossError(absl::StrCat(file.string(), ": expected a JSON object of at most ",
                                            kMaxJsonDepth, " levels"));
  }
  const auto model = config.find("model");
  if (model == config.end()) return Json::object();
  if (!model->is_object()) {
    return absl::DataLossError(absl::StrCat(file.string(), ": model: expected a JSON object"));
  }
  return *model;
}

// What `model` says about alignment, if anything.
absl::StatusOr<std::optional<std::string>> AlignmentOf(const std::filesystem::path& file,
                                                       const Json& model) {
  const auto refuse = [&](const std::string& field, const Json& found, const char* expected) {
    return absl::DataLossError(absl::StrCat(file.string(), ": model.", field, " is ", found.dump(),
                                            ": expected ", expected));
  };
  std::string field = "alignment";
  if (!model.contains(field)) {
    const auto aligned = model.find("is_do_alignment");
    if (aligned == model.end()) return std::nullopt;
    if (!aligned->is_boolean()) return refuse("is_do_alignment", *aligned, "true or false");
    if (!aligned->get<bool>()) return "same_ids";
    field = "alignment_strategy";
  }
  const auto name = model.find(field);
  if (name == model.end() || !name->is_string()) {
    return refuse(field, name == model.end() ? Json() : *name, "a strategy's name");
  }
  return name->get<std::string>();
}

}  // namespace

absl::StatusOr<AlignmentStrategy> ChooseAlignment(const std::string& flag,
                                                  const std::filesystem::path& folder,
                                                  const v1::ModelCard& receiver,
                                                  const v1::ModelCard& sharer) {
  if (flag != "auto") return ParseAlignmentStrategy(flag);
  if (!folder.empty()) {
    ASSIGN_OR_RETURN(const Json model, ModelOfConfig(folder));
    ASSIGN_OR_RETURN(const std::optional<std::string> name,
                     AlignmentOf(folder / "config.json", model));
    if (name) {
      const absl::StatusOr<AlignmentStrategy> strategy = ParseAlignmentStrategy(*name);
      if (strategy.ok()) return strategy;
      return absl::DataLossError(absl::StrCat((folder / "config.json").string(), ": model: ",
                                              std::string(strategy.status().message())));
    }
  }
  return receiver.tokenizer_hash() == sharer.tokenizer_hash() ? AlignmentStrategy::kSameIds
                                                              : AlignmentStrategy::kSpan;
}

absl::Status CheckFuserPair(const std::filesystem::path& folder, const v1::ModelCard& receiver,
                            const v1::ModelCard& sharer) {
  ASSIGN_OR_RETURN(const Json model, ModelOfConfig(folder));
  const std::filesystem::path file = folder / "config.json";
  RETURN_IF_ERROR(CheckFingerprint(file, model, "base_fingerprint", receiver));
  return CheckFingerprint(file, model, "teacher_fingerprint", sharer);
}

absl::StatusOr<Fuser> LoadFuserOfPair(const std::filesystem::path& folder,
                                      const LanguageModel& receiver, const v1::ModelCard& sharer) {
  const v1::ModelCard card = receiver.Card();
  RETURN_IF_ERROR(CheckFuserPair(folder, card, sharer));
  ASSIGN_OR_RETURN(const KvLayout sharer_layout, LayoutFromProto(sharer.layout()));
  absl::StatusOr<Fuser> fuser = Fuser::Load(folder, receiver.model.config().Layout(), sharer_layout,
                                            receiver.model.options());
  if (!fuser.ok()) return AsFileError(fuser.status());
  return fuser;
}

absl::StatusOr<KltCodebooks> LoadCodebooksOfPair(const std::vector<std::string>& files,
                                                 const Fuser* fuser, const v1::ModelCard& sharer) {
  ASSIGN_OR_RETURN(KltCodebooks codebooks, KltCodebooks::Load(files, sharer.model_fingerprint()));
  const uint64_t fingerprint = fuser == nullptr ? 0 : fuser->fingerprint();
  for (const uint64_t id : codebooks.ids()) {
    const KltCodebook& codebook = *codebooks.Find(id);
    if (codebook.fuser_fingerprint != fingerprint) {
      return absl::FailedPreconditionError(absl::StrCat(
          "codebook ", HashText(id), ": made for fuser ", HashText(codebook.fuser_fingerprint),
          ": this receiver's is ", fuser == nullptr ? "none" : HashText(fingerprint)));
    }
    RETURN_IF_ERROR(
        CheckSharerKnows(sharer, CodecSpec::Klt({.codebook = id, .level = uint32_t{0}})));
  }
  return codebooks;
}

}  // namespace qc2c
