/* One register of numbers, and the few things a kernel does with it.
 *
 * vec_f32 and vec_f64 are opaque to the templates: a kernel loads, stores, broadcasts,
 * multiplies and adds, and never learns how many lanes there are except through LANES_f32
 * and LANES_f64.  The same text therefore compiles for every level:
 *
 *     avx512     64 bytes, 32 registers       avx2 (with FMA)   32 bytes, 16 registers
 *     neon       16 bytes, 32 registers       baseline          16 bytes, 16 registers
 *
 * fma(a, b, c) is a b + c with ONE rounding wherever the CPU can; the compiler itself must
 * never contract (-ffp-contract=off), so that the bits are what the source says.  The
 * baseline has no such instruction and rounds twice: it is held to the error bound, not to
 * the bits.
 *
 * max(a, b) is a > b ? a : b, and min(a, b) is a < b ? a : b, lane by lane: if one of them
 * is NaN, or both are zero, the SECOND operand comes out.  So max(zero, x) keeps a NaN in x.
 */
#ifndef MINIGRAD_VEC_H
#define MINIGRAD_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__GNUC__)
#error "the compiled core needs a compiler with vector extensions (gcc or clang)"
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define VEC_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__)
#define VEC_BYTES 32
#else
#define VEC_BYTES 16
#endif

#define VEC_INLINE static inline __attribute__((always_inline, unused))

/* The type, the mask that a comparison gives, and the same type at any address. */
#define VEC_TYPE(T, real, word)                                                               \
    typedef real vec_##T __attribute__((vector_size(VEC_BYTES)));                             \
    typedef word mask_##T __attribute__((vector_size(VEC_BYTES)));                            \
    typedef real loose_##T __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias)); \
    enum { LANES_##T = VEC_BYTES / sizeof(real) };

VEC_TYPE(f32, float, int32_t)
VEC_TYPE(f64, double, int64_t)

/* The register class of inline assembly, for held_T below. */
#if defined(__AVX512F__)
#define VEC_REGISTER "+v"
#elif defined(__aarch64__)
#define VEC_REGISTER "+w"
#else
#define VEC_REGISTER "+x"
#endif

/* What every vector extension can say.  load_n and store_n touch the first n lanes only;
 * load_n fills the others with zero.  held(v) is v, in a register: without it the compiler
 * may load again for every use of a number that was loaded once to be used many times.
 * step(p, n) is p + n, computed there and then: without it the compiler prepares an address
 * for every pixel of a tile, and runs out of registers to keep them in. */
#define VEC_COMMON(T, real)                                                                   \
    VEC_INLINE real *step_##T(const real *p, ptrdiff_t n) {                                   \
        p += n; __asm__("" : "+r"(p)); return (real *)p; }                                    \
    VEC_INLINE vec_##T held_##T(vec_##T v) { __asm__("" : VEC_REGISTER(v)); return v; }       \
    VEC_INLINE vec_##T load_##T(const real *p) { return *(const loose_##T *)p; }              \
    VEC_INLINE void store_##T(real *p, vec_##T v) { *(loose_##T *)p = v; }                    \
    VEC_INLINE vec_##T zero_##T(void) { return (vec_##T){0}; }                                \
    VEC_INLINE vec_##T add_##T(vec_##T a, vec_##T b) { return a + b; }                        \
    VEC_INLINE vec_##T sub_##T(vec_##T a, vec_##T b) { return a - b; }                        \
    VEC_INLINE vec_##T mul_##T(vec_##T a, vec_##T b) { return a * b; }                        \
    VEC_INLINE vec_##T div_##T(vec_##T a, vec_##T b) { return a / b; }

VEC_COMMON(f32, float)
VEC_COMMON(f64, double)

#if defined(__AVX512F__)

#define VEC_LEVEL(T, real, suffix, mask)                                                      \
    VEC_INLINE vec_##T broadcast_##T(real s) { return _mm512_set1_##suffix(s); }              \
    VEC_INLINE vec_##T fma_##T(vec_##T a, vec_##T b, vec_##T c) { return _mm512_fmadd_##suffix(a, b, c); } \
    VEC_INLINE vec_##T max_##T(vec_##T a, vec_##T b) { return _mm512_max_##suffix(a, b); }    \
    VEC_INLINE vec_##T min_##T(vec_##T a, vec_##T b) { return _mm512_min_##suffix(a, b); }    \
    VEC_INLINE vec_##T load_n_##T(const real *p, ptrdiff_t n) {                               \
        return _mm512_maskz_loadu_##suffix((mask)((1u << n) - 1), p); }                       \
    VEC_INLINE void store_n_##T(real *p, vec_##T v, ptrdiff_t n) {                            \
        _mm512_mask_storeu_##suffix(p, (mask)((1u << n) - 1), v); }

VEC_LEVEL(f32, float, ps, __mmask16)
VEC_LEVEL(f64, double, pd, __mmask8)

/* Half of a register, for what fills no more of one. */
typedef __m256 vec_half_f32;
VEC_INLINE vec_half_f32 low_half_f32(vec_f32 v) { return _mm512_castps512_ps256(v); }
VEC_INLINE vec_half_f32 load_half_f32(const float *p) { return _mm256_loadu_ps(p); }
VEC_INLINE void store_half_f32(float *p, vec_half_f32 v) { _mm256_storeu_ps(p, v); }
VEC_INLINE vec_half_f32 zero_half_f32(void) { return _mm256_setzero_ps(); }
VEC_INLINE vec_half_f32 fma_half_f32(vec_half_f32 a, vec_half_f32 b, vec_half_f32 c) {
    return _mm256_fmadd_ps(a, b, c); }
VEC_INLINE vec_half_f32 add_half_f32(vec_half_f32 a, vec_half_f32 b) { return a + b; }
VEC_INLINE vec_half_f32 max_half_f32(vec_half_f32 a, vec_half_f32 b) { return _mm256_max_ps(a, b); }
VEC_INLINE vec_half_f32 min_half_f32(vec_half_f32 a, vec_half_f32 b) { return _mm256_min_ps(a, b); }

#else

#if VEC_BYTES == 32
#define VEC_LEVEL(T, real, suffix, neon)                                                      \
    VEC_INLINE vec_##T broadcast_##T(real s) { return _mm256_set1_##suffix(s); }              \
    VEC_INLINE vec_##T fma_##T(vec_##T a, vec_##T b, vec_##T c) { return _mm256_fmadd_##suffix(a, b, c); } \
    VEC_INLINE vec_##T max_##T(vec_##T a, vec_##T b) { return _mm256_max_##suffix(a, b); }    \
    VEC_INLINE vec_##T min_##T(vec_##T a, vec_##T b) { return _mm256_min_##suffix(a, b); }
#elif defined(__SSE2__)
#define VEC_LEVEL(T, real, suffix, neon)                                                      \
    VEC_INLINE vec_##T broadcast_##T(real s) { return _mm_set1_##suffix(s); }                 \
    VEC_INLINE vec_##T fma_##T(vec_##T a, vec_##T b, vec_##T c) { return a * b + c; }         \
    VEC_INLINE vec_##T max_##T(vec_##T a, vec_##T b) { return _mm_max_##suffix(a, b); }       \
    VEC_INLINE vec_##T min_##T(vec_##T a, vec_##T b) { return _mm_min_##suffix(a, b); }
#else
#if defined(__aarch64__)
#define VEC_FMA(a, b, c, neon) vfmaq_##neon(c, a, b)
#else
#define VEC_FMA(a, b, c, neon) ((a) * (b) + (c))
#endif
#define VEC_LEVEL(T, real, suffix, neon)                                                      \
    VEC_INLINE vec_##T choose_##T(mask_##T m, vec_##T a, vec_##T b) {                         \
        return (vec_##T)((m & (mask_##T)a) | (~m & (mask_##T)b)); }                           \
    VEC_INLINE vec_##T broadcast_##T(real s) { return s - (vec_##T){0}; } /* -0 stays -0 */    \
    VEC_INLINE vec_##T fma_##T(vec_##T a, vec_##T b, vec_##T c) { return VEC_FMA(a, b, c, neon); } \
    VEC_INLINE vec_##T max_##T(vec_##T a, vec_##T b) { return choose_##T(a > b, a, b); }      \
    VEC_INLINE vec_##T min_##T(vec_##T a, vec_##T b) { return choose_##T(a < b, a, b); }
#endif

VEC_LEVEL(f32, float, ps, f32)
VEC_LEVEL(f64, double, pd, f64)

#if VEC_BYTES == 32
/* n ones, then zeros: what the masked instructions want, cut out of one row of both. */
static const int32_t VEC_ONES_f32[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
static const int64_t VEC_ONES_f64[8] = {-1, -1, -1, -1};
#define VEC_MASK(T, n) _mm256_loadu_si256((const __m256i *)(VEC_ONES_##T + LANES_##T - (n)))
#define VEC_PARTIAL(T, real, suffix)                                                    \
    VEC_INLINE vec_##T load_n_##T(const real *p, ptrdiff_t n) {                               \
        return n == LANES_##T ? load_##T(p) : (vec_##T)_mm256_maskload_##suffix(p, VEC_MASK(T, n)); }

/* A masked store takes 15 cycles on Zen 3, as long as 30 FMAs, whatever the mask: whole registers
 * are written whole, and of others four numbers, two and one. */
VEC_INLINE void store_few_f32(float *p, __m128 v, ptrdiff_t n) {
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, v);
        v = _mm_movehl_ps(v, v);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, v);
}
VEC_INLINE void store_n_f32(float *p, vec_f32 v, ptrdiff_t n) {
    if (n == LANES_f32) {
        store_f32(p, v);
        return;
    }
    __m128 low = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, low);
        low = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    store_few_f32(p, low, n);
}
VEC_INLINE void store_n_f64(double *p, vec_f64 v, ptrdiff_t n) {
    if (n == LANES_f64) {
        store_f64(p, v);
        return;
    }
    __m128d low = _mm256_castpd256_pd128(v);
    if (n & 2) {
        _mm_storeu_pd(p, low);
        low = _mm256_extractf128_pd(v, 1);
        p += 2;
    }
    if (n & 1) _mm_store_sd(p, low);
}
#else
#define VEC_PARTIAL(T, real, suffix)                                                    \
    VEC_INLINE vec_##T load_n_##T(const real *p, ptrdiff_t n) {                               \
        vec_##T v = {0};                                                                      \
        if (n == LANES_##T) return load_##T(p);                                               \
        for (ptrdiff_t i = 0; i < n; i++) v[i] = p[i];                                        \
        return v; }                                                                           \
    VEC_INLINE void store_n_##T(real *p, vec_##T v, ptrdiff_t n) {                            \
        for (ptrdiff_t i = 0; i < n; i++) p[i] = v[i]; }
#endif

VEC_PARTIAL(f32, float, ps)
VEC_PARTIAL(f64, double, pd)

#endif

/* Numbers of either type as float64: load_wide takes LANES_f64 of them, load_wide_n only the
 * first n, wide(v, half) those of a half of a register, and store_narrow_n rounds n of them on
 * their way back.  (Of __builtin_convertvector gcc 12 makes two conversions.) */
VEC_INLINE vec_f64 load_wide_f64(const double *p) { return load_f64(p); }
VEC_INLINE vec_f64 load_wide_n_f64(const double *p, ptrdiff_t n) { return load_n_f64(p, n); }
VEC_INLINE vec_f64 wide_f64(vec_f64 v, int half) { (void)half; return v; }
VEC_INLINE void store_narrow_f64(double *p, vec_f64 v) { store_f64(p, v); }
VEC_INLINE void store_narrow_n_f64(double *p, vec_f64 v, ptrdiff_t n) { store_n_f64(p, v, n); }

#if defined(__AVX512F__)
VEC_INLINE vec_f64 load_wide_f32(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
VEC_INLINE vec_f64 load_wide_n_f32(const float *p, ptrdiff_t n) {
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps((__mmask8)((1u << n) - 1), p)); }
VEC_INLINE vec_f64 wide_f32(vec_f32 v, int half) {
    return _mm512_cvtps_pd(half ? _mm512_extractf32x8_ps(v, 1) : _mm512_castps512_ps256(v)); }
VEC_INLINE void store_narrow_f32(float *p, vec_f64 v) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(v)); }
VEC_INLINE void store_narrow_n_f32(float *p, vec_f64 v, ptrdiff_t n) {
    _mm256_mask_storeu_ps(p, (__mmask8)((1u << n) - 1), _mm512_cvtpd_ps(v)); }
#elif VEC_BYTES == 32
#define HALF_MASK(n) _mm_loadu_si128((const __m128i *)(VEC_ONES_f32 + LANES_f32 - (n)))
VEC_INLINE vec_f64 load_wide_f32(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
VEC_INLINE vec_f64 load_wide_n_f32(const float *p, ptrdiff_t n) {
    return _mm256_cvtps_pd(_mm_maskload_ps(p, HALF_MASK(n))); }
VEC_INLINE vec_f64 wide_f32(vec_f32 v, int half) {
    return _mm256_cvtps_pd(half ? _mm256_extractf128_ps(v, 1) : _mm256_castps256_ps128(v)); }
VEC_INLINE void store_narrow_f32(float *p, vec_f64 v) { _mm_storeu_ps(p, _mm256_cvtpd_ps(v)); }
VEC_INLINE void store_narrow_n_f32(float *p, vec_f64 v, ptrdiff_t n) {
    __m128 low = _mm256_cvtpd_ps(v);
    if (n == LANES_f64) _mm_storeu_ps(p, low);
    else store_few_f32(p, low, n); }
#else
VEC_INLINE vec_f64 load_wide_f32(const float *p) { return (vec_f64){p[0], p[1]}; }
VEC_INLINE vec_f64 load_wide_n_f32(const float *p, ptrdiff_t n) {
    vec_f64 v = {0};
    for (ptrdiff_t i = 0; i < n; i++) v[i] = p[i];
    return v; }
VEC_INLINE vec_f64 wide_f32(vec_f32 v, int half) {
    return (vec_f64){v[2 * half], v[2 * half + 1]}; }
VEC_INLINE void store_narrow_n_f32(float *p, vec_f64 v, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) p[i] = (float)v[i]; }
VEC_INLINE void store_narrow_f32(float *p, vec_f64 v) { store_narrow_n_f32(p, v, LANES_f64); }
#endif

/* first_n keeps the first n lanes, the others become +0.  fold adds the lanes: halves of the
 * register, then of what is left. */
#if defined(__AVX512F__)
VEC_INLINE vec_f32 first_n_f32(vec_f32 v, ptrdiff_t n) { return _mm512_maskz_mov_ps((__mmask16)((1u << n) - 1), v); }
VEC_INLINE vec_f64 first_n_f64(vec_f64 v, ptrdiff_t n) { return _mm512_maskz_mov_pd((__mmask8)((1u << n) - 1), v); }
#else
#define VEC_FIRST(T)                                                                          \
    VEC_INLINE vec_##T first_n_##T(vec_##T v, ptrdiff_t n) {                                  \
        for (ptrdiff_t i = n; i < LANES_##T; i++) v[i] = 0;                                   \
        return v; }
VEC_FIRST(f32)
VEC_FIRST(f64)
#endif

#if VEC_BYTES > 16
VEC_INLINE double fold_pair(__m256d v) {
    __m128d pair = _mm256_castpd256_pd128(v) + _mm256_extractf128_pd(v, 1);
    return pair[0] + pair[1]; }
#endif
#if VEC_BYTES == 64
VEC_INLINE double fold_f64(vec_f64 v) {
    return fold_pair(_mm512_castpd512_pd256(v) + _mm512_extractf64x4_pd(v, 1)); }
#elif VEC_BYTES == 32
VEC_INLINE double fold_f64(vec_f64 v) { return fold_pair(v); }
#else
VEC_INLINE double fold_f64(vec_f64 v) { return v[0] + v[1]; }
#endif

/* c + v, as an FMA where there is one: the bits are the same, but the pipes are not those that
 * convert float32 to float64 (Zen 5 adds 36 numbers a nanosecond so, and 28 by additions).
 * `one` is held_f64(1): a compiler that knows the number makes an addition of it. */
VEC_INLINE vec_f64 plus_f64(vec_f64 c, vec_f64 v, vec_f64 one) {
#if VEC_BYTES > 16 || defined(__aarch64__)
    return fma_f64(v, one, c);
#else
    (void)one;
    return c + v;
#endif
}

/* A sum in two words: carry adds b to hi, and what the rounding left over to lo (Knuth's
 * TwoSum); both gives hi + lo.  Where hi has become infinite, lo is NaN and left out. */
#define TWO_WORDS(T)                                                                          \
    VEC_INLINE void carry_##T(vec_##T b, vec_##T *hi, vec_##T *lo) {                          \
        vec_##T s = *hi + b, t = s - *hi;                                                     \
        *lo += (*hi - (s - t)) + (b - t);                                                     \
        *hi = s; }                                                                            \
    VEC_INLINE vec_##T both_##T(vec_##T hi, vec_##T lo) {                                     \
        mask_##T finite = lo == lo;                                                           \
        return (vec_##T)((finite & (mask_##T)(hi + lo)) | (~finite & (mask_##T)hi)); }

TWO_WORDS(f32)
TWO_WORDS(f64)

/* The same for one number. */
VEC_INLINE void carry_one(double b, double *hi, double *lo) {
    double s = *hi + b, t = s - *hi;
    *lo += (*hi - (s - t)) + (b - t);
    *hi = s; }
VEC_INLINE double both_one(double hi, double lo) { return lo == lo ? hi + lo : hi; }

VEC_INLINE void prefetch(const void *p) { __builtin_prefetch(p); }

/* To write there: another CPU's copy of the line goes.  (A CPU that does not know the instruction
 * does nothing; the compiler's own word for it asks for a copy where it is told of old CPUs.) */
VEC_INLINE void prefetch_to_write(void *p) {
#if defined(__x86_64__)
    __asm__ __volatile__("prefetchw %0" : : "m"(*(char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}

#endif
