// The request that asks one question at one point.
#pragma once

#include <vector>

#include "experiments/recipe.h"
#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

// How the answers of a point are asked for and read: the receiver's as the dataset says, the
// sharer's own (sharer, text_answer) always as text, and as the prompt format says.
struct AnswerFormat {
  v1::AnswerMethod method = v1::ANSWER_METHOD_UNSPECIFIED;
  uint32_t max_new_tokens = 0;  // for GENERATE
  Extraction extract = Extraction::kExact;
};
AnswerFormat AnswerFormatOf(const Dataset& dataset, const Point& point);

// REQUIRES: dataset.LoadDatasets has passed, `index` is a question of it. The wrong question of a
// control is the one half the file away: never the same, and no neighbour about the same thing.
v1::AnswerRequest RequestFor(const Dataset& dataset, const Point& point, size_t index);

// The same for a question outside any dataset. `other` is read by CONTROL_WRONG_QUESTION alone.
v1::AnswerRequest MakeRequest(const PromptFormat& format, const Point& point,
                              const Question& question, const Question& other);

}  // namespace qc2c
