// Detector output formats: what a model's outputs mean.
//
// A format is one file in formats/ and one line in the table of formats.cpp. It says how to recognise itself, what the
// model wants as input, and how its outputs become boxes. Nothing is guessed: where shapes allow two readings, metadata
// and the graph decide, or the user is asked to name the format.
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
    // Where what comes out cannot be right: another model that looks like this one; empty or a sentence.
    virtual std::string lookalike() const { return ""; }
};

struct Format {
    const char* name;    // what `format` in the config says; several may share it
    const char* variant; // which of them this is; empty if there is one
    const char* outputs; // for messages
    PixelRule pixels;
    bool overlapping; // boxes still need non-maximum suppression

    // Could the outputs be of this format, by their shapes and names?
    bool (*fits)(const ModelInfo& info, const ImageInput& input);
    // Why they are, beyond doubt, where they fit; nothing if they may be something else. At most one format may claim a
    // model.
    std::optional<std::string> (*recognise)(const ModelInfo& info, const ImageInput& input);
    // For a model that fits.
    std::unique_ptr<Decoder> (*open)(const ModelInfo& info, const ImageInput& input);

    std::string title() const { return name + (*variant ? std::string(" (") + variant + ")" : ""); }
};

struct Recognised {
    const Format* format;
    std::string why;
};

// What `format` in the config may say beside "auto".
std::vector<std::string> format_names();

// By name, or by the model's outputs for "auto".
Recognised find_format(const std::string& name, const ModelInfo& info, const ImageInput& input);

} // namespace zpipe
