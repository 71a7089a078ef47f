// Which input of a model takes the picture, and in which memory order.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "model.hpp"
#include "preprocess.hpp"

namespace zpipe {

struct ImageInput {
    size_t index = 0;
    InputPlan plan;      // width and height are 0 where the model leaves them open
    bool batched = true; // has a leading batch dimension
    bool any_batch = false;

    // The tensor shape for a number of pictures; -1 for an open number.
    Shape shape(int64_t pictures) const;
};

// Throws when no input, or more than one, looks like a picture, or when `size` (width, height) contradicts a fixed one.
// An open size is taken from `size`, else from the exporter's metadata, else it is an error that asks for it.
ImageInput find_image_input(const ModelInfo& info, const std::optional<std::pair<int, int>>& size);

// Is this an input for the size that boxes are to be scaled to (or that the picture had)?
bool is_size_input(const Port& port);

// The input shapes to compile for: the picture's as planned, all others as the model has them, their batch as the
// picture's.
std::vector<Shape> input_shapes(const ModelInfo& info, const ImageInput& image, int64_t pictures);

// Fills the inputs beside the picture, once, so that boxes come in input pixels: sizes and scale factors, by the names
// that exporters give them. Throws for an input of unknown meaning.
void fill_side_inputs(Model& model, const ImageInput& image);

} // namespace zpipe
