// The DETR family: a fixed number of queries, each with a box and class scores; no suppression is needed. The picture
// is stretched to the input.
//   selected     labels (1, Q), boxes (1, Q, 4), scores (1, Q) and an input with the size that the boxes are scaled to,
//                which is given the input's own. RGB 0..1. Source: lyuwenyu/RT-DETR
//                rtdetr_pytorch/src/zoo/rtdetr/rtdetr_postprocessor.py and tools/export_onnx.py; D-FINE, DEIM and
//                DEIMv2 keep it.
//   ultralytics  (1, Q, 4 + C): centre and size as parts of the input, scores after the sigmoid. RGB 0..1. Source:
//                ultralytics/ultralytics models/rtdetr/predict.py.
//   sigmoid      logits (1, Q, C) and boxes (1, Q, 4) as parts of the input, C sigmoids. RGB 0..1. Source:
//                huggingface/transformers models/rt_detr (post_process_object_detection), also D-FINE.
//   softmax      the same with a softmax over C classes and "no object". RGB with ImageNet statistics. Source:
//                facebookresearch/detr models/detr.py (PostProcess).
// The last two differ by one column, so they are recognised only where the number of class names is known.
#include "formats/registry.hpp"

namespace zpipe::formats {

namespace {

struct Ports {
    int boxes = -1;
    int scores = -1;
    int labels = -1;
};

// Boxes as parts of the input, by centre and size.
Detection scaled(const float* box, const InputPlan& plan, float confidence, int label) {
    const auto width = static_cast<float>(plan.width);
    const auto height = static_cast<float>(plan.height);
    return from_center(box[0] * width, box[1] * height, box[2] * width, box[3] * height, confidence, label);
}

class Selected final : public Decoder {
  public:
    explicit Selected(Ports ports) : ports_(ports) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const Tensor& boxes = outputs[static_cast<size_t>(ports_.boxes)];
        const Tensor& scores = outputs[static_cast<size_t>(ports_.scores)];
        const Tensor& labels = outputs[static_cast<size_t>(ports_.labels)];
        expect_shape("detr", boxes, {1, -1, 4});
        const int64_t queries = boxes.shape[1];
        expect_shape("detr", scores, {1, queries});
        expect_shape("detr", labels, {1, queries});
        for (int64_t i = 0; i < queries; ++i) {
            const int label = to_label(labels.data[i]);
            if (label >= 0 && thresholds.keeps(label, scores.data[i])) {
                const float* box = boxes.data + 4 * i;
                found.push_back({box[0], box[1], box[2], box[3], scores.data[i], label});
            }
        }
    }
    int classes() const override { return -1; }

  private:
    Ports ports_;
};

class Queries final : public Decoder {
  public:
    enum class Scores { ready, sigmoid, softmax };

    Queries(Ports ports, int classes, Scores kind, const InputPlan& plan)
        : ports_(ports), classes_(classes), kind_(kind), plan_(plan) {}

    void decode(const std::vector<Tensor>& outputs, const Thresholds& thresholds,
                std::vector<Detection>& found) const override {
        const bool joined = ports_.boxes == ports_.scores;
        const int columns = classes_ + (kind_ == Scores::softmax ? 1 : 0);
        const Tensor& boxes = outputs[static_cast<size_t>(ports_.boxes)];
        const Tensor& scores = outputs[static_cast<size_t>(ports_.scores)];
        expect_shape("detr", boxes, {1, -1, joined ? 4 + columns : 4});
        expect_shape("detr", scores, {1, boxes.shape[1], joined ? 4 + columns : columns});
        const int64_t box_step = boxes.shape[2];
        const int64_t score_step = scores.shape[2];
        for (int64_t i = 0; i < boxes.shape[1]; ++i) {
            add(boxes.data + i * box_step, scores.data + i * score_step + (joined ? 4 : 0), thresholds, found);
        }
    }
    int classes() const override { return classes_; }

  private:
    // Each class of a query may be an object of its own.
    void add(const float* box, const float* scores, const Thresholds& thresholds, std::vector<Detection>& found) const {
        float sum = 0;
        const float highest = *std::max_element(scores, scores + classes_ + (kind_ == Scores::softmax ? 1 : 0));
        for (int c = 0; kind_ == Scores::softmax && c <= classes_; ++c) {
            sum += std::exp(scores[c] - highest);
        }
        for (int c = 0; c < classes_; ++c) {
            const float confidence = kind_ == Scores::ready     ? scores[c]
                                     : kind_ == Scores::sigmoid ? sigmoid(scores[c])
                                                                : std::exp(scores[c] - highest) / sum;
            if (thresholds.keeps(c, confidence)) {
                found.push_back(scaled(box, plan_, confidence, c));
            }
        }
    }

    Ports ports_;
    int classes_;
    Scores kind_;
    InputPlan plan_;
};

Ports find_selected(const ModelInfo& info) {
    Ports ports;
    ports.boxes = only_output(info, [](const Port& port) {
        return port.shape.size() == 3 && may_be(port.shape[0], 1) && port.shape[2] == 4;
    });
    ports.labels = only_output(info, [](const Port& port) { return port.shape.size() == 2 && is_integer(port); });
    ports.scores = only_output(info, [](const Port& port) { return port.shape.size() == 2 && !is_integer(port); });
    return ports;
}

bool fits_selected(const ModelInfo& info, const ImageInput&) {
    const Ports ports = find_selected(info);
    return info.outputs.size() == 3 && ports.boxes >= 0 && ports.labels >= 0 && ports.scores >= 0;
}

std::optional<std::string> recognise_selected(const ModelInfo& info, const ImageInput&) {
    // Without an input for the size, nothing says what the boxes are measured in.
    if (std::none_of(info.inputs.begin(), info.inputs.end(), is_size_input)) {
        return std::nullopt;
    }
    return "labels (1, Q), boxes (1, Q, 4), scores (1, Q) and an input for the size";
}

std::unique_ptr<Decoder> open_selected(const ModelInfo& info, const ImageInput&) {
    return std::make_unique<Selected>(find_selected(info));
}

bool fits_joined(const ModelInfo& info, const ImageInput&) {
    const Shape& s = info.outputs[0].shape;
    return info.outputs.size() == 1 && s.size() == 3 && may_be(s[0], 1) && s[2] > 4;
}

std::optional<std::string> recognise_joined(const ModelInfo& info, const ImageInput&) {
    if (!is_ultralytics(info) || info.names != info.outputs[0].shape[2] - 4) {
        return std::nullopt;
    }
    return "one output (1, Q, 4 + C), Ultralytics metadata and C names";
}

std::unique_ptr<Decoder> open_joined(const ModelInfo& info, const ImageInput& input) {
    const int classes = static_cast<int>(info.outputs[0].shape[2] - 4);
    return std::make_unique<Queries>(Ports{0, 0, -1}, classes, Queries::Scores::ready, input.plan);
}

Ports find_logits(const ModelInfo& info) {
    Ports ports;
    const auto rows = [](const Port& port) { return port.shape.size() == 3 && may_be(port.shape[0], 1); };
    ports.boxes = only_output(info, [&](const Port& port) {
        return rows(port) && port.shape[2] == 4 && plain_name(port).find("box") != std::string::npos;
    });
    ports.scores = only_output(info, [&](const Port& port) {
        return rows(port) && port.shape[2] > 1 && plain_name(port).find("logits") != std::string::npos;
    });
    return ports;
}

bool fits_logits(const ModelInfo& info, const ImageInput&) {
    const Ports ports = find_logits(info);
    return ports.boxes >= 0 && ports.scores >= 0;
}

int logits_columns(const ModelInfo& info) {
    return static_cast<int>(info.outputs[static_cast<size_t>(find_logits(info).scores)].shape[2]);
}

std::optional<std::string> recognise_sigmoid(const ModelInfo& info, const ImageInput&) {
    if (info.names < 0 || logits_columns(info) != info.names) {
        return std::nullopt;
    }
    return "logits (1, Q, C) and boxes (1, Q, 4), with C names";
}

std::optional<std::string> recognise_softmax(const ModelInfo& info, const ImageInput&) {
    if (info.names < 0 || logits_columns(info) != info.names + 1) {
        return std::nullopt;
    }
    return "logits (1, Q, C + 1) and boxes (1, Q, 4), with C names";
}

std::unique_ptr<Decoder> open_sigmoid(const ModelInfo& info, const ImageInput& input) {
    return std::make_unique<Queries>(find_logits(info), logits_columns(info), Queries::Scores::sigmoid, input.plan);
}

std::unique_ptr<Decoder> open_softmax(const ModelInfo& info, const ImageInput& input) {
    return std::make_unique<Queries>(find_logits(info), logits_columns(info) - 1, Queries::Scores::softmax, input.plan);
}

} // namespace

const Format detr_selected{"detr",
                           "selected",
                           "labels (1, Q), boxes (1, Q, 4), scores (1, Q), with an input for the size",
                           unit_rgb(Fit::stretch),
                           false,
                           fits_selected,
                           recognise_selected,
                           open_selected};

const Format detr_joined{"detr",
                         "ultralytics",
                         "(1, Q, 4 + C): box as parts of the input, class scores",
                         unit_rgb(Fit::stretch),
                         false,
                         fits_joined,
                         recognise_joined,
                         open_joined};

const Format detr_sigmoid{"detr",
                          "sigmoid",
                          "logits (1, Q, C) and boxes (1, Q, 4): a sigmoid per class",
                          unit_rgb(Fit::stretch),
                          false,
                          fits_logits,
                          recognise_sigmoid,
                          open_sigmoid};

const Format detr_softmax{"detr",
                          "softmax",
                          "logits (1, Q, C + 1) and boxes (1, Q, 4): softmax, the last is no object",
                          imagenet(Color::rgb, Fit::stretch, 0),
                          false,
                          fits_logits,
                          recognise_softmax,
                          open_softmax};

} // namespace zpipe::formats
