// torchvision's detectors (SSD, RetinaNet, Faster and Mask R-CNN): boxes (N, 4) with left, top, right, bottom in input
// pixels, labels (N) and scores (N), no batch dimension. Label 0 is the background and never comes; ids stay as they
// are, as the categories that come with the weights start with "__background__".
// Source: pytorch/vision torchvision/models/detection (generalized_rcnn.py, ssd.py: postprocess_detections). The model
// normalises by itself: input RGB 0..1, here with kept aspect at the left-top corner.
#include "formats/selected_rows.hpp"

namespace zpipe::formats {

namespace {

SelectedPorts find(const ModelInfo& info) {
    return {only_output(info, [](const Port& port) { return port.shape.size() == 2 && port.shape[1] == 4; }),
            only_output(info, [](const Port& port) { return port.shape.size() == 1 && is_integer(port); }),
            only_output(info, [](const Port& port) { return port.shape.size() == 1 && !is_integer(port); })};
}

bool fits(const ModelInfo& info, const ImageInput&) {
    return find(info).all_found();
}

std::optional<std::string> recognise(const ModelInfo&, const ImageInput&) {
    return "boxes (N, 4), labels (N) and scores (N) without a batch dimension";
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput& input) {
    return std::make_unique<SelectedDecoder>(find(info), false, RowRule{}, input.plan);
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
