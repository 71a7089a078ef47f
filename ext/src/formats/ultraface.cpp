// UltraFace (RFB, slim) and the SSDs of its ancestor: scores (1, N, C + 1) after the softmax, the first column is the
// background, and boxes (1, N, 4) with left, top, right, bottom as parts of the input.
// Source: Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB vision/ssd/predictor.py and run_video_face_detect_onnx.py.
// Input RGB, (level - 127) / 128, stretched.
#include "formats/registry.hpp"

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

class Ultraface final : public Decoder {
  public:
    Ultraface(Ports ports, int classes, const InputPlan& plan) : ports_(ports), classes_(classes), plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const Tensor& scores = outputs[static_cast<size_t>(ports_.scores)];
        const Tensor& boxes = outputs[static_cast<size_t>(ports_.boxes)];
        expect_shape("ultraface", scores, {1, -1, classes_ + 1});
        expect_shape("ultraface", boxes, {1, scores.shape[1], 4});
        const auto width = static_cast<float>(plan_.width);
        const auto height = static_cast<float>(plan_.height);
        for (int64_t i = 0; i < scores.shape[1]; ++i) {
            const Best best = best_of(scores.data + i * (classes_ + 1) + 1, classes_);
            if (thresholds.keeps(best.label, best.score)) {
                const float* box = boxes.data + 4 * i;
                found.push_back(
                    {box[0] * width, box[1] * height, box[2] * width, box[3] * height, best.score, best.label});
            }
        }
    }
    int classes() const override { return classes_; }

  private:
    Ports ports_;
    int classes_;
    InputPlan plan_;
};

bool fits(const ModelInfo& info, const ImageInput&) {
    const Ports ports = find(info);
    return info.outputs.size() == 2 && ports.scores >= 0 && ports.boxes >= 0;
}

std::optional<std::string> recognise(const ModelInfo& info, const ImageInput&) {
    if (info.outputs[static_cast<size_t>(find(info).scores)].activation != "Softmax") {
        return std::nullopt;
    }
    return "scores (1, N, C + 1) that end in Softmax and boxes (1, N, 4)";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    const Ports ports = find(info);
    const int64_t columns = info.outputs[static_cast<size_t>(ports.scores)].shape[2];
    return std::make_unique<Ultraface>(ports, static_cast<int>(columns) - 1, input.plan);
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
