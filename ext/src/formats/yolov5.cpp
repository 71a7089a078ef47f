// YOLOv5, YOLOv7: one output (1, N, 5 + C); per row cx, cy, w, h in input pixels, objectness, C class scores.
// Source: ultralytics/yolov5 models/yolo.py (Detect.forward with export) and utils/general.py
// (non_max_suppression: confidence = objectness * class score). Input RGB 0..1, centred letterbox.
//   face       (1, N, 16): five points between objectness and the score of the only class. Source:
//              deepcam-cn/yolov5-face models/yolo.py (Detect.forward) and utils/general.py.
//   undecoded  the same columns after the sigmoid alone, as YOLOv5-Lite exports them: a box is relative to its cell and
//              anchor. The file does not hold the anchors. YOLOv5's own are taken where they are sure: for the 80
//              classes of COCO, which nobody trains with others, or where the format is named. Source:
//              ppogg/YOLOv5-Lite python_demo/onnxruntime/v5lite.py; ultralytics/yolov5 models/yolov5s.yaml and
//              models/hub/yolov5s6.yaml.
//
// YOLOX and YOLOv6 have the same shape with one row per grid cell instead of three; YOLOX wants other pixels, decoded
// in the graph or not, so without metadata such an output is not taken for this format unless that is named.
#include <array>

#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

constexpr int face_columns = 16;

// From a row to its box: centre and size in input pixels.
class Rows : public Decoder {
  public:
    // The scores of the classes begin at `first_score`.
    Rows(int classes, int first_score) : classes_(classes), first_score_(first_score) {}

    int classes() const override { return classes_; }
    std::string lookalike() const override {
        return classes_ > 1 && columns() == face_columns
                   ? "A model of faces with five points (YOLOv5-face) has 16 columns, too: with the name of its class, "
                     "`labels: [face]`, it is read as one."
                   : "";
    }

  protected:
    int columns() const { return first_score_ + classes_; }
    // The confidence of a row; the label of its best class. Below any threshold where objectness alone is.
    template <typename Box>
    void add(const float* row, const Thresholds& thresholds, std::vector<Detection>& found, Box box) const {
        if (!thresholds.reaches_lowest(row[4])) { // class scores are at most 1
            return;
        }
        const Best best = best_of(row + first_score_, classes_);
        const float confidence = row[4] * best.score;
        if (thresholds.keeps(best.label, confidence)) {
            found.push_back(box(row, confidence, best.label));
        }
    }

  private:
    int classes_;
    int first_score_;
};

class Yolov5 final : public Rows {
  public:
    using Rows::Rows;

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        expect_shape("yolov5", outputs[0], {1, -1, columns()});
        const int64_t rows = outputs[0].shape[1];
        const float* row = outputs[0].data;
        for (int64_t i = 0; i < rows; ++i, row += columns()) {
            add(row, thresholds, found, [](const float* r, float confidence, int label) {
                return from_center(r[0], r[1], r[2], r[3], confidence, label);
            });
        }
    }
};

constexpr int anchors_per_cell = 3;
// Width and height in pixels of a level's anchors.
using Anchors = std::array<float, 2 * anchors_per_cell>;
const std::vector<Anchors> anchors_of_three{
    {10, 13, 16, 30, 33, 23}, {30, 61, 62, 45, 59, 119}, {116, 90, 156, 198, 373, 326}};
const std::vector<Anchors> anchors_of_four{{19, 27, 44, 40, 38, 94},
                                           {96, 68, 86, 152, 180, 137},
                                           {140, 301, 303, 264, 238, 542},
                                           {436, 615, 739, 380, 925, 792}};

int64_t rows_of(const ImageInput& input, std::initializer_list<int> strides) {
    return anchors_per_cell * cells(input, strides);
}

// Levels one after the other, in each the anchors one after the other, in each the cells row by row.
class Undecoded final : public Rows {
  public:
    Undecoded(int classes, std::vector<Level> levels)
        : Rows(classes, 5), levels_(std::move(levels)),
          anchors_(levels_.size() == 3 ? anchors_of_three : anchors_of_four) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        int64_t rows = 0;
        for (const Level& level : levels_) {
            rows += anchors_per_cell * level.cells();
        }
        expect_shape("yolov5", outputs[0], {1, rows, columns()});
        const float* row = outputs[0].data;
        for (size_t i = 0; i < levels_.size(); ++i) {
            for (size_t anchor = 0; anchor < anchors_per_cell; ++anchor) {
                decode_cells(row, levels_[i], anchors_[i].data() + 2 * anchor, thresholds, found);
                row += levels_[i].cells() * columns();
            }
        }
    }

  private:
    void decode_cells(const float* row, const Level& level, const float* anchor, const Thresholds& thresholds,
                      std::vector<Detection>& found) const {
        const auto stride = static_cast<float>(level.stride);
        for (int cell = 0; cell < level.cells(); ++cell, row += columns()) {
            add(row, thresholds, found, [&](const float* r, float confidence, int label) {
                const float x = (2 * r[0] - 0.5f + static_cast<float>(cell % level.width)) * stride;
                const float y = (2 * r[1] - 0.5f + static_cast<float>(cell / level.width)) * stride;
                return from_center(x, y, 4 * r[2] * r[2] * anchor[0], 4 * r[3] * r[3] * anchor[1], confidence, label);
            });
        }
    }

    std::vector<Level> levels_;
    const std::vector<Anchors>& anchors_;
};

// The graph ends in the sigmoid, with nothing that could bring in cells and anchors behind it.
bool leaves_sigmoids(const ModelInfo& info) {
    return is_raw(info.outputs[0]) && tail_has(info.outputs[0], {"Sigmoid"});
}

bool has_rows(const ModelInfo& info) {
    const Shape& s = info.outputs[0].shape;
    // Further outputs of older exports are the undecoded grids (rank 5) and are ignored.
    const bool rest_is_grids = std::all_of(info.outputs.begin() + 1, info.outputs.end(),
                                           [](const Port& port) { return port.shape.size() == 5; });
    return rest_is_grids && s.size() == 3 && may_be(s[0], 1) && s[2] > 5 && (s[1] < 0 || s[1] > s[2]);
}

bool has_three_anchors(const ModelInfo& info, const ImageInput& input) {
    const int64_t rows = info.outputs[0].shape[1];
    return rows == rows_of(input, {8, 16, 32}) || rows == rows_of(input, {8, 16, 32, 64});
}

bool fits(const ModelInfo& info, const ImageInput&) {
    return has_rows(info) && !leaves_sigmoids(info);
}

std::optional<std::string> recognise(const ModelInfo& info, const ImageInput& input) {
    if (has_selection(info.outputs[0])) {
        return std::nullopt;
    }
    if (info.names > 0 && info.names != info.outputs[0].shape[2] - 5) {
        return std::nullopt; // 4 + C columns: another format
    }
    if (has_three_anchors(info, input)) {
        return "one output (1, N, 5 + C) with three anchors per grid cell";
    }
    if (is_ultralytics(info)) {
        return "one output (1, N, 5 + C) and Ultralytics metadata";
    }
    return std::nullopt;
}

std::unique_ptr<Decoder> open(const ModelInfo& info, const ImageInput&) {
    return std::make_unique<Yolov5>(static_cast<int>(info.outputs[0].shape[2] - 5), 5);
}

bool fits_face(const ModelInfo& info, const ImageInput& input) {
    return fits(info, input) && info.outputs[0].shape[2] == face_columns;
}

std::optional<std::string> recognise_face(const ModelInfo& info, const ImageInput& input) {
    if (info.names != 1 || !has_three_anchors(info, input)) {
        return std::nullopt;
    }
    return "one output (1, N, 16) with three anchors per grid cell, and one name";
}

std::unique_ptr<Decoder> open_face(const ModelInfo&, const ImageInput&) {
    return std::make_unique<Yolov5>(1, face_columns - 1);
}

bool fits_undecoded(const ModelInfo& info, const ImageInput& input) {
    return has_rows(info) && leaves_sigmoids(info) && has_three_anchors(info, input);
}

std::optional<std::string> recognise_undecoded(const ModelInfo& info, const ImageInput&) {
    constexpr int coco_columns = 5 + 80;
    if (info.outputs[0].shape[2] != coco_columns) {
        return std::nullopt;
    }
    return "one output (1, N, 5 + 80) that ends in Sigmoid, read with YOLOv5's own anchors";
}

std::unique_ptr<Decoder> open_undecoded(const ModelInfo& info, const ImageInput& input) {
    const Shape& s = info.outputs[0].shape;
    auto levels = s[1] == rows_of(input, {8, 16, 32}) ? grid_levels(input.plan, {8, 16, 32})
                                                      : grid_levels(input.plan, {8, 16, 32, 64});
    return std::make_unique<Undecoded>(static_cast<int>(s[2] - 5), std::move(levels));
}

} // namespace

const Format yolov5{"yolov5",  "",  "(1, N, 5 + C): cx, cy, w, h, objectness, class scores", unit_rgb(), true, fits,
                    recognise, open};

const Format yolov5_face{
    "yolov5",       "face",   "(1, N, 16): cx, cy, w, h, objectness, five points, score of the only class",
    unit_rgb(),     true,     fits_face,
    recognise_face, open_face};

const Format yolov5_undecoded{"yolov5",
                              "undecoded",
                              "the same straight from the sigmoid, without anchors in the graph; unless it has 80 "
                              "classes, named only if it was trained with YOLOv5's own anchors",
                              unit_rgb(),
                              true,
                              fits_undecoded,
                              recognise_undecoded,
                              open_undecoded};

} // namespace zpipe::formats
