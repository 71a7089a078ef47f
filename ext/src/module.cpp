// The Python surface of the core, zpipe._core; the one file that knows pybind11.
//
// Arrays are checked here, the GIL is released for the whole of a call, and every Error becomes a CoreError with a
// `status`. The stub zpipe/_core.pyi documents what is defined here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <cstring>

#include "classifier.hpp"
#include "detector.hpp"
#include "model.hpp"
#include "preprocess.hpp"
#include "status.hpp"

namespace py = pybind11;

namespace zpipe {

namespace {

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

using BoxArray = py::array_t<float, py::array::c_style | py::array::forcecast>;

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

py::tuple detect(Detector& detector, const py::array& array) {
    const Image image = as_image(array);
    std::vector<Detection> found;
    {
        const py::gil_scoped_release unlocked;
        found = detector.detect(image);
    }
    return as_arrays(found);
}

py::tuple classify(Classifier& classifier, const py::array& array, const BoxArray& box_array) {
    const Image image = as_image(array);
    const std::vector<Box> boxes = as_boxes(box_array);
    ClassRows rows;
    {
        const py::gil_scoped_release unlocked;
        rows = classifier.classify(image, boxes);
    }
    const auto n = static_cast<py::ssize_t>(boxes.size());
    py::array_t<int32_t> label_ids({n, static_cast<py::ssize_t>(rows.per_row)});
    py::array_t<float> confidences({n, static_cast<py::ssize_t>(rows.per_row)});
    std::copy(rows.label_ids.begin(), rows.label_ids.end(), label_ids.mutable_data());
    std::copy(rows.confidences.begin(), rows.confidences.end(), confidences.mutable_data());
    return py::make_tuple(label_ids, confidences);
}

py::list ports(const std::vector<Port>& ports) {
    py::list list;
    for (const Port& port : ports) {
        list.append(py::make_tuple(port.name, port.type, py::tuple(py::cast(port.shape))));
    }
    return list;
}

py::dict describe(const ModelInfo& info, const Description& details) {
    py::dict dict;
    dict["file"] = info.file;
    dict["runtime"] = info.runtime;
    dict["device"] = info.device;
    dict["precision"] = info.precision;
    dict["inputs"] = ports(info.inputs);
    dict["outputs"] = ports(info.outputs);
    for (const auto& [key, value] : details) {
        dict[py::str(key)] = value;
    }
    return dict;
}

template <typename Enum> Enum pick(const std::string& what, const std::string& name,
                                   std::initializer_list<std::pair<const char*, Enum>> choices) {
    std::string known;
    for (const auto& [text, value] : choices) {
        if (name == text) {
            return value;
        }
        known += std::string(known.empty() ? "" : ", ") + text;
    }
    throw Error(Status::bad_argument, what + " is one of " + known + ", not '" + name + "'");
}

using Triple = std::optional<std::array<float, 3>>;

PixelOverrides pixel_overrides(const std::string& color, const Triple& mean, const Triple& scale) {
    PixelOverrides overrides;
    if (color != "auto") {
        overrides.color = pick<Color>("color", color, {{"rgb", Color::rgb}, {"bgr", Color::bgr}, {"gray", Color::gray}});
    }
    overrides.mean = mean;
    overrides.scale = scale;
    return overrides;
}

std::unique_ptr<Model> openvino_model(const std::string& file, const std::string& device, const std::string& precision,
                                      int threads, const std::string& cache_dir) {
    const py::gil_scoped_release unlocked;
    OpenVinoOptions options;
    options.device = device;
    options.precision = precision;
    options.threads = threads;
    options.cache_dir = cache_dir;
    return read_openvino_model(file, options);
}

// A model can be opened once: the detector or classifier takes it over.
struct ModelHolder {
    std::unique_ptr<Model> model;

    std::unique_ptr<Model> take() {
        if (!model) {
            throw Error(Status::bad_argument, "this model is already in use by a detector or classifier");
        }
        return std::move(model);
    }
};

std::unique_ptr<Detector> make_detector(ModelHolder& holder, const std::string& format,
                                        std::optional<std::pair<int, int>> size, const std::string& color,
                                        const Triple& mean, const Triple& scale, float iou, size_t max_objects,
                                        bool class_agnostic) {
    DetectOptions options;
    options.format = format;
    options.size = size;
    options.pixels = pixel_overrides(color, mean, scale);
    options.iou = iou;
    options.max_objects = max_objects;
    options.class_agnostic = class_agnostic;
    const py::gil_scoped_release unlocked;
    return open_detector(holder.take(), options);
}

std::unique_ptr<Classifier> make_classifier(ModelHolder& holder, const std::string& output,
                                            std::optional<std::pair<int, int>> size, const std::string& color,
                                            const Triple& mean, const Triple& scale, const std::string& resize,
                                            float margin, int top_k, float threshold, int batch) {
    ClassifyOptions options;
    options.output = pick<Output>("output", output,
                                  {{"auto", Output::automatic},
                                   {"logits", Output::logits},
                                   {"probabilities", Output::probabilities},
                                   {"sigmoid", Output::sigmoid}});
    options.size = size;
    options.pixels = pixel_overrides(color, mean, scale);
    options.crop = pick<Crop>("resize", resize,
                              {{"stretch", Crop::stretch}, {"square", Crop::square}, {"letterbox", Crop::letterbox}});
    options.margin = margin;
    options.top_k = top_k;
    options.threshold = threshold;
    options.batch = batch;
    const py::gil_scoped_release unlocked;
    return open_classifier(holder.take(), options);
}

// The preprocessing alone, for tests and for whoever wants to see what a model is given.
py::tuple preprocess(const py::array& array, int width, int height, const std::string& color, const std::string& fit,
                     const Triple& mean, const Triple& scale, const std::string& layout,
                     std::optional<std::array<int, 4>> region) {
    const Image image = as_image(array);
    InputPlan plan;
    plan.width = width;
    plan.height = height;
    plan.nhwc = pick<bool>("layout", layout, {{"nchw", false}, {"nhwc", true}});
    PixelRule rule;
    rule.fit = pick<Fit>("fit", fit,
                         {{"stretch", Fit::stretch},
                          {"letterbox_center", Fit::letterbox_center},
                          {"letterbox_corner", Fit::letterbox_corner}});
    rule.color = pick<Color>("color", color, {{"rgb", Color::rgb}, {"bgr", Color::bgr}, {"gray", Color::gray}});
    plan.channels = rule.color == Color::gray ? 1 : 3;
    rule.mean = mean.value_or(rule.mean);
    rule.scale = scale.value_or(rule.scale);
    Region part{0, 0, image.width, image.height};
    if (region) {
        part = {(*region)[0], (*region)[1], (*region)[2], (*region)[3]};
    }
    if (part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 || part.x > image.width - part.width ||
        part.y > image.height - part.height || width < 1 || height < 1) {
        throw Error(Status::bad_argument, "the region must lie in the image and no side may be empty");
    }
    const std::vector<py::ssize_t> shape = plan.nhwc ? std::vector<py::ssize_t>{height, width, plan.channels}
                                                     : std::vector<py::ssize_t>{plan.channels, height, width};
    py::array_t<float> result(shape);
    float* to = result.mutable_data();
    Placement placement;
    {
        const py::gil_scoped_release unlocked;
        placement = Preprocessor(plan, rule).write(image, part, to);
    }
    return py::make_tuple(result, py::make_tuple(placement.left, placement.top, placement.scale_x, placement.scale_y,
                                                 placement.origin_x, placement.origin_y));
}

using LabelArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using ConfidenceArray = py::array_t<float, py::array::c_style | py::array::forcecast>;

py::tuple suppress_arrays(const BoxArray& boxes, const ConfidenceArray& confidences, const LabelArray& label_ids,
                          float iou, bool class_agnostic, size_t limit) {
    const std::vector<Box> list = as_boxes(boxes);
    const auto n = static_cast<py::ssize_t>(list.size());
    if (confidences.ndim() != 1 || label_ids.ndim() != 1 || confidences.shape(0) != n || label_ids.shape(0) != n) {
        throw Error(Status::bad_argument, "boxes, confidences and label_ids must have the same length");
    }
    std::vector<Detection> found;
    for (py::ssize_t i = 0; i < n; ++i) {
        const Box& box = list[static_cast<size_t>(i)];
        found.push_back({box.x, box.y, box.x + box.w, box.y + box.h, confidences.at(i), label_ids.at(i)});
    }
    suppress(found, iou, class_agnostic, limit);
    return as_arrays(found);
}

void translate(std::exception_ptr pointer, const py::object& type) {
    try {
        if (pointer) {
            std::rethrow_exception(pointer);
        }
    } catch (const Error& error) {
        const py::object value = type(error.what());
        value.attr("status") = status_name(error.status());
        PyErr_SetObject(type.ptr(), value.ptr());
    }
}

} // namespace

} // namespace zpipe

PYBIND11_MODULE(_core, m) {
    using namespace zpipe;
    m.doc() = "The C++ core of zpipe: pixels and numbers.";

    static py::handle core_error = py::exception<Error>(m, "CoreError", PyExc_RuntimeError).release();
    py::register_exception_translator(
        [](std::exception_ptr pointer) { translate(pointer, py::reinterpret_borrow<py::object>(core_error)); });

    py::class_<ModelHolder>(m, "Model")
        .def_property_readonly("metadata", [](const ModelHolder& holder) {
            if (!holder.model) {
                throw Error(Status::bad_argument, "this model is already in use by a detector or classifier");
            }
            return holder.model->info().metadata;
        });
    m.def(
        "read_openvino",
        [](const std::string& file, const std::string& device, const std::string& precision, int threads,
           const std::string& cache_dir) {
            return ModelHolder{openvino_model(file, device, precision, threads, cache_dir)};
        },
        py::arg("file"), py::kw_only(), py::arg("device") = "CPU", py::arg("precision") = "auto",
        py::arg("threads") = 1, py::arg("cache_dir") = "");

    py::class_<Detector>(m, "Detector")
        .def(py::init(&make_detector), py::arg("model"), py::kw_only(), py::arg("format") = "auto",
             py::arg("size") = py::none(), py::arg("color") = "auto", py::arg("mean") = py::none(),
             py::arg("scale") = py::none(), py::arg("iou") = 0.45f, py::arg("max_objects") = 300,
             py::arg("class_agnostic") = false)
        .def(
            "set_thresholds",
            [](Detector& detector, std::vector<float> per_class, float other) {
                detector.set_thresholds(Thresholds(std::move(per_class), other));
            },
            py::arg("per_class"), py::arg("other"))
        .def("detect", &detect, py::arg("image"))
        .def_property_readonly("classes", &Detector::classes)
        .def("describe", [](const Detector& self) { return describe(self.info(), self.describe()); });

    py::class_<Classifier>(m, "Classifier")
        .def(py::init(&make_classifier), py::arg("model"), py::kw_only(), py::arg("output") = "auto",
             py::arg("size") = py::none(), py::arg("color") = "auto", py::arg("mean") = py::none(),
             py::arg("scale") = py::none(), py::arg("resize") = "stretch", py::arg("margin") = 0.0f,
             py::arg("top_k") = 1, py::arg("threshold") = 0.0f, py::arg("batch") = 32)
        .def("classify", &classify, py::arg("image"), py::arg("boxes"))
        .def_property_readonly("classes", &Classifier::classes)
        .def("describe", [](const Classifier& self) { return describe(self.info(), self.describe()); });

    m.def("preprocess", &preprocess, py::arg("image"), py::kw_only(), py::arg("width"), py::arg("height"),
          py::arg("color") = "bgr", py::arg("fit") = "stretch", py::arg("mean") = py::none(),
          py::arg("scale") = py::none(), py::arg("layout") = "nchw", py::arg("region") = py::none());
    m.def("suppress", &suppress_arrays, py::arg("boxes"), py::arg("confidences"), py::arg("label_ids"),
          py::kw_only(), py::arg("iou"), py::arg("class_agnostic") = false, py::arg("limit") = 300);
}
