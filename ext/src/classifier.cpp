#include "classifier.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "dry_run.hpp"
#include "status.hpp"

namespace zpipe {

const char* output_name(Output output) noexcept {
    switch (output) {
    case Output::automatic:
        return "auto";
    case Output::logits:
        return "logits";
    case Output::probabilities:
        return "probabilities";
    case Output::sigmoid:
        return "sigmoid";
    case Output::value:
        return "value";
    case Output::embedding:
        return "embedding";
    }
    return "?";
}

Region crop_region(const Box& box, Crop crop, float margin, int width, int height) {
    const double grow_x = static_cast<double>(margin) * box.w;
    const double grow_y = static_cast<double>(margin) * box.h;
    double left = box.x - grow_x;
    double right = static_cast<double>(box.x) + box.w + grow_x;
    double top = box.y - grow_y;
    double bottom = static_cast<double>(box.y) + box.h + grow_y;
    if (crop == Crop::square) {
        const double side = std::max(right - left, bottom - top);
        // Centred on the box, then moved into the image where it fits there.
        const auto widen = [side](double& low, double& high, int limit) {
            low = (low + high - side) / 2;
            low = std::max(0.0, std::min(low, limit - side));
            high = low + side;
        };
        widen(left, right, width);
        widen(top, bottom, height);
    }
    const auto whole = [](double low, double high, int limit, int& at, int& size) {
        const auto edge = [limit](double v) {
            return static_cast<int>(std::floor(std::clamp(v, 0.0, static_cast<double>(limit)) + 0.5));
        };
        at = std::min(edge(low), limit - 1);
        size = std::max(edge(high) - at, 1);
    };
    Region region;
    whole(left, right, width, region.x, region.width);
    whole(top, bottom, height, region.y, region.height);
    return region;
}

namespace {

void softmax(float* values, size_t count) {
    const float highest = *std::max_element(values, values + count);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
        values[i] = std::exp(values[i] - highest);
        sum += values[i];
    }
    for (size_t i = 0; i < count; ++i) {
        values[i] = static_cast<float>(values[i] / sum);
    }
}

// The C of (n, C) among any number of dimensions of 1, as in (n, C, 1, 1); -1 where it is open, 0 where there is none.
int64_t class_dimension(const Shape& shape) {
    int64_t classes = shape.size() < 2 ? 0 : 1;
    for (size_t i = 1; i < shape.size(); ++i) {
        if (shape[i] != 1) {
            if (classes != 1) {
                return 0;
            }
            classes = shape[i];
        }
    }
    return classes;
}

class TensorClassifier final : public Classifier {
  public:
    TensorClassifier(std::unique_ptr<Model> model, const ClassifyOptions& options)
        : model_(std::move(model)), options_(options), input_(find_image_input(model_->info(), options.size)) {
        most_per_run_ = settle_batch();
        model_->compile(input_shapes(model_->info(), input_, most_per_run_ > 1 ? -1 : 1));
        settle_output();
        fill_side_inputs(*model_, input_);
        PixelRule rule;
        rule.color = Color::bgr;
        rule.fit = options.crop == Crop::stretch ? Fit::stretch : Fit::letterbox_center;
        preprocessor_ = Preprocessor(input_.plan, options.pixels.apply(rule, input_.plan.channels));
    }

    ClassRows classify(const Image& image, const std::vector<Box>& boxes) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        ClassRows rows;
        rows.per_row = is_vector() ? 0 : options_.top_k;
        rows.columns = is_vector() ? classes_ : 0;
        for (size_t first = 0; first < boxes.size();) {
            const size_t count = std::min(most_per_run_, boxes.size() - first);
            float* to = model_->input(input_.index, input_.shape(static_cast<int64_t>(count)));
            for (size_t i = 0; i < count; ++i) {
                const Region region =
                    crop_region(boxes[first + i], options_.crop, options_.margin, image.width, image.height);
                preprocessor_.write(image, region, to + i * input_.plan.elements());
            }
            model_->run();
            append_rows(count, rows);
            first += count;
        }
        return rows;
    }

    // Of values and embeddings nothing is known that could be wrong.
    void try_out() override {
        if (is_vector()) {
            return;
        }
        const DryPicture picture(0, input_.plan.width, input_.plan.height);
        classify(picture.image(),
                 {{0, 0, static_cast<float>(input_.plan.width), static_cast<float>(input_.plan.height)}});
    }

    int classes() const override { return output_ == Output::embedding ? -1 : classes_; }
    const ModelInfo& info() const override { return model_->info(); }

    Description describe() const override {
        const PixelRule& rule = preprocessor_.rule();
        return {
            {"output", output_name(output_)},
            {"why", why_},
            {"size", std::to_string(input_.plan.width) + "x" + std::to_string(input_.plan.height)},
            {"color", color_name(rule.color)},
            {"mean", channels_text(rule.mean, rule.color)},
            {"scale", channels_text(rule.scale, rule.color)},
            {"fit", options_.crop == Crop::square ? "square, then letterboxed" : fit_name(rule.fit)},
            {"batch", (most_per_run_ > 1 ? "up to " : "") + std::to_string(most_per_run_) +
                          (input_.any_batch ? "" : " (fixed by the model)")},
        };
    }

  private:
    bool is_vector() const { return output_ == Output::value || output_ == Output::embedding; }

    // How many crops one run takes at most.
    size_t settle_batch() const {
        if (!input_.any_batch) {
            return 1;
        }
        if (options_.batch > 0) {
            return static_cast<size_t>(options_.batch);
        }
        constexpr size_t usual = 32;
        return model_->info().batches_pay ? usual : 1;
    }

    // Which of the model's outputs is read: the only one, or the one that `head` names.
    size_t find_head() const {
        const std::vector<Port>& outputs = model_->info().outputs;
        if (options_.head.empty() && outputs.size() == 1) {
            return 0;
        }
        const auto named = [this](const Port& port) { return port.name == options_.head; };
        const auto found = std::find_if(outputs.begin(), outputs.end(), named);
        if (found == outputs.end()) {
            throw no_head(options_.head.empty() ? "of several outputs `head` names the one to read"
                                                : "there is no output '" + options_.head + "'");
        }
        return static_cast<size_t>(found - outputs.begin());
    }

    Error no_head(const std::string& why) const {
        const ModelInfo& info = model_->info();
        return Error(Status::unsupported_model,
                     info.file + ": " + why + "; this model has:\n" + ports_text(info.outputs));
    }

    void settle_output() {
        const ModelInfo& info = model_->info();
        head_ = find_head();
        const int64_t dimension = class_dimension(info.outputs[head_].shape);
        if (dimension == 0) {
            throw no_head("a classifier has an output of shape (n, classes)");
        }
        classes_ = static_cast<int>(dimension);
        const std::string& last = info.outputs[head_].activation;
        if (options_.output != Output::automatic) {
            output_ = options_.output;
            why_ = "named in the config";
            apply_sigmoid_ = output_ == Output::sigmoid && last != "Sigmoid";
        } else if (last == "Softmax") {
            output_ = Output::probabilities;
            why_ = "the graph ends in Softmax";
        } else if (last == "Sigmoid") {
            output_ = Output::sigmoid;
            why_ = "the graph ends in Sigmoid";
        } else if (!last.empty()) {
            output_ = Output::logits;
            why_ = "the graph ends in " + last;
        } else {
            throw Error(Status::unsupported_model, info.file +
                                                       ": the graph does not say whether the output holds logits "
                                                       "or probabilities; set `output`");
        }
    }

    void append_rows(size_t count, ClassRows& rows) {
        const Tensor tensor = model_->output(head_);
        const int64_t classes = class_dimension(tensor.shape);
        if (classes < 1 || tensor.shape[0] != static_cast<int64_t>(count)) {
            throw Error(Status::failed_inference, "a classifier given " + std::to_string(count) +
                                                      " crops returned an output of shape " + shape_text(tensor.shape));
        }
        const auto total = static_cast<size_t>(classes) * count;
        if (!std::all_of(tensor.data, tensor.data + total, [](float v) { return std::isfinite(v); })) {
            throw Error(Status::failed_inference, "the classifier returned a value that is not a finite number");
        }
        if (is_vector()) {
            rows.columns = classes;
            rows.values.insert(rows.values.end(), tensor.data, tensor.data + total);
            return;
        }
        for (size_t i = 0; i < count; ++i) {
            scores_.assign(tensor.data + i * classes, tensor.data + (i + 1) * classes);
            append_row(rows);
        }
    }

    void append_row(ClassRows& rows) {
        if (output_ == Output::logits) {
            softmax(scores_.data(), scores_.size());
        } else if (apply_sigmoid_) {
            std::transform(scores_.begin(), scores_.end(), scores_.begin(),
                           [](float v) { return 1.0f / (1.0f + std::exp(-v)); });
        } else if (const std::string wrong = check_confidences(scores_); !wrong.empty()) {
            throw Error(Status::failed_inference, model_->info().file + ": read as " + output_name(output_) + " (" +
                                                      why_ + "), the classifier returned " + wrong +
                                                      "; logits, values and embeddings are named with `output`");
        }
        order_.resize(scores_.size());
        std::iota(order_.begin(), order_.end(), 0);
        const size_t k = std::min(order_.size(), static_cast<size_t>(options_.top_k));
        std::partial_sort(order_.begin(), order_.begin() + k, order_.end(),
                          [this](int a, int b) { return scores_[a] != scores_[b] ? scores_[a] > scores_[b] : a < b; });
        for (size_t i = 0; i < static_cast<size_t>(options_.top_k); ++i) {
            const bool named = i < k && scores_[order_[i]] >= options_.threshold;
            rows.label_ids.push_back(named ? order_[i] : -1);
            rows.confidences.push_back(i < k ? scores_[order_[i]] : 0);
        }
    }

    std::mutex mutex_;
    std::unique_ptr<Model> model_;
    ClassifyOptions options_;
    ImageInput input_;
    size_t most_per_run_ = 1;
    size_t head_ = 0;
    Output output_ = Output::logits;
    std::string why_;
    bool apply_sigmoid_ = false;
    int classes_ = 0;
    Preprocessor preprocessor_;
    std::vector<float> scores_;
    std::vector<int> order_;
};

} // namespace

std::unique_ptr<Classifier> open_classifier(std::unique_ptr<Model> model, const ClassifyOptions& options) {
    return std::make_unique<TensorClassifier>(std::move(model), options);
}

} // namespace zpipe
