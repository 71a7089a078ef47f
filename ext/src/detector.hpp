// A detector: picture in, boxes out.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "detections.hpp"
#include "formats.hpp"
#include "image_input.hpp"
#include "model.hpp"
#include "preprocess.hpp"

namespace zpipe {

// What the config may say about pixels; what it leaves open comes from the format.
struct PixelOverrides {
    std::optional<Color> color;
    std::optional<std::array<float, 3>> mean;
    std::optional<std::array<float, 3>> scale;

    PixelRule apply(PixelRule rule, int channels) const;
};

struct DetectOptions {
    std::string format = "auto";
    std::optional<std::pair<int, int>> size; // width, height
    PixelOverrides pixels;
    float iou = 0.45f;
    size_t max_objects = 300;
    bool class_agnostic = false;
    int names = -1;  // number of known class names
    int columns = 1; // of tiles; with more than one tile the whole picture is looked at, too
    int rows = 1;
    float tile_overlap = 0.2f; // part of a tile's side
};

// Anything that detects. Thread-safe; calls wait for each other.
class Detector {
  public:
    virtual ~Detector() = default;
    // Boxes in image pixels, clipped, by falling confidence.
    virtual std::vector<Detection> detect(const Image& image) = 0;
    virtual void set_thresholds(Thresholds thresholds) = 0;
    // Before the first frame: runs the model on pictures of no meaning and throws where what it returns cannot be
    // right. Not for the code of others, which may count its pictures.
    virtual void try_out() {}
    virtual int classes() const = 0;                               // -1: unknown
    virtual std::vector<std::string> labels() const { return {}; } // where the model itself names them
    virtual const ModelInfo& info() const = 0;
    virtual Description describe() const = 0;
};

// The parts of an image that are looked at one by one: the whole, and with more than one tile the tiles.
std::vector<Region> tile_regions(int width, int height, int columns, int rows, float overlap);

// Compiles the model for one picture at a time and settles its format.
std::unique_ptr<Detector> open_detector(std::unique_ptr<Model> model, const DetectOptions& options);

} // namespace zpipe
