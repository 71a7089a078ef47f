// The TensorFlow object detection API, by its output names: detection_boxes (1, N, 4) with top, left, bottom, right as
// parts of the input, detection_scores (1, N), detection_classes (1, N). The first class is 1 in its label maps and 0
// here, so that a labels file needs no line for the background.
// Source: tensorflow/models research/object_detection/exporter.py (add_output_tensor_nodes). Input RGB 0..255 (the
// model normalises by itself), stretched.
#include "formats/selected_rows.hpp"

namespace zpipe::formats {

namespace {

SelectedPorts find(const ModelInfo& info) {
    const auto named = [&](const char* name) {
        return only_output(info, [name](const Port& port) { return plain_name(port) == name; });
    };
    return {named("detection_boxes"), named("detection_classes"), named("detection_scores")};
}

bool fits(const ModelInfo& info, const ImageInput&) {
    return find(info).all_found();
}

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) {
    return "outputs with the names of the TensorFlow object detection API";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    RowRule rule;
    rule.rows_first = true;
    rule.normalised = true;
    rule.first_label = 1;
    return std::make_unique<SelectedDecoder>(find(info), true, rule, input.plan);
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
