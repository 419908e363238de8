// From a point's answers to its line of results/points.jsonl.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/point.h"
#include "experiments/prediction.h"

namespace qc2c {

// The point that others are compared with, on the same dataset.
struct Reference {
  std::string point;
  const std::vector<Prediction>& predictions;
};

// One line. REQUIRES: `predictions` is not empty and complete. `reference` may be nullptr; pairs
// are formed by id, over the ids that both have. Bytes are means a question; times are
// milliseconds, stages means; latency_ms.wall is the run's time a question with all questions in
// flight, latency_ms.p50 what one question took from its arrival at the receiver. versus.kl is the
// mean divergence of the option distribution from the reference's, where options were scored.
nlohmann::ordered_json SummarizePoint(const Point& point, const std::string& dataset,
                                      const std::vector<Prediction>& predictions,
                                      const Reference* reference);

}  // namespace qc2c
