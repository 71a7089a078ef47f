// What the files of formats share.
#include "formats/registry.hpp"

#include "status.hpp"

namespace zpipe::formats {

PixelRule unit_rgb(Fit fit) {
    PixelRule rule;
    rule.fit = fit;
    rule.scale = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f};
    return rule;
}

PixelRule imagenet(Color color, Fit fit, float padding) {
    PixelRule rule;
    rule.color = color;
    rule.fit = fit;
    rule.padding = padding;
    rule.mean = {123.675f, 116.28f, 103.53f};
    rule.scale = {1 / 58.395f, 1 / 57.12f, 1 / 57.375f};
    if (color == Color::bgr) {
        std::reverse(rule.mean.begin(), rule.mean.end());
        std::reverse(rule.scale.begin(), rule.scale.end());
    }
    return rule;
}

bool is_integer(const Port& port) {
    return !port.type.empty() && (port.type[0] == 'i' || port.type[0] == 'u');
}

bool has_metadata(const ModelInfo& info, const char* key) {
    return info.metadata.count(key) > 0;
}

bool is_ultralytics(const ModelInfo& info) {
    const auto task = info.metadata.find("task");
    // Their models for poses or masks have other columns behind the boxes.
    return has_metadata(info, "names") && has_metadata(info, "stride") &&
           (task == info.metadata.end() || task->second == "detect");
}

bool tail_has(const Port& output, std::initializer_list<const char*> kinds) {
    return std::any_of(output.tail.begin(), output.tail.end(), [&](const std::string& kind) {
        return std::any_of(kinds.begin(), kinds.end(), [&](const char* wanted) { return kind == wanted; });
    });
}

std::string plain_name(const Port& port) {
    std::string name = port.name.substr(0, port.name.find(':'));
    const size_t slash = name.rfind('/');
    return slash == std::string::npos ? name : name.substr(slash + 1);
}

bool is_decoded(const Port& output) {
    return tail_has(output, {"Exp", "Multiply", "Power", "Divide", "Subtract"});
}

bool is_raw(const Port& output) {
    return !output.tail.empty() && !is_decoded(output);
}

bool has_selection(const Port& output) {
    return tail_has(output, {"TopK", "NonMaxSuppression"});
}

bool lacks_sigmoid(const Port& output) {
    return !output.tail.empty() && !tail_has(output, {"Sigmoid"});
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

std::vector<Level> grid_levels(const InputPlan& plan, std::initializer_list<int> strides) {
    std::vector<Level> levels;
    for (const int stride : strides) {
        // Convolutions with stride round up where the input is not a multiple of it.
        levels.push_back({stride, (plan.width + stride - 1) / stride, (plan.height + stride - 1) / stride});
    }
    return levels;
}

int64_t cells(const ImageInput& input, std::initializer_list<int> strides) {
    int64_t sum = 0;
    for (const Level& level : grid_levels(input.plan, strides)) {
        sum += level.cells();
    }
    return sum;
}

std::vector<LevelOutputs> match_levels(const ModelInfo& info, const ImageInput& input,
                                       std::initializer_list<int> strides, int per_cell,
                                       const std::vector<int64_t>& widths, int64_t ignored) {
    std::vector<LevelOutputs> matched;
    std::vector<bool> used(info.outputs.size(), false);
    const auto take = [&](int64_t rows, int64_t width) {
        for (size_t i = 0; i < info.outputs.size(); ++i) {
            const Shape& s = info.outputs[i].shape;
            const size_t n = s.size();
            const bool leading = n == 2 || (n == 3 && may_be(s[0], 1));
            if (!used[i] && leading && s[n - 2] == rows && s[n - 1] == width) {
                used[i] = true;
                return static_cast<int>(i);
            }
        }
        return -1;
    };
    for (const Level& level : grid_levels(input.plan, strides)) {
        LevelOutputs found{level, {}};
        for (const int64_t width : widths) {
            const int output = take(level.cells() * per_cell, width);
            if (output < 0) {
                return {};
            }
            found.outputs.push_back(static_cast<size_t>(output));
        }
        matched.push_back(found);
    }
    for (size_t i = 0; i < info.outputs.size(); ++i) {
        if (!used[i] && (info.outputs[i].shape.empty() || info.outputs[i].shape.back() != ignored)) {
            return {};
        }
    }
    return matched;
}

Detection from_distributions(float x, float y, const float* logits, int bins, float stride, float confidence,
                             int label) {
    float distance[4];
    for (float& side : distance) {
        const float highest = *std::max_element(logits, logits + bins);
        float sum = 0;
        float weighted = 0;
        for (int i = 0; i < bins; ++i) {
            const float weight = std::exp(logits[i] - highest);
            sum += weight;
            weighted += weight * static_cast<float>(i);
        }
        side = weighted / sum * stride;
        logits += bins;
    }
    return {x - distance[0], y - distance[1], x + distance[2], y + distance[3], confidence, label};
}

} // namespace zpipe::formats
