// The DETR family: a fixed number of queries, each with a box and class scores; no suppression is needed. The picture is
// stretched to the input.
//   rtdetr              labels (1, Q), boxes (1, Q, 4), scores (1, Q) and an input with the size that the boxes are
//                       scaled to, which is given the input's own. RGB 0..1. Source: lyuwenyu/RT-DETR
//                       rtdetr_pytorch/src/zoo/rtdetr/rtdetr_postprocessor.py and tools/export_onnx.py; D-FINE, DEIM and
//                       DEIMv2 keep it.
//   rtdetr_ultralytics  (1, Q, 4 + C): centre and size as parts of the input, scores after the sigmoid. RGB 0..1.
//                       Source: ultralytics/ultralytics models/rtdetr/predict.py.
//   detr                logits (1, Q, C) and boxes (1, Q, 4) as parts of the input, C sigmoids. RGB 0..1. Source:
//                       huggingface/transformers models/rt_detr (post_process_object_detection), also D-FINE.
//   detr_softmax        the same with a softmax over C classes and "no object". RGB with ImageNet statistics. Source:
//                       facebookresearch/detr models/detr.py (PostProcess).
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
        expect_shape("rtdetr", boxes, {1, -1, 4});
        const int64_t queries = boxes.shape[1];
        expect_shape("rtdetr", scores, {1, queries});
        expect_shape("rtdetr", labels, {1, queries});
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
    void add(const float* box, const float* scores, const Thresholds& thresholds,
             std::vector<Detection>& found) const {
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

bool selected_fits(const ModelInfo& info, Ports ports) {
    return info.outputs.size() == 3 && ports.boxes >= 0 && ports.labels >= 0 && ports.scores >= 0;
}

bool wants_size(const ModelInfo& info) {
    return std::any_of(info.inputs.begin(), info.inputs.end(), [](const Port& port) { return is_size_input(port); });
}

std::optional<std::string> recognise_selected(const ModelInfo& info, const ImageInput&) {
    if (!selected_fits(info, find_selected(info)) || !wants_size(info)) {
        return std::nullopt;
    }
    return "labels (1, Q), boxes (1, Q, 4), scores (1, Q) and an input for the size";
}

std::unique_ptr<Decoder> open_selected(const ModelInfo& info, const ImageInput&) {
    const Ports ports = find_selected(info);
    if (!selected_fits(info, ports)) {
        does_not_fit(info, "rtdetr", "integer labels (1, Q), boxes (1, Q, 4) and scores (1, Q)");
    }
    return std::make_unique<Selected>(ports);
}

bool joined_fits(const ModelInfo& info) {
    const Shape& s = info.outputs[0].shape;
    return info.outputs.size() == 1 && s.size() == 3 && may_be(s[0], 1) && s[2] > 4;
}

std::optional<std::string> recognise_joined(const ModelInfo& info, const ImageInput&) {
    if (!joined_fits(info) || !is_ultralytics(info) || info.names != info.outputs[0].shape[2] - 4) {
        return std::nullopt;
    }
    return "one output (1, Q, 4 + C), Ultralytics metadata and C names";
}

std::unique_ptr<Decoder> open_joined(const ModelInfo& info, const ImageInput& input) {
    if (!joined_fits(info)) {
        does_not_fit(info, "rtdetr_ultralytics", "one output (1, Q, 4 + classes)");
    }
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
        return rows(port) && port.shape[2] > 0 && plain_name(port).find("logits") != std::string::npos;
    });
    return ports;
}

std::optional<std::string> recognise_logits(const ModelInfo& info, int extra, const char* why) {
    const Ports ports = find_logits(info);
    if (ports.boxes < 0 || ports.scores < 0 || info.names < 0 ||
        info.outputs[static_cast<size_t>(ports.scores)].shape[2] != info.names + extra) {
        return std::nullopt;
    }
    return why;
}

std::optional<std::string> recognise_sigmoid(const ModelInfo& info, const ImageInput&) {
    return recognise_logits(info, 0, "logits (1, Q, C) and boxes (1, Q, 4), with C names");
}

std::optional<std::string> recognise_softmax(const ModelInfo& info, const ImageInput&) {
    return recognise_logits(info, 1, "logits (1, Q, C + 1) and boxes (1, Q, 4), with C names");
}

std::unique_ptr<Decoder> open_logits(const ModelInfo& info, const ImageInput& input, const char* name, int extra,
                                     Queries::Scores kind) {
    const Ports ports = find_logits(info);
    if (ports.boxes < 0 || ports.scores < 0) {
        does_not_fit(info, name, "outputs named like logits (1, Q, classes) and boxes (1, Q, 4)");
    }
    const int64_t columns = info.outputs[static_cast<size_t>(ports.scores)].shape[2];
    return std::make_unique<Queries>(ports, static_cast<int>(columns) - extra, kind, input.plan);
}

std::unique_ptr<Decoder> open_sigmoid(const ModelInfo& info, const ImageInput& input) {
    return open_logits(info, input, "detr", 0, Queries::Scores::sigmoid);
}

std::unique_ptr<Decoder> open_softmax(const ModelInfo& info, const ImageInput& input) {
    return open_logits(info, input, "detr_softmax", 1, Queries::Scores::softmax);
}

} // namespace

const Format rtdetr{"rtdetr", "labels (1, Q), boxes (1, Q, 4), scores (1, Q), with an input for the size",
                    unit_rgb(Fit::stretch), false, recognise_selected, open_selected};

const Format rtdetr_ultralytics{"rtdetr_ultralytics", "(1, Q, 4 + C): box as parts of the input, class scores",
                                unit_rgb(Fit::stretch), false, recognise_joined, open_joined};

const Format detr{"detr", "logits (1, Q, C) and boxes (1, Q, 4): a sigmoid per class",
                  unit_rgb(Fit::stretch), false, recognise_sigmoid, open_sigmoid};

const Format detr_softmax{"detr_softmax",
                          "logits (1, Q, C + 1) and boxes (1, Q, 4): softmax, the last is no object",
                          imagenet(Color::rgb, Fit::stretch, 0),
                          false,
                          recognise_softmax,
                          open_softmax};

} // namespace zpipe::formats
