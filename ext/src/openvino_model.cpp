// A model in OpenVINO. The only files that know it are openvino_model.cpp and openvino_graph.cpp.
//
// A model is read (its graph then tells inputs, outputs, metadata and what its last operations are) and later compiled
// for settled input shapes. Whatever types the file uses, tensors cross this file's border as float: OpenVINO adds the
// conversions to the graph, where they cost nothing on a CPU that computes in float anyway.
#include "model.hpp"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <openvino/frontend/manager.hpp>
#include <openvino/openvino.hpp>

#include "openvino_graph.hpp"
#include "status.hpp"

namespace zpipe {

namespace {

// OpenVINO reports problems as a chain of its own source lines; what is left without them tells a user something.
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
        const auto begins = [&line](const char* text) { return line.rfind(text, 0) == 0; };
        const bool location = begins("Exception from ") || begins("Check '") || begins("FrontEnd API failed");
        if (!line.empty() && !location) {
            kept += (kept.empty() ? "" : "; ") + line;
        }
    }
    constexpr size_t longest = 600; // a failed conversion lists every node
    kept = kept.empty() ? text : kept;
    return kept.size() > longest ? kept.substr(0, longest) + " ..." : kept;
}

void reshape(ov::Model& model, const std::vector<Shape>& input_shapes) {
    if (input_shapes.size() != model.inputs().size()) {
        throw Error(Status::bad_argument, "a shape is needed for each of the model's inputs");
    }
    std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
    bool changed = false;
    for (size_t i = 0; i < input_shapes.size(); ++i) {
        const ov::PartialShape wanted(std::vector<ov::Dimension>(input_shapes[i].begin(), input_shapes[i].end()));
        changed = changed || wanted != model.input(i).get_partial_shape();
        shapes[model.input(i)] = wanted;
    }
    if (changed) {
        model.reshape(shapes);
    }
}

// What is printed goes nowhere while one lives. TensorFlow's frontend prints a line for each way in which it cannot
// read a file, and asked for any format OpenVINO asks it first; the exception says what matters.
class SilentStderr {
  public:
    SilentStderr() : kept_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)) {
        const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (kept_ >= 0 && nowhere >= 0) {
            ::dup2(nowhere, STDERR_FILENO);
        }
        if (nowhere >= 0) {
            ::close(nowhere);
        }
    }
    ~SilentStderr() {
        if (kept_ >= 0) {
            ::dup2(kept_, STDERR_FILENO);
            ::close(kept_);
        }
    }
    SilentStderr(const SilentStderr&) = delete;
    SilentStderr& operator=(const SilentStderr&) = delete;

  private:
    int kept_;
};

std::shared_ptr<ov::Model> read_file(ov::Core& core, const std::string& file) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(file, ignored)) {
        throw Error(Status::unreadable_model,
                    file + (std::filesystem::exists(file, ignored) ? ": is not a file" : ": there is no such file"));
    }
    char first[32] = {};
    std::ifstream(file, std::ios::binary).read(first, sizeof first - 1);
    if (first[0] == 0 && std::filesystem::file_size(file, ignored) == 0) {
        throw Error(Status::unreadable_model, file + ": the file is empty");
    }
    if (std::string(first).rfind("version https://git-lfs", 0) == 0) {
        throw Error(Status::unreadable_model, file + ": is only a Git LFS pointer; `git lfs pull` fetches the model");
    }
    try {
        // Asked for any format, OpenVINO tries its other frontends on a damaged file, and some of them print.
        const std::string kind = std::filesystem::path(file).extension().string();
        if (kind == ".onnx") {
            const auto frontend = ov::frontend::FrontEndManager().load_by_framework("onnx");
            return frontend->convert(frontend->load(file));
        }
        if (kind == ".xml" && !ov::frontend::FrontEndManager().load_by_framework("ir")->supported(file)) {
            throw std::runtime_error("this is no OpenVINO IR");
        }
        const SilentStderr silence;
        return core.read_model(file);
    } catch (const std::exception& problem) {
        throw Error(Status::unreadable_model, file + ": cannot be read as a model: " + last_words(problem));
    }
}

class OpenVinoModel final : public Model {
  public:
    OpenVinoModel(const std::string& file, const OpenVinoOptions& options) : options_(options) {
        info_.file = file;
        info_.runtime = "openvino";
        info_.device = options.device;
        // Measured on a CPU with 1 to 12 crops at random, in ms a crop: fixed at one crop a run SqueezeNet (224x224)
        // takes 5.5, a face classifier (128x128) 2.5, a text classifier (48x192) 0.66; all crops of a picture in one
        // run of open size 5.9, 3.3, 0.72. Larger tensors leave the cache, and each change of size costs.
        info_.batches_pay = options.device.rfind("CPU", 0) != 0;
        model_ = read_file(core_, file);
        try {
            describe_graph(*model_, info_);
        } catch (const std::exception& problem) {
            throw Error(Status::unreadable_model, file + ": its graph cannot be read: " + last_words(problem));
        }
    }

    const ModelInfo& info() const override { return info_; }

    void compile(const std::vector<Shape>& input_shapes) override {
        check_device();
        try {
            reshape(*model_, input_shapes);
            describe_output_shapes(*model_, info_);
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

std::vector<Shape> openvino_output_shapes(const std::string& file, const std::vector<Shape>& input_shapes) {
    ov::Core core;
    ModelInfo info;
    const auto model = read_file(core, file);
    try {
        reshape(*model, input_shapes);
        describe_graph(*model, info);
    } catch (const std::exception& problem) {
        throw Error(Status::unsupported_model, file + ": " + last_words(problem));
    }
    std::vector<Shape> shapes;
    for (const Port& port : info.outputs) {
        shapes.push_back(port.shape);
    }
    return shapes;
}

std::unique_ptr<Model> read_openvino_model(const std::string& file, const OpenVinoOptions& options) {
    return std::make_unique<OpenVinoModel>(file, options);
}

} // namespace zpipe
