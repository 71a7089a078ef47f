/* The smallest valid plugin: one object, the left half of every picture, and one class for every box. */
#include <zpipe_plugin.h>

static int model; /* there is nothing to remember; any address but NULL will do */

static void* open_model(const zpipe_settings* settings, zpipe_error* error) {
    (void)settings, (void)error;
    return &model;
}

static int32_t detect(void* self, const zpipe_image* image, zpipe_detection* found, int32_t room, zpipe_error* error) {
    (void)self, (void)room, (void)error;
    found[0] = (zpipe_detection){{0, 0, image->width / 2.0f, (float)image->height}, 0.75f, 0};
    return 1;
}

static int32_t classify(void* self, const zpipe_image* image, const zpipe_box* boxes, int32_t count,
                        zpipe_class* classes, int32_t per_box, zpipe_error* error) {
    (void)self, (void)image, (void)boxes, (void)error;
    for (int32_t i = 0; i < count; ++i) {
        classes[i * per_box] = (zpipe_class){1, 0.5f};
        if (per_box > 1) {
            classes[i * per_box + 1].label_id = -1;
        }
    }
    return 0;
}

static void close_model(void* self) {
    (void)self;
}

static const zpipe_plugin table = {
    .abi = ZPIPE_PLUGIN_ABI,
    .name = "good",
    .open = open_model,
    .detect = detect,
    .classify = classify,
    .close = close_model,
    .size_bytes = sizeof(zpipe_plugin),
};

const zpipe_plugin* zpipe_plugin_entry(void) {
    return &table;
}
