#include "module_arrays.hpp"

#include <pybind11/stl.h>

#include <cmath>
#include <cstring>
#include <string>

#include "status.hpp"

namespace zpipe {

Image as_image(const py::array& array) {
    if (!py::isinstance<py::array_t<uint8_t>>(array) || array.ndim() != 3 || array.shape(2) != 3) {
        throw Error(Status::bad_argument, "an image is a uint8 array of shape (height, width, 3), got " +
                                              std::string(py::str(array.dtype())) + " of shape " +
                                              std::string(py::str(array.attr("shape"))));
    }
    constexpr py::ssize_t longest = 1 << 20; // keeps every size in the core inside an int
    if (array.shape(0) < 1 || array.shape(1) < 1 || array.shape(0) > longest || array.shape(1) > longest) {
        throw Error(Status::bad_argument, "an image has 1 to " + std::to_string(longest) + " pixels per side, got " +
                                              std::to_string(array.shape(1)) + "x" + std::to_string(array.shape(0)));
    }
    Image image;
    image.data = static_cast<const uint8_t*>(array.data());
    image.width = static_cast<int>(array.shape(1));
    image.height = static_cast<int>(array.shape(0));
    image.row = array.strides(0);
    image.column = array.strides(1);
    image.channel = array.strides(2);
    return image;
}

std::vector<Box> as_boxes(const BoxArray& array) {
    if (array.ndim() != 2 || array.shape(1) != 4) {
        throw Error(Status::bad_argument, "boxes are an array of shape (n, 4): x, y, w, h; got shape " +
                                              std::string(py::str(array.attr("shape"))));
    }
    std::vector<Box> boxes(static_cast<size_t>(array.shape(0)));
    if (!boxes.empty()) {
        std::memcpy(boxes.data(), array.data(), boxes.size() * sizeof(Box));
    }
    for (const Box& box : boxes) {
        if (!std::isfinite(box.x + box.y + box.w + box.h) || box.w < 0 || box.h < 0) {
            throw Error(Status::bad_argument, "boxes must be finite numbers with no negative width or height");
        }
    }
    return boxes;
}

py::str as_text(const std::string& text) {
    return py::reinterpret_steal<py::str>(
        PyUnicode_DecodeUTF8(text.data(), static_cast<py::ssize_t>(text.size()), "backslashreplace"));
}

py::tuple as_arrays(const std::vector<Detection>& found) {
    const auto n = static_cast<py::ssize_t>(found.size());
    py::array_t<float> boxes({n, py::ssize_t{4}});
    py::array_t<float> confidences(n);
    py::array_t<int32_t> label_ids(n);
    float* box = boxes.mutable_data();
    for (py::ssize_t i = 0; i < n; ++i) {
        const Detection& d = found[static_cast<size_t>(i)];
        *box++ = d.left;
        *box++ = d.top;
        *box++ = d.right - d.left;
        *box++ = d.bottom - d.top;
        confidences.mutable_data()[i] = d.confidence;
        label_ids.mutable_data()[i] = d.label_id;
    }
    return py::make_tuple(boxes, confidences, label_ids);
}

py::tuple as_arrays(const ClassRows& rows, size_t count) {
    const auto n = static_cast<py::ssize_t>(count);
    py::array_t<int32_t> label_ids({n, static_cast<py::ssize_t>(rows.per_row)});
    py::array_t<float> confidences({n, static_cast<py::ssize_t>(rows.per_row)});
    std::copy(rows.label_ids.begin(), rows.label_ids.end(), label_ids.mutable_data());
    std::copy(rows.confidences.begin(), rows.confidences.end(), confidences.mutable_data());
    if (rows.columns == 0) {
        return py::make_tuple(label_ids, confidences, py::none());
    }
    py::array_t<float> values({n, static_cast<py::ssize_t>(std::max<int64_t>(rows.columns, 0))});
    std::copy(rows.values.begin(), rows.values.end(), values.mutable_data());
    return py::make_tuple(label_ids, confidences, values);
}

std::vector<PluginValue> as_values(const py::dict& dict) {
    std::vector<PluginValue> values;
    for (const auto& [key, value] : dict) {
        const auto name = py::cast<std::string>(key);
        const auto text = py::cast<std::string>(py::str(value));
        if (py::isinstance<py::bool_>(value)) { // which is an int, too
            const bool is_true = py::cast<bool>(value);
            values.push_back({name, is_true ? "true" : "false", is_true ? 1.0 : 0.0, ZPIPE_OPTION_BOOL});
        } else if (py::isinstance<py::int_>(value) || py::isinstance<py::float_>(value)) {
            values.push_back({name, text, py::cast<double>(value), ZPIPE_OPTION_NUMBER});
        } else {
            values.push_back({name, text, 0, ZPIPE_OPTION_TEXT});
        }
    }
    return values;
}

namespace {

py::list ports(const std::vector<Port>& ports) {
    py::list list;
    for (const Port& port : ports) {
        list.append(py::make_tuple(as_text(port.name), port.type, py::tuple(py::cast(port.shape))));
    }
    return list;
}

} // namespace

py::dict as_dict(const ModelInfo& info, const Description& details) {
    py::dict dict;
    dict["file"] = as_text(info.file);
    dict["runtime"] = info.runtime;
    dict["device"] = info.device;
    dict["precision"] = info.precision;
    dict["inputs"] = ports(info.inputs);
    dict["outputs"] = ports(info.outputs);
    for (const auto& [key, value] : details) {
        dict[py::str(key)] = as_text(value);
    }
    return dict;
}

} // namespace zpipe
