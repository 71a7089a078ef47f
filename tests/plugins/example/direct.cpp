// For the tests: the library called directly, without zpipe, through ctypes.
#include "vision.hpp"

extern "C" int direct_detect(const unsigned char* bgr, int width, int height, long stride, float* rows, int room) {
    Detect detect;
    detect.Init("", "CPU");
    int count = 0;
    for (const Object& o : detect.Run({bgr, width, height, stride})) {
        if (count < room) {
            const float row[6] = {float(o.x), float(o.y), float(o.w), float(o.h), o.score, float(o.type)};
            for (int i = 0; i < 6; ++i)
                rows[6 * count + i] = row[i];
            ++count;
        }
    }
    return count;
}

extern "C" void direct_classify(const unsigned char* bgr, int width, int height, long stride, int* id, float* share) {
    Classify classify;
    classify.Init("", "CPU");
    const Color best = classify.Run({bgr, width, height, stride}).front();
    *id = best.id, *share = best.share;
}
