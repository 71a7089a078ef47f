/* OpenVINO's tbb opens a library with RTLD_DEEPBIND, which the address sanitizer refuses; preloaded, this drops the
 * flag. */
#define _GNU_SOURCE
#include <dlfcn.h>

void* dlopen(const char* file, int flags) {
    void* (*next)(const char*, int) = (void* (*)(const char*, int))dlsym(RTLD_NEXT, "dlopen");
    return next(file, flags & ~RTLD_DEEPBIND);
}
