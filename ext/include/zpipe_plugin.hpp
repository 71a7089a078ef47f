// A thin C++ face of zpipe_plugin.h: derive from Detector or Classifier (or both), then
//
//     ZPIPE_PLUGIN("mine 1.0", MyDetector, MyClassifier)      // `void` for the one that there is not
//
// in one source file of the library. Exceptions become error texts: one in open stops the run, one in detect or
// classify makes that picture a failed result. Options of the config are read in open:
//
//     level = option(settings, "level", 200);      // a number, a bool or a text, as what stands for a missing one
//
// and a class that names those which it reads has all others refused:
//
//     static constexpr const char* known_options[] = {"level", nullptr};
#ifndef ZPIPE_PLUGIN_HPP
#define ZPIPE_PLUGIN_HPP

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "zpipe_plugin.h"

namespace zpipe_plugin_cpp {

// The option of that name ("sizes.0" in a list); nullptr if it is not in the config.
inline const zpipe_option* find_option(const zpipe_settings& settings, const std::string& name) {
    if (settings.size_bytes < offsetof(zpipe_settings, option_count) + sizeof settings.option_count) {
        return nullptr;
    }
    const zpipe_option* end = settings.option_list + settings.option_count;
    const auto same = [&](const zpipe_option& option) { return name == option.name; };
    const zpipe_option* found = std::find_if(settings.option_list, end, same);
    return found == end ? nullptr : found;
}

// The option's value, or `otherwise` where it is not in the config. Throws if it is of another kind.
template <typename Value>
std::enable_if_t<std::is_arithmetic_v<Value>, Value> option(const zpipe_settings& settings, const std::string& name,
                                                            Value otherwise) {
    const zpipe_option* found = find_option(settings, name);
    if (!found) {
        return otherwise;
    }
    constexpr bool wants_bool = std::is_same_v<Value, bool>;
    if (found->kind != (wants_bool ? ZPIPE_OPTION_BOOL : ZPIPE_OPTION_NUMBER)) {
        const char* wanted = wants_bool ? "true or false" : "a number";
        throw std::runtime_error("options." + name + ": expected " + wanted + ", got " + found->text);
    }
    if constexpr (std::is_integral_v<Value> && !wants_bool) {
        // 2 to the number of bits is a double itself, unlike the highest Value, and so is its negative.
        constexpr double limit = 2.0 * static_cast<double>(std::numeric_limits<Value>::max() / 2 + 1);
        constexpr double least = std::is_signed_v<Value> ? -limit : 0;
        if (found->number != std::floor(found->number) || found->number < least || found->number >= limit) {
            throw std::runtime_error("options." + name + ": expected a whole number, got " + found->text);
        }
    }
    return static_cast<Value>(found->number);
}

// A value of any kind as text.
inline std::string option(const zpipe_settings& settings, const std::string& name, const std::string& otherwise) {
    const zpipe_option* found = find_option(settings, name);
    return found ? found->text : otherwise;
}

class Stage {
  public:
    virtual ~Stage() = default;
    virtual void open(const zpipe_settings& settings) { (void)settings; } // throws if it cannot
    virtual std::vector<std::string> labels() const { return {}; }        // asked for once, after open

  protected:
    template <typename Value>
    static auto option(const zpipe_settings& settings, const std::string& name, Value otherwise) {
        return zpipe_plugin_cpp::option(settings, name, otherwise);
    }
};

class Detector : public virtual Stage {
  public:
    virtual std::vector<zpipe_detection> detect(const zpipe_image& image) = 0;
};

class Classifier : public virtual Stage {
  public:
    // For each box its classes, best first; rows may have different lengths.
    virtual std::vector<std::vector<zpipe_class>> classify(const zpipe_image& image,
                                                           const std::vector<zpipe_box>& boxes) = 0;
};

// What crosses the C border as `void* model`.
struct Model {
    std::unique_ptr<Detector> detector;
    std::unique_ptr<Classifier> classifier;
    std::vector<std::string> labels;
};

inline void tell(zpipe_error* error, const char* text) {
    std::strncpy(error->text, text, sizeof error->text - 1);
    error->text[sizeof error->text - 1] = 0;
}

// Runs `call`; what it throws is told, and `failed` is returned.
template <typename Result, typename Call> Result guarded(zpipe_error* error, Result failed, Call call) {
    try {
        return call();
    } catch (const std::exception& problem) {
        tell(error, problem.what());
    } catch (...) {
        tell(error, "an exception that is no std::exception");
    }
    return failed;
}

template <typename Kind, typename Mine> std::unique_ptr<Kind> make() {
    if constexpr (std::is_void_v<Mine>) {
        return nullptr;
    } else {
        return std::make_unique<Mine>();
    }
}

template <typename MyDetector, typename MyClassifier> void* open(const zpipe_settings* settings, zpipe_error* error) {
    return guarded(error, static_cast<void*>(nullptr), [&]() -> void* {
        auto model = std::make_unique<Model>();
        Stage* stage = nullptr;
        if (std::strcmp(settings->stage, "detect") == 0) {
            model->detector = make<Detector, MyDetector>();
            stage = model->detector.get();
        } else {
            model->classifier = make<Classifier, MyClassifier>();
            stage = model->classifier.get();
        }
        if (!stage) {
            tell(error, "the library has no class for this stage");
            return nullptr;
        }
        stage->open(*settings);
        model->labels = stage->labels();
        return model.release();
    });
}

inline const char* label(void* self, int32_t id) {
    const auto& labels = static_cast<Model*>(self)->labels;
    return id >= 0 && static_cast<size_t>(id) < labels.size() ? labels[static_cast<size_t>(id)].c_str() : nullptr;
}

inline int32_t detect(void* self, const zpipe_image* image, zpipe_detection* found, int32_t room, zpipe_error* error) {
    return guarded(error, int32_t{-1}, [&] {
        const auto list = static_cast<Model*>(self)->detector->detect(*image);
        // More than there is room for are not written, but counted: zpipe then tells of the limit.
        std::copy_n(list.begin(), std::min(list.size(), static_cast<size_t>(room)), found);
        return static_cast<int32_t>(list.size());
    });
}

inline int32_t classify(void* self, const zpipe_image* image, const zpipe_box* boxes, int32_t count,
                        zpipe_class* classes, int32_t per_box, zpipe_error* error) {
    return guarded(error, int32_t{-1}, [&] {
        const std::vector<zpipe_box> list(boxes, boxes + count);
        const auto rows = static_cast<Model*>(self)->classifier->classify(*image, list);
        if (rows.size() != list.size()) {
            tell(error, "classify returned another number of rows than there are boxes");
            return int32_t{-1};
        }
        const auto width = static_cast<size_t>(per_box);
        for (size_t i = 0; i < rows.size(); ++i) {
            std::fill_n(classes + i * width, width, zpipe_class{-1, 0});
            std::copy_n(rows[i].begin(), std::min(rows[i].size(), width), classes + i * width);
        }
        return int32_t{0};
    });
}

inline void close(void* self) {
    delete static_cast<Model*>(self);
}

template <typename Mine, typename = void> struct OptionsOf {
    static constexpr const char* const* names = nullptr;
};
template <typename Mine> struct OptionsOf<Mine, std::void_t<decltype(Mine::known_options)>> {
    static constexpr const char* const* names = Mine::known_options;
};

template <typename MyDetector, typename MyClassifier> const void* extension(const char* id) {
    static const zpipe_known_options known{[](const char* stage) {
        return std::strcmp(stage, "detect") == 0 ? OptionsOf<MyDetector>::names : OptionsOf<MyClassifier>::names;
    }};
    return std::strcmp(id, ZPIPE_EXTENSION_OPTIONS) == 0 ? &known : nullptr;
}

template <typename MyDetector, typename MyClassifier> const zpipe_plugin* entry(const char* name) {
    static const zpipe_plugin table{ZPIPE_PLUGIN_ABI,
                                    name,
                                    &open<MyDetector, MyClassifier>,
                                    &label,
                                    std::is_void_v<MyDetector> ? nullptr : &detect,
                                    std::is_void_v<MyClassifier> ? nullptr : &classify,
                                    &close,
                                    sizeof(zpipe_plugin),
                                    &extension<MyDetector, MyClassifier>};
    return &table;
}

} // namespace zpipe_plugin_cpp

#define ZPIPE_PLUGIN(name, detector_class, classifier_class)                                                           \
    extern "C" ZPIPE_PLUGIN_EXPORT const zpipe_plugin* zpipe_plugin_entry(void) {                                      \
        return zpipe_plugin_cpp::entry<detector_class, classifier_class>(name);                                        \
    }

#endif // ZPIPE_PLUGIN_HPP
