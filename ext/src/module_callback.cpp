#include "module_callback.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "module_arrays.hpp"
#include "status.hpp"

namespace zpipe {

namespace py = pybind11;

namespace {

using Array = py::array_t<float, py::array::c_style | py::array::forcecast>;

std::vector<Port> read_ports(const py::handle& list) {
    std::vector<Port> ports;
    for (const py::handle& item : list) {
        const auto dict = py::cast<py::dict>(item);
        ports.push_back({py::cast<std::string>(dict["name"]), py::cast<std::string>(dict["type"]),
                         py::cast<Shape>(dict["shape"]), py::cast<std::vector<std::string>>(dict["tail"]),
                         py::cast<std::string>(dict["activation"]), py::cast<std::vector<std::string>>(dict["head"])});
    }
    return ports;
}

py::list write_ports(const std::vector<Port>& ports) {
    py::list list;
    for (const Port& port : ports) {
        py::dict dict;
        dict["name"] = as_text(port.name);
        dict["type"] = port.type;
        dict["shape"] = py::cast(port.shape);
        dict["tail"] = py::cast(port.tail);
        dict["activation"] = port.activation;
        dict["head"] = py::cast(port.head);
        list.append(dict);
    }
    return list;
}

// Python objects are touched only with the GIL, which callers do not hold.
class CallbackModel final : public Model {
  public:
    CallbackModel(py::object runner, ModelInfo info) : info_(std::move(info)), runner_(std::move(runner)) {}

    ~CallbackModel() override {
        const py::gil_scoped_acquire locked;
        inputs_.clear();
        outputs_.clear();
        runner_ = py::object();
    }

    const ModelInfo& info() const override { return info_; }

    void compile(const std::vector<Shape>& input_shapes) override {
        guarded(Status::unsupported_model, [&] {
            const py::object shapes = runner_.attr("compile")(py::cast(input_shapes));
            const auto outputs = py::cast<std::vector<Shape>>(shapes);
            if (outputs.size() != info_.outputs.size()) {
                throw py::value_error("compile must return a shape for each output");
            }
            for (size_t i = 0; i < outputs.size(); ++i) {
                info_.outputs[i].shape = outputs[i];
            }
            inputs_.resize(info_.inputs.size());
        });
    }

    float* input(size_t index, const Shape& shape) override {
        float* data = nullptr;
        guarded(Status::failed_inference, [&] {
            Array& array = inputs_.at(index);
            const bool same = array && array.ndim() == static_cast<py::ssize_t>(shape.size()) &&
                              std::equal(shape.begin(), shape.end(), array.shape());
            if (!same) {
                array = Array(std::vector<py::ssize_t>(shape.begin(), shape.end()));
            }
            data = array.mutable_data();
        });
        return data;
    }

    void run() override {
        guarded(Status::failed_inference, [&] {
            outputs_ = py::cast<std::vector<Array>>(runner_.attr("run")(py::cast(inputs_)));
            if (outputs_.size() != info_.outputs.size()) {
                throw py::value_error("run must return an array for each output");
            }
        });
    }

    Tensor output(size_t index) override {
        Tensor tensor;
        guarded(Status::failed_inference, [&] {
            const Array& array = outputs_.at(index);
            tensor.data = array.data();
            tensor.shape.assign(array.shape(), array.shape() + array.ndim());
        });
        return tensor;
    }

  private:
    template <typename Call> void guarded(Status status, Call call) {
        const py::gil_scoped_acquire locked;
        std::string problem;
        try {
            call();
            return;
        } catch (const py::error_already_set& error) {
            problem = py::cast<std::string>(py::str(error.value()));
        } catch (const std::exception& error) {
            problem = error.what();
        }
        throw Error(status, info_.file + ": " + problem);
    }

    ModelInfo info_;
    py::object runner_;
    std::vector<Array> inputs_;
    std::vector<Array> outputs_;
};

} // namespace

std::unique_ptr<Model> make_callback_model(const py::object& runner, const py::dict& dict) {
    ModelInfo info;
    info.file = py::cast<std::string>(dict["file"]);
    info.runtime = py::cast<std::string>(dict["runtime"]);
    info.device = py::cast<std::string>(dict["device"]);
    info.precision = py::cast<std::string>(dict["precision"]);
    info.metadata = py::cast<std::map<std::string, std::string>>(dict["metadata"]);
    info.inputs = read_ports(dict["inputs"]);
    info.outputs = read_ports(dict["outputs"]);
    return std::make_unique<CallbackModel>(runner, std::move(info));
}

py::dict as_info(const ModelInfo& info) {
    py::dict dict;
    dict["file"] = as_text(info.file);
    dict["runtime"] = info.runtime;
    dict["device"] = info.device;
    dict["precision"] = info.precision;
    py::dict metadata;
    for (const auto& [key, value] : info.metadata) {
        metadata[as_text(key)] = as_text(value);
    }
    dict["metadata"] = metadata;
    dict["inputs"] = write_ports(info.inputs);
    dict["outputs"] = write_ports(info.outputs);
    return dict;
}

} // namespace zpipe
