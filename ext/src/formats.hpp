// Detector output formats: what a model's outputs mean.
//
// A format is one file in formats/ and one line in the table of formats.cpp. It says how to recognise itself, what the
// model wants as input, and how its outputs become boxes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "detections.hpp"
#include "image_input.hpp"
#include "model.hpp"

namespace zpipe {

// Turns one picture's outputs into boxes in input pixels.
class Decoder {
  public:
    virtual ~Decoder() = default;

    // Appends what passes the thresholds. `outputs` are the model's, in its order.
    virtual void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                        std::vector<Detection>& found) const = 0;
    // -1: the outputs do not say.
    virtual int classes() const = 0;
};

struct Format {
    const char* name;
    const char* summary; // the shape of its outputs, for lists in messages
    PixelRule pixels;
    bool overlapping; // boxes still need non-maximum suppression

    // Why the model is of this format; nothing if it is not. At most one format may claim a model.
    std::optional<std::string> (*recognise)(const ModelInfo& info, const ImageInput& input);
    // Throws when the outputs do not fit after all (the user named the format).
    std::unique_ptr<Decoder> (*open)(const ModelInfo& info, const ImageInput& input);
};

struct Recognised {
    const Format* format;
    std::string why;
};

// By name, or by the model's outputs for "auto".
Recognised find_format(const std::string& name, const ModelInfo& info, const ImageInput& input);

} // namespace zpipe
