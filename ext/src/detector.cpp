#include "detector.hpp"

#include "status.hpp"

namespace zpipe {

PixelRule PixelOverrides::apply(PixelRule rule, int channels) const {
    rule.color = channels == 1 ? Color::gray : color.value_or(rule.color);
    rule.mean = mean.value_or(rule.mean);
    rule.scale = scale.value_or(rule.scale);
    return rule;
}

namespace {

class TensorDetector final : public Detector {
  public:
    TensorDetector(std::unique_ptr<Model> model, const DetectOptions& options)
        : model_(std::move(model)), options_(options), input_(find_image_input(model_->info(), options.size)) {
        model_->compile(input_shapes(model_->info(), input_, 1));
        format_ = find_format(options.format, model_->info(), input_);
        decoder_ = format_.format->open(model_->info(), input_);
        preprocessor_ = Preprocessor(input_.plan, options.pixels.apply(format_.format->pixels, input_.plan.channels));
    }

    std::vector<Detection> detect(const Image& image) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        std::vector<Detection> found;
        const Region whole{0, 0, image.width, image.height};
        const Placement placement =
            preprocessor_.write(image, whole, model_->input(input_.index, input_.shape(1)));
        model_->run();
        std::vector<Tensor> outputs;
        for (size_t i = 0; i < model_->info().outputs.size(); ++i) {
            outputs.push_back(model_->output(i));
        }
        decoder_->decode(outputs, thresholds_, found);
        if (format_.format->overlapping) {
            suppress(found, options_.iou, options_.class_agnostic, options_.max_objects);
        } else {
            keep_best(found, options_.max_objects);
        }
        to_image(found, placement, image.width, image.height);
        return found;
    }

    void set_thresholds(Thresholds thresholds) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        thresholds_ = std::move(thresholds);
    }
    int classes() const override { return decoder_->classes(); }
    const ModelInfo& info() const override { return model_->info(); }

    Description describe() const override {
        const PixelRule& rule = preprocessor_.rule();
        return {
            {"format", format_.format->name},
            {"why", format_.why},
            {"size", std::to_string(input_.plan.width) + "x" + std::to_string(input_.plan.height)},
            {"color", color_name(rule.color)},
            {"fit", fit_name(rule.fit)},
        };
    }

  private:
    std::mutex mutex_;
    std::unique_ptr<Model> model_;
    DetectOptions options_;
    ImageInput input_;
    Recognised format_{};
    std::unique_ptr<Decoder> decoder_;
    Preprocessor preprocessor_;
    Thresholds thresholds_;
};

} // namespace

std::unique_ptr<Detector> open_detector(std::unique_ptr<Model> model, const DetectOptions& options) {
    return std::make_unique<TensorDetector>(std::move(model), options);
}

} // namespace zpipe
