// The Python surface of the core, zpipe._core.
//
// Only the files module*.cpp know pybind11. Arrays are checked (module_arrays), the GIL is released for the whole of a
// call, and every Error becomes a CoreError with a `status`. The stub zpipe/_core.pyi documents what is defined here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "classifier.hpp"
#include "detector.hpp"
#include "formats.hpp"
#include "model.hpp"
#include "module_arrays.hpp"
#include "module_callback.hpp"
#include "plugin_model.hpp"
#include "preprocess.hpp"
#include "status.hpp"

namespace zpipe {

namespace {

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
    return as_arrays(rows, boxes.size());
}

template <typename Enum>
Enum pick(const std::string& what, const std::string& name,
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
        overrides.color =
            pick<Color>("color", color, {{"rgb", Color::rgb}, {"bgr", Color::bgr}, {"gray", Color::gray}});
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

    Model& open() const {
        if (!model) {
            throw Error(Status::bad_argument, "this model is already in use by a detector or classifier");
        }
        return *model;
    }
    std::unique_ptr<Model> take() {
        open();
        return std::move(model);
    }
};

std::unique_ptr<Detector> make_detector(ModelHolder& holder, const std::string& format,
                                        std::optional<std::pair<int, int>> size, const std::string& color,
                                        const Triple& mean, const Triple& scale, float iou, size_t max_objects,
                                        bool class_agnostic, int names, std::pair<int, int> tiles, float tile_overlap) {
    DetectOptions options;
    options.format = format;
    options.size = size;
    options.pixels = pixel_overrides(color, mean, scale);
    options.iou = iou;
    options.max_objects = max_objects;
    options.class_agnostic = class_agnostic;
    options.names = names;
    options.columns = std::max(tiles.first, 1);
    options.rows = std::max(tiles.second, 1);
    options.tile_overlap = tile_overlap;
    const py::gil_scoped_release unlocked;
    return open_detector(holder.take(), options);
}

std::unique_ptr<Classifier> make_classifier(ModelHolder& holder, const std::string& output,
                                            std::optional<std::pair<int, int>> size, const std::string& color,
                                            const Triple& mean, const Triple& scale, const std::string& resize,
                                            float margin, int top_k, float threshold, int batch,
                                            const std::string& head) {
    ClassifyOptions options;
    options.output = pick<Output>("output", output,
                                  {{"auto", Output::automatic},
                                   {"logits", Output::logits},
                                   {"probabilities", Output::probabilities},
                                   {"sigmoid", Output::sigmoid},
                                   {"value", Output::value},
                                   {"embedding", Output::embedding}});
    options.size = size;
    options.pixels = pixel_overrides(color, mean, scale);
    options.crop = pick<Crop>("resize", resize,
                              {{"stretch", Crop::stretch}, {"square", Crop::square}, {"letterbox", Crop::letterbox}});
    options.margin = margin;
    options.top_k = top_k;
    options.threshold = threshold;
    options.batch = batch;
    options.head = head;
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
        const py::object value = type(as_text(error.what()));
        value.attr("status") = status_name(error.status());
        PyErr_SetObject(type.ptr(), value.ptr());
    }
}

void add_errors(py::module_& m) {
    static py::handle core_error = py::exception<Error>(m, "CoreError", PyExc_RuntimeError).release();
    py::register_exception_translator(
        [](std::exception_ptr pointer) { translate(pointer, py::reinterpret_borrow<py::object>(core_error)); });
}

void add_models(py::module_& m) {
    py::class_<ModelHolder>(m, "Model").def_property_readonly("info", [](const ModelHolder& holder) {
        return as_info(holder.open().info());
    });
    m.def(
        "read_openvino",
        [](const std::string& file, const std::string& device, const std::string& precision, int threads,
           const std::string& cache_dir) {
            return ModelHolder{openvino_model(file, device, precision, threads, cache_dir)};
        },
        py::arg("file"), py::kw_only(), py::arg("device") = "CPU", py::arg("precision") = "auto",
        py::arg("threads") = 1, py::arg("cache_dir") = "");

    m.def("openvino_output_shapes", &openvino_output_shapes, py::arg("file"), py::arg("input_shapes"),
          py::call_guard<py::gil_scoped_release>());
    m.def(
        "python_model",
        [](const py::object& runner, const py::dict& info) { return ModelHolder{make_callback_model(runner, info)}; },
        py::arg("runner"), py::arg("info"));
}

void add_detectors(py::module_& m) {
    py::class_<Detector>(m, "Detector")
        .def(py::init(&make_detector), py::arg("model"), py::kw_only(), py::arg("format") = "auto",
             py::arg("size") = py::none(), py::arg("color") = "auto", py::arg("mean") = py::none(),
             py::arg("scale") = py::none(), py::arg("iou") = 0.45f, py::arg("max_objects") = 300,
             py::arg("class_agnostic") = false, py::arg("names") = -1, py::arg("tiles") = std::make_pair(1, 1),
             py::arg("tile_overlap") = 0.2f)
        .def(
            "set_thresholds",
            [](Detector& detector, std::vector<float> per_class, float other) {
                detector.set_thresholds(Thresholds(std::move(per_class), other));
            },
            py::arg("per_class"), py::arg("other"))
        .def("try_out", &Detector::try_out, py::call_guard<py::gil_scoped_release>())
        .def("detect", &detect, py::arg("image"))
        .def_property_readonly("classes", &Detector::classes)
        .def_property_readonly("labels", &Detector::labels)
        .def("describe", [](const Detector& self) { return as_dict(self.info(), self.describe()); });
    m.def(
        "open_plugin_detector",
        [](const std::string& file, const std::string& device, const std::string& config_path,
           const std::string& options, const py::dict& values, int threads, size_t max_objects) {
            const PluginOptions all{file, device, config_path, options, as_values(values), threads};
            const py::gil_scoped_release unlocked;
            return open_plugin_detector(all, max_objects);
        },
        py::arg("file"), py::kw_only(), py::arg("device") = "CPU", py::arg("config_path") = "",
        py::arg("options") = "{}", py::arg("values") = py::dict(), py::arg("threads") = 1,
        py::arg("max_objects") = 300);
}

void add_classifiers(py::module_& m) {
    py::class_<Classifier>(m, "Classifier")
        .def(py::init(&make_classifier), py::arg("model"), py::kw_only(), py::arg("output") = "auto",
             py::arg("size") = py::none(), py::arg("color") = "auto", py::arg("mean") = py::none(),
             py::arg("scale") = py::none(), py::arg("resize") = "stretch", py::arg("margin") = 0.0f,
             py::arg("top_k") = 1, py::arg("threshold") = 0.0f, py::arg("batch") = 0, py::arg("head") = "")
        .def("try_out", &Classifier::try_out, py::call_guard<py::gil_scoped_release>())
        .def("classify", &classify, py::arg("image"), py::arg("boxes"))
        .def_property_readonly("classes", &Classifier::classes)
        .def_property_readonly("labels", &Classifier::labels)
        .def("describe", [](const Classifier& self) { return as_dict(self.info(), self.describe()); });
    m.def(
        "open_plugin_classifier",
        [](const std::string& file, const std::string& device, const std::string& config_path,
           const std::string& options, const py::dict& values, int threads, int top_k, float threshold) {
            const PluginOptions all{file, device, config_path, options, as_values(values), threads};
            const py::gil_scoped_release unlocked;
            return open_plugin_classifier(all, top_k, threshold);
        },
        py::arg("file"), py::kw_only(), py::arg("device") = "CPU", py::arg("config_path") = "",
        py::arg("options") = "{}", py::arg("values") = py::dict(), py::arg("threads") = 1, py::arg("top_k") = 1,
        py::arg("threshold") = 0.0f);
}

void add_parts(py::module_& m) {
    m.attr("FORMATS") = py::tuple(py::cast(format_names()));
    m.def("preprocess", &preprocess, py::arg("image"), py::kw_only(), py::arg("width"), py::arg("height"),
          py::arg("color") = "bgr", py::arg("fit") = "stretch", py::arg("mean") = py::none(),
          py::arg("scale") = py::none(), py::arg("layout") = "nchw", py::arg("region") = py::none());
    m.def("suppress", &suppress_arrays, py::arg("boxes"), py::arg("confidences"), py::arg("label_ids"), py::kw_only(),
          py::arg("iou"), py::arg("class_agnostic") = false, py::arg("limit") = 300);
}

} // namespace

} // namespace zpipe

PYBIND11_MODULE(_core, m) {
    m.doc() = "The C++ core of zpipe: pixels and numbers.";
    zpipe::add_errors(m);
    zpipe::add_models(m);
    zpipe::add_detectors(m);
    zpipe::add_classifiers(m);
    zpipe::add_parts(m);
}
