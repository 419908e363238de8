#include "receiver/model_pair.h"

#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/wire/frame_codec.h"

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

}  // namespace

absl::Status CheckTokenizers(const v1::ModelCard& receiver, const v1::ModelCard& sharer) {
  if (receiver.tokenizer_hash() == sharer.tokenizer_hash()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "tokenizer_hash: the sharer's model '", sharer.model(), "' has ",
      HashText(sharer.tokenizer_hash()), ", expected ", HashText(receiver.tokenizer_hash()),
      " as the receiver's model '", receiver.model(), "'"));
}

absl::Status CheckFuserPair(const std::filesystem::path& folder, const v1::ModelCard& receiver,
                            const v1::ModelCard& sharer) {
  const std::filesystem::path file = folder / "config.json";
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (config.is_discarded() || !config.is_object()) {
    return absl::DataLossError(absl::StrCat(file.string(), ": expected a JSON object"));
  }
  const auto model = config.find("model");
  if (model == config.end()) return absl::OkStatus();
  if (!model->is_object()) {
    return absl::DataLossError(absl::StrCat(file.string(), ": model: expected a JSON object"));
  }
  RETURN_IF_ERROR(CheckFingerprint(file, *model, "base_fingerprint", receiver));
  return CheckFingerprint(file, *model, "teacher_fingerprint", sharer);
}

absl::StatusOr<Fuser> LoadFuserOfPair(const std::filesystem::path& folder,
                                      const LanguageModel& receiver, const v1::ModelCard& sharer) {
  const v1::ModelCard card = receiver.Card();
  RETURN_IF_ERROR(CheckTokenizers(card, sharer));
  RETURN_IF_ERROR(CheckFuserPair(folder, card, sharer));
  ASSIGN_OR_RETURN(const KvLayout sharer_layout, LayoutFromProto(sharer.layout()));
  absl::StatusOr<Fuser> fuser = Fuser::Load(folder, receiver.model.config().Layout(), sharer_layout,
                                            receiver.model.options());
  if (!fuser.ok()) return AsFileError(fuser.status());
  return fuser;
}

}  // namespace qc2c
