// From a picture (or a part of it) to a model's input tensor: letterbox, resize, colour order, normalisation.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "image.hpp"
#include "resize.hpp"

namespace zpipe {

enum class Color { rgb, bgr, gray };
enum class Fit {
    stretch,          // both sides scaled to the input, whatever the aspect
    letterbox_center, // aspect kept, the rest padded on both sides (Ultralytics)
    letterbox_corner, // aspect kept, picture at the left-top corner (YOLOX)
};

const char* color_name(Color color) noexcept;
const char* fit_name(Fit fit) noexcept;
std::string channels_text(const std::array<float, 3>& numbers, Color color); // "123.7, 116.3, 103.5"

// How a model wants its pixels: (level - mean) * scale, mean and scale in the order of `color`.
struct PixelRule {
    Color color = Color::rgb;
    Fit fit = Fit::letterbox_center;
    std::array<float, 3> mean{0, 0, 0};
    std::array<float, 3> scale{1, 1, 1};
    float padding = 114; // gray level of what a letterbox adds
};

// The size and memory order of one picture in an input tensor.
struct InputPlan {
    int width = 0;
    int height = 0;
    int channels = 3;
    bool nhwc = false;

    size_t elements() const { return static_cast<size_t>(width) * height * channels; }
};

// Where a picture lies in the input; turns input coordinates back into image coordinates.
struct Placement {
    float left = 0; // of the scaled picture in the input
    float top = 0;
    float scale_x = 1; // input pixels per image pixel
    float scale_y = 1;
    float origin_x = 0; // of the region in the image
    float origin_y = 0;

    float image_x(float x) const { return (x - left) / scale_x + origin_x; }
    float image_y(float y) const { return (y - top) / scale_y + origin_y; }
};

// Writes regions of pictures into input tensors. Keeps its scratch memory between calls; not for two threads at once.
class Preprocessor {
  public:
    Preprocessor() = default;
    Preprocessor(const InputPlan& plan, const PixelRule& rule);

    const InputPlan& plan() const { return plan_; }
    const PixelRule& rule() const { return rule_; }

    // Fills plan().elements() floats.
    Placement write(const Image& image, const Region& region, float* to);

  private:
    Placement place(const Region& region, int& width, int& height) const;
    void pad(float* to, int left, int top, int width, int height) const;
    void write_row_elsewhere(const std::array<float*, 3>& levels, int width, float* to);

    InputPlan plan_;
    PixelRule rule_;
    Affine affine_;                  // of the source channels B, G, R
    std::array<float, 3> padding_{}; // normalised, per channel of the tensor
    Resizer resizer_;
    std::vector<float> scratch_;
};

} // namespace zpipe
