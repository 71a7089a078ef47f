// RTMDet as mmdeploy exports it, selection inside: dets (1, N, 5) with left, top, right, bottom in input pixels and
// confidence, labels (1, N).
// Source: open-mmlab/mmdeploy mmdeploy/codebase/mmdet (multiclass_nms and its output names), open-mmlab/mmdetection
// configs/rtmdet (data_preprocessor, test_pipeline). Input BGR with ImageNet statistics (std 57.375, 57.12, 58.395),
// picture at the left-top corner, padded with 114.
#include "formats/selected_rows.hpp"

namespace zpipe::formats {

namespace {

struct Ports {
    int dets;
    int labels;
};

Ports find(const ModelInfo& info) {
    return {only_output(info, [](const Port& port) { return plain_name(port) == "dets" && port.shape.size() == 3; }),
            only_output(info, [](const Port& port) { return plain_name(port) == "labels" && port.shape.size() == 2; })};
}

class Rtmdet final : public Decoder {
  public:
    Rtmdet(Ports ports, const InputPlan& plan) : ports_(ports), plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const Tensor& dets = outputs[static_cast<size_t>(ports_.dets)];
        const Tensor& labels = outputs[static_cast<size_t>(ports_.labels)];
        expect_shape("rtmdet", dets, {1, -1, 5});
        expect_shape("rtmdet", labels, {1, dets.shape[1]});
        read_rows({dets.data, 5, dets.data + 4, 5, labels.data, 1, dets.shape[1]}, {}, plan_, thresholds, found);
    }
    int classes() const override { return -1; }

  private:
    Ports ports_;
    InputPlan plan_;
};

bool fits(const ModelInfo& info, const ImageInput&) {
    const Ports ports = find(info);
    return ports.dets >= 0 && ports.labels >= 0;
}

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) {
    return "outputs named dets (1, N, 5) and labels (1, N), as mmdeploy names them";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    return std::make_unique<Rtmdet>(find(info), input.plan);
}

PixelRule pixels() {
    PixelRule rule = imagenet(Color::bgr, Fit::letterbox_corner, 114);
    rule.scale = {1 / 57.375f, 1 / 57.12f, 1 / 58.395f};
    return rule;
}

} // namespace

const Format rtmdet{"rtmdet",  "",  "dets (1, N, 5) and labels (1, N): selected in the graph", pixels(), false, fits,
                    recognise, open};

} // namespace zpipe::formats
