// The interfaces: a loaded model that turns tensors into tensors, and what the rest of the core builds on it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "image.hpp"

namespace zpipe {

using Shape = std::vector<int64_t>; // -1: any size

std::string shape_text(const Shape& shape); // "(?, 3, 416, 416)"

// An input or output of a model, as its file states it.
struct Port {
    std::string name;
    std::string type; // "f32", "f16", "i64", ...
    Shape shape;
    // Outputs only, read from the graph; empty where no graph is known (then nothing is concluded from it).
    std::vector<std::string> tail; // kinds of operations between the last convolution or product and this output
    std::string activation;        // the last operation that changes values: "Softmax", "Sigmoid", "Convolution", ...
    // Inputs only: kinds of operations on the picture before the first convolution or product.
    std::vector<std::string> head{};
};

struct ModelInfo {
    std::string file;
    std::string runtime;
    std::string device;
    std::string precision;   // of the computation, once compiled
    bool batches_pay = true; // several pictures in one run are faster than one after the other
    std::vector<Port> inputs;
    std::vector<Port> outputs;
    std::map<std::string, std::string> metadata; // what the exporter wrote into the file
    int names =
        -1; // number of class names that are known, from the config or the metadata; tells similar formats apart
};

std::string ports_text(const std::vector<Port>& ports); // one line each, for error messages

// A tensor that the model owns, valid until its next run. Values are float whatever the model's own type; indices
// and labels are exact up to 2^24.
struct Tensor {
    const float* data = nullptr;
    Shape shape;

    size_t elements() const;
};

// One implementation per runtime. Not for two threads at once.
class Model {
  public:
    virtual ~Model() = default;

    virtual const ModelInfo& info() const = 0;

    // Fixes the input shapes (-1 stays open) and makes the model ready to run; called once.
    virtual void compile(const std::vector<Shape>& input_shapes) = 0;

    // Memory of input `index` for a tensor of this shape, to be filled before run().
    virtual float* input(size_t index, const Shape& shape) = 0;
    virtual void run() = 0;
    virtual Tensor output(size_t index) = 0;
};

struct OpenVinoOptions {
    std::string device = "CPU";
    std::string precision = "auto"; // auto, f32, bf16, f16
    std::string cache_dir;          // of compiled models; empty: none
    int threads = 1;
};

// Reads the file; compiling follows.
std::unique_ptr<Model> read_openvino_model(const std::string& file, const OpenVinoOptions& options);

// The output shapes that follow from these input shapes, by OpenVINO's rules, for runtimes that cannot tell.
std::vector<Shape> openvino_output_shapes(const std::string& file, const std::vector<Shape>& input_shapes);

// A found object: corners in pixels, either of the model's input or of the image, as the place says.
struct Detection {
    float left = 0;
    float top = 0;
    float right = 0;
    float bottom = 0;
    float confidence = 0;
    int label_id = 0;
};

// What describes an opened model to a person, key and text, in display order.
using Description = std::vector<std::pair<std::string, std::string>>;

} // namespace zpipe
