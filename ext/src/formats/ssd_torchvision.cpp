// torchvision's detectors (SSD, RetinaNet, Faster and Mask R-CNN): boxes (N, 4) with left, top, right, bottom in input
// pixels, labels (N) and scores (N), no batch dimension. Label 0 is the background and never comes; ids stay as they
// are, as the categories that come with the weights start with "__background__".
// Source: pytorch/vision torchvision/models/detection (generalized_rcnn.py, ssd.py: postprocess_detections). The model
// normalises by itself: input RGB 0..1, here with kept aspect at the left-top corner.
#include "formats/selected_rows.hpp"

namespace zpipe::formats {

namespace {

struct Ports {
    int boxes;
    int labels;
    int scores;
};

Ports find(const ModelInfo& info) {
    return {only_output(info, [](const Port& port) { return port.shape.size() == 2 && port.shape[1] == 4; }),
            only_output(info, [](const Port& port) { return port.shape.size() == 1 && is_integer(port); }),
            only_output(info, [](const Port& port) { return port.shape.size() == 1 && !is_integer(port); })};
}

class Torchvision final : public Decoder {
  public:
    Torchvision(Ports ports, const InputPlan& plan) : ports_(ports), plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const Tensor& boxes = outputs[static_cast<size_t>(ports_.boxes)];
        const Tensor& labels = outputs[static_cast<size_t>(ports_.labels)];
        const Tensor& scores = outputs[static_cast<size_t>(ports_.scores)];
        expect_shape("ssd", boxes, {-1, 4});
        expect_shape("ssd", labels, {boxes.shape[0]});
        expect_shape("ssd", scores, {boxes.shape[0]});
        read_rows({boxes.data, 4, scores.data, 1, labels.data, 1, boxes.shape[0]}, {}, plan_, thresholds, found);
    }
    int classes() const override { return -1; }

  private:
    Ports ports_;
    InputPlan plan_;
};

bool fits(const ModelInfo& info, const ImageInput&) {
    const Ports ports = find(info);
    return ports.boxes >= 0 && ports.labels >= 0 && ports.scores >= 0;
}

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) {
    return "boxes (N, 4), labels (N) and scores (N) without a batch dimension";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    return std::make_unique<Torchvision>(find(info), input.plan);
}

} // namespace

const Format ssd_torchvision{"ssd",
                             "torchvision",
                             "boxes (N, 4), labels (N), scores (N): selected in the graph",
                             unit_rgb(Fit::letterbox_corner),
                             false,
                             fits,
                             recognise,
                             open};

} // namespace zpipe::formats
