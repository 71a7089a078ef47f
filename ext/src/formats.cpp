#include "formats.hpp"

#include "formats/registry.hpp"
#include "status.hpp"

namespace zpipe {

namespace {

// A new format: its file in formats/, its declaration in formats/registry.hpp, its line here.
const Format* const all_formats[] = {
    &formats::yolov5,
    &formats::yolov8,
    &formats::yolov10,
    &formats::yolox,
    &formats::nanodet,
    &formats::nanodet_plus,
    &formats::picodet,
    &formats::paddle,
    &formats::rtdetr,
    &formats::rtdetr_ultralytics,
    &formats::detr,
    &formats::detr_softmax,
    &formats::rtmdet,
    &formats::torchvision,
    &formats::tensorflow,
    &formats::detection_output,
    &formats::ultraface,
    &formats::yunet,
    &formats::scrfd,
};

std::string list_formats() {
    std::string text;
    for (const Format* format : all_formats) {
        text += std::string("  ") + format->name + ": " + format->summary + "\n";
    }
    return text;
}

} // namespace

Recognised find_format(const std::string& name, const ModelInfo& info, const ImageInput& input) {
    if (info.outputs.empty()) {
        throw Error(Status::unsupported_model, info.file + ": the model has no outputs");
    }
    if (name != "auto") {
        for (const Format* format : all_formats) {
            if (name == format->name) {
                return {format, "named in the config"};
            }
        }
        throw Error(Status::unknown_format, "there is no detector format '" + name + "'; known are:\n" + list_formats());
    }
    std::vector<Recognised> fits;
    for (const Format* format : all_formats) {
        if (auto why = format->recognise(info, input)) {
            fits.push_back({format, *why});
        }
    }
    if (fits.size() == 1) {
        return fits.front();
    }
    std::string names;
    for (const Recognised& fit : fits) {
        names += (names.empty() ? "" : " and ") + std::string(fit.format->name);
    }
    throw Error(Status::unknown_format,
                info.file + ": " +
                    (fits.empty() ? "the outputs fit no detector format"
                                  : "the outputs fit " + names + "; nothing in the file tells which") +
                    "; name one with `format`. The outputs are:\n" + ports_text(info.outputs) + "Formats:\n" +
                    list_formats());
}

} // namespace zpipe
