// What the families differ in, and what transformers assumes for fields that they leave out.
#pragma once

#include <cstdint>
#include <string>

#include "common/model/model_config.h"

namespace qc2c {

struct ModelFamily {
  const char* architecture;  // as config.json names it in `architectures`
  const char* model_type;
  ModelConfig::Traits traits;

  // config.json: the field of the activation, the value that means traits.activation, and whether
  // it must be there.
  const char* activation_field;
  const char* activation_name;
  enum class Presence { kRequired, kOptional } activation_presence;

  int32_t head_dim_if_absent;  // 0: hidden_size / num_heads
  ModelConfig::Embedding embedding_if_absent;
  // Some layers attend to a window only, with a rotation of their own.
  enum class Windows { kNone, kSomeLayers } windows;
};

// nullptr for an architecture that is not known. What it points to lives as long as the program.
const ModelFamily* FindFamily(const std::string& architecture);

// For messages: "A, B, C or D".
std::string ArchitectureNames();

}  // namespace qc2c
