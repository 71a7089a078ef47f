#include "preprocess.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace zpipe {

namespace {

// The tensor's channel that source channel c (B, G, R) goes to.
int tensor_channel(Color color, int c) {
    return color == Color::rgb ? 2 - c : c;
}

// Luminance weights of BT.601 for B, G, R, as in cv2.cvtColor(..., COLOR_BGR2GRAY).
constexpr std::array<float, 3> luminance{0.114f, 0.587f, 0.299f};

} // namespace

const char* color_name(Color color) noexcept {
    return color == Color::rgb ? "rgb" : color == Color::bgr ? "bgr" : "gray";
}

std::string channels_text(const std::array<float, 3>& numbers, Color color) {
    char text[64];
    const std::array<double, 3> n{numbers[0], numbers[1], numbers[2]};
    const bool alike = color == Color::gray || (n[0] == n[1] && n[1] == n[2]);
    std::snprintf(text, sizeof text, alike ? "%.6g" : "%.6g, %.6g, %.6g", n[0], n[1], n[2]);
    return text;
}

const char* fit_name(Fit fit) noexcept {
    switch (fit) {
    case Fit::stretch:
        return "stretched";
    case Fit::letterbox_center:
        return "letterboxed, centred";
    case Fit::letterbox_corner:
        return "letterboxed, left-top";
    }
    return "?";
}

Preprocessor::Preprocessor(const InputPlan& plan, const PixelRule& rule) : plan_(plan), rule_(rule) {
    for (int c = 0; c < 3; ++c) {
        // Gray has one mean and scale, the first.
        const int t = rule.color == Color::gray ? 0 : tensor_channel(rule.color, c);
        affine_.factor[c] = rule.scale[t];
        affine_.offset[c] = -rule.mean[t] * rule.scale[t];
        padding_[t] = (rule.padding - rule.mean[t]) * rule.scale[t];
    }
}

// The scaled size and its place. Sizes are rounded to the nearest (even) pixel, and the odd one of padding goes to the
// right and bottom, as Ultralytics does it (YOLOX's demo cuts instead, which squeezes by up to one row); boxes are
// mapped back by the one ratio.
Placement Preprocessor::place(const Region& region, int& width, int& height) const {
    Placement placement;
    placement.origin_x = static_cast<float>(region.x);
    placement.origin_y = static_cast<float>(region.y);
    if (rule_.fit == Fit::stretch) {
        width = plan_.width;
        height = plan_.height;
        placement.scale_x = static_cast<float>(width) / region.width;
        placement.scale_y = static_cast<float>(height) / region.height;
        return placement;
    }
    const double ratio =
        std::min(static_cast<double>(plan_.width) / region.width, static_cast<double>(plan_.height) / region.height);
    width = std::clamp(static_cast<int>(std::nearbyint(region.width * ratio)), 1, plan_.width);
    height = std::clamp(static_cast<int>(std::nearbyint(region.height * ratio)), 1, plan_.height);
    if (rule_.fit == Fit::letterbox_center) {
        placement.left = static_cast<float>((plan_.width - width) / 2);
        placement.top = static_cast<float>((plan_.height - height) / 2);
    }
    placement.scale_x = placement.scale_y = static_cast<float>(ratio);
    return placement;
}

// Fills all of the input that the picture does not cover.
void Preprocessor::pad(float* to, int left, int top, int width, int height) const {
    const int planes = plan_.nhwc ? 1 : plan_.channels;
    const int samples = plan_.nhwc ? plan_.channels : 1;
    const size_t line = static_cast<size_t>(plan_.width) * samples;
    for (int p = 0; p < planes; ++p) {
        float* plane = to + p * line * plan_.height;
        const auto fill = [&](size_t from, size_t until) {
            if (samples == 1) {
                std::fill(plane + from, plane + until, padding_[p]);
                return;
            }
            for (size_t i = from; i < until; ++i) {
                plane[i] = padding_[i % samples];
            }
        };
        fill(0, top * line);
        for (int y = top; plan_.width > width && y < top + height; ++y) {
            fill(y * line, y * line + static_cast<size_t>(left) * samples);
            fill(y * line + static_cast<size_t>(left + width) * samples, (y + 1) * line);
        }
        fill((top + height) * line, plan_.height * line);
    }
}

// The layouts that are not three planes: interleaved colour, and gray.
void Preprocessor::write_row_elsewhere(const std::array<float*, 3>& levels, int width, float* to) {
    if (plan_.channels == 1) {
        for (int x = 0; x < width; ++x) {
            const float gray = luminance[0] * levels[0][x] + luminance[1] * levels[1][x] + luminance[2] * levels[2][x];
            to[x] = std::nearbyint(gray) * affine_.factor[0] + affine_.offset[0];
        }
        return;
    }
    for (int c = 0; c < 3; ++c) {
        const int t = tensor_channel(rule_.color, c);
        for (int x = 0; x < width; ++x) {
            to[3 * x + t] = levels[c][x];
        }
    }
}

Placement Preprocessor::write(const Image& image, const Region& region, float* to) {
    int width = 0;
    int height = 0;
    const Placement placement = place(region, width, height);
    const int left = static_cast<int>(placement.left);
    const int top = static_cast<int>(placement.top);
    if (width < plan_.width || height < plan_.height) {
        pad(to, left, top, width, height);
    }
    resizer_.begin(image, region, width, height);
    const bool three_planes = plan_.channels == 3 && !plan_.nhwc;
    const size_t plane = static_cast<size_t>(plan_.width) * plan_.height;
    const Affine identity;
    std::array<float*, 3> rows{};
    if (!three_planes) {
        scratch_.resize(3 * static_cast<size_t>(width));
        rows = {scratch_.data(), scratch_.data() + width, scratch_.data() + 2 * static_cast<size_t>(width)};
    }
    for (int y = 0; y < height; ++y) {
        const size_t at = static_cast<size_t>(top + y) * plan_.width + left;
        if (three_planes) {
            for (int c = 0; c < 3; ++c) {
                rows[c] = to + tensor_channel(rule_.color, c) * plane + at;
            }
            resizer_.row(y, affine_, rows);
        } else {
            resizer_.row(y, plan_.channels == 1 ? identity : affine_, rows);
            write_row_elsewhere(rows, width, to + at * plan_.channels);
        }
    }
    return placement;
}

} // namespace zpipe
