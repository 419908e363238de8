// The gRPC face of the sharer. Reactions only check, hand over and finish; engines do the work.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "common/obs/qc2c_metrics.h"
#include "common/rpc/raw_stream_writer.h"
#include "common/serving/language_model.h"
#include "common/serving/text_generator.h"
#include "common/wire/frame_codec.h"
#include "qc2c/v1/sharer.grpc.pb.h"
#include "sharer/share_engine.h"

namespace qc2c {

inline constexpr uint64_t kMaxUnsentBytes = uint64_t{4} << 30;

// What codecs name by an id and a sharer was given as files.
struct CodecHoldings {
  WeightsById weights;                                     // what a budget may name
  std::vector<ChannelMeans> calibrations;                  // of the model's own layout
  KltCodebooks codebooks;                                  // of this sharer
  std::shared_ptr<const HeldReceiver> receiver = nullptr;  // for selections that need one
};

class SharerService final
    : public v1::Sharer::WithCallbackMethod_Describe<v1::Sharer::WithCallbackMethod_Generate<
          v1::Sharer::WithRawCallbackMethod_Share<v1::Sharer::Service>>> {
 public:
  // The language model and the metrics must outlive it. Fewer bytes than `chunk_bytes` a message if
  // the receiver asks for that. While encoded caches of `max_unsent_bytes` wait for callers to read
  // them, further ones are refused with RESOURCE_EXHAUSTED.
  SharerService(const LanguageModel& language_model, Qc2cMetrics& metrics,
                const BatchLimits& limits, uint32_t chunk_bytes, CodecHoldings holdings = {},
                uint64_t max_unsent_bytes = kMaxUnsentBytes);

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context,
                                     const v1::DescribeRequest* request,
                                     v1::ModelCard* card) override;
  grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext* context,
                                     const v1::GenerateRequest* request,
                                     v1::GenerateReply* reply) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Share(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request) override;

  // Refuses new work; what is queued is still worked on.
  void StopAdmitting();

 private:
  class ShareRecord;
  struct GenerateCall;

  absl::Status StartShare(const grpc::ByteBuffer& request,
                          const std::shared_ptr<ShareRecord>& record,
                          const std::shared_ptr<RawStreamWriter>& writer);
  absl::Status StartGenerate(const GenerateCall& call);
  void FinishGenerate(const GenerateCall& call, const absl::StatusOr<GeneratedText>& text);

  const LanguageModel& language_model_;
  Qc2cMetrics& metrics_;
  const uint32_t chunk_bytes_;
  const HeldFiles files_;
  const uint64_t max_unsent_bytes_;
  std::atomic<uint64_t> unsent_bytes_ = 0;
  ShareEngine share_engine_;
  TextGenerator text_generator_;
};

}  // namespace qc2c
