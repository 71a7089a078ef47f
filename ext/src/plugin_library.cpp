// The one file that knows dlopen.
#include "plugin_library.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>

#include <dlfcn.h>
#include <elf.h>

namespace zpipe {

namespace {

// Ids are looked up until the first without a name; a library that has one for every number must not hang us.
constexpr int32_t most_labels = 1'000'000;

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

} // namespace

Plugin::Plugin(const PluginOptions& options, const char* stage) : file_(options.file) {
    check_complete(file_);
    void* library = dlopen(file_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        throw Error(Status::bad_plugin, file_ + ": cannot be loaded: " + dlerror());
    }
    table_ = find_table(library);
    if (std::strcmp(stage, "detect") == 0 ? !table_->detect : !table_->classify) {
        throw Error(Status::bad_plugin, file_ + ": the plugin has no function `" + stage + "`");
    }
    open(options, stage);
    read_labels();
}

Plugin::~Plugin() {
    try {
        table_->close(model_);
    } catch (...) {
        // Nobody is left to tell; the worker is about to end anyway.
    }
}

std::string Plugin::text_of(const zpipe_error& error) {
    const size_t length = strnlen(error.text, sizeof error.text);
    return length ? std::string(error.text, length) : "failed and did not say why";
}

const zpipe_plugin* Plugin::find_table(void* library) const {
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
    if (table->abi != ZPIPE_PLUGIN_ABI) {
        throw Error(Status::bad_plugin, file_ + ": built for version " + std::to_string(table->abi) +
                                            " of the plugin ABI, this zpipe has version " +
                                            std::to_string(ZPIPE_PLUGIN_ABI) + "; build it anew");
    }
    if (!table->open || !table->close) {
        throw Error(Status::bad_plugin, file_ + ": the plugin has no function `open` or no function `close`");
    }
    return table;
}

void Plugin::open(const PluginOptions& options, const char* stage) {
    const zpipe_settings settings{sizeof(zpipe_settings),      options.threads,        stage, options.device.c_str(),
                                  options.config_path.c_str(), options.options.c_str()};
    zpipe_error error{};
    model_ = guarded(Status::bad_plugin, "open", [&] { return table_->open(&settings, &error); });
    if (!model_) {
        throw Error(Status::bad_plugin, file_ + ": `open` says: " + text_of(error));
    }
}

void Plugin::read_labels() {
    try {
        guarded(Status::bad_plugin, "label", [&] {
            for (int32_t id = 0; table_->label && id < most_labels; ++id) {
                const char* label = table_->label(model_, id);
                if (!label) {
                    return;
                }
                labels_.emplace_back(label);
            }
        });
    } catch (...) {
        table_->close(model_); // the destructor does not run for an object that never was
        throw;
    }
}

} // namespace zpipe
