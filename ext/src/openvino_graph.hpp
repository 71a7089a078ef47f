// What a graph in OpenVINO's form says about a model.
#pragma once

#include <openvino/core/model.hpp>

#include "model.hpp"

namespace zpipe {

// Inputs with their heads, outputs with their tails and activations, metadata.
void describe_graph(const ov::Model& model, ModelInfo& info);

// The output shapes again, after the input shapes were settled.
void describe_output_shapes(const ov::Model& model, ModelInfo& info);

} // namespace zpipe
