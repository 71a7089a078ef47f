// The one file that knows dlopen.
#include "plugin_library.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <dlfcn.h>
#include <elf.h>

namespace zpipe {

namespace {

// Ids are looked up until the first without a name; a library that has one for every number must not hang us.
constexpr int32_t most_labels = 1'000'000;

// Where the table of version 1 ends.
constexpr size_t first_table_bytes = offsetof(zpipe_plugin, size_bytes);

// The loader maps what the header promises and dies of SIGBUS where the file is shorter.
void check_complete(const std::string& file) {
    std::error_code failed;
    const auto size = std::filesystem::file_size(file, failed);
    std::ifstream stream(file, std::ios::binary);
    Elf64_Ehdr header{};
    if (failed || !stream.read(reinterpret_cast<char*>(&header), sizeof header) ||
        std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        throw Error(Status::bad_plugin, file + ": is not a shared library");
    }
    if (header.e_ident[EI_CLASS] != ELFCLASS64) {
        return; // dlopen says what is wrong
    }
    for (int i = 0; i < header.e_phnum; ++i) {
        Elf64_Phdr part{};
        stream.seekg(static_cast<std::streamoff>(header.e_phoff + static_cast<uint64_t>(i) * sizeof part));
        if (!stream.read(reinterpret_cast<char*>(&part), sizeof part) || part.p_filesz > size ||
            part.p_offset > size - part.p_filesz) {
            throw Error(Status::bad_plugin, file + ": the shared library is truncated or damaged");
        }
    }
}

std::string join(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) {
        text += (text.empty() ? "" : ", ") + name;
    }
    return text;
}

} // namespace

Plugin::Plugin(const PluginOptions& options, const char* stage) : file_(options.file) {
    check_complete(file_);
    void* library = dlopen(file_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        throw Error(Status::bad_plugin, file_ + ": cannot be loaded: " + dlerror());
    }
    table_ = read_table(library);
    if (std::strcmp(stage, "detect") == 0 ? !table_.detect : !table_.classify) {
        throw Error(Status::bad_plugin, file_ + ": the plugin has no function `" + stage + "`");
    }
    check_options(options.values, stage);
    open(options, stage);
    read_labels();
}

Plugin::~Plugin() {
    try {
        table_.close(model_);
    } catch (...) {
        // Nobody is left to tell; the worker is about to end anyway.
    }
}

std::string Plugin::text_of(const zpipe_error& error) {
    const size_t length = strnlen(error.text, sizeof error.text);
    return length ? std::string(error.text, length) : "failed and did not say why";
}

zpipe_plugin Plugin::read_table(void* library) const {
    dlerror();
    void* symbol = dlsym(library, "zpipe_plugin_entry");
    if (!symbol) {
        throw Error(Status::bad_plugin, file_ + ": is no zpipe plugin, it does not export `zpipe_plugin_entry`");
    }
    const auto entry = reinterpret_cast<const zpipe_plugin* (*)()>(symbol);
    const zpipe_plugin* table = guarded(Status::bad_plugin, "zpipe_plugin_entry", [&] { return entry(); });
    if (!table) {
        throw Error(Status::bad_plugin, file_ + ": `zpipe_plugin_entry` returned NULL");
    }
    if (table->abi < 1 || table->abi > ZPIPE_PLUGIN_ABI) {
        throw Error(Status::bad_plugin, file_ + ": built for version " + std::to_string(table->abi) +
                                            " of the plugin ABI, this zpipe has versions 1 to " +
                                            std::to_string(ZPIPE_PLUGIN_ABI) + "; build it anew");
    }
    const size_t bytes = table->abi == 1 || table->size_bytes == 0 ? first_table_bytes : table->size_bytes;
    if (bytes < first_table_bytes) {
        throw Error(Status::bad_plugin, file_ + ": `size_bytes` of its table is " + std::to_string(bytes) +
                                            ", less than any version has; expected sizeof(zpipe_plugin)");
    }
    zpipe_plugin known{};
    std::memcpy(&known, table, std::min(bytes, sizeof known));
    if (!known.open || !known.close) {
        throw Error(Status::bad_plugin, file_ + ": the plugin has no function `open` or no function `close`");
    }
    return known;
}

// A misspelt option would be ignored without a word.
void Plugin::check_options(const std::vector<PluginValue>& values, const char* stage) const {
    const void* extension = guarded(Status::bad_plugin, "extension", [&]() -> const void* {
        return table_.extension ? table_.extension(ZPIPE_EXTENSION_OPTIONS) : nullptr;
    });
    const auto names = extension ? static_cast<const zpipe_known_options*>(extension)->names : nullptr;
    const char* const* known = names ? guarded(Status::bad_plugin, "names", [&] { return names(stage); }) : nullptr;
    if (!known) {
        return;
    }
    std::vector<std::string> list;
    while (*known) {
        list.emplace_back(*known++);
    }
    for (const PluginValue& value : values) {
        const std::string name = value.name.substr(0, value.name.find('.'));
        if (std::find(list.begin(), list.end(), name) == list.end()) {
            throw Error(Status::bad_plugin, file_ + ": options." + name + ": the plugin has no such option, expected " +
                                                (list.empty() ? "none" : "one of " + join(list)));
        }
    }
}

void Plugin::open(const PluginOptions& options, const char* stage) {
    std::vector<zpipe_option> list;
    for (const PluginValue& value : options.values) {
        list.push_back({value.name.c_str(), value.text.c_str(), value.number, value.kind});
    }
    zpipe_settings settings{};
    settings.size_bytes = sizeof settings;
    settings.threads = options.threads;
    settings.stage = stage;
    settings.device = options.device.c_str();
    settings.config_path = options.config_path.c_str();
    settings.options = options.options.c_str();
    settings.option_list = list.data();
    settings.option_count = static_cast<uint32_t>(list.size());
    zpipe_error error{};
    model_ = guarded(Status::bad_plugin, "open", [&] { return table_.open(&settings, &error); });
    if (!model_) {
        throw Error(Status::bad_plugin, file_ + ": `open` says: " + text_of(error));
    }
}

void Plugin::read_labels() {
    try {
        guarded(Status::bad_plugin, "label", [&] {
            for (int32_t id = 0; table_.label && id < most_labels; ++id) {
                const char* label = table_.label(model_, id);
                if (!label) {
                    return;
                }
                labels_.emplace_back(label);
            }
        });
    } catch (...) {
        table_.close(model_); // the destructor does not run for an object that never was
        throw;
    }
}

} // namespace zpipe
