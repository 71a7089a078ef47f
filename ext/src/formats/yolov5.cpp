// YOLOv5, YOLOv7: one output (1, N, 5 + C); per row cx, cy, w, h in input pixels, objectness, C class scores.
// Source: ultralytics/yolov5 models/yolo.py (Detect.forward with export) and utils/general.py
// (non_max_suppression: confidence = objectness * class score). Input RGB 0..1, centred letterbox.
//
// YOLOX and YOLOv6 have the same shape with one row per grid cell instead of three; YOLOX wants other pixels, decoded
// in the graph or not, so without metadata such an output is not taken for this format unless that is named.
#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

class Yolov5 final : public Decoder {
  public:
    explicit Yolov5(int classes) : classes_(classes) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        expect_shape("yolov5", outputs[0], {1, -1, classes_ + 5});
        const int64_t rows = outputs[0].shape[1];
        const float* row = outputs[0].data;
        for (int64_t i = 0; i < rows; ++i, row += classes_ + 5) {
            const float objectness = row[4];
            if (!(objectness >= thresholds.lowest())) { // class scores are at most 1
                continue;
            }
            const Best best = best_of(row + 5, classes_);
            const float confidence = objectness * best.score;
            if (thresholds.keeps(best.label, confidence)) {
                found.push_back(from_center(row[0], row[1], row[2], row[3], confidence, best.label));
            }
        }
    }
    int classes() const override { return classes_; }

  private:
    int classes_;
};

bool fits(const ModelInfo& info, const ImageInput&) {
    const Shape& s = info.outputs[0].shape;
    // Further outputs of older exports are the undecoded grids (rank 5) and are ignored.
    const bool rest_is_grids = std::all_of(info.outputs.begin() + 1, info.outputs.end(),
                                           [](const Port& port) { return port.shape.size() == 5; });
    return rest_is_grids && s.size() == 3 && may_be(s[0], 1) && s[2] > 5 && (s[1] < 0 || s[1] > s[2]);
}

std::optional<std::string> recognise(const ModelInfo& info, const ImageInput& input) {
    if (has_selection(info.outputs[0])) {
        return std::nullopt;
    }
    const int64_t rows = info.outputs[0].shape[1];
    if (info.names > 0 && info.names != info.outputs[0].shape[2] - 5) {
        return std::nullopt; // 4 + C columns: another format
    }
    if (rows == 3 * cells(input, {8, 16, 32}) || rows == 3 * cells(input, {8, 16, 32, 64})) {
        return "one output (1, N, 5 + C) with three anchors per grid cell";
    }
    if (is_ultralytics(info)) {
        return "one output (1, N, 5 + C) and Ultralytics metadata";
    }
    return std::nullopt;
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput&) {
    return std::make_unique<Yolov5>(static_cast<int>(info.outputs[0].shape[2] - 5));
}

} // namespace

const Format yolov5{"yolov5",  "",  "(1, N, 5 + C): cx, cy, w, h, objectness, class scores", unit_rgb(), true, fits,
                    recognise, open};

} // namespace zpipe::formats
