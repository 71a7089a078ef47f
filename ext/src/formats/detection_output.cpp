// The DetectionOutput layer of Caffe and OpenVINO: (1, 1, N, 7), per row image number, label, confidence, left, top,
// right, bottom as parts of the input. An image number below 0 ends the list. Labels stay as they are.
// Source: OpenVINO operation set, DetectionOutput-8; openvinotoolkit/open_model_zoo model descriptions. Input BGR
// 0..255, stretched.
#include "formats/selected_rows.hpp"

namespace zpipe::formats {

namespace {

class DetectionOutput final : public Decoder {
  public:
    explicit DetectionOutput(const InputPlan& plan) : plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        expect_shape("detection_output", outputs[0], {1, 1, -1, 7});
        const float* rows = outputs[0].data;
        int64_t count = 0;
        while (count < outputs[0].shape[2] && rows[7 * count] >= 0) {
            ++count;
        }
        RowRule rule;
        rule.normalised = true;
        read_rows({rows + 3, 7, rows + 2, 7, rows + 1, 7, count}, rule, plan_, thresholds, found);
    }
    int classes() const override { return -1; }

  private:
    InputPlan plan_;
};

bool fits(const ModelInfo& info, const ImageInput&) {
    const Shape& s = info.outputs[0].shape;
    return info.outputs.size() == 1 && s.size() == 4 && may_be(s[0], 1) && may_be(s[1], 1) && s[3] == 7;
}

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) {
    return "one output (1, 1, N, 7)";
}

std::unique_ptr<Decoder> open(const ModelInfo&, const ImageInput& input) {
    return std::make_unique<DetectionOutput>(input.plan);
}

PixelRule pixels() {
    PixelRule rule;
    rule.color = Color::bgr;
    rule.fit = Fit::stretch;
    return rule;
}

} // namespace

const Format detection_output{
    "detection-output", "",  "(1, 1, N, 7): image, label, confidence, box as parts of the input", pixels(), false, fits,
    recognise,          open};

} // namespace zpipe::formats
