// A library as somebody might already have it: nothing here knows zpipe.
#pragma once

#include <string>
#include <vector>

struct Frame {
    const unsigned char* bgr;
    int width, height;
    long stride;
};

struct Object {
    int x, y, w, h;
    float score;
    int type; // 0 wide, 1 tall
};

// Finds bright spots.
class Detect {
  public:
    // The config is a file with one number, the gray level from which a spot is bright.
    bool Init(const std::string& config_path, const std::string& device);
    std::vector<Object> Run(const Frame& frame) const;

  private:
    int level_ = 200;
};

struct Color {
    int id; // 0 blue, 1 green, 2 red
    float share;
};

// Says which colour a picture has most of.
class Classify {
  public:
    bool Init(const std::string& config_path, const std::string& device);
    std::vector<Color> Run(const Frame& frame) const;
};
