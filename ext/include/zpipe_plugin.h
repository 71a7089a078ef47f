/* zpipe plugin ABI, version 1: how a shared library becomes a model of a zpipe pipeline.
 *
 *     detect:   {model: ./libmine.so, options: {config: mine.cfg}}
 *
 * The library exports one function, zpipe_plugin_entry, which returns a table of functions. zpipe calls them so:
 *
 *     open      once, before the first picture; makes a model
 *     label     any number of times after open: the names of classes
 *     detect    once per picture, in a detect stage             } one call at a time per model,
 *     classify  once per picture with boxes, in a classify stage } from one thread or another
 *     close     once, at the end, after which the model is not used any more
 *
 * Every pipeline worker is a process with one model of its own; nothing needs to be thread-safe. A call that crashes or
 * takes too long costs the worker process, not the pipeline.
 *
 * Memory: whatever zpipe passes belongs to zpipe and is valid until the call returns; whatever the table and `label`
 * return belongs to the library and is valid until close. Nothing is freed by the other side. No exception may leave a
 * function (zpipe catches those of C++ and reports them, but do not count on it).
 *
 * A C++ class is wrapped with less typing by zpipe_plugin.hpp. `zpipe plugin-path` prints the folder of both.
 */
#ifndef ZPIPE_PLUGIN_H
#define ZPIPE_PLUGIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when a library built for the old version could not work any more. */
#define ZPIPE_PLUGIN_ABI 1u

/* 8-bit BGR, pixels of a row side by side: blue of pixel (x, y) is pixels[y * row_bytes + 3 * x]. Read only. */
typedef struct zpipe_image {
    const uint8_t* pixels;
    int32_t width;
    int32_t height;
    int64_t row_bytes; /* at least 3 * width */
} zpipe_image;

/* Left-top corner and size in pixels of the image. */
typedef struct zpipe_box {
    float x, y, w, h;
} zpipe_box;

typedef struct zpipe_detection {
    zpipe_box box;
    float confidence; /* 0 to 1 */
    int32_t label_id; /* from 0 */
} zpipe_detection;

typedef struct zpipe_class {
    int32_t label_id; /* from 0; -1: no further class in this row */
    float confidence; /* 0 to 1 */
} zpipe_class;

/* Where a function that fails leaves why: zero-terminated UTF-8, empty when it is called. */
typedef struct zpipe_error {
    char text[1024];
} zpipe_error;

/* What the config says. Texts are never NULL. */
typedef struct zpipe_settings {
    uint32_t size_bytes;     /* of this struct; later versions may add fields at its end */
    int32_t threads;         /* how many the library may compute with */
    const char* stage;       /* "detect" or "classify" */
    const char* device;      /* the key `device`, by default "CPU" */
    const char* config_path; /* the key `options.config`, relative to the pipeline's config file, or "" */
    const char* options;     /* the whole of `options` as JSON, "{}" if there are none */
} zpipe_settings;

typedef struct zpipe_plugin {
    uint32_t abi;     /* ZPIPE_PLUGIN_ABI; stays the first field in all versions */
    const char* name; /* for messages, for example "plates 2.1" */

    /* The model, anything but NULL; NULL with error->text if that fails. */
    void* (*open)(const zpipe_settings* settings, zpipe_error* error);

    /* The name of a class; NULL from the first id on that has none. May be NULL itself: the classes have no names. */
    const char* (*label)(void* model, int32_t label_id);

    /* Writes at most `room` detections and returns their number, or -1 with error->text: the picture fails. NULL in a
     * library that only classifies. */
    int32_t (*detect)(void* model, const zpipe_image* image, zpipe_detection* found, int32_t room, zpipe_error* error);

    /* Writes `per_box` classes for each of `count` boxes, best first, box after box; returns 0, or -1 with error->text:
     * the picture fails. NULL in a library that only detects. */
    int32_t (*classify)(void* model, const zpipe_image* image, const zpipe_box* boxes, int32_t count,
                        zpipe_class* classes, int32_t per_box, zpipe_error* error);

    void (*close)(void* model);
} zpipe_plugin;

#if defined(_WIN32)
#define ZPIPE_PLUGIN_EXPORT __declspec(dllexport)
#else
#define ZPIPE_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

/* The one symbol that is looked for. The table stays valid as long as the library is loaded. */
ZPIPE_PLUGIN_EXPORT const zpipe_plugin* zpipe_plugin_entry(void);

#ifdef __cplusplus
}
#endif

#endif /* ZPIPE_PLUGIN_H */
