# cython: language_level=3
"""What this CPU can do: the one extension that is imported before a level is chosen.

It is compiled for the oldest CPU of the architecture, so asking is always safe.
"""

cdef extern from *:
    """
    static int cpu_has_avx512(void) {
    #if defined(__x86_64__)
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    #else
        return 0;
    #endif
    }
    static int cpu_has_avx2(void) {
    #if defined(__x86_64__)
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    #else
        return 0;
    #endif
    }
    static int cpu_is_arm64(void) {
    #if defined(__aarch64__)
        return 1;
    #else
        return 0;
    #endif
    }
    """
    bint cpu_has_avx512()
    bint cpu_has_avx2()
    bint cpu_is_arm64()


def levels():
    """The levels that this CPU can run, best first."""
    if cpu_is_arm64():
        return ("neon",)
    return (
        (("avx512",) if cpu_has_avx512() and cpu_has_avx2() else ())
        + (("avx2",) if cpu_has_avx2() else ())
        + ("baseline",)
    )
