// Bilinear resizing of 8-bit BGR to planar float rows, normalised on the way.
#pragma once

#include <array>
#include <vector>

#include "image.hpp"

namespace zpipe {

// value = gray level * factor + offset, per source channel (B, G, R).
struct Affine {
    std::array<float, 3> factor{1, 1, 1};
    std::array<float, 3> offset{0, 0, 0};
};

// Which two source samples make an output sample: their indices, and their weights in 1/2048.
struct Tap {
    int first = 0;
    int second = 0;
    int16_t first_weight = 0;
    int16_t second_weight = 0;
};

// Scales a region of an image to width x height and hands out one row at a time. Bit for bit the levels of cv2.resize
// with INTER_LINEAR, whose fixed-point arithmetic (11-bit weights, truncated products) is repeated here: models were
// trained and are compared behind it, and some are sensitive to a quarter of a gray level. Reuses its memory.
class Resizer {
  public:
    void begin(const Image& image, const Region& region, int width, int height);

    // Writes row y of the result to three arrays of `width` floats, for B, G and R.
    void row(int y, const Affine& affine, const std::array<float*, 3>& planes);

  private:
    const uint8_t* source_row(int y);

    Image image_;
    Region region_;
    int width_ = 0;
    bool packed_ = false; // samples of a row lie side by side, so rows are read in place
    std::vector<Tap> columns_;
    std::vector<Tap> rows_;
    // For the fast path: byte offset of the first pixel of a column and both weights in one word.
    std::vector<int> offsets_;
    std::vector<int> weights_;
    int fast_columns_ = 0; // from here on, eight bytes at an offset would reach past the row
    // Copies of up to two source rows, for images whose samples are not side by side.
    std::array<std::vector<uint8_t>, 2> copies_;
    std::array<int, 2> copied_rows_{-1, -1};
    int oldest_copy_ = 0;
};

} // namespace zpipe
