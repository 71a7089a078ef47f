// YOLOX: one output (1, N, 5 + C) straight from the head: offsets to the grid cell, logarithm of the size, objectness
// and class scores after the sigmoid. Strides 8, 16, 32.
// Source: Megvii-BaseDetection/YOLOX yolox/utils/demo_utils.py (demo_postprocess) and yolox/data/data_augment.py
// (preproc). Input BGR 0..255, picture at the left-top corner, padded with 114.
#include "formats/registry.hpp"

#include <algorithm>
#include <cmath>

namespace zpipe::formats {

namespace {

class Yolox final : public Decoder {
  public:
    Yolox(int classes, const InputPlan& plan) : classes_(classes), plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        expect_shape("yolox", outputs[0], {1, rows(plan_), classes_ + 5});
        const float* row = outputs[0].data;
        for (const int stride : {8, 16, 32}) {
            const int width = plan_.width / stride;
            const int height = plan_.height / stride;
            for (int cell = 0; cell < width * height; ++cell, row += classes_ + 5) {
                if (!(row[4] >= thresholds.lowest())) {
                    continue;
                }
                const float* best = std::max_element(row + 5, row + 5 + classes_);
                const float confidence = row[4] * *best;
                const int label = static_cast<int>(best - row - 5);
                if (thresholds.keeps(label, confidence)) {
                    const auto s = static_cast<float>(stride);
                    found.push_back(from_center((row[0] + static_cast<float>(cell % width)) * s,
                                                (row[1] + static_cast<float>(cell / width)) * s,
                                                std::exp(row[2]) * s, std::exp(row[3]) * s, confidence, label));
                }
            }
        }
    }
    int classes() const override { return classes_; }

    static int64_t rows(const InputPlan& plan) {
        int64_t sum = 0;
        for (const int stride : {8, 16, 32}) {
            sum += static_cast<int64_t>(plan.width / stride) * (plan.height / stride);
        }
        return sum;
    }

  private:
    int classes_;
    InputPlan plan_;
};

bool shape_fits(const ModelInfo& info, const ImageInput& input) {
    if (info.outputs.size() != 1) {
        return false;
    }
    const Shape& s = info.outputs[0].shape;
    return s.size() == 3 && may_be(s[0], 1) && may_be(s[1], Yolox::rows(input.plan)) && s[2] > 5;
}

std::optional<std::string> recognise(const ModelInfo& info, const ImageInput& input) {
    if (!shape_fits(info, input) || info.outputs[0].shape[1] < 0 || has_metadata(info, "stride") ||
        !is_raw(info.outputs[0])) {
        return std::nullopt;
    }
    return "one output (1, N, 5 + C) with one row per grid cell, not decoded in the graph";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    if (!shape_fits(info, input)) {
        does_not_fit(info, "yolox",
                     "one output (1, " + std::to_string(Yolox::rows(input.plan)) + ", 5 + classes) for this input size");
    }
    return std::make_unique<Yolox>(static_cast<int>(info.outputs[0].shape[2] - 5), input.plan);
}

PixelRule pixels() {
    PixelRule rule;
    rule.color = Color::bgr;
    rule.fit = Fit::letterbox_corner;
    return rule;
}

} // namespace

const Format yolox{"yolox", "(1, N, 5 + C): raw head, decoded here with grid and strides", pixels(), true,
                   recognise, open};

} // namespace zpipe::formats
