#include "formats.hpp"

#include <algorithm>

#include "formats/registry.hpp"
#include "status.hpp"

namespace zpipe {

namespace {

// A new format: its file in formats/, its declaration in formats/registry.hpp, its line here.
const Format* const all_formats[] = {
    &formats::yolov5,           &formats::yolov5_face,    &formats::yolov5_undecoded,
    &formats::yolov8,           &formats::yolov10,        &formats::yolox,
    &formats::nanodet,          &formats::nanodet_plus,   &formats::picodet,
    &formats::picodet_selected, &formats::detr_selected,  &formats::detr_joined,
    &formats::detr_sigmoid,     &formats::detr_softmax,   &formats::rtmdet,
    &formats::ssd_torchvision,  &formats::ssd_tensorflow, &formats::detection_output,
    &formats::ultraface,        &formats::yunet,          &formats::scrfd,
};

std::string list_formats() {
    std::string text;
    for (const Format* format : all_formats) {
        text += "  " + format->title() + ": " + format->outputs + "\n";
    }
    return text;
}

std::string join(const std::vector<Recognised>& fits) {
    std::string names;
    for (const Recognised& fit : fits) {
        names += (names.empty() ? "" : " and ") + fit.format->title();
    }
    return names;
}

Recognised find_named(const std::string& name, const ModelInfo& info, const ImageInput& input) {
    std::string expected;
    std::vector<Recognised> fits;
    std::vector<Recognised> sure;
    for (const Format* format : all_formats) {
        if (name != format->name) {
            continue;
        }
        expected += (expected.empty() ? "" : ", or ") + std::string(format->outputs);
        if (format->fits(info, input)) {
            fits.push_back({format, "named in the config"});
            if (auto why = format->recognise(info, input)) {
                sure.push_back({format, "named in the config; " + *why});
            }
        }
    }
    if (expected.empty()) {
        throw Error(Status::unknown_format,
                    "there is no detector format '" + name + "'; known are:\n" + list_formats());
    }
    if (fits.empty()) {
        throw Error(Status::unsupported_model, info.file + ": not of format " + name + ", which has " + expected +
                                                   " for an input of " + std::to_string(input.plan.width) + "x" +
                                                   std::to_string(input.plan.height) + "; the outputs are:\n" +
                                                   ports_text(info.outputs));
    }
    if (fits.size() > 1 && sure.size() != 1) {
        throw Error(Status::unknown_format, info.file + ": the outputs fit " + join(fits) +
                                                "; with the names of the classes in `labels` it can be told which");
    }
    return fits.size() == 1 ? fits.front() : sure.front();
}

Recognised find_by_outputs(const ModelInfo& info, const ImageInput& input) {
    std::vector<Recognised> sure;
    for (const Format* format : all_formats) {
        if (format->fits(info, input)) {
            if (auto why = format->recognise(info, input)) {
                sure.push_back({format, *why});
            }
        }
    }
    if (sure.size() == 1) {
        return sure.front();
    }
    const std::string problem = sure.empty() ? "it cannot be told for sure which detector format the outputs have"
                                             : "the outputs fit " + join(sure) + ", and nothing tells which";
    throw Error(Status::unknown_format, info.file + ": " + problem + "; name one with `format`. The outputs are:\n" +
                                            ports_text(info.outputs) + "Formats:\n" + list_formats());
}

} // namespace

std::vector<std::string> format_names() {
    std::vector<std::string> names;
    for (const Format* format : all_formats) {
        if (std::find(names.begin(), names.end(), format->name) == names.end()) {
            names.emplace_back(format->name);
        }
    }
    return names;
}

Recognised find_format(const std::string& name, const ModelInfo& info, const ImageInput& input) {
    if (info.outputs.empty()) {
        throw Error(Status::unsupported_model, info.file + ": the model has no outputs");
    }
    return name == "auto" ? find_by_outputs(info, input) : find_named(name, info, input);
}

} // namespace zpipe
