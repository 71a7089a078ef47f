/* Plugins that are wrong in one way each; the tests compile this file once per way with -DBAD_... */
#include <math.h>
#include <string.h>
#include <zpipe_plugin.h>

static int model;
static const char* const names[] = {"cat", "dog"};

static void* open_model(const zpipe_settings* settings, zpipe_error* error) {
    (void)settings;
#if defined(BAD_OPEN)
    strcpy(error->text, "no licence for ");
    strcat(error->text, settings->device);
    return 0;
#elif defined(BAD_OPEN_SILENT)
    return 0;
#elif defined(BAD_OPEN_UNTERMINATED)
    memset(error->text, 'x', sizeof error->text);
    return 0;
#endif
    (void)error;
    return &model;
}

static const char* label(void* self, int32_t id) {
    (void)self;
#if defined(BAD_LABELS_ENDLESS)
    return names[id & 1];
#else
    return id < 2 ? names[id] : 0;
#endif
}

static int32_t detect(void* self, const zpipe_image* image, zpipe_detection* found, int32_t room, zpipe_error* error) {
    (void)self, (void)image, (void)room;
    found[0] = (zpipe_detection){{1, 2, 3, 4}, 0.9f, 1};
#if defined(BAD_FRAME)
    strcpy(error->text, "too dark");
    return -1;
#elif defined(BAD_FRAME_SILENT)
    return -7;
#elif defined(BAD_TOO_MANY)
    return room + 1;
#elif defined(BAD_NAN)
    found[0].box.y = NAN;
#elif defined(BAD_INFINITE)
    found[0].box.w = INFINITY;
#elif defined(BAD_NEGATIVE_SIZE)
    found[0].box.h = -1;
#elif defined(BAD_CONFIDENCE)
    found[0].confidence = 90;
#elif defined(BAD_NAN_CONFIDENCE)
    found[0].confidence = NAN;
#elif defined(BAD_LABEL)
    found[0].label_id = -3;
#elif defined(BAD_OUTSIDE)
    found[0].box.x = 1e9f;
#elif defined(BAD_CRASH)
    *(volatile int*)0 = 1;
#elif defined(BAD_ENDLESS)
    for (volatile int i = 0;; ++i) {
    }
#elif defined(BAD_UNDEFINED_SYMBOL)
    extern int nobody_has_this(void);
    return nobody_has_this();
#endif
    (void)error;
    return 1;
}

static int32_t classify(void* self, const zpipe_image* image, const zpipe_box* boxes, int32_t count,
                        zpipe_class* classes, int32_t per_box, zpipe_error* error) {
    (void)self, (void)image, (void)boxes, (void)count, (void)per_box, (void)error;
    classes[0] = (zpipe_class){0, 0.5f};
#if defined(BAD_CLASSIFY)
    strcpy(error->text, "blurred");
    return -1;
#elif defined(BAD_CLASS_CONFIDENCE)
    classes[0].confidence = NAN;
#endif
    return 0;
}

static void close_model(void* self) {
    (void)self;
}

static const char* const no_names[] = {0};

static const char* const* names_of(const char* stage) {
    return strcmp(stage, "detect") == 0 ? no_names : 0;
}

static const void* extension(const char* id) {
    static const zpipe_known_options known = {
#if !defined(BAD_EXTENSION)
        names_of
#endif
    };
    return strcmp(id, ZPIPE_EXTENSION_OPTIONS) == 0 ? &known : 0;
}

static const struct {
    zpipe_plugin known;
    void (*from_a_later_version)(void);
} table = {{
    .abi = ZPIPE_PLUGIN_ABI,
    .name = "bad",
    .open = open_model,
    .label = label,
    .detect = detect,
    .classify = classify,
    .close = close_model,
    .size_bytes = sizeof table,
    .extension = extension,
#if defined(BAD_VERSION)
    .abi = 99,
#elif defined(BAD_VERSION_NONE)
    .abi = 0,
#elif defined(BAD_SIZE)
    .size_bytes = 12,
#elif defined(BAD_SIZE_NONE)
    .size_bytes = 0,
#elif defined(BAD_NO_OPEN)
    .open = 0,
#elif defined(BAD_NO_DETECT)
    .detect = 0,
#endif
}};

#if defined(BAD_NO_ENTRY)
ZPIPE_PLUGIN_EXPORT const zpipe_plugin* another_entry(void);
const zpipe_plugin* another_entry(void) {
    return &table.known;
}
#elif defined(BAD_ENTRY)
const zpipe_plugin* zpipe_plugin_entry(void) {
    return 0;
}
#else
const zpipe_plugin* zpipe_plugin_entry(void) {
    return &table.known;
}
#endif
