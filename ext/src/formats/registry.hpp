// All formats there are, and what their files share.
#pragma once

#include "formats.hpp"

namespace zpipe::formats {

extern const Format yolov5;
extern const Format yolov8;
extern const Format yolox;

// RGB 0..1, centred letterbox: what most YOLO exports want.
PixelRule unit_rgb();

inline Detection from_center(float x, float y, float w, float h, float confidence, int label) {
    return {x - w / 2, y - h / 2, x + w / 2, y + h / 2, confidence, label};
}

// The graph computes on this output behind its last convolution (grids, anchors, strides), so boxes are ready.
bool is_decoded(const Port& output);
// The graph is known and does nothing of the kind.
bool is_raw(const Port& output);

} // namespace zpipe::formats
