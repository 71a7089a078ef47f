#include "vision.hpp"

#include <algorithm>
#include <fstream>

namespace {

constexpr int cell = 8; // spots are found on a grid of squares of this many pixels

// Mean gray level of each square.
std::vector<int> levels(const Frame& frame, int columns, int rows) {
    std::vector<int> sums(static_cast<size_t>(columns) * rows, 0);
    for (int y = 0; y < rows * cell; ++y) {
        const unsigned char* p = frame.bgr + y * frame.stride;
        for (int x = 0; x < columns * cell; ++x, p += 3) {
            sums[static_cast<size_t>(y / cell) * columns + x / cell] += p[0] + p[1] + p[2];
        }
    }
    for (int& sum : sums) {
        sum /= 3 * cell * cell;
    }
    return sums;
}

} // namespace

bool Detect::Init(const std::string& config_path, const std::string& device) {
    if (device != "CPU") {
        return false;
    }
    std::ifstream file(config_path);
    return config_path.empty() || static_cast<bool>(file >> level_);
}

std::vector<Object> Detect::Run(const Frame& frame) const {
    const int columns = frame.width / cell;
    const int rows = frame.height / cell;
    std::vector<int> level = levels(frame, columns, rows);
    std::vector<Object> objects;
    std::vector<int> open;
    for (int start = 0; start < columns * rows; ++start) {
        if (level[start] < level_) {
            continue;
        }
        int left = columns, top = rows, right = 0, bottom = 0, count = 0, sum = 0;
        open.assign(1, start);
        while (!open.empty()) {
            const int at = open.back();
            open.pop_back();
            if (level[at] < level_) {
                continue;
            }
            const int x = at % columns, y = at / columns;
            left = std::min(left, x), right = std::max(right, x + 1);
            top = std::min(top, y), bottom = std::max(bottom, y + 1);
            sum += level[at], ++count;
            level[at] = -1; // seen
            if (x > 0)
                open.push_back(at - 1);
            if (x + 1 < columns)
                open.push_back(at + 1);
            if (y > 0)
                open.push_back(at - columns);
            if (y + 1 < rows)
                open.push_back(at + columns);
        }
        const int w = (right - left) * cell, h = (bottom - top) * cell;
        objects.push_back({left * cell, top * cell, w, h, static_cast<float>(sum) / (255.0f * count), h > w});
    }
    return objects;
}

bool Classify::Init(const std::string&, const std::string& device) {
    return device == "CPU";
}

std::vector<Color> Classify::Run(const Frame& frame) const {
    double sums[3] = {1, 1, 1};
    for (int y = 0; y < frame.height; ++y) {
        for (int x = 0; x < 3 * frame.width; ++x) {
            sums[x % 3] += frame.bgr[y * frame.stride + x];
        }
    }
    const double all = sums[0] + sums[1] + sums[2];
    std::vector<Color> colors;
    for (int i = 0; i < 3; ++i) {
        colors.push_back({i, static_cast<float>(sums[i] / all)});
    }
    std::stable_sort(colors.begin(), colors.end(), [](const Color& a, const Color& b) { return a.share > b.share; });
    return colors;
}
