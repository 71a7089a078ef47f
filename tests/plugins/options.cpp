// A C++ plugin that reads options; what it read are the names of its classes.
#include <cstdint>
#include <string>
#include <zpipe_plugin.hpp>

struct Reader : zpipe_plugin_cpp::Detector {
    static constexpr const char* known_options[] = {"text", "number", "whole", "byte", "flag", "sizes", nullptr};
    std::vector<std::string> read;

    void open(const zpipe_settings& settings) override {
        read = {
            option(settings, "text", "none"),
            std::to_string(option(settings, "number", 0.5)),
            std::to_string(option(settings, "whole", std::int64_t{7})),
            std::to_string(option(settings, "byte", std::uint8_t{8})),
            option(settings, "flag", false) ? "true" : "false",
            std::to_string(option(settings, "sizes.1", 9)),
        };
    }
    std::vector<std::string> labels() const override { return read; }
    std::vector<zpipe_detection> detect(const zpipe_image&) override { return {}; }
};

struct Taker : zpipe_plugin_cpp::Classifier { // takes any option
    std::vector<std::vector<zpipe_class>> classify(const zpipe_image&, const std::vector<zpipe_box>& boxes) override {
        return std::vector<std::vector<zpipe_class>>(boxes.size());
    }
};

ZPIPE_PLUGIN("options", Reader, Taker)
