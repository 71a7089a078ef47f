// The one file that knows OpenVINO.
//
// A model is read (its graph then tells inputs, outputs, metadata and what its last operations are) and later compiled
// for settled input shapes. Whatever types the file uses, tensors cross this file's border as float: OpenVINO adds the
// conversions to the graph, where they cost nothing on a CPU that computes in float anyway.
#include "model.hpp"

#include <deque>
#include <filesystem>
#include <numeric>
#include <set>

#include <openvino/openvino.hpp>

#include "status.hpp"

namespace zpipe {

std::string shape_text(const Shape& shape) {
    std::string text;
    for (const int64_t n : shape) {
        text += (text.empty() ? "" : ", ") + (n < 0 ? std::string("?") : std::to_string(n));
    }
    return "(" + text + ")";
}

std::string ports_text(const std::vector<Port>& ports) {
    std::string text;
    for (const Port& port : ports) {
        text += "  " + (port.name.empty() ? std::string("(unnamed)") : port.name) + " " + shape_text(port.shape) + " " +
                port.type + "\n";
    }
    return text;
}

size_t Tensor::elements() const {
    return std::accumulate(shape.begin(), shape.end(), size_t{1}, [](size_t product, int64_t n) {
        return product * static_cast<size_t>(n);
    });
}

namespace {

Shape to_shape(const ov::PartialShape& partial) {
    Shape shape;
    if (partial.rank().is_dynamic()) {
        return shape;
    }
    for (const auto& dimension : partial) {
        shape.push_back(dimension.is_static() ? dimension.get_length() : -1);
    }
    return shape;
}

// OpenVINO reports problems as a chain of its own source lines; only the last tells a user something.
std::string last_words(const std::exception& problem) {
    std::string text = problem.what();
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
        text.pop_back();
    }
    std::string kept;
    size_t at = 0;
    while (at <= text.size()) {
        const size_t end = std::min(text.find('\n', at), text.size());
        const std::string line = text.substr(at, end - at);
        at = end + 1;
        const bool location = line.rfind("Exception from ", 0) == 0 || line.rfind("Check '", 0) == 0;
        if (!line.empty() && !location) {
            kept += (kept.empty() ? "" : "; ") + line;
        }
    }
    return kept.empty() ? text : kept;
}

using Node = std::shared_ptr<ov::Node>;

bool is_kind(const Node& node, std::initializer_list<const char*> kinds) {
    const std::string kind = node->get_type_name();
    return std::any_of(kinds.begin(), kinds.end(), [&](const char* k) { return kind == k; });
}

bool ends_tail(const Node& node) {
    return is_kind(node, {"Convolution", "GroupConvolution", "MatMul", "ConvolutionBackpropData", "Constant",
                          "Parameter"});
}

// An addition of a constant to a convolution or product: its bias, not arithmetic of a decoder.
bool is_bias(const Node& node) {
    if (!is_kind(node, {"Add"})) {
        return false;
    }
    const auto a = node->get_input_node_shared_ptr(0);
    const auto b = node->get_input_node_shared_ptr(1);
    return (ends_tail(a) && is_kind(b, {"Constant", "Reshape", "Convert"})) ||
           (ends_tail(b) && is_kind(a, {"Constant", "Reshape", "Convert"}));
}

// Kinds of operations from an output back to the last convolutions; a limit keeps strange graphs cheap.
std::vector<std::string> read_tail(const Node& from) {
    std::vector<std::string> kinds;
    std::deque<Node> open{from};
    std::set<const ov::Node*> seen;
    while (!open.empty() && kinds.size() < 200) {
        const Node node = open.front();
        open.pop_front();
        if (ends_tail(node) || is_bias(node) || !seen.insert(node.get()).second) {
            continue;
        }
        kinds.emplace_back(node->get_type_name());
        for (size_t i = 0; i < node->get_input_size(); ++i) {
            open.push_back(node->get_input_node_shared_ptr(i));
        }
    }
    return kinds;
}

// The last operation that changes values, behind those that only move them.
std::string read_activation(Node node) {
    while (is_kind(node, {"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Convert", "Result"}) &&
           node->get_input_size() > 0) {
        node = node->get_input_node_shared_ptr(0);
    }
    return node->get_type_name();
}

// Flattens the metadata that ONNX files ("framework") and IR files ("model_info") carry.
void read_metadata(const ov::Model& model, std::map<std::string, std::string>& metadata) {
    for (const char* section : {"framework", "model_info"}) {
        const auto& info = model.get_rt_info();
        const auto found = info.find(section);
        if (found == info.end()) {
            continue;
        }
        try {
            const auto& map = model.get_rt_info<ov::AnyMap>(section);
            for (const auto& [key, value] : map) {
                metadata.emplace(key, value.as<std::string>());
            }
        } catch (const std::exception&) {
            // A section of another shape holds nothing that we know how to use.
        }
    }
}

template <typename Ports> std::vector<Port> read_ports(const Ports& ports) {
    std::vector<Port> result;
    for (const auto& port : ports) {
        const auto& names = port.get_names();
        // Names come as an unordered set: the smallest, so that messages do not change from run to run.
        const std::string name = names.empty() ? "" : *std::min_element(names.begin(), names.end());
        result.push_back({name, port.get_element_type().get_type_name(), to_shape(port.get_partial_shape()), {}, {}});
    }
    return result;
}

class OpenVinoModel final : public Model {
  public:
    OpenVinoModel(const std::string& file, const OpenVinoOptions& options) : options_(options) {
        std::error_code ignored;
        if (!std::filesystem::is_regular_file(file, ignored)) {
            throw Error(Status::unreadable_model, file + ": there is no such file");
        }
        info_.file = file;
        info_.runtime = "openvino";
        info_.device = options.device;
        try {
            model_ = core_.read_model(file);
            describe_model();
        } catch (const std::exception& problem) {
            throw Error(Status::unreadable_model, file + ": cannot be read as a model: " + last_words(problem));
        }
    }

    const ModelInfo& info() const override { return info_; }

    void compile(const std::vector<Shape>& input_shapes) override {
        check_device();
        try {
            reshape(input_shapes);
            describe_shapes();
            convert_ports();
            compiled_ = core_.compile_model(model_, options_.device, properties());
            request_ = compiled_.create_infer_request();
            read_precision();
        } catch (const std::exception& problem) {
            throw Error(Status::unsupported_model, info_.file + ": OpenVINO cannot compile it for " + options_.device +
                                                       ": " + last_words(problem));
        }
        model_.reset(); // the compiled model has what it needs
    }

    float* input(size_t index, const Shape& shape) override {
        return guarded([&] {
            ov::Tensor tensor = request_.get_input_tensor(index);
            const ov::Shape wanted(shape.begin(), shape.end());
            if (tensor.get_shape() != wanted) {
                tensor.set_shape(wanted);
            }
            return tensor.data<float>();
        });
    }

    void run() override {
        guarded([&] { request_.infer(); });
    }

    Tensor output(size_t index) override {
        return guarded([&] {
            const ov::Tensor tensor = request_.get_output_tensor(index);
            const ov::Shape& shape = tensor.get_shape();
            return Tensor{tensor.data<const float>(), Shape(shape.begin(), shape.end())};
        });
    }

  private:
    template <typename Call> auto guarded(Call call) -> decltype(call()) {
        try {
            return call();
        } catch (const std::exception& problem) {
            throw Error(Status::failed_inference, info_.file + ": inference failed: " + last_words(problem));
        }
    }

    void describe_model() {
        info_.has_graph = true;
        info_.inputs = read_ports(model_->inputs());
        info_.outputs = read_ports(model_->outputs());
        read_metadata(*model_, info_.metadata);
        for (size_t i = 0; i < info_.outputs.size(); ++i) {
            const Node node = model_->output(i).get_node_shared_ptr();
            info_.outputs[i].tail = read_tail(node);
            info_.outputs[i].activation = read_activation(node);
        }
    }

    void reshape(const std::vector<Shape>& input_shapes) {
        std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
        bool changed = false;
        for (size_t i = 0; i < input_shapes.size(); ++i) {
            const ov::PartialShape wanted(std::vector<ov::Dimension>(input_shapes[i].begin(), input_shapes[i].end()));
            changed = changed || wanted != model_->input(i).get_partial_shape();
            shapes[model_->input(i)] = wanted;
        }
        if (changed) {
            model_->reshape(shapes);
        }
    }

    void describe_shapes() {
        for (size_t i = 0; i < info_.outputs.size(); ++i) {
            info_.outputs[i].shape = to_shape(model_->output(i).get_partial_shape());
        }
    }

    void convert_ports() {
        ov::preprocess::PrePostProcessor steps(model_);
        for (size_t i = 0; i < info_.inputs.size(); ++i) {
            steps.input(i).tensor().set_element_type(ov::element::f32);
        }
        for (size_t i = 0; i < info_.outputs.size(); ++i) {
            steps.output(i).tensor().set_element_type(ov::element::f32);
        }
        model_ = steps.build();
    }

    void check_device() {
        const std::string family = options_.device.substr(0, options_.device.find_first_of(".:("));
        std::string known;
        for (const std::string& device : core_.get_available_devices()) {
            known += (known.empty() ? "" : ", ") + device;
            if (device.rfind(family, 0) == 0) {
                return;
            }
        }
        if (family == "AUTO" || family == "MULTI" || family == "HETERO" || family == "BATCH") {
            return;
        }
        throw Error(Status::missing_device,
                    "device " + options_.device + " is not there; OpenVINO finds on this machine: " + known);
    }

    ov::AnyMap properties() const {
        ov::AnyMap map;
        if (!options_.cache_dir.empty()) {
            map.insert(ov::cache_dir(options_.cache_dir));
        }
        if (options_.precision != "auto") {
            map.insert(ov::hint::inference_precision(options_.precision == "f32"    ? ov::element::f32
                                                     : options_.precision == "bf16" ? ov::element::bf16
                                                                                    : ov::element::f16));
        }
        if (options_.device.rfind("CPU", 0) == 0) {
            map.insert(ov::inference_num_threads(options_.threads));
            map.insert(ov::num_streams(1));
            // Every process pins to the same first cores: two workers of one thread would share one core.
            map.insert(ov::hint::enable_cpu_pinning(false));
        }
        return map;
    }

    void read_precision() {
        try {
            info_.precision = compiled_.get_property(ov::hint::inference_precision).get_type_name();
        } catch (const std::exception&) {
            info_.precision = options_.precision; // devices need not tell
        }
    }

    OpenVinoOptions options_;
    ModelInfo info_;
    ov::Core core_;
    std::shared_ptr<ov::Model> model_;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
};

} // namespace

std::unique_ptr<Model> read_openvino_model(const std::string& file, const OpenVinoOptions& options) {
    return std::make_unique<OpenVinoModel>(file, options);
}

} // namespace zpipe
