// A classifier: a picture and boxes in, the best classes of each box out.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "detector.hpp"
#include "image_input.hpp"
#include "model.hpp"
#include "preprocess.hpp"

namespace zpipe {

enum class Crop {
    stretch,   // the box as it is
    square,    // widened to a square as far as the image allows
    letterbox, // the box, aspect kept, padded
};

// What the model's output holds.
enum class Output {
    automatic,     // logits, probabilities or sigmoid, by the last operation of the graph
    logits,        // one class of many: softmax
    probabilities, // as they come
    sigmoid,       // any number of classes at once: a sigmoid each, unless the graph ends in one
    value,         // numbers, for example an age
    embedding,     // a vector
};

const char* output_name(Output output) noexcept;

struct ClassifyOptions {
    std::optional<std::pair<int, int>> size; // width, height
    PixelOverrides pixels;
    Crop crop = Crop::stretch;
    float margin = 0; // each side of a box moves out by this part of its width (height)
    Output output = Output::automatic;
    std::string head; // the name of the output that is read; empty: the only one
    int top_k = 1;
    float threshold = 0;
    int batch = 0; // most crops in one run; 0: what is fastest on the device
};

struct Box {
    float x, y, w, h;
};

// Rows of top_k entries, by falling confidence; label_id -1 where a row has no more.
struct ClassRows {
    int per_row = 0;
    std::vector<int32_t> label_ids;
    std::vector<float> confidences;
    // Instead of classes, for values and embeddings: `columns` numbers per row.
    int64_t columns = 0;
    std::vector<float> values;
};

// Anything that classifies. Thread-safe; calls wait for each other.
class Classifier {
  public:
    virtual ~Classifier() = default;
    virtual ClassRows classify(const Image& image, const std::vector<Box>& boxes) = 0;
    // Before the first frame, as a detector's.
    virtual void try_out() {}
    virtual int classes() const = 0;                               // -1: unknown
    virtual std::vector<std::string> labels() const { return {}; } // where the model itself names them
    virtual const ModelInfo& info() const = 0;
    virtual Description describe() const = 0;
};

// Compiles the model (for any number of crops, where it allows that) and settles what its output is.
std::unique_ptr<Classifier> open_classifier(std::unique_ptr<Model> model, const ClassifyOptions& options);

// The whole pixels of a box with its margin, inside the image; at least one pixel.
Region crop_region(const Box& box, Crop crop, float margin, int width, int height);

} // namespace zpipe
