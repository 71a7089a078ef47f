// YOLOX: one output (1, N, 5 + C) straight from the head: offsets to the grid cell, logarithm of the size, objectness
// and class scores after the sigmoid. Strides 8, 16, 32.
// Source: Megvii-BaseDetection/YOLOX yolox/utils/demo_utils.py (demo_postprocess) and yolox/data/data_augment.py
// (preproc). Input BGR 0..255, picture at the left-top corner, padded with 114.
//
// Exports with --decode_in_inference give centre and size in input pixels. They look like YOLOv6, which wants other
// pixels, so this has to be named; that the graph decodes is then seen.
#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

class Yolox final : public Decoder {
  public:
    Yolox(int classes, bool decoded, const ImageInput& input)
        : classes_(classes), decoded_(decoded), levels_(grid_levels(input.plan, {8, 16, 32})),
          rows_(cells(input, {8, 16, 32})) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        expect_shape("yolox", outputs[0], {1, rows_, classes_ + 5});
        const float* row = outputs[0].data;
        for (const Level& level : levels_) {
            for (int cell = 0; cell < level.cells(); ++cell, row += classes_ + 5) {
                if (!thresholds.reaches_lowest(row[4])) { // class scores are at most 1
                    continue;
                }
                const Best best = best_of(row + 5, classes_);
                const float confidence = row[4] * best.score;
                if (thresholds.keeps(best.label, confidence)) {
                    found.push_back(box(row, level, cell, confidence, best.label));
                }
            }
        }
    }
    int classes() const override { return classes_; }

  private:
    Detection box(const float* row, const Level& level, int cell, float confidence, int label) const {
        if (decoded_) {
            return from_center(row[0], row[1], row[2], row[3], confidence, label);
        }
        const auto stride = static_cast<float>(level.stride);
        return from_center((row[0] + static_cast<float>(cell % level.width)) * stride,
                           (row[1] + static_cast<float>(cell / level.width)) * stride, std::exp(row[2]) * stride,
                           std::exp(row[3]) * stride, confidence, label);
    }

    int classes_;
    bool decoded_;
    std::vector<Level> levels_;
    int64_t rows_;
};

bool fits(const ModelInfo& info, const ImageInput& input) {
    if (info.outputs.size() != 1) {
        return false;
    }
    const Shape& s = info.outputs[0].shape;
    return s.size() == 3 && may_be(s[0], 1) && may_be(s[1], cells(input, {8, 16, 32})) && s[2] > 5;
}

std::optional<std::string> recognise(const ModelInfo& info, const ImageInput&) {
    if (info.outputs[0].shape[1] < 0 || is_ultralytics(info) || !is_raw(info.outputs[0])) {
        return std::nullopt;
    }
    return "one output (1, N, 5 + C) with one row per grid cell, not decoded in the graph";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    const Port& output = info.outputs[0];
    return std::make_unique<Yolox>(static_cast<int>(output.shape[2] - 5), is_decoded(output), input);
}

PixelRule pixels() {
    PixelRule rule;
    rule.color = Color::bgr;
    rule.fit = Fit::letterbox_corner;
    return rule;
}

} // namespace

const Format yolox{"yolox",   "",  "(1, N, 5 + C): the head as it is, or decoded in the graph", pixels(), true, fits,
                   recognise, open};

} // namespace zpipe::formats
