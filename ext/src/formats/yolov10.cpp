// YOLOv10, YOLO26 and other exports with the selection inside: one output (1, N, 6), N at most 300 or so, per row
// left, top, right, bottom in input pixels, confidence, class. Rows without an object have confidence 0.
// Source: ultralytics/ultralytics nn/modules/head.py (v10Detect, postprocess) and the `nms` and `end2end` options of
// its exporter. Input RGB 0..1, centred letterbox.
//
// A YOLOv5 export of one class has six columns, too. The graph tells them apart: this one selects boxes.
#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

class Yolov10 final : public Decoder {
  public:
    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        expect_shape("yolov10", outputs[0], {1, -1, 6});
        const float* row = outputs[0].data;
        for (int64_t i = 0; i < outputs[0].shape[1]; ++i, row += 6) {
            const int label = to_label(row[5]);
            if (!(row[4] <= 0) && label >= 0 && thresholds.keeps(label, row[4])) {
                found.push_back({row[0], row[1], row[2], row[3], row[4], label});
            }
        }
    }
    int classes() const override { return -1; }
};

bool fits(const ModelInfo& info, const ImageInput&) {
    if (info.outputs.size() != 1) {
        return false;
    }
    const Shape& s = info.outputs[0].shape;
    return s.size() == 3 && may_be(s[0], 1) && s[2] == 6;
}

std::optional<std::string> recognise(const ModelInfo& info, const ImageInput&) {
    if (has_selection(info.outputs[0])) {
        return "one output (1, N, 6) and the graph selects boxes";
    }
    const auto end2end = info.metadata.find("end2end");
    if (end2end != info.metadata.end() && end2end->second == "True") {
        return "one output (1, N, 6) and metadata that says end2end";
    }
    return std::nullopt;
}

std::unique_ptr<Decoder> open(const ModelInfo&, const ImageInput&) {
    return std::make_unique<Yolov10>();
}

} // namespace

const Format yolov10{"yolov10",  "",    "(1, N, 6): left, top, right, bottom, confidence, class; selected in the graph",
                     unit_rgb(), false, fits,
                     recognise,  open};

} // namespace zpipe::formats
