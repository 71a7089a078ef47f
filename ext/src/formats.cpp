#include "formats.hpp"

#include <algorithm>
#include <cstring>

#include "formats/registry.hpp"
#include "status.hpp"

namespace zpipe {

namespace {

// A new format: its file in formats/, its declaration in formats/registry.hpp, its line here.
const Format* const all_formats[] = {
    &formats::yolov5,
    &formats::yolov8,
    &formats::yolox,
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

bool has_metadata(const ModelInfo& info, const char* key) { return info.metadata.count(key) > 0; }

bool tail_has(const Port& output, std::initializer_list<const char*> kinds) {
    return std::any_of(output.tail.begin(), output.tail.end(), [&](const std::string& kind) {
        return std::any_of(kinds.begin(), kinds.end(), [&](const char* wanted) { return kind == wanted; });
    });
}

int64_t cells(const ImageInput& input, std::initializer_list<int> strides) {
    int64_t sum = 0;
    for (const int stride : strides) {
        // Heads round up where the input is not a multiple of the stride.
        sum += static_cast<int64_t>((input.plan.width + stride - 1) / stride) *
               ((input.plan.height + stride - 1) / stride);
    }
    return sum;
}

void does_not_fit(const ModelInfo& info, const char* format, const std::string& expected) {
    throw Error(Status::unsupported_model, info.file + ": not of format " + format + ", which has " + expected +
                                               "; the outputs are:\n" + ports_text(info.outputs));
}

void expect_shape(const char* format, const Tensor& tensor, const Shape& expected) {
    const bool fits = tensor.shape.size() == expected.size() &&
                      std::equal(expected.begin(), expected.end(), tensor.shape.begin(),
                                 [](int64_t want, int64_t have) { return want < 0 || want == have; });
    if (!fits) {
        throw Error(Status::failed_inference, std::string("format ") + format + " expects an output of shape " +
                                                  shape_text(expected) + ", the model returned " +
                                                  shape_text(tensor.shape));
    }
}

namespace formats {

PixelRule unit_rgb() {
    PixelRule rule;
    rule.scale = {255, 255, 255};
    return rule;
}

bool is_decoded(const Port& output) {
    return tail_has(output, {"Exp", "Multiply", "Power", "Divide", "Subtract"});
}

bool is_raw(const Port& output) { return !output.tail.empty() && !is_decoded(output); }

} // namespace formats

} // namespace zpipe
