#include "dry_run.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace zpipe {

DryPicture::DryPicture(int number, int width, int height)
    : region_{0, 0, width, height}, pixels_(size_t{3} * static_cast<size_t>(width) * static_cast<size_t>(height), 114) {
    constexpr std::array<int, dry_pictures> patches{16, 1, 0}; // their side in pixels; 0: none
    const int side = patches[static_cast<size_t>(number)];
    if (side == 0) {
        return;
    }
    const auto row_bytes = size_t{3} * static_cast<size_t>(width);
    uint32_t random = 1;
    for (int y = 0; y < height; ++y) {
        uint8_t* row = pixels_.data() + static_cast<size_t>(y) * row_bytes;
        if (y % side != 0) {
            std::copy_n(row - row_bytes, row_bytes, row);
            continue;
        }
        for (int x = 0; x < width; ++x) {
            random = x % side == 0 ? random * 1664525 + 1013904223 : random; // Knuth's and Lewis' generator
            for (int c = 0; c < 3; ++c) {
                *row++ = static_cast<uint8_t>(random >> (8 + 8 * c));
            }
        }
    }
}

std::string check_boxes(const std::vector<Detection>& boxes) {
    constexpr size_t enough_to_tell = 10;
    constexpr float small_px = 2;
    constexpr float same_px = 0.01f;
    if (boxes.size() < enough_to_tell) {
        return "";
    }
    float longest = 0;
    float farthest_apart = 0;
    const Detection& first = boxes.front();
    for (const Detection& box : boxes) {
        // Numbers that are none compare as false; the frame's own check drops such boxes.
        longest = std::max({longest, box.right - box.left, box.bottom - box.top});
        for (const float apart :
             {box.left - first.left, box.top - first.top, box.right - first.right, box.bottom - first.bottom}) {
            farthest_apart = std::max(farthest_apart, std::abs(apart));
        }
    }
    if (longest < small_px) {
        return "boxes that are all smaller than 2 pixels";
    }
    return farthest_apart < same_px ? "the same box " + std::to_string(boxes.size()) + " times" : "";
}

} // namespace zpipe
