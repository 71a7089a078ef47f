// PaddleDetection models with their selection inside (PP-PicoDet, PP-YOLOE and others through paddle2onnx): rows (N, 6)
// with class, confidence, left, top, right, bottom, and the number of rows. Their inputs `scale_factor` and `im_shape`
// are set so that boxes come in input pixels.
// Source: PaddlePaddle/PaddleDetection deploy/python/infer.py. Input RGB with ImageNet statistics, stretched, as for
// PicoDet; others of the family normalise otherwise, which the file does not say. So this format has to be named, with
// `mean` and `scale` where they differ.
#include "formats/selected_rows.hpp"

namespace zpipe::formats {

namespace {

int find(const ModelInfo& info) {
    return only_output(info, [](const Port& port) { return port.shape.size() == 2 && port.shape[1] == 6; });
}

class Paddle final : public Decoder {
  public:
    Paddle(int output, const InputPlan& plan) : output_(static_cast<size_t>(output)), plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const Tensor& rows = outputs[output_];
        expect_shape("paddle", rows, {-1, 6});
        read_rows({rows.data + 2, 6, rows.data + 1, 6, rows.data, 6, rows.shape[0]}, {}, plan_, thresholds, found);
    }
    int classes() const override { return -1; }

  private:
    size_t output_;
    InputPlan plan_;
};

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) { return std::nullopt; }

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    const int output = find(info);
    if (output < 0) {
        does_not_fit(info, "paddle", "one output (N, 6)");
    }
    return std::make_unique<Paddle>(output, input.plan);
}

} // namespace

const Format paddle{"paddle", "(N, 6): class, confidence, left, top, right, bottom; only if named",
                    imagenet(Color::rgb, Fit::stretch, 0), false, recognise, open};

} // namespace zpipe::formats
