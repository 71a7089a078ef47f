// SCRFD: per stride (8, 16, 32), for two anchors in each cell, a score (cells * 2, 1), the distances to the sides in
// strides (cells * 2, 4) and, ignored, five points (cells * 2, 10); with or without a batch dimension.
// Source: deepinsight/insightface detection/scrfd/tools/scrfd.py (forward, distance2bbox). Input RGB,
// (level - 127.5) / 128, picture at the left-top corner, padded with black.
#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

constexpr int anchors = 2;

class Scrfd final : public Decoder {
  public:
    Scrfd(std::vector<LevelOutputs> levels, bool apply_sigmoid)
        : levels_(std::move(levels)), apply_sigmoid_(apply_sigmoid) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        for (const LevelOutputs& at : levels_) {
            const float* scores = outputs[at.outputs[0]].data;
            const float* box = outputs[at.outputs[1]].data;
            const auto stride = static_cast<float>(at.level.stride);
            for (int64_t i = 0; i < at.level.cells() * anchors; ++i, box += 4) {
                const float confidence = apply_sigmoid_ ? sigmoid(scores[i]) : scores[i];
                if (thresholds.keeps(0, confidence)) {
                    const auto cell = static_cast<int>(i / anchors);
                    const auto x = static_cast<float>(cell % at.level.width);
                    const auto y = static_cast<float>(cell / at.level.width);
                    found.push_back({(x - box[0]) * stride, (y - box[1]) * stride, (x + box[2]) * stride,
                                     (y + box[3]) * stride, confidence, 0});
                }
            }
        }
    }
    int classes() const override { return 1; }

  private:
    std::vector<LevelOutputs> levels_;
    bool apply_sigmoid_;
};

std::vector<LevelOutputs> match(const ModelInfo& info, const ImageInput& input) {
    return match_levels(info, input, {8, 16, 32}, anchors, {1, 4}, 10);
}

bool fits(const ModelInfo& info, const ImageInput& input) {
    return !match(info, input).empty();
}

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) {
    return "a score and a box for two anchors per cell of strides 8, 16, 32";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    auto levels = match(info, input);
    const bool apply_sigmoid = lacks_sigmoid(info.outputs[levels[0].outputs[0]]);
    return std::make_unique<Scrfd>(std::move(levels), apply_sigmoid);
}

PixelRule pixels() {
    PixelRule rule;
    rule.fit = Fit::letterbox_corner;
    rule.padding = 0;
    rule.mean = {127.5f, 127.5f, 127.5f};
    rule.scale = {1 / 128.0f, 1 / 128.0f, 1 / 128.0f};
    return rule;
}

} // namespace

const Format scrfd{"scrfd",   "",   "(2 * cells, 1), (2 * cells, 4) and (2 * cells, 10) for strides 8, 16, 32",
                   pixels(),  true, fits,
                   recognise, open};

} // namespace zpipe::formats
