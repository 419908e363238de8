// The same, for what links libtorch.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <grpcpp/grpcpp.h>

#include <nlohmann/json.hpp>
