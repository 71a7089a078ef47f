// Whether the processor has AVX2: the few loops where it pays are compiled a second time for it.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define ZPIPE_AVX2 __attribute__((target("avx2,fma")))
#endif

namespace zpipe {

inline bool has_avx2() {
#ifdef ZPIPE_AVX2
    static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return has;
#else
    return false;
#endif
}

} // namespace zpipe
