// NanoDet: per stride (8, 16, 32) one output of class scores (1, cells, C) and one of box distributions
// (1, cells, 4 * bins). NanoDet-Plus: all in one output (1, N, C + 4 * bins), strides 8, 16, 32, 64. bins is 8.
// PP-PicoDet: as NanoDet with strides 8, 16, 32, 64.
// Source: RangiLyu/nanodet model/head/gfl_head.py (get_single_level_center_point: centres at (x + 0.5) * stride),
// nanodet_plus_head.py (get_single_level_center_priors: centres at x * stride) and nanodet_head.py (the export
// applies the sigmoid); PaddlePaddle/PaddleDetection deploy/third_engine (PicoDetPostProcess) and
// configs/picodet/_base_/picodet_*_reader.yml. Input BGR with ImageNet statistics; NanoDet keeps the aspect (its demos
// differ in where they put the picture) and pads with black, NanoDet-Plus and PicoDet (RGB) stretch.
#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

constexpr int bins = 8; // reg_max 7, in all published models
constexpr int box_columns = 4 * bins;

// One level: scores and distributions may lie in one tensor or two.
struct Columns {
    const float* scores;
    const float* boxes;
    int step_scores;
    int step_boxes;
};

class Distributions {
  public:
    Distributions(int classes, bool apply_sigmoid, float center)
        : classes_(classes), apply_sigmoid_(apply_sigmoid), center_(center) {}

    void decode(const Level& level, Columns at, const Thresholds& thresholds, std::vector<Detection>& found) const {
        const auto stride = static_cast<float>(level.stride);
        for (int cell = 0; cell < level.cells(); ++cell) {
            const Best best = best_of(at.scores, classes_);
            const float confidence = apply_sigmoid_ ? sigmoid(best.score) : best.score;
            if (thresholds.keeps(best.label, confidence)) {
                const float x = (static_cast<float>(cell % level.width) + center_) * stride;
                const float y = (static_cast<float>(cell / level.width) + center_) * stride;
                found.push_back(from_distributions(x, y, at.boxes, bins, stride, confidence, best.label));
            }
            at.scores += at.step_scores;
            at.boxes += at.step_boxes;
        }
    }
    int classes() const { return classes_; }

  private:
    int classes_;
    bool apply_sigmoid_;
    float center_; // of a cell, in strides from its left-top corner
};

class PerLevel final : public Decoder {
  public:
    PerLevel(const Distributions& rule, std::vector<LevelOutputs> levels) : rule_(rule), levels_(std::move(levels)) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        for (const LevelOutputs& at : levels_) {
            const Tensor& scores = outputs[at.outputs[0]];
            const Tensor& boxes = outputs[at.outputs[1]];
            rule_.decode(at.level, {scores.data, boxes.data, rule_.classes(), box_columns}, thresholds, found);
        }
    }
    int classes() const override { return rule_.classes(); }

  private:
    Distributions rule_;
    std::vector<LevelOutputs> levels_;
};

class InOne final : public Decoder {
  public:
    InOne(const Distributions& rule, std::vector<Level> levels) : rule_(rule), levels_(std::move(levels)) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const int step = rule_.classes() + box_columns;
        expect_shape("nanodet_plus", outputs[0], {1, -1, step});
        const float* row = outputs[0].data;
        for (const Level& level : levels_) {
            rule_.decode(level, {row, row + rule_.classes(), step, step}, thresholds, found);
            row += level.cells() * step;
        }
    }
    int classes() const override { return rule_.classes(); }

  private:
    Distributions rule_;
    std::vector<Level> levels_;
};

// The number of classes: what the score outputs have as last dimension, all the same and not that of boxes.
int64_t score_columns(const ModelInfo& info) {
    int64_t columns = -1;
    for (const Port& port : info.outputs) {
        const int64_t last = port.shape.empty() ? -1 : port.shape.back();
        if (last != box_columns) {
            if (columns >= 0 && columns != last) {
                return -1;
            }
            columns = last;
        }
    }
    return columns;
}

std::vector<LevelOutputs> match(const ModelInfo& info, const ImageInput& input, std::initializer_list<int> strides) {
    const int64_t columns = score_columns(info);
    return columns < 1 ? std::vector<LevelOutputs>{} : match_levels(info, input, strides, 1, {columns, box_columns});
}

std::unique_ptr<Decoder> open_levels(const ModelInfo& info, std::vector<LevelOutputs> levels) {
    const Port& scores = info.outputs[levels[0].outputs[0]];
    return std::make_unique<PerLevel>(Distributions(static_cast<int>(scores.shape.back()), lacks_sigmoid(scores), 0.5f),
                                      std::move(levels));
}

bool fits_nanodet(const ModelInfo& info, const ImageInput& input) {
    return !match(info, input, {8, 16, 32}).empty();
}

std::optional<std::string> recognise_nanodet(const ModelInfo&, const ImageInput&) {
    return "outputs (1, cells, C) and (1, cells, 32) for strides 8, 16, 32";
}

std::unique_ptr<Decoder> open_nanodet(const ModelInfo& info, const ImageInput& input) {
    return open_levels(info, match(info, input, {8, 16, 32}));
}

bool fits_picodet(const ModelInfo& info, const ImageInput& input) {
    return !match(info, input, {8, 16, 32, 64}).empty();
}

std::optional<std::string> recognise_picodet(const ModelInfo&, const ImageInput&) {
    return "outputs (1, cells, C) and (1, cells, 32) for strides 8, 16, 32, 64";
}

std::unique_ptr<Decoder> open_picodet(const ModelInfo& info, const ImageInput& input) {
    return open_levels(info, match(info, input, {8, 16, 32, 64}));
}

bool fits_plus(const ModelInfo& info, const ImageInput& input) {
    if (info.outputs.size() != 1) {
        return false;
    }
    const Shape& s = info.outputs[0].shape;
    return s.size() == 3 && may_be(s[0], 1) && s[1] == cells(input, {8, 16, 32, 64}) && s[2] > box_columns;
}

std::optional<std::string> recognise_plus(const ModelInfo& info, const ImageInput&) {
    if (is_ultralytics(info) || !is_raw(info.outputs[0])) {
        return std::nullopt;
    }
    return "one output (1, N, C + 32) with one row per grid cell of strides 8, 16, 32, 64, not decoded in the graph";
}

std::unique_ptr<Decoder> open_plus(const ModelInfo& info, const ImageInput& input) {
    const Port& output = info.outputs[0];
    const Distributions rule(static_cast<int>(output.shape[2] - box_columns), lacks_sigmoid(output), 0.0f);
    return std::make_unique<InOne>(rule, grid_levels(input.plan, {8, 16, 32, 64}));
}

} // namespace

const Format nanodet{"nanodet",
                     "",
                     "(1, cells, C) and (1, cells, 32) for strides 8, 16, 32",
                     imagenet(Color::bgr, Fit::letterbox_corner, 0),
                     true,
                     fits_nanodet,
                     recognise_nanodet,
                     open_nanodet};

const Format nanodet_plus{"nanodet",
                          "plus",
                          "(1, N, C + 32): class scores and box distributions, strides 8, 16, 32, 64",
                          imagenet(Color::bgr, Fit::stretch, 0),
                          true,
                          fits_plus,
                          recognise_plus,
                          open_plus};

const Format picodet{"picodet",
                     "",
                     "(1, cells, C) and (1, cells, 32) for strides 8, 16, 32, 64",
                     imagenet(Color::rgb, Fit::stretch, 0),
                     true,
                     fits_picodet,
                     recognise_picodet,
                     open_picodet};

} // namespace zpipe::formats
