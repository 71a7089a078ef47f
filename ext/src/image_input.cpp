#include "image_input.hpp"

#include <algorithm>
#include <cstdio>

#include "status.hpp"

namespace zpipe {

namespace {

bool is_channels(int64_t n) {
    return n == 1 || n == 3;
}

// The picture's layout if this input can be one: rank 4 (batch first) or 3, with 1 or 3 channels.
std::optional<ImageInput> as_image(const Port& port) {
    const Shape& s = port.shape;
    ImageInput input;
    size_t first = 0; // of the three picture dimensions
    if (s.size() == 4) {
        input.any_batch = s[0] < 0;
        first = 1;
    } else if (s.size() == 3) {
        input.batched = false;
    } else {
        return std::nullopt;
    }
    const bool planes = is_channels(s[first]);
    const bool interleaved = is_channels(s[first + 2]);
    if (planes == interleaved) {
        return std::nullopt; // neither, or a picture one or three pixels wide: no reading is certain
    }
    input.plan.nhwc = interleaved;
    input.plan.channels = static_cast<int>(s[interleaved ? first + 2 : first]);
    const int64_t height = s[interleaved ? first : first + 1];
    const int64_t width = s[interleaved ? first + 1 : first + 2];
    input.plan.height = height > 0 ? static_cast<int>(height) : 0;
    input.plan.width = width > 0 ? static_cast<int>(width) : 0;
    return input;
}

// Ultralytics writes `imgsz` as "[height, width]".
std::optional<std::pair<int, int>> metadata_size(const ModelInfo& info) {
    const auto found = info.metadata.find("imgsz");
    int height = 0;
    int width = 0;
    if (found == info.metadata.end() || std::sscanf(found->second.c_str(), " [ %d , %d ]", &height, &width) != 2 ||
        height < 1 || width < 1) {
        return std::nullopt;
    }
    return std::make_pair(width, height);
}

void settle_size(const ModelInfo& info, ImageInput& input, const std::optional<std::pair<int, int>>& size) {
    InputPlan& plan = input.plan;
    const Port& port = info.inputs[input.index];
    const auto wanted = size ? size : metadata_size(info);
    const bool open = plan.width == 0 || plan.height == 0;
    if (open && !wanted) {
        throw Error(Status::unsupported_model, info.file + ": input '" + port.name + "' " + shape_text(port.shape) +
                                                   " leaves its size open and the file does not name one; set "
                                                   "`size: [width, height]`");
    }
    const auto settle = [&](int& side, int value, const char* name) {
        if (side == 0) {
            side = value;
        } else if (size && side != value) {
            throw Error(Status::unsupported_model, info.file + ": input '" + port.name + "' " + shape_text(port.shape) +
                                                       " has the fixed " + name + " " + std::to_string(side) +
                                                       ", but `size` asks for " + std::to_string(value));
        }
    };
    if (wanted) {
        settle(plan.width, wanted->first, "width");
        settle(plan.height, wanted->second, "height");
    }
}

} // namespace

Shape ImageInput::shape(int64_t pictures) const {
    Shape shape;
    if (batched) {
        shape.push_back(pictures);
    }
    const Shape picture =
        plan.nhwc ? Shape{plan.height, plan.width, plan.channels} : Shape{plan.channels, plan.height, plan.width};
    shape.insert(shape.end(), picture.begin(), picture.end());
    return shape;
}

ImageInput find_image_input(const ModelInfo& info, const std::optional<std::pair<int, int>>& size) {
    std::optional<ImageInput> found;
    for (size_t i = 0; i < info.inputs.size(); ++i) {
        auto input = as_image(info.inputs[i]);
        if (!input) {
            continue;
        }
        if (found) {
            throw Error(Status::unsupported_model,
                        info.file + ": more than one input looks like a picture:\n" + ports_text(info.inputs));
        }
        input->index = i;
        found = input;
    }
    if (!found) {
        throw Error(Status::unsupported_model,
                    info.file +
                        ": no input looks like a picture, expected a shape like (1, 3, height, width), "
                        "(1, height, width, 3) or the same with 1 channel; found:\n" +
                        ports_text(info.inputs));
    }
    settle_size(info, *found, size);
    return *found;
}

bool is_size_input(const Port& port) {
    for (const char* name : {"orig_target_sizes", "target_sizes", "orig_size", "orig_sizes"}) {
        if (port.name == name) {
            return true;
        }
    }
    return false;
}

namespace {

std::vector<float> side_input(const ModelInfo& info, size_t index, const InputPlan& plan) {
    const Port& port = info.inputs[index];
    const auto width = static_cast<float>(plan.width);
    const auto height = static_cast<float>(plan.height);
    const Shape& s = port.shape;
    const bool pair = !s.empty() && s.back() == 2 && (s.size() == 1 || (s.size() == 2 && s[0] <= 1));
    if (pair && is_size_input(port)) {
        return {width, height}; // the order of RT-DETR and its kin
    }
    if (pair && (port.name == "im_shape" || port.name == "image_shape")) {
        return {height, width}; // the order of PaddleDetection and of the ONNX model zoo
    }
    if (pair && port.name == "scale_factor") {
        return {1, 1};
    }
    throw Error(Status::unsupported_model, info.file + ": what to feed the input '" + port.name + "' " +
                                               shape_text(port.shape) +
                                               " is not known; beside the picture only sizes are "
                                               "(orig_target_sizes, im_shape, image_shape, scale_factor)");
}

} // namespace

void fill_side_inputs(Model& model, const ImageInput& image) {
    const auto shapes = input_shapes(model.info(), image, 1);
    for (size_t i = 0; i < shapes.size(); ++i) {
        if (i != image.index) {
            const std::vector<float> values = side_input(model.info(), i, image.plan);
            std::copy(values.begin(), values.end(), model.input(i, shapes[i]));
        }
    }
}

std::vector<Shape> input_shapes(const ModelInfo& info, const ImageInput& image, int64_t pictures) {
    std::vector<Shape> shapes;
    for (size_t i = 0; i < info.inputs.size(); ++i) {
        Shape shape = info.inputs[i].shape;
        if (i == image.index) {
            shape = image.shape(pictures);
        } else if (!shape.empty() && shape[0] < 0) {
            shape[0] = pictures;
        }
        shapes.push_back(shape);
    }
    return shapes;
}

} // namespace zpipe
