#include "detector.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "dry_run.hpp"
#include "status.hpp"

namespace zpipe {

PixelRule PixelOverrides::apply(PixelRule rule, int channels) const {
    rule.color = channels == 1 ? Color::gray : color.value_or(rule.color);
    rule.mean = mean.value_or(rule.mean);
    rule.scale = scale.value_or(rule.scale);
    return rule;
}

std::vector<Region> tile_regions(int width, int height, int columns, int rows, float overlap) {
    std::vector<Region> regions{{0, 0, width, height}};
    if (columns * rows == 1) {
        return regions;
    }
    // n tiles of length s that overlap by s * overlap: n * s - (n - 1) * s * overlap is the whole.
    const auto cut = [overlap](int side, int n, int i, int& at, int& size) {
        const double length = side / (n - (n - 1) * static_cast<double>(overlap));
        const double start = i * length * (1 - static_cast<double>(overlap));
        at = std::min(static_cast<int>(start), side - 1);
        size = std::clamp(static_cast<int>(std::ceil(start + length)) - at, 1, side - at);
    };
    for (int row = 0; row < rows; ++row) {
        for (int column = 0; column < columns; ++column) {
            Region region;
            cut(width, columns, column, region.x, region.width);
            cut(height, rows, row, region.y, region.height);
            regions.push_back(region);
        }
    }
    return regions;
}

namespace {

// Does a box end at an edge of its part that is not an edge of the image?
bool is_cut(const Detection& d, const Region& part, const Image& image) {
    const float near_x = std::max(2.0f, 0.01f * static_cast<float>(part.width));
    const float near_y = std::max(2.0f, 0.01f * static_cast<float>(part.height));
    const int right = part.x + part.width;
    const int bottom = part.y + part.height;
    return (part.x > 0 && d.left < static_cast<float>(part.x) + near_x) ||
           (part.y > 0 && d.top < static_cast<float>(part.y) + near_y) ||
           (right < image.width && d.right > static_cast<float>(right) - near_x) ||
           (bottom < image.height && d.bottom > static_cast<float>(bottom) - near_y);
}

class TensorDetector final : public Detector {
  public:
    TensorDetector(std::unique_ptr<Model> model, const DetectOptions& options)
        : model_(std::move(model)), options_(options), input_(find_image_input(model_->info(), options.size)) {
        model_->compile(input_shapes(model_->info(), input_, 1));
        ModelInfo info = model_->info();
        info.names = options.names;
        format_ = find_format(options.format, info, input_);
        decoder_ = format_.format->open(info, input_);
        preprocessor_ = Preprocessor(input_.plan, options.pixels.apply(format_.format->pixels, input_.plan.channels));
        fill_side_inputs(*model_, input_);
    }

    std::vector<Detection> detect(const Image& image) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto parts =
            tile_regions(image.width, image.height, options_.columns, options_.rows, options_.tile_overlap);
        std::vector<Detection> found;
        std::vector<Detection> cut;
        for (const Region& part : parts) {
            std::vector<Detection> here = detect_in(image, part);
            if (parts.size() == 1) {
                return here;
            }
            for (const Detection& d : here) {
                (is_cut(d, part, image) ? cut : found).push_back(d);
            }
        }
        join_parts(found, std::move(cut), options_.iou, options_.class_agnostic, options_.max_objects);
        return found;
    }

    void set_thresholds(Thresholds thresholds) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        thresholds_ = std::move(thresholds);
    }

    // The first picture is enough to find that all is well; that boxes cannot be right is only believed of all of them.
    void try_out() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        const Thresholds none({}, -std::numeric_limits<float>::infinity());
        std::string wrong;
        for (int number = 0; number < dry_pictures; ++number) {
            const DryPicture picture(number, input_.plan.width, input_.plan.height);
            std::vector<Detection> found;
            run_on(picture.image(), picture.region(), none, found);
            if (const std::string values = check_confidences(found); !values.empty()) {
                refuse(values, "scores after their sigmoid or softmax, without points or masks among the classes");
            }
            wrong = format_.format->overlapping ? check_boxes(found) : "";
            if (wrong.empty()) {
                return;
            }
        }
        refuse(wrong, "boxes decoded to pixels of the input");
    }
    int classes() const override { return decoder_->classes(); }
    const ModelInfo& info() const override { return model_->info(); }

    Description describe() const override {
        const PixelRule& rule = preprocessor_.rule();
        Description description{
            {"format", format_.format->title()},
            {"why", format_.why},
            {"size", std::to_string(input_.plan.width) + "x" + std::to_string(input_.plan.height)},
            {"color", color_name(rule.color)},
            {"mean", channels_text(rule.mean, rule.color)},
            {"scale", channels_text(rule.scale, rule.color)},
            {"fit", fit_name(rule.fit)},
        };
        if (options_.columns * options_.rows > 1) {
            description.emplace_back("tiles", std::to_string(options_.columns) + "x" + std::to_string(options_.rows) +
                                                  " and the whole picture");
        }
        return description;
    }

  private:
    std::vector<Detection> detect_in(const Image& image, const Region& part) {
        std::vector<Detection> found;
        const Placement placement = run_on(image, part, thresholds_, found);
        if (const std::string wrong = check_confidences(found); !wrong.empty()) {
            throw Error(Status::failed_inference,
                        model_->info().file + ": read as " + format_.format->title() + ", the model returned " + wrong);
        }
        if (format_.format->overlapping) {
            suppress(found, options_.iou, options_.class_agnostic, options_.max_objects);
        } else {
            keep_best(found, options_.max_objects);
        }
        to_image(found, placement, image.width, image.height);
        return found;
    }

    // What the model finds, in input pixels.
    Placement run_on(const Image& image, const Region& part, const Thresholds& thresholds,
                     std::vector<Detection>& found) {
        const Placement placement = preprocessor_.write(image, part, model_->input(input_.index, input_.shape(1)));
        model_->run();
        outputs_.clear();
        for (size_t i = 0; i < model_->info().outputs.size(); ++i) {
            outputs_.push_back(model_->output(i));
            check_shape(i);
        }
        decoder_->decode(outputs_, thresholds, found);
        return placement;
    }

    [[noreturn]] void refuse(const std::string& returned, const std::string& missing) const {
        const ModelInfo& info = model_->info();
        const std::string lookalike = decoder_->lookalike();
        throw Error(Status::unsupported_model, info.file + ": read as " + format_.format->title() + " (" + format_.why +
                                                   "), it returns for a picture of noise " + returned + ". " +
                                                   lookalike + (lookalike.empty() ? "" : " ") +
                                                   "If it has another format, name that with `format`; this one " +
                                                   "needs " + missing + ". The outputs are:\n" +
                                                   ports_text(info.outputs));
    }

    // Decoders rely on the shapes they were opened with.
    void check_shape(size_t i) const {
        const Port& port = model_->info().outputs[i];
        const Shape& shape = outputs_[i].shape;
        const bool same = shape.size() == port.shape.size() &&
                          std::equal(shape.begin(), shape.end(), port.shape.begin(),
                                     [](int64_t now, int64_t stated) { return stated < 0 || now == stated; });
        if (!same) {
            throw Error(Status::failed_inference, model_->info().file + ": output '" + port.name + "' came as " +
                                                      shape_text(shape) + ", the model states " +
                                                      shape_text(port.shape));
        }
    }

    std::mutex mutex_;
    std::unique_ptr<Model> model_;
    DetectOptions options_;
    ImageInput input_;
    Recognised format_{};
    std::unique_ptr<Decoder> decoder_;
    Preprocessor preprocessor_;
    Thresholds thresholds_;
    std::vector<Tensor> outputs_; // of the run at hand; kept for its memory
};

} // namespace

std::unique_ptr<Detector> open_detector(std::unique_ptr<Model> model, const DetectOptions& options) {
    return std::make_unique<TensorDetector>(std::move(model), options);
}

} // namespace zpipe
