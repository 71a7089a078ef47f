// Models in shared libraries with the C ABI of zpipe_plugin.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "classifier.hpp"
#include "detector.hpp"
#include "zpipe_plugin.h"

namespace zpipe {

// One value in `options`, as zpipe_option says.
struct PluginValue {
    std::string name;
    std::string text;
    double number;
    zpipe_option_kind kind;
};

struct PluginOptions {
    std::string file;
    std::string device = "CPU";
    std::string config_path;
    std::string options = "{}"; // JSON
    std::vector<PluginValue> values;
    int threads = 1;
};

// Boxes are checked, clipped and filtered like those of any other model. Errors in the library's open throw here, those
// in detect and classify from the call.
std::unique_ptr<Detector> open_plugin_detector(const PluginOptions& options, size_t max_objects);
std::unique_ptr<Classifier> open_plugin_classifier(const PluginOptions& options, int top_k, float threshold);

} // namespace zpipe
