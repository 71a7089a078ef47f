// A picture that somebody else owns.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zpipe {

// 8-bit BGR pixels with any strides (in bytes, may be negative): sample (x, y, c) is at
// data[y * row + x * column + c * channel]. Valid only for the duration of a call.
struct Image {
    const uint8_t* data = nullptr;
    int width = 0;
    int height = 0;
    ptrdiff_t row = 0;
    ptrdiff_t column = 3;
    ptrdiff_t channel = 1;
};

// Whole pixels, inside the image.
struct Region {
    int x = 0;
    int y = 0;
    int width = 0;
    int height = 0;
};

} // namespace zpipe
