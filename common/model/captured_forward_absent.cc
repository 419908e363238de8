// Built without CUDA: there is no pass to capture.
#include "common/model/captured_forward.h"

namespace qc2c {

struct CapturedForward::Impl {
  Forward forward;
};

CapturedForward::CapturedForward(Forward forward, uint64_t)
    : impl_(std::make_unique<Impl>(Impl{std::move(forward)})) {}
CapturedForward::~CapturedForward() = default;

bool CapturedForward::Takes(const TokenBatch&, const KvCache*) { return false; }

ForwardResult CapturedForward::Run(const TokenBatch& tokens, const KvCache* past) {
  return impl_->forward(tokens, past);
}

}  // namespace qc2c
