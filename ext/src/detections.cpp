#include "detections.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace zpipe {

Thresholds::Thresholds(std::vector<float> per_class, float other)
    : per_class_(std::move(per_class)), other_(other), lowest_(other) {
    for (const float threshold : per_class_) {
        lowest_ = std::min(lowest_, threshold);
    }
}

namespace {

float intersection(const Detection& a, const Detection& b) {
    const float width = std::min(a.right, b.right) - std::max(a.left, b.left);
    const float height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
    return width > 0 && height > 0 ? width * height : 0;
}

std::string number_text(float value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", static_cast<double>(value));
    return text;
}

void sort_by_confidence(std::vector<Detection>& detections) {
    std::stable_sort(detections.begin(), detections.end(),
                     [](const Detection& a, const Detection& b) { return a.confidence > b.confidence; });
}

} // namespace

std::string check_confidences(std::vector<float>& confidences) {
    constexpr float rounding = 1 / 256.0f;
    float least = 0;
    float most = 1;
    for (float& confidence : confidences) {
        if (!std::isfinite(confidence)) {
            return "confidences that are no finite numbers";
        }
        least = std::min(least, confidence);
        most = std::max(most, confidence);
        confidence = std::clamp(confidence, 0.0f, 1.0f);
    }
    if (least >= -rounding && most <= 1 + rounding) {
        return "";
    }
    return least < -rounding && most > 1 + rounding
               ? "confidences from " + number_text(least) + " to " + number_text(most) + ", expected 0 to 1"
               : "a confidence of " + number_text(most > 1 + rounding ? most : least) + ", expected 0 to 1";
}

std::string check_confidences(std::vector<Detection>& detections) {
    std::vector<float> confidences;
    confidences.reserve(detections.size());
    for (const Detection& d : detections) {
        confidences.push_back(d.confidence);
    }
    const std::string wrong = check_confidences(confidences);
    for (size_t i = 0; i < detections.size(); ++i) {
        detections[i].confidence = confidences[i];
    }
    return wrong;
}

float overlap(const Detection& a, const Detection& b) {
    const float both = intersection(a, b);
    const float either = (a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - both;
    return either > 0 ? both / either : 0;
}

void suppress(std::vector<Detection>& detections, float iou, bool class_agnostic, size_t limit) {
    sort_by_confidence(detections);
    size_t kept = 0; // the kept ones move to the front
    for (size_t i = 0; i < detections.size() && kept < limit; ++i) {
        const Detection candidate = detections[i];
        const bool hidden = std::any_of(detections.begin(), detections.begin() + kept, [&](const Detection& better) {
            return (class_agnostic || better.label_id == candidate.label_id) && overlap(better, candidate) > iou;
        });
        if (!hidden) {
            detections[kept++] = candidate;
        }
    }
    detections.resize(kept);
}

void keep_best(std::vector<Detection>& detections, size_t limit) {
    sort_by_confidence(detections);
    detections.resize(std::min(detections.size(), limit));
}

void join_parts(std::vector<Detection>& detections, std::vector<Detection> cut, float iou, bool class_agnostic,
                size_t limit) {
    suppress(detections, iou, class_agnostic, limit);
    sort_by_confidence(cut);
    for (const Detection& candidate : cut) {
        const float area = (candidate.right - candidate.left) * (candidate.bottom - candidate.top);
        const bool covered = std::any_of(detections.begin(), detections.end(), [&](const Detection& kept) {
            return (class_agnostic || kept.label_id == candidate.label_id) &&
                   (intersection(kept, candidate) > 0.5f * area || overlap(kept, candidate) > iou);
        });
        if (!covered) {
            detections.push_back(candidate);
        }
    }
    keep_best(detections, limit);
}

void to_image(std::vector<Detection>& detections, const Placement& placement, int width, int height) {
    const auto inside = [](float value, int side) { return std::clamp(value, 0.0f, static_cast<float>(side)); };
    size_t kept = 0;
    for (Detection d : detections) {
        const float sum = d.left + d.top + d.right + d.bottom + d.confidence;
        if (!std::isfinite(sum)) {
            continue;
        }
        d.left = inside(placement.image_x(d.left), width);
        d.top = inside(placement.image_y(d.top), height);
        d.right = inside(placement.image_x(d.right), width);
        d.bottom = inside(placement.image_y(d.bottom), height);
        if (d.right > d.left && d.bottom > d.top) {
            detections[kept++] = d;
        }
    }
    detections.resize(kept);
}

} // namespace zpipe
