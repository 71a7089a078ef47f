// YOLOv8, YOLOv9, YOLO11, YOLO12: one output (1, 4 + C, N); channels first: cx, cy, w, h in input pixels, C scores.
// Source: ultralytics/ultralytics nn/modules/head.py (Detect._inference) and utils/ops.py (non_max_suppression).
// Input RGB 0..1, centred letterbox.
#include "cpu.hpp"
#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

// The best class of each of n boxes. Class by class along n, which lies in one piece of memory: several times faster
// than box by box.
[[gnu::always_inline]] inline void find_best(const float* scores, size_t n, int classes, float* best, int* labels) {
    std::copy_n(scores, n, best);
    std::fill_n(labels, n, 0);
    for (int c = 1; c < classes; ++c) {
        scores += n;
        for (size_t i = 0; i < n; ++i) {
            labels[i] = scores[i] > best[i] ? c : labels[i];
            best[i] = scores[i] > best[i] ? scores[i] : best[i];
        }
    }
}

#ifdef ZPIPE_AVX2
ZPIPE_AVX2 void find_best_avx2(const float* scores, size_t n, int classes, float* best, int* labels) {
    find_best(scores, n, classes, best, labels);
}
#endif

void find_best_of(const float* scores, size_t n, int classes, float* best, int* labels) {
#ifdef ZPIPE_AVX2
    if (has_avx2()) {
        find_best_avx2(scores, n, classes, best, labels);
        return;
    }
#endif
    find_best(scores, n, classes, best, labels);
}

class Yolov8 final : public Decoder {
  public:
    explicit Yolov8(int classes) : classes_(classes) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        expect_shape("yolov8", outputs[0], {1, classes_ + 4, -1});
        const auto n = static_cast<size_t>(outputs[0].shape[2]);
        const float* data = outputs[0].data;
        best_.resize(n);
        labels_.resize(n);
        find_best_of(data + 4 * n, n, classes_, best_.data(), labels_.data());
        for (size_t i = 0; i < n; ++i) {
            if (thresholds.reaches_lowest(best_[i]) && thresholds.keeps(labels_[i], best_[i])) {
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

bool fits(const ModelInfo& info, const ImageInput&) {
    if (info.outputs.size() != 1) {
        return false;
    }
    const Shape& s = info.outputs[0].shape;
    return s.size() == 3 && may_be(s[0], 1) && s[1] > 4 && (s[2] < 0 || s[2] > s[1]);
}

std::optional<std::string> recognise(const ModelInfo& info, const ImageInput& input) {
    const auto task = info.metadata.find("task");
    if ((task != info.metadata.end() && task->second != "detect")) {
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
    return std::make_unique<Yolov8>(static_cast<int>(info.outputs[0].shape[1] - 4));
}

} // namespace

const Format yolov8{"yolov8", "", "(1, 4 + C, N): cx, cy, w, h, class scores", unit_rgb(), true, fits, recognise, open};

} // namespace zpipe::formats
