// YOLOv8, YOLOv9, YOLO11, YOLO12: one output (1, 4 + C, N); channels first: cx, cy, w, h in input pixels, C scores.
// Source: ultralytics/ultralytics nn/modules/head.py (Detect._inference) and utils/ops.py (non_max_suppression).
// Input RGB 0..1, centred letterbox.
#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

class Yolov8 final : public Decoder {
  public:
    explicit Yolov8(int classes) : classes_(classes) {}

    // Class by class along N, which lies in one piece of memory: several times faster than box by box.
    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        expect_shape("yolov8", outputs[0], {1, classes_ + 4, -1});
        const auto n = static_cast<size_t>(outputs[0].shape[2]);
        const float* data = outputs[0].data;
        best_.assign(data + 4 * n, data + 5 * n);
        labels_.assign(n, 0);
        for (int c = 1; c < classes_; ++c) {
            const float* scores = data + (4 + c) * n;
            for (size_t i = 0; i < n; ++i) {
                labels_[i] = scores[i] > best_[i] ? c : labels_[i];
                best_[i] = scores[i] > best_[i] ? scores[i] : best_[i];
            }
        }
        for (size_t i = 0; i < n; ++i) {
            if (best_[i] >= thresholds.lowest() && thresholds.keeps(labels_[i], best_[i])) {
                found.push_back(
                    from_center(data[i], data[n + i], data[2 * n + i], data[3 * n + i], best_[i], labels_[i]));
            }
        }
    }
    int classes() const override { return classes_; }

  private:
    int classes_;
    // Scratch; a decoder is used by one thread at a time.
    mutable std::vector<float> best_;
    mutable std::vector<int> labels_;
};

bool shape_fits(const ModelInfo& info) {
    if (info.outputs.size() != 1) {
        return false;
    }
    const Shape& s = info.outputs[0].shape;
    return s.size() == 3 && may_be(s[0], 1) && s[1] > 4 && (s[2] < 0 || s[2] > s[1]);
}

std::optional<std::string> recognise(const ModelInfo& info, const ImageInput& input) {
    const auto task = info.metadata.find("task");
    if (!shape_fits(info) || (task != info.metadata.end() && task->second != "detect")) {
        return std::nullopt;
    }
    const int64_t columns = info.outputs[0].shape[2];
    if (columns == cells(input, {8, 16, 32}) || columns == cells(input, {4, 8, 16, 32}) ||
        columns == cells(input, {8, 16, 32, 64})) {
        return "one output (1, 4 + C, N) with one box per grid cell";
    }
    if (is_ultralytics(info)) {
        return "one output (1, 4 + C, N) and Ultralytics metadata";
    }
    return std::nullopt;
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput&) {
    if (!shape_fits(info)) {
        does_not_fit(info, "yolov8", "one output (1, 4 + classes, N)");
    }
    return std::make_unique<Yolov8>(static_cast<int>(info.outputs[0].shape[1] - 4));
}

} // namespace

const Format yolov8{"yolov8", "(1, 4 + C, N): cx, cy, w, h, class scores", unit_rgb(), true, recognise, open};

} // namespace zpipe::formats
