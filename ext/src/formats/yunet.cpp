// YuNet: per stride (8, 16, 32) class score, objectness (1, cells, 1), box (1, cells, 4) and five points
// (1, cells, 10), which are ignored. Confidence is the geometric mean of the two scores; the box is relative to its
// cell's corner, its size a logarithm.
// Source: ShiqiYu/libfacedetection.train mmdet/models/dense_heads/yunet_head.py; opencv
// modules/objdetect/src/face_detect.cpp (postProcess). Input BGR 0..255, picture at the left-top corner, padded with
// black.
#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

class Yunet final : public Decoder {
  public:
    Yunet(std::vector<LevelOutputs> levels, bool apply_sigmoid)
        : levels_(std::move(levels)), apply_sigmoid_(apply_sigmoid) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        for (const LevelOutputs& at : levels_) {
            const float* first = outputs[at.outputs[0]].data;
            const float* second = outputs[at.outputs[1]].data;
            const float* box = outputs[at.outputs[2]].data;
            const auto stride = static_cast<float>(at.level.stride);
            for (int cell = 0; cell < at.level.cells(); ++cell, box += 4) {
                const float confidence = std::sqrt(score(first[cell]) * score(second[cell]));
                if (thresholds.keeps(0, confidence)) {
                    found.push_back(from_center((static_cast<float>(cell % at.level.width) + box[0]) * stride,
                                                (static_cast<float>(cell / at.level.width) + box[1]) * stride,
                                                std::exp(box[2]) * stride, std::exp(box[3]) * stride, confidence, 0));
                }
            }
        }
    }
    int classes() const override { return 1; }

  private:
    float score(float value) const { return apply_sigmoid_ ? sigmoid(value) : std::clamp(value, 0.0f, 1.0f); }

    std::vector<LevelOutputs> levels_;
    bool apply_sigmoid_;
};

std::vector<LevelOutputs> match(const ModelInfo& info, const ImageInput& input) {
    // Class score and objectness are interchangeable: they are only multiplied.
    return match_levels(info, input, {8, 16, 32}, 1, {1, 1, 4}, 10);
}

bool fits(const ModelInfo& info, const ImageInput& input) {
    return !match(info, input).empty();
}

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) {
    return "two scores (1, cells, 1) and a box (1, cells, 4) for strides 8, 16, 32";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    auto levels = match(info, input);
    const bool apply_sigmoid = lacks_sigmoid(info.outputs[levels[0].outputs[0]]);
    return std::make_unique<Yunet>(std::move(levels), apply_sigmoid);
}

PixelRule pixels() {
    PixelRule rule;
    rule.color = Color::bgr;
    rule.fit = Fit::letterbox_corner;
    rule.padding = 0;
    return rule;
}

} // namespace

const Format yunet{"yunet",   "",   "two (1, cells, 1), (1, cells, 4) and (1, cells, 10) for strides 8, 16, 32",
                   pixels(),  true, fits,
                   recognise, open};

} // namespace zpipe::formats
