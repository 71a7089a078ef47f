// A C++ plugin that throws wherever `options.config` says: through the wrapper, which catches, and past it.
#include <stdexcept>
#include <string>
#include <zpipe_plugin.hpp>

struct Thrower : zpipe_plugin_cpp::Detector {
    std::string where;

    void open(const zpipe_settings& settings) override {
        where = settings.config_path;
        where = where.substr(where.rfind('/') + 1);
        if (where == "open") {
            throw std::runtime_error("cannot open");
        }
    }
    std::vector<zpipe_detection> detect(const zpipe_image&) override {
        if (where == "detect") {
            throw std::runtime_error("cannot detect");
        }
        if (where == "detect-strange") {
            throw 7;
        }
        return std::vector<zpipe_detection>(where == "many" ? 10'001 : 0);
    }
};

#ifdef PAST_THE_WRAPPER
static int32_t throwing_detect(void*, const zpipe_image*, zpipe_detection*, int32_t, zpipe_error*) {
    throw std::runtime_error("over the border");
}
extern "C" ZPIPE_PLUGIN_EXPORT const zpipe_plugin* zpipe_plugin_entry(void) {
    static zpipe_plugin table = *zpipe_plugin_cpp::entry<Thrower, void>("past");
    table.detect = throwing_detect;
    return &table;
}
#else
ZPIPE_PLUGIN("throwing", Thrower, void)
#endif
