// A shared library with the C ABI of zpipe_plugin.h, opened.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "plugin_model.hpp"
#include "status.hpp"
#include "zpipe_plugin.h"

namespace zpipe {

// Loads the library, checks its version and opens a model; closes the model in the end. The library itself is never
// unloaded: it may have started threads or registered exit handlers that still need its code.
class Plugin {
  public:
    Plugin(const PluginOptions& options, const char* stage);
    ~Plugin();
    Plugin(const Plugin&) = delete;
    Plugin& operator=(const Plugin&) = delete;

    // What an older library does not have is NULL.
    const zpipe_plugin& table() const { return table_; }
    void* model() const { return model_; }
    const std::vector<std::string>& labels() const { return labels_; }
    std::string name() const { return table_.name ? table_.name : "(unnamed)"; }

    [[noreturn]] void fail(const char* verb, const std::string& why) const {
        throw Error(Status::failed_inference, file_ + ": `" + verb + "` " + why);
    }

    // Runs one of the library's functions; what it throws becomes an Error.
    template <typename Call> auto guarded(Status status, const char* verb, Call call) const -> decltype(call()) {
        try {
            return call();
        } catch (const std::exception& problem) {
            throw Error(status, file_ + ": `" + verb + "` threw an exception: " + problem.what());
        } catch (...) {
            throw Error(status, file_ + ": `" + verb + "` threw an exception");
        }
    }

    static std::string text_of(const zpipe_error& error);

  private:
    zpipe_plugin read_table(void* library) const;
    void check_options(const std::vector<PluginValue>& values, const char* stage) const;
    void open(const PluginOptions& options, const char* stage);
    void read_labels();

    std::string file_;
    zpipe_plugin table_{};
    void* model_ = nullptr;
    std::vector<std::string> labels_;
};

} // namespace zpipe
