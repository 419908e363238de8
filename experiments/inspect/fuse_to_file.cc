#include "experiments/inspect/fuse_to_file.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"
#include "common/model/torch_status.h"
#include "common/serving/language_model.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

absl::StatusOr<std::vector<int32_t>> ReadIds(const fs::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json list = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto wrong = [&](const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": ", what, ": expected a JSON list of token ids"));
  };
  if (!list.is_array()) return wrong("not a list");
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() > uint64_t{std::numeric_limits<int32_t>::max()}) {
      return wrong(absl::StrCat("entry ", ids.size(), " is ", id.dump().substr(0, 40)));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

absl::StatusOr<Model> LoadModel(const fs::path& folder, const ModelOptions& options) {
  absl::StatusOr<Model> model = Model::Load(folder, options);
  if (!model.ok()) return AsFileError(model.status());
  return model;
}

absl::StatusOr<KvCache> Prefill(const Model& model, std::vector<int32_t> ids) {
  const TokenBatch tokens = TokenBatch::FromSequences({std::move(ids)}, model.options().device);
  ASSIGN_OR_RETURN(ForwardResult result, model.Forward(tokens, nullptr));
  return std::move(result.cache);
}

// Everything that one sharer contributes.
struct Contribution {
  Fuser fuser;
  SharerCache cache;
};

absl::StatusOr<Contribution> MakeContribution(const FuseRequest& request, size_t index,
                                              const KvLayout& receiver, size_t num_tokens) {
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, ReadIds(request.sharer_ids[index]));
  if (ids.size() != num_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(request.sharer_ids[index].string(), ": ",
                                                   ids.size(), " ids: expected ", num_tokens,
                                                   ", one for each of the receiver's"));
  }
  ASSIGN_OR_RETURN(const Model model, LoadModel(request.sharers[index], request.options));
  RETURN_IF_ERROR(CheckSequence(request.sharer_ids[index].string(), ids, model.config()));
  absl::StatusOr<Fuser> fuser =
      Fuser::Load(request.fusers[index], receiver, model.config().Layout(), request.options);
  if (!fuser.ok()) return AsFileError(fuser.status());
  ids.pop_back();
  ASSIGN_OR_RETURN(KvCache cache, Prefill(model, std::move(ids)));
  return Contribution{*std::move(fuser),
                      {std::move(cache.keys), std::move(cache.values), cache.valid}};
}

absl::Status CheckRequest(const FuseRequest& request) {
  const size_t num_sharers = request.sharers.size();
  if (num_sharers == request.fusers.size() && num_sharers == request.sharer_ids.size()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(num_sharers, " sharers, ", request.fusers.size(),
                                                 " fusers, ", request.sharer_ids.size(),
                                                 " files of sharer ids: expected as many of each"));
}

absl::Status Write(const fs::path& path, const KvCache& cache, const at::Tensor& logits) {
  NamedTensors tensors = {{"logits", logits}};
  for (size_t layer = 0; layer < cache.keys.size(); ++layer) {
    tensors.emplace_back(absl::StrCat("k.", layer), cache.keys[layer][0]);
    tensors.emplace_back(absl::StrCat("v.", layer), cache.values[layer][0]);
  }
  return WriteSafetensors(path, tensors);
}

absl::StatusOr<Json> Run(const FuseRequest& request) {
  const at::NoGradGuard no_grad;
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, ReadIds(request.receiver_ids));
  if (ids.size() < 2) {
    return absl::InvalidArgumentError(absl::StrCat(request.receiver_ids.string(), ": ", ids.size(),
                                                   " ids: expected at least 2, the last of which "
                                                   "runs on the fused cache"));
  }
  ASSIGN_OR_RETURN(const Model receiver, LoadModel(request.receiver, request.options));
  RETURN_IF_ERROR(CheckSequence(request.receiver_ids.string(), ids, receiver.config()));
  std::vector<Contribution> contributions;
  Json fusers = Json::array();
  for (size_t i = 0; i < request.sharers.size(); ++i) {
    ASSIGN_OR_RETURN(Contribution own,
                     MakeContribution(request, i, receiver.config().Layout(), ids.size()));
    contributions.push_back(std::move(own));
    const Fuser& fuser = contributions.back().fuser;
    fusers.push_back({{"fuser", request.fusers[i].string()},
                      {"sharer_layers_of_keys", fuser.SharerLayersRead(Half::kKey)},
                      {"sharer_layers_of_values", fuser.SharerLayersRead(Half::kValue)}});
  }
  std::vector<FusionSource> sources;
  for (const Contribution& own : contributions) sources.push_back({&own.fuser, &own.cache});

  const int32_t last = ids.back();
  const size_t num_tokens = ids.size();
  ids.pop_back();
  ASSIGN_OR_RETURN(const KvCache own, Prefill(receiver, std::move(ids)));
  ASSIGN_OR_RETURN(const KvCache fused, FuseAll(sources, own, request.order));
  ASSIGN_OR_RETURN(
      const ForwardResult result,
      receiver.Forward(TokenBatch::FromSequences({{last}}, request.options.device), &fused));
  const at::Tensor logits = receiver.Logits(result.hidden[0]);
  RETURN_IF_ERROR(Write(request.out, result.cache, logits));
  return Json{{"out", request.out.string()},
              {"tokens", num_tokens},
              {"layers", result.cache.keys.size()},
              {"next_id", logits[0].argmax().item<int64_t>()},
              {"fusers", fusers}};
}

}  // namespace

absl::StatusOr<Json> FuseToFile(const FuseRequest& request) {
  return CatchTorch([&] { return Run(request); });
}

}  // namespace qc2c
