// The TensorFlow object detection API, by its output names: detection_boxes (1, N, 4) with top, left, bottom, right as
// parts of the input, detection_scores (1, N), detection_classes (1, N). The first class is 1 in its label maps and 0
// here, so that a labels file needs no line for the background.
// Source: tensorflow/models research/object_detection/exporter.py (add_output_tensor_nodes). Input RGB 0..255 (the
// model normalises by itself), stretched.
#include "formats/selected_rows.hpp"

namespace zpipe::formats {

namespace {

struct Ports {
    int boxes;
    int classes;
    int scores;
};

Ports find(const ModelInfo& info) {
    const auto named = [&](const char* name) {
        return only_output(info, [name](const Port& port) { return plain_name(port) == name; });
    };
    return {named("detection_boxes"), named("detection_classes"), named("detection_scores")};
}

class Tensorflow final : public Decoder {
  public:
    Tensorflow(Ports ports, const InputPlan& plan) : ports_(ports), plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const Tensor& boxes = outputs[static_cast<size_t>(ports_.boxes)];
        const Tensor& classes = outputs[static_cast<size_t>(ports_.classes)];
        const Tensor& scores = outputs[static_cast<size_t>(ports_.scores)];
        expect_shape("ssd", boxes, {1, -1, 4});
        expect_shape("ssd", classes, {1, boxes.shape[1]});
        expect_shape("ssd", scores, {1, boxes.shape[1]});
        RowRule rule;
        rule.rows_first = true;
        rule.normalised = true;
        rule.first_label = 1;
        read_rows({boxes.data, 4, scores.data, 1, classes.data, 1, boxes.shape[1]}, rule, plan_, thresholds, found);
    }
    int classes() const override { return -1; }

  private:
    Ports ports_;
    InputPlan plan_;
};

bool fits(const ModelInfo& info, const ImageInput&) {
    const Ports ports = find(info);
    return ports.boxes >= 0 && ports.classes >= 0 && ports.scores >= 0;
}

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) {
    return "outputs with the names of the TensorFlow object detection API";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    return std::make_unique<Tensorflow>(find(info), input.plan);
}

PixelRule pixels() {
    PixelRule rule;
    rule.fit = Fit::stretch;
    return rule;
}

} // namespace

const Format ssd_tensorflow{
    "ssd",     "tensorflow", "detection_boxes (1, N, 4), detection_scores and detection_classes (1, N)",
    pixels(),  false,        fits,
    recognise, open};

} // namespace zpipe::formats
