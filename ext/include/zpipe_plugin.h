/* zpipe plugin ABI, version 2: how a shared library becomes a model of a zpipe pipeline.
 *
 *     detect:   {model: ./libmine.so, options: {config: mine.cfg}}
 *
 * The library exports one function, zpipe_plugin_entry, which returns a table of functions. zpipe calls them so:
 *
 *     entry      once, when the library has been loaded
 *     extension  any number of times after entry: what the library can do beyond this table
 *     open       once, before the first picture; makes a model
 *     label      any number of times after open: the names of classes
 *     detect     once per picture, in a detect stage             } one call at a time per model,
 *     classify   once per picture with boxes, in a classify stage } from one thread or another
 *     close      once, at the end, after which the model is not used any more
 *
 * Every pipeline worker is a process with one model of its own; no two of these calls run at once, so nothing needs to
 * be thread-safe. A call that crashes or takes too long costs the worker process, not the pipeline. The library calls
 * nothing of zpipe.
 *
 * Memory: whatever zpipe passes belongs to zpipe and is valid until the call returns; whatever the table and `label`
 * return belongs to the library and is valid until close. Nothing is freed by the other side. No exception may leave a
 * function (zpipe catches those of C++ and reports them, but do not count on it).
 *
 * Growth: zpipe_settings and zpipe_plugin say how large they are where they were compiled, and get new fields at their
 * end only; who reads a field looks first whether it lies within that size. All other structs stay as they are. What
 * does not fit a new field becomes an extension. Libraries built for version 1 still load.
 *
 * A C++ class is wrapped with less typing by zpipe_plugin.hpp. `zpipe plugin-path` prints the folder of both.
 */
#ifndef ZPIPE_PLUGIN_H
#define ZPIPE_PLUGIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version 1 had no size of the table and no extensions. Another version comes only if growth as above does not suffice.
 */
#define ZPIPE_PLUGIN_ABI 2u

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

typedef enum zpipe_option_kind {
    ZPIPE_OPTION_TEXT = 0,
    ZPIPE_OPTION_NUMBER = 1,
    ZPIPE_OPTION_BOOL = 2
} zpipe_option_kind;

/* One value in the key `options`. Those in lists and mappings have dots in their names, as in --set: "sizes.0". What is
 * null in the config is not there. */
typedef struct zpipe_option {
    const char* name;
    const char* text; /* the value of any kind as text; "true" or "false" */
    double number;    /* 1 or 0 of a bool, 0 of a text */
    int32_t kind;     /* a zpipe_option_kind */
} zpipe_option;

/* What the config says. Texts are never NULL. */
typedef struct zpipe_settings {
    uint32_t size_bytes;     /* of this struct where zpipe was compiled */
    int32_t threads;         /* how many the library may compute with */
    const char* stage;       /* "detect" or "classify" */
    const char* device;      /* the key `device`, by default "CPU" */
    const char* config_path; /* the key `options.config`, relative to the pipeline's config file, or "" */
    const char* options;     /* the whole of `options` as JSON, "{}" if there are none */

    /* From version 2 on. */
    const zpipe_option* option_list; /* the values in `options`, read already; in their order */
    uint32_t option_count;
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

    /* From version 2 on. */
    uint32_t size_bytes; /* sizeof(zpipe_plugin) where the library was compiled; 0: nothing behind this field */

    /* What the id, one of ZPIPE_EXTENSION_..., says that there is; NULL for every id that the library does not know.
     * Valid as long as the library is loaded. May be NULL itself. */
    const void* (*extension)(const char* id);
} zpipe_plugin;

/* The options that the library reads, so that zpipe refuses any other instead of ignoring it: a zpipe_known_options. */
#define ZPIPE_EXTENSION_OPTIONS "zpipe.options/1"

typedef struct zpipe_known_options {
    /* The names of a stage ("detect" or "classify"), without what is behind a dot; the last is NULL. NULL: any. */
    const char* const* (*names)(const char* stage);
} zpipe_known_options;

#if defined(_WIN32)
#define ZPIPE_PLUGIN_EXPORT __declspec(dllexport)
#else
#define ZPIPE_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

/* The one symbol that is looked for. The table stays valid, and as it is, as long as the library is loaded. */
ZPIPE_PLUGIN_EXPORT const zpipe_plugin* zpipe_plugin_entry(void);

#ifdef __cplusplus
}
#endif

#endif /* ZPIPE_PLUGIN_H */
