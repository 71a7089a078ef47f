/* A plugin as version 1 of the ABI had it, which still has to load: the structs are written down here as they were laid
 * out then, and no header of zpipe is read. What lies behind the table is no part of it: whoever calls it, crashes. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const uint8_t* pixels;
    int32_t width;
    int32_t height;
    int64_t row_bytes;
} image_1;

typedef struct {
    float x, y, w, h;
} box_1;

typedef struct {
    box_1 box;
    float confidence;
    int32_t label_id;
} detection_1;

typedef struct {
    int32_t label_id;
    float confidence;
} class_1;

typedef struct {
    char text[1024];
} error_1;

typedef struct {
    uint32_t size_bytes;
    int32_t threads;
    const char* stage;
    const char* device;
    const char* config_path;
    const char* options;
} settings_1;

typedef struct {
    uint32_t abi;
    const char* name;
    void* (*open)(const settings_1* settings, error_1* error);
    const char* (*label)(void* model, int32_t label_id);
    int32_t (*detect)(void* model, const image_1* image, detection_1* found, int32_t room, error_1* error);
    int32_t (*classify)(void* model, const image_1* image, const box_1* boxes, int32_t count, class_1* classes,
                        int32_t per_box, error_1* error);
    void (*close)(void* model);
} plugin_1;

static char told[512]; /* what open was told: the name of its only class */

static void* open_model(const settings_1* settings, error_1* error) {
    if (settings->size_bytes < sizeof *settings) {
        strcpy(error->text, "the settings are smaller than they were");
        return 0;
    }
    snprintf(told, sizeof told, "%s %s %d %s %s", settings->stage, settings->device, settings->threads,
             strrchr(settings->config_path, '/'), settings->options);
    return told;
}

static const char* label(void* model, int32_t label_id) {
    return label_id ? 0 : model;
}

static int32_t detect(void* model, const image_1* image, detection_1* found, int32_t room, error_1* error) {
    (void)model;
    const uint8_t blue = image->pixels[(image->height - 1) * image->row_bytes + 3 * (image->width - 1)];
    if (!blue || room < 1) {
        strcpy(error->text, "the last pixel is not blue");
        return -1;
    }
    found[0] = (detection_1){{1, 2, 3, 4}, blue / 255.0f, 0};
    return 1;
}

static int32_t classify(void* model, const image_1* image, const box_1* boxes, int32_t count, class_1* classes,
                        int32_t per_box, error_1* error) {
    (void)model, (void)image, (void)error;
    for (int32_t i = 0; i < count; ++i) {
        classes[i * per_box] = (class_1){0, boxes[i].w / 100};
        if (per_box > 1) {
            classes[i * per_box + 1].label_id = -1;
        }
    }
    return 0;
}

static void close_model(void* model) {
    (void)model;
}

static const struct {
    plugin_1 table;
    uint64_t no_part_of_it[8];
} library = {{1, "version 1", open_model, label, detect, classify, close_model},
             {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u}};

__attribute__((visibility("default"))) const plugin_1* zpipe_plugin_entry(void);
const plugin_1* zpipe_plugin_entry(void) {
    return &library.table;
}
