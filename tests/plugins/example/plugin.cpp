// The library above as a zpipe plugin.
#include <stdexcept>
#include <zpipe_plugin.hpp>

#include "vision.hpp"

struct Spots : zpipe_plugin_cpp::Detector {
    Detect detect_;

    void open(const zpipe_settings& s) override {
        if (!detect_.Init(s.config_path, s.device))
            throw std::runtime_error("Detect::Init failed");
    }
    std::vector<std::string> labels() const override { return {"wide", "tall"}; }
    std::vector<zpipe_detection> detect(const zpipe_image& image) override {
        std::vector<zpipe_detection> found;
        for (const Object& o : detect_.Run({image.pixels, image.width, image.height, image.row_bytes}))
            found.push_back({{float(o.x), float(o.y), float(o.w), float(o.h)}, o.score, o.type});
        return found;
    }
};

struct Colors : zpipe_plugin_cpp::Classifier {
    Classify classify_;

    void open(const zpipe_settings& s) override {
        if (!classify_.Init(s.config_path, s.device))
            throw std::runtime_error("Classify::Init failed");
    }
    std::vector<std::string> labels() const override { return {"blue", "green", "red"}; }
    std::vector<std::vector<zpipe_class>> classify(const zpipe_image& image,
                                                   const std::vector<zpipe_box>& boxes) override {
        std::vector<std::vector<zpipe_class>> rows;
        for (const zpipe_box& b : boxes) {
            const auto* first = image.pixels + int(b.y) * image.row_bytes + 3 * int(b.x);
            rows.emplace_back();
            for (const Color& c : classify_.Run({first, int(b.w), int(b.h), image.row_bytes}))
                rows.back().push_back({c.id, c.share});
        }
        return rows;
    }
};

ZPIPE_PLUGIN("vision", Spots, Colors)
