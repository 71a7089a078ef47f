#include "plugin_model.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <vector>

#include "plugin_library.hpp"

namespace zpipe {

namespace {

// More boxes than this in one picture are a bug of the library. It is also the highest `max_objects` of a config.
constexpr int32_t most_detections = 10'000;
ModelInfo plugin_info(const PluginOptions& options) {
    ModelInfo info;
    info.file = options.file;
    info.runtime = "plugin";
    info.device = options.device;
    info.precision = "the plugin's own";
    return info;
}

// Plugins get pixels side by side and rows in rising order; other pictures are copied.
class PackedImage {
  public:
    zpipe_image of(const Image& image) {
        if (image.column == 3 && image.channel == 1 && image.row >= 3 * static_cast<ptrdiff_t>(image.width)) {
            return {image.data, image.width, image.height, image.row};
        }
        copy_.resize(3 * static_cast<size_t>(image.width) * static_cast<size_t>(image.height));
        uint8_t* to = copy_.data();
        for (int y = 0; y < image.height; ++y) {
            for (int x = 0; x < image.width; ++x) {
                for (int c = 0; c < 3; ++c) {
                    *to++ = image.data[y * image.row + x * image.column + c * image.channel];
                }
            }
        }
        return {copy_.data(), image.width, image.height, 3 * static_cast<int64_t>(image.width)};
    }

  private:
    std::vector<uint8_t> copy_;
};

bool is_confidence(float value) {
    return value >= 0 && value <= 1;
}

class PluginDetector final : public Detector {
  public:
    PluginDetector(const PluginOptions& options, size_t max_objects)
        : info_(plugin_info(options)), max_objects_(max_objects), plugin_(options, "detect") {}

    std::vector<Detection> detect(const Image& image) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        const zpipe_image packed = packed_.of(image);
        zpipe_error error{};
        room_.resize(most_detections);
        const int32_t count = plugin_.guarded(Status::failed_inference, "detect", [&] {
            return plugin_.table().detect(plugin_.model(), &packed, room_.data(), most_detections, &error);
        });
        if (count < 0) {
            plugin_.fail("detect", "says: " + Plugin::text_of(error));
        }
        if (count > most_detections) {
            plugin_.fail("detect", "found " + std::to_string(count) + " objects, at most " +
                                       std::to_string(most_detections) + " are possible");
        }
        std::vector<Detection> found;
        for (int32_t i = 0; i < count; ++i) {
            add(room_[static_cast<size_t>(i)], found);
        }
        to_image(found, Placement{}, image.width, image.height);
        keep_best(found, max_objects_);
        return found;
    }

    void set_thresholds(Thresholds thresholds) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        thresholds_ = std::move(thresholds);
    }
    int classes() const override { return plugin_.labels().empty() ? -1 : static_cast<int>(plugin_.labels().size()); }
    std::vector<std::string> labels() const override { return plugin_.labels(); }
    const ModelInfo& info() const override { return info_; }
    Description describe() const override {
        return {{"format", "plugin"}, {"why", "`model` names a shared library"}, {"plugin", plugin_.name()}};
    }

  private:
    void add(const zpipe_detection& d, std::vector<Detection>& found) const {
        const zpipe_box& box = d.box;
        if (!std::isfinite(box.x + box.y + box.w + box.h) || box.w < 0 || box.h < 0 || !is_confidence(d.confidence) ||
            d.label_id < 0) {
            plugin_.fail("detect", "returned an object with x " + std::to_string(box.x) + ", y " +
                                       std::to_string(box.y) + ", w " + std::to_string(box.w) + ", h " +
                                       std::to_string(box.h) + ", confidence " + std::to_string(d.confidence) +
                                       ", label_id " + std::to_string(d.label_id) +
                                       "; expected finite numbers, a confidence from 0 to 1, an id from 0");
        }
        if (thresholds_.keeps(d.label_id, d.confidence)) {
            found.push_back({box.x, box.y, box.x + box.w, box.y + box.h, d.confidence, d.label_id});
        }
    }

    std::mutex mutex_;
    ModelInfo info_;
    size_t max_objects_;
    Plugin plugin_;
    PackedImage packed_;
    Thresholds thresholds_;
    std::vector<zpipe_detection> room_; // kept for its memory
};

class PluginClassifier final : public Classifier {
  public:
    PluginClassifier(const PluginOptions& options, int top_k, float threshold)
        : info_(plugin_info(options)), top_k_(top_k), threshold_(threshold), plugin_(options, "classify") {}

    ClassRows classify(const Image& image, const std::vector<Box>& boxes) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        ClassRows rows;
        rows.per_row = top_k_;
        if (boxes.empty()) {
            return rows;
        }
        std::vector<zpipe_box> list;
        for (const Box& box : boxes) {
            list.push_back({box.x, box.y, box.w, box.h});
        }
        const zpipe_image packed = packed_.of(image);
        zpipe_error error{};
        room_.assign(boxes.size() * static_cast<size_t>(top_k_), {-1, 0});
        const int32_t status = plugin_.guarded(Status::failed_inference, "classify", [&] {
            return plugin_.table().classify(plugin_.model(), &packed, list.data(), static_cast<int32_t>(list.size()),
                                            room_.data(), top_k_, &error);
        });
        if (status != 0) {
            plugin_.fail("classify", "says: " + Plugin::text_of(error));
        }
        for (size_t i = 0; i < boxes.size(); ++i) {
            add_row(room_.data() + i * static_cast<size_t>(top_k_), rows);
        }
        return rows;
    }

    int classes() const override { return plugin_.labels().empty() ? -1 : static_cast<int>(plugin_.labels().size()); }
    std::vector<std::string> labels() const override { return plugin_.labels(); }
    const ModelInfo& info() const override { return info_; }
    Description describe() const override {
        return {{"output", "plugin"}, {"why", "`model` names a shared library"}, {"plugin", plugin_.name()}};
    }

  private:
    void add_row(zpipe_class* row, ClassRows& rows) const {
        zpipe_class* end = std::find_if(row, row + top_k_, [](const zpipe_class& c) { return c.label_id < 0; });
        for (const zpipe_class* c = row; c < end; ++c) {
            if (!is_confidence(c->confidence)) {
                plugin_.fail("classify",
                             "returned the confidence " + std::to_string(c->confidence) + ", expected 0 to 1");
            }
        }
        std::stable_sort(row, end,
                         [](const zpipe_class& a, const zpipe_class& b) { return a.confidence > b.confidence; });
        for (int i = 0; i < top_k_; ++i) {
            const bool there = row + i < end;
            rows.label_ids.push_back(there && row[i].confidence >= threshold_ ? row[i].label_id : -1);
            rows.confidences.push_back(there ? row[i].confidence : 0);
        }
    }

    std::mutex mutex_;
    ModelInfo info_;
    int top_k_;
    float threshold_;
    Plugin plugin_;
    PackedImage packed_;
    std::vector<zpipe_class> room_;
};

} // namespace

std::unique_ptr<Detector> open_plugin_detector(const PluginOptions& options, size_t max_objects) {
    return std::make_unique<PluginDetector>(options, max_objects);
}

std::unique_ptr<Classifier> open_plugin_classifier(const PluginOptions& options, int top_k, float threshold) {
    return std::make_unique<PluginClassifier>(options, top_k, threshold);
}

} // namespace zpipe
