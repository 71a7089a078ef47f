// UltraFace (RFB, slim) and the SSDs of its ancestor: scores (1, N, C + 1) after the softmax, the first column is the
// background, and boxes (1, N, 4) with left, top, right, bottom as parts of the input.
// Exports "without postprocessing" leave the boxes as offsets to the prior boxes, which are known for UltraFace alone.
// Source: Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB vision/ssd/predictor.py and run_video_face_detect_onnx.py;
// vision/utils/box_utils.py (generate_priors, convert_locations_to_boxes), vision/ssd/config/fd_config.py.
// Input RGB, (level - 127) / 128, stretched.
#include "formats/registry.hpp"

#include "status.hpp"

namespace zpipe::formats {

namespace {

struct Ports {
    int scores;
    int boxes;
};

Ports find(const ModelInfo& info) {
    const auto rows = [](const Port& port) { return port.shape.size() == 3 && may_be(port.shape[0], 1); };
    Ports ports{};
    ports.boxes = only_output(
        info, [&](const Port& port) { return rows(port) && port.shape[2] == 4 && port.activation != "Softmax"; });
    ports.scores = only_output(info, [&](const Port& port) {
        return rows(port) && port.shape[2] >= 2 && (port.activation == "Softmax" || port.shape[2] != 4);
    });
    return ports;
}

// A box that offsets are relative to; in input pixels.
struct Prior {
    float x, y, side;
};

// Squares around the centre of each cell, the sizes of a cell one after the other.
std::vector<Prior> make_priors(const InputPlan& plan) {
    const std::vector<float> sides[] = {{10, 16, 24}, {32, 48}, {64, 96}, {128, 192, 256}};
    std::vector<Prior> priors;
    const std::vector<float>* of_level = sides;
    for (const Level& level : grid_levels(plan, {8, 16, 32, 64})) {
        for (int cell = 0; cell < level.cells(); ++cell) {
            for (const float side : *of_level) {
                priors.push_back({(static_cast<float>(cell % level.width) + 0.5f) * static_cast<float>(level.stride),
                                  (static_cast<float>(cell / level.width) + 0.5f) * static_cast<float>(level.stride),
                                  side});
            }
        }
        ++of_level;
    }
    return priors;
}

// An offset of centre and size, in the prior's sizes, by the variances 0.1 and 0.2.
Detection from_prior(const Prior& prior, const float* offset, float confidence, int label) {
    return from_center(prior.x + offset[0] * 0.1f * prior.side, prior.y + offset[1] * 0.1f * prior.side,
                       prior.side * std::exp(offset[2] * 0.2f), prior.side * std::exp(offset[3] * 0.2f), confidence,
                       label);
}

class Ultraface final : public Decoder {
  public:
    // Without priors the boxes are parts of the input.
    Ultraface(Ports ports, int classes, const InputPlan& plan, std::vector<Prior> priors)
        : ports_(ports), classes_(classes), plan_(plan), priors_(std::move(priors)) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const Tensor& scores = outputs[static_cast<size_t>(ports_.scores)];
        const Tensor& boxes = outputs[static_cast<size_t>(ports_.boxes)];
        const int64_t rows = priors_.empty() ? -1 : static_cast<int64_t>(priors_.size());
        expect_shape("ultraface", scores, {1, rows, classes_ + 1});
        expect_shape("ultraface", boxes, {1, scores.shape[1], 4});
        const auto width = static_cast<float>(plan_.width);
        const auto height = static_cast<float>(plan_.height);
        for (int64_t i = 0; i < scores.shape[1]; ++i) {
            const Best best = best_of(scores.data + i * (classes_ + 1) + 1, classes_);
            if (thresholds.keeps(best.label, best.score)) {
                const float* box = boxes.data + 4 * i;
                found.push_back(priors_.empty()
                                    ? Detection{box[0] * width, box[1] * height, box[2] * width, box[3] * height,
                                                best.score, best.label}
                                    : from_prior(priors_[static_cast<size_t>(i)], box, best.score, best.label));
            }
        }
    }
    int classes() const override { return classes_; }

  private:
    Ports ports_;
    int classes_;
    InputPlan plan_;
    std::vector<Prior> priors_;
};

bool fits(const ModelInfo& info, const ImageInput&) {
    const Ports ports = find(info);
    return info.outputs.size() == 2 && ports.scores >= 0 && ports.boxes >= 0;
}

bool leaves_offsets(const ModelInfo& info) {
    return is_raw(info.outputs[static_cast<size_t>(find(info).boxes)]);
}

std::optional<std::string> recognise(const ModelInfo& info, const ImageInput&) {
    if (info.outputs[static_cast<size_t>(find(info).scores)].activation != "Softmax") {
        return std::nullopt;
    }
    return std::string("scores (1, N, C + 1) that end in Softmax and boxes (1, N, 4)") +
           (leaves_offsets(info) ? ", left by the graph as offsets to UltraFace's prior boxes" : "");
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    const Ports ports = find(info);
    const Shape& scores = info.outputs[static_cast<size_t>(ports.scores)].shape;
    std::vector<Prior> priors;
    if (leaves_offsets(info)) {
        priors = make_priors(input.plan);
        if (!may_be(scores[1], static_cast<int64_t>(priors.size()))) {
            throw Error(
                Status::unsupported_model,
                info.file + ": the graph leaves its boxes as offsets to prior boxes, which are missing: it has " +
                    std::to_string(scores[1]) + " of them, UltraFace would have " + std::to_string(priors.size()) +
                    " in an input of " + std::to_string(input.plan.width) + "x" + std::to_string(input.plan.height) +
                    ". Export the model with the decoding of its boxes");
        }
    }
    return std::make_unique<Ultraface>(ports, static_cast<int>(scores[2]) - 1, input.plan, std::move(priors));
}

PixelRule pixels() {
    PixelRule rule;
    rule.fit = Fit::stretch;
    rule.mean = {127, 127, 127};
    rule.scale = {1 / 128.0f, 1 / 128.0f, 1 / 128.0f};
    return rule;
}

} // namespace

const Format ultraface{
    "ultraface", "",   "scores (1, N, C + 1) with background first, boxes (1, N, 4) as parts of the input",
    pixels(),    true, fits,
    recognise,   open};

} // namespace zpipe::formats
