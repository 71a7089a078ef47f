// Pictures of no meaning, and whether what a detector makes of them can be right: a model that is read wrongly shows
// itself before the first frame.
#pragma once

#include <string>
#include <vector>

#include "image.hpp"
#include "model.hpp"

namespace zpipe {

constexpr int dry_pictures = 3;

// Patches of random colours, noise, plain gray: the same each time.
class DryPicture {
  public:
    DryPicture(int number, int width, int height);

    Image image() const { return {pixels_.data(), region_.width, region_.height, ptrdiff_t{3} * region_.width}; }
    Region region() const { return region_; }

  private:
    Region region_;
    std::vector<uint8_t> pixels_;
};

// What cannot be right of the boxes (in input pixels) of all cells or anchors, whatever their confidence, to be read
// after "it returns"; empty where nothing can be said. A model that is read rightly has boxes all over its input.
std::string check_boxes(const std::vector<Detection>& boxes);

} // namespace zpipe
