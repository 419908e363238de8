#include "common/rpc/metadata.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

absl::StatusOr<std::string> Find(const grpc::ClientContext& context, const char* key) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find(key);
  if (it == trailers.end())
    return absl::DataLossError(absl::StrCat("the peer's trailing metadata lacks ", key));
  return std::string(it->second.data(), it->second.size());
}

}  // namespace

void AddTxBytes(uint64_t tx_bytes, grpc::ServerContextBase* context) {
  context->AddTrailingMetadata(kTxBytesKey, absl::StrCat(tx_bytes));
}

void AddStageTimes(const v1::StageTimes& times, grpc::ServerContextBase* context) {
  context->AddTrailingMetadata(kStagesKey, times.SerializeAsString());
}

absl::StatusOr<uint64_t> GetTxBytes(const grpc::ClientContext& context) {
  auto text = Find(context, kTxBytesKey);
  if (!text.ok()) return text.status();
  uint64_t tx_bytes = 0;
  if (!absl::SimpleAtoi(*text, &tx_bytes))
    return absl::DataLossError(
        absl::StrCat(kTxBytesKey, ": found \"", *text, "\", expected a count"));
  return tx_bytes;
}

absl::StatusOr<v1::StageTimes> GetStageTimes(const grpc::ClientContext& context) {
  auto bytes = Find(context, kStagesKey);
  if (!bytes.ok()) return bytes.status();
  v1::StageTimes times;
  if (!times.ParseFromString(*bytes))
    return absl::DataLossError(
        absl::StrCat(kStagesKey, ": ", bytes->size(), " bytes that do not parse as StageTimes"));
  return times;
}

}  // namespace qc2c
