// How much an answer suffers when one tensor of the sharer's cache is quantized, tensor by tensor
// and scheme by scheme: what a byte budget can be weighted by (common/serving/sensitivity_file.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/fuser/fuser.h"
#include "experiments/train/documents.h"

namespace qc2c {

struct SensitivityRequest {
  std::filesystem::path receiver;  // model folder
  std::filesystem::path sharer;    // model folder
  std::filesystem::path fuser;
  std::filesystem::path documents;  // questions with their answers; should not be those of a test
  std::filesystem::path out;        // the file to write
  std::vector<std::string> schemes = {"int4", "int2_lloyd", "none"};  // codecs, or "none"
  int64_t limit = 256;  // documents of each kind; 0: all
  int64_t batch_size = 64;
  int threads = 1;
  std::string device = "cpu";
  at::ScalarType dtype = at::kFloat;
};

struct Sensitivity {
  KvTensorId tensor;
  std::string scheme;
  // (sent - own)^2, summed over the tensor, mean over documents. A token that several of the
  // receiver's take (alignment `span`) counts each time, though it is sent once.
  double squared_error = 0;
  // Nats: the mean log-probability a token of the right answer with the whole cache as it is, less
  // the same with this tensor quantized; the mean over documents, of answers without options over
  // the tokens of a batch first. May be negative.
  double loss_increase = 0;
};

// Puts one tensor of a sharer's cache through a codec, row by row at the selected tokens (the
// first of each row). "none": it is not sent. The result is the squared error, summed.
// INVALID_ARGUMENT as from CodecSpec::Parse and EncodeCache.
absl::StatusOr<double> QuantizeTensor(const KvTensorId& tensor, const std::string& scheme,
                                      SharerCache& cache);

// Measures every tensor that an open gate reads and writes request.out; prints a line each.
absl::Status MeasureSensitivity(const SensitivityRequest& request);

}  // namespace qc2c
