// Formats whose boxes were selected in the graph and only need to be read: rows of boxes, scores and labels.
#pragma once

#include "formats/registry.hpp"

namespace zpipe::formats {

// How the numbers of one row are to be read.
struct RowRule {
    bool rows_first = false; // coordinates come as top, left, bottom, right
    bool normalised = false; // coordinates are parts of the input
    int first_label = 0;     // what the model calls the first class
};

// Reads `count` rows; scores and labels advance by their steps, boxes by 4 or what `box_step` says.
struct Rows {
    const float* boxes;
    int64_t box_step;
    const float* scores;
    int64_t score_step;
    const float* labels;
    int64_t label_step;
    int64_t count;
};

inline void read_rows(const Rows& rows, const RowRule& rule, const InputPlan& plan, const Thresholds& thresholds,
                      std::vector<Detection>& found) {
    const float x_unit = rule.normalised ? static_cast<float>(plan.width) : 1;
    const float y_unit = rule.normalised ? static_cast<float>(plan.height) : 1;
    const int x = rule.rows_first ? 1 : 0;
    const int y = 1 - x;
    for (int64_t i = 0; i < rows.count; ++i) {
        const float* box = rows.boxes + i * rows.box_step;
        const float score = rows.scores[i * rows.score_step];
        const int label = to_label(rows.labels[i * rows.label_step]) - rule.first_label;
        if (label >= 0 && thresholds.keeps(label, score)) {
            found.push_back({box[x] * x_unit, box[y] * y_unit, box[2 + x] * x_unit, box[2 + y] * y_unit, score, label});
        }
    }
}

// Boxes, labels and scores in an output each.
struct SelectedPorts {
    int boxes;
    int labels;
    int scores;

    bool all_found() const { return boxes >= 0 && labels >= 0 && scores >= 0; }
};

// (N, 4), (N) and (N), or the same with a batch dimension of 1 before.
class SelectedDecoder final : public Decoder {
  public:
    SelectedDecoder(const SelectedPorts& ports, bool batched, const RowRule& rule, const InputPlan& plan)
        : ports_(ports), batched_(batched), rule_(rule), plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const Tensor& boxes = outputs[static_cast<size_t>(ports_.boxes)];
        const Tensor& labels = outputs[static_cast<size_t>(ports_.labels)];
        const Tensor& scores = outputs[static_cast<size_t>(ports_.scores)];
        expect_shape("ssd", boxes, batched_ ? Shape{1, -1, 4} : Shape{-1, 4});
        const int64_t count = boxes.shape[batched_ ? 1 : 0];
        const Shape one_each = batched_ ? Shape{1, count} : Shape{count};
        expect_shape("ssd", labels, one_each);
        expect_shape("ssd", scores, one_each);
        read_rows({boxes.data, 4, scores.data, 1, labels.data, 1, count}, rule_, plan_, thresholds, found);
    }
    int classes() const override { return -1; }

  private:
    SelectedPorts ports_;
    bool batched_;
    RowRule rule_;
    InputPlan plan_;
};

} // namespace zpipe::formats
