// Boxes: thresholds, non-maximum suppression, back into image pixels.
#pragma once

#include <string>
#include <vector>

#include "model.hpp"
#include "preprocess.hpp"

namespace zpipe {

// The least confidence per class.
class Thresholds {
  public:
    Thresholds() = default;
    // Classes beyond the list need `other`. A class that is not wanted has a threshold above 1.
    Thresholds(std::vector<float> per_class, float other);

    // What is no number is kept, here and below: it is for check_confidences to see.
    bool keeps(int label_id, float confidence) const {
        const auto id = static_cast<size_t>(label_id);
        return !(confidence < (id < per_class_.size() ? per_class_[id] : other_));
    }
    // May it be enough for some class? If not, it needs no closer look.
    bool reaches_lowest(float confidence) const { return !(confidence < lowest_); }

  private:
    std::vector<float> per_class_;
    float other_ = 0.25f;
    float lowest_ = 0.25f;
};

// What cannot be right of confidences, to be read after "returned"; empty where all are numbers from 0 to 1. What is
// beyond by no more than the rounding of eight bits is set to 0 or 1.
std::string check_confidences(std::vector<float>& confidences);
std::string check_confidences(std::vector<Detection>& detections);

// Intersection over union of two boxes; 0 for boxes without area.
float overlap(const Detection& a, const Detection& b);

// Sorts by falling confidence (equal ones keep their order) and keeps the best `limit` of which none overlaps a better
// one by more than `iou`. Greedy, per class unless `class_agnostic`.
void suppress(std::vector<Detection>& detections, float iou, bool class_agnostic, size_t limit);

// The same without suppression.
void keep_best(std::vector<Detection>& detections, size_t limit);

// Joins what was found in overlapping parts of an image. `cut` are boxes that end at the edge of their part: each stays
// only if none that is kept covers half of it. Best first, at most `limit`.
void join_parts(std::vector<Detection>& detections, std::vector<Detection> cut, float iou, bool class_agnostic,
                size_t limit);

// From input to image pixels, clipped to the image. Drops what has no area there, and what is not a finite number.
void to_image(std::vector<Detection>& detections, const Placement& placement, int width, int height);

} // namespace zpipe
