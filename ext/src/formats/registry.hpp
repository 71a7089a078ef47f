// All formats there are, and what their files share.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>
#include <vector>

#include "formats.hpp"

namespace zpipe::formats {

extern const Format detection_output;
extern const Format detr_joined;
extern const Format detr_selected;
extern const Format detr_sigmoid;
extern const Format detr_softmax;
extern const Format nanodet;
extern const Format nanodet_plus;
extern const Format picodet;
extern const Format picodet_selected;
extern const Format rtmdet;
extern const Format scrfd;
extern const Format ssd_tensorflow;
extern const Format ssd_torchvision;
extern const Format ultraface;
extern const Format yolov10;
extern const Format yolov5;
extern const Format yolov5_face;
extern const Format yolov5_undecoded;
extern const Format yolov8;
extern const Format yolox;
extern const Format yunet;

// Pixels.

// RGB 0..1, centred letterbox: what most YOLO exports want.
PixelRule unit_rgb(Fit fit = Fit::letterbox_center);
// The ImageNet statistics that many trainers use, for gray levels.
PixelRule imagenet(Color color, Fit fit, float padding);

// Outputs as the model states them.

// Is this dimension n, or open?
inline bool may_be(int64_t dimension, int64_t n) {
    return dimension < 0 || dimension == n;
}
bool is_integer(const Port& port);
bool has_metadata(const ModelInfo& info, const char* key);
// Ultralytics writes its class names and strides into every export.
bool is_ultralytics(const ModelInfo& info);
bool tail_has(const Port& output, std::initializer_list<const char*> kinds);
// The graph computes on this output behind its last convolution (grids, anchors, strides), so boxes are ready.
bool is_decoded(const Port& output);
// The graph is known and does nothing of the kind.
bool is_raw(const Port& output);
// The graph selects boxes itself.
bool has_selection(const Port& output);
// The graph is known and has no sigmoid behind the last convolution.
bool lacks_sigmoid(const Port& output);
// The last part of a name like "model/detection_boxes:0".
std::string plain_name(const Port& port);
// The index of the only output that fits; -1 if none or several do.
template <typename Fits> int only_output(const ModelInfo& info, Fits fits) {
    int found = -1;
    for (size_t i = 0; i < info.outputs.size(); ++i) {
        if (fits(info.outputs[i])) {
            if (found >= 0) {
                return -1;
            }
            found = static_cast<int>(i);
        }
    }
    return found;
}
// Throws unless the shape at run time is what the format expects (-1: any); open dimensions only show then.
void expect_shape(const char* format, const Tensor& tensor, const Shape& expected);

// Grids over the input.

struct Level {
    int stride;
    int width;
    int height;

    int64_t cells() const { return static_cast<int64_t>(width) * height; }
};
std::vector<Level> grid_levels(const InputPlan& plan, std::initializer_list<int> strides);
int64_t cells(const ImageInput& input, std::initializer_list<int> strides);

// For each level the indices of its outputs whose last dimension is one of `widths`, in that order (a width may stand
// there twice); rows are `per_cell` for each cell, with or without a leading batch dimension. Empty when not every
// output is found or not all found are used, save those of `ignored` width.
struct LevelOutputs {
    Level level;
    std::vector<size_t> outputs;
};
std::vector<LevelOutputs> match_levels(const ModelInfo& info, const ImageInput& input,
                                       std::initializer_list<int> strides, int per_cell,
                                       const std::vector<int64_t>& widths, int64_t ignored = -1);

// Numbers.

inline float sigmoid(float x) {
    return 1.0f / (1.0f + std::exp(-x));
}

inline Detection from_center(float x, float y, float w, float h, float confidence, int label) {
    return {x - w / 2, y - h / 2, x + w / 2, y + h / 2, confidence, label};
}

// A label that the model gives as a number; -1 if it is none.
inline int to_label(float value) {
    return value >= 0 && value < 1e6f ? static_cast<int>(value) : -1;
}

// Distance to the four sides in strides, each the mean of a distribution over 0 .. bins - 1 given as logits
// (distribution focal loss).
Detection from_distributions(float x, float y, const float* logits, int bins, float stride, float confidence,
                             int label);

struct Best {
    int label;
    float score;
};
inline Best best_of(const float* scores, int count) {
    const float* best = std::max_element(scores, scores + count);
    return {static_cast<int>(best - scores), *best};
}

} // namespace zpipe::formats
