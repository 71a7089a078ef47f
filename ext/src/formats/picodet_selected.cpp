// PaddleDetection models with their selection inside (PP-PicoDet, PP-YOLOE and others through paddle2onnx): rows (N, 6)
// with class, confidence, left, top, right, bottom, and the number of rows. Their inputs `scale_factor` and `im_shape`
// are set so that boxes come in input pixels.
// Source: PaddlePaddle/PaddleDetection deploy/python/infer.py. Input RGB with ImageNet statistics, stretched, as for
// PicoDet; others of the family normalise otherwise, which the file does not say. So the format has to be named, with
// `mean` and `scale` where they differ.
#include "formats/selected_rows.hpp"

namespace zpipe::formats {

namespace {

int find(const ModelInfo& info) {
    return only_output(info, [](const Port& port) { return port.shape.size() == 2 && port.shape[1] == 6; });
}

class Selected final : public Decoder {
  public:
    Selected(int output, const InputPlan& plan) : output_(static_cast<size_t>(output)), plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const Tensor& rows = outputs[output_];
        expect_shape("picodet", rows, {-1, 6});
        read_rows({rows.data + 2, 6, rows.data + 1, 6, rows.data, 6, rows.shape[0]}, {}, plan_, thresholds, found);
    }
    int classes() const override { return -1; }

  private:
    size_t output_;
    InputPlan plan_;
};

bool fits(const ModelInfo& info, const ImageInput&) {
    return find(info) >= 0;
}

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) {
    return std::nullopt;
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    return std::make_unique<Selected>(find(info), input.plan);
}

} // namespace

const Format picodet_selected{"picodet",
                              "selected",
                              "(N, 6): class, confidence, left, top, right, bottom; only if named",
                              imagenet(Color::rgb, Fit::stretch, 0),
                              false,
                              fits,
                              recognise,
                              open};

} // namespace zpipe::formats
