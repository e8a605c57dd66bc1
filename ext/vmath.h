/* The functions of one number, lane by lane: activations, exp, log.  One definition for the
 * elementwise operations, for softmax, and for the epilogue of a convolution.
 *
 * Every function is made of operations that IEEE 754 rounds correctly (and of moving bits),
 * in the order written here, so its bits are the same for every level with an FMA, for a full
 * register and for its tail.
 *
 *     relu(x)        = max(0, x): keeps NaN, and the sign of zero
 *     relu6(x)       = min(6, relu(x))
 *     hardsigmoid(x) = relu6(x + 3) / 6
 *     hardswish(x)   = (x relu6(x + 3)) / 6, NaN at -inf
 *
 * e^x, with n the integer nearest to x / ln 2, and r = x - n ln 2 in two steps of which the
 * first is exact:
 *
 *     e^r - 1 = r + r^2 Q(r)          e^x = (1 + (e^r - 1)) 2^n, the power in one rounding
 *
 * which overflows to infinity, and falls through the subnormal numbers to zero.  From it,
 *
 *     tanh(|x|)  = -t / (2 + t),   t = e^(-2|x|) - 1,   with the sign of x
 *
 * and, above and below the line times a small power of two c, so that e^-x does not overflow
 * before the quotient is zero, with n a multiple of 1/8 and e^r = 1 + r (1 + r Q(r)):
 *
 *     sigmoid(x) = c / (c + c e^-x)
 *     silu(x)    = x sigmoid(x), NaN at -inf
 *
 * ln x, with x = m 2^k and sqrt(1/2) <= m < sqrt(2), f = m - 1, s = f / (2 + f), z = s^2:
 *
 *     ln m = 2 atanh(s) = f - (f^2/2 - s (f^2/2 + z P(z))),      ln x = k ln 2 + ln m
 *
 * ln 0 = -inf, ln x = NaN below.  NaN in, NaN out, everywhere.
 *
 * Errors are at most so many units in the last place (ULP) of the exact result, subnormal
 * ones included: over every float32, and a million samples of float64, with an FMA or
 * without (tests/kernels/test_vmath.py):
 *
 *     exp 1.1     log 0.9     sigmoid 3.8     silu 4.5     tanh 2.6
 *
 * and silu |x|/2 of the smallest subnormal number beside, where the sigmoid is subnormal.
 *
 * The tables (EXP, LN2, ...) stand in minigrad/kernels/polynomials.py.
 */
#ifndef MINIGRAD_VMATH_H
#define MINIGRAD_VMATH_H

#include "polynomials.h"   /* which setup.py makes of minigrad/kernels/polynomials.py */
#include "vec.h"

enum activation {
    ACT_NONE,
    ACT_RELU,
    ACT_RELU6,
    ACT_HARDSIGMOID,
    ACT_HARDSWISH,
    ACT_SIGMOID,
    ACT_SILU,
    ACT_TANH,
    ACT_PRELU
};

/* Numbers seen as their bits.  where(m, a, b) is a in the lanes of the mask, b elsewhere. */
#define VMATH_BITS(T, real, uword)                                                            \
    typedef uword bits_##T __attribute__((vector_size(VEC_BYTES)));                           \
    VEC_INLINE vec_##T where_##T(mask_##T m, vec_##T a, vec_##T b) {                          \
        return (vec_##T)((m & (mask_##T)a) | (~m & (mask_##T)b)); }                           \
    VEC_INLINE vec_##T abs_##T(vec_##T x) {                                                   \
        return (vec_##T)((bits_##T)x & ~(bits_##T)broadcast_##T((real)-0.0)); }               \
    VEC_INLINE vec_##T sign_##T(vec_##T x) {                                                  \
        return (vec_##T)((bits_##T)x & (bits_##T)broadcast_##T((real)-0.0)); }

VMATH_BITS(f32, float, uint32_t)
VMATH_BITS(f64, double, uint64_t)

/* v 2^n with one rounding, n an integer held as a number.  Without an instruction for it: the
 * power is cut in two halves, the first of which is exact for the v and n that come here.
 * SHIFTER is 1.5 2^DIGITS: added to n, it leaves n itself in the last bits. */
#if defined(__AVX512F__)
#define VMATH_SCALE(T, real, suffix, DIGITS, SHIFTER)                                         \
    VEC_INLINE vec_##T scale_##T(vec_##T v, vec_##T n) { return _mm512_scalef_##suffix(v, n); }
#else
#define VMATH_SCALE(T, real, suffix, DIGITS, SHIFTER)                                         \
    VEC_INLINE vec_##T power_of_two_##T(vec_##T shifted) {                                    \
        bits_##T one = (bits_##T)broadcast_##T((real)1);                                      \
        return (vec_##T)(((bits_##T)shifted << DIGITS) + one); }                              \
    VEC_INLINE vec_##T scale_##T(vec_##T v, vec_##T n) {                                      \
        vec_##T shifter = broadcast_##T((real)SHIFTER);                                       \
        vec_##T half = fma_##T(n, broadcast_##T((real)0.5), shifter);                         \
        vec_##T rest = n - (half - shifter) + shifter;                                        \
        return v * power_of_two_##T(half) * power_of_two_##T(rest); }
#endif

VMATH_SCALE(f32, float, ps, 23, 0x1.8p23f)
VMATH_SCALE(f64, double, pd, 52, 0x1.8p52)

/* How many vectors are worked on at once: the steps of one exponential wait for one another,
 * those of several do not.  The functions take as many as 4. */
#define MOST_AT_ONCE 4
#if defined(__AVX512F__) || defined(__aarch64__)
#define PACK MOST_AT_ONCE
#else
#define PACK 3      /* of three the steps of an activation stay in 16 registers */
#endif
#define EACH _Pragma("GCC unroll 4") for (int k = 0; k < count; k++)

#define VMATH_EXP(T, real, SHIFTER, LOWEST, HIGHEST, FLAT)                                    \
    /* c[0] + c[1] x + ... */                                                                 \
    VEC_INLINE vec_##T polynomial_##T(vec_##T x, const real *c, int terms) {                  \
        vec_##T y = broadcast_##T(c[terms - 1]);                                              \
        for (int k = terms - 2; k >= 0; k--) y = fma_##T(y, x, broadcast_##T(c[k]));          \
        return y; }                                                                           \
    /* n, and e^r - 1 */                                                                      \
    VEC_INLINE vec_##T reduced_##T(vec_##T x, vec_##T *n) {                                   \
        vec_##T shifter = broadcast_##T((real)SHIFTER);                                       \
        *n = fma_##T(x, broadcast_##T((real)0x1.71547652b82fep+0), shifter) - shifter;        \
        vec_##T r = fma_##T(*n, broadcast_##T(-LN2_##T[0]), x);                               \
        r = fma_##T(*n, broadcast_##T(-LN2_##T[1]), r);                                       \
        return fma_##T(r * r, polynomial_##T(r, EXP_##T, sizeof EXP_##T / sizeof(real)), r); } \
    VEC_INLINE vec_##T exp_##T(vec_##T x) {                                                   \
        vec_##T n, t;                                                                         \
        x = min_##T(broadcast_##T((real)HIGHEST), max_##T(broadcast_##T((real)LOWEST), x));   \
        t = reduced_##T(x, &n);                                                               \
        return scale_##T(broadcast_##T((real)1) + t, n); }                                    \
    /* The same of ``count`` vectors, 1 to 4, a step of all before the next. */               \
    VEC_INLINE void exps_##T(vec_##T *x, int count) {                                         \
        enum { TERMS = sizeof EXP_##T / sizeof(real) };                                       \
        vec_##T shifter = broadcast_##T((real)SHIFTER), one = broadcast_##T((real)1);         \
        vec_##T n[MOST_AT_ONCE], t[MOST_AT_ONCE];                                             \
        EACH x[k] = max_##T(broadcast_##T((real)LOWEST), x[k]);                               \
        EACH x[k] = min_##T(broadcast_##T((real)HIGHEST), x[k]);                              \
        EACH n[k] = fma_##T(x[k], broadcast_##T((real)0x1.71547652b82fep+0), shifter);        \
        EACH n[k] = n[k] - shifter;                                                           \
        EACH x[k] = fma_##T(n[k], broadcast_##T(-LN2_##T[0]), x[k]);                          \
        EACH x[k] = fma_##T(n[k], broadcast_##T(-LN2_##T[1]), x[k]);                          \
        EACH t[k] = broadcast_##T(EXP_##T[TERMS - 1]);                                        \
        _Pragma("GCC unroll 16") for (int c = TERMS - 2; c >= 0; c--)                         \
            EACH t[k] = fma_##T(t[k], x[k], broadcast_##T(EXP_##T[c]));                       \
        EACH t[k] = fma_##T(x[k] * x[k], t[k], x[k]);                                         \
        EACH x[k] = scale_##T(one + t[k], n[k]); }                                            \
    VEC_INLINE vec_##T tanh_##T(vec_##T x) {                                                  \
        vec_##T n, a = abs_##T(x), one = broadcast_##T((real)1);                              \
        vec_##T t = reduced_##T(max_##T(broadcast_##T((real)FLAT), -(a + a)), &n);            \
        vec_##T power = scale_##T(one, n);                                                    \
        t = fma_##T(power, t, power - one);                                                   \
        vec_##T y = -t / (broadcast_##T((real)2) + t);                                        \
        return (vec_##T)((bits_##T)abs_##T(y) | (bits_##T)sign_##T(x)); }

/* Below LOWEST, e^x rounds to zero; at HIGHEST, e^x is infinite; e^FLAT is nothing beside 1. */
VMATH_EXP(f32, float, 0x1.8p23f, -110, 90, -30)
VMATH_EXP(f64, double, 0x1.8p52, -754, 710, -60)

/* roots(z) is 2^(j/8), j the last three bits of z. */
#if defined(__AVX512F__)
VEC_INLINE vec_f32 roots_f32(vec_f32 z) {
    vec_f32 twice = _mm512_broadcast_f32x8(_mm256_loadu_ps(ROOTS_f32));
    return _mm512_permutexvar_ps((__m512i)z, twice); }
VEC_INLINE vec_f64 roots_f64(vec_f64 z) {
    return _mm512_permutexvar_pd((__m512i)z, load_f64(ROOTS_f64)); }
#else
#define VMATH_ROOTS(T)                                                                        \
    VEC_INLINE vec_##T roots_##T(vec_##T z) {                                                 \
        for (int k = 0; k < LANES_##T; k++) z[k] = ROOTS_##T[((bits_##T)z)[k] & 7];           \
        return z; }
#if VEC_BYTES == 32
VEC_INLINE vec_f32 roots_f32(vec_f32 z) {
    return _mm256_permutevar8x32_ps(load_f32(ROOTS_f32), (__m256i)z); }
#else
VMATH_ROOTS(f32)
#endif
VMATH_ROOTS(f64)
#endif

/* Here n is a multiple of 1/8, and 2^n = 2^(j/8) 2^m with m whole: so |r| <= ln(2)/16, and a
 * shorter Q does.  The sum z has 8 n - 8 LOG_C as its last bits, and so c 2^m is made of them.
 *
 * The steps of one sigmoid wait for one another, those of several do not: a step is done for
 * ``count`` vectors, 1 to 4, before the next.  At LEAST, c e^-x is infinite, and
 * x sigmoid(x) zero; at MOST, e^-x is nothing beside 1. */
#define VMATH_SIGMOID(T, real, DIGITS, SHIFTER, C, LOG_C, LEAST, MOST)                        \
    VEC_INLINE void sigmoids_##T(const vec_##T *x, vec_##T *y, int count) {                   \
        vec_##T r[MOST_AT_ONCE], z[MOST_AT_ONCE];                                             \
        vec_##T one = broadcast_##T((real)1), c = broadcast_##T((real)C);                     \
        vec_##T least = broadcast_##T((real)LEAST), most = broadcast_##T((real)MOST);         \
        vec_##T shifter = broadcast_##T((real)SHIFTER + 8 * LOG_C);                           \
        vec_##T eights = broadcast_##T((real)(8 * 0x1.71547652b82fep+0));                     \
        bits_##T whole = (bits_##T){0} + ~(__typeof__((bits_##T){0}[0]))7;                    \
        EACH r[k] = min_##T(-least, max_##T(-most, -x[k]));                                   \
        EACH z[k] = fma_##T(r[k], eights, shifter);                                           \
        EACH y[k] = z[k] - shifter;                                                           \
        EACH r[k] = fma_##T(y[k], broadcast_##T(-EIGHTH_##T[0]), r[k]);                       \
        EACH r[k] = fma_##T(y[k], broadcast_##T(-EIGHTH_##T[1]), r[k]);                       \
        EACH y[k] = roots_##T(z[k]);                                                          \
        EACH z[k] = (vec_##T)((bits_##T)y[k] + (((bits_##T)z[k] & whole) << (DIGITS - 3)));   \
        int terms = sizeof SHORT_##T / sizeof(real);                                          \
        EACH y[k] = broadcast_##T(SHORT_##T[terms - 1]);                                      \
        for (int t = terms - 2; t >= 0; t--)                                                  \
            EACH y[k] = fma_##T(y[k], r[k], broadcast_##T(SHORT_##T[t]));                     \
        EACH y[k] = fma_##T(y[k], r[k], one);                                                 \
        EACH y[k] = fma_##T(y[k], r[k], one);                                                 \
        EACH y[k] = fma_##T(y[k], z[k], c);                                                   \
        EACH y[k] = c / y[k]; }                                                               \
    VEC_INLINE vec_##T sigmoid_##T(vec_##T x) { sigmoids_##T(&x, &x, 1); return x; }          \
    VEC_INLINE vec_##T silu_##T(vec_##T x) { return x * sigmoid_##T(x); }

VMATH_SIGMOID(f32, float, 23, 0x1.8p23f, 0x1p-32f, -32, -110.9, 60)
VMATH_SIGMOID(f64, double, 52, 0x1.8p52, 0x1p-64, -64, -754.14, 60)

/* The exponent of x is read as the last bits of 2^DIGITS + exponent.  A subnormal x is first
 * multiplied by 2^DIGITS. */
#define VMATH_LOG(T, real, DIGITS, BIAS, LEAST, TWO_DIGITS)                                   \
    VEC_INLINE vec_##T log_##T(vec_##T x) {                                                   \
        vec_##T one = broadcast_##T((real)1), two_digits = broadcast_##T((real)TWO_DIGITS);   \
        bits_##T root = (bits_##T)broadcast_##T((real)0x1.6a09e667f3bcdp-1);                  \
        mask_##T subnormal = x < broadcast_##T((real)LEAST);                                  \
        bits_##T b = (bits_##T)where_##T(subnormal, x * two_digits, x);                       \
        b += (bits_##T)one - root;                                                            \
        vec_##T k = (vec_##T)((b >> DIGITS) | (bits_##T)two_digits)                           \
                  - broadcast_##T((real)TWO_DIGITS + BIAS)                                    \
                  - where_##T(subnormal, broadcast_##T((real)DIGITS), zero_##T());            \
        vec_##T m = (vec_##T)((b & ((((bits_##T){0} + 1) << DIGITS) - 1)) + root);              \
        vec_##T f = m - one, s = f / (broadcast_##T((real)2) + f), z = s * s;                 \
        vec_##T h = broadcast_##T((real)0.5) * f * f;                                         \
        vec_##T tail = z * polynomial_##T(z, LOG_##T, sizeof LOG_##T / sizeof(real));         \
        vec_##T low = fma_##T(k, broadcast_##T(LN2_##T[1]), s * (h + tail));                  \
        vec_##T y = fma_##T(k, broadcast_##T(LN2_##T[0]), f - (h - low));                     \
        vec_##T infinity = broadcast_##T((real)__builtin_inf());                              \
        y = where_##T(x < infinity, y, x);                                                    \
        y = where_##T(x == zero_##T(), -infinity, y);                                         \
        return where_##T(x < zero_##T(), broadcast_##T((real)__builtin_nan("")), y); }

VMATH_LOG(f32, float, 23, 127, 0x1p-126f, 0x1p23f)
VMATH_LOG(f64, double, 52, 1023, 0x1p-1022, 0x1p52)

#define VMATH(T, real)                                                                        \
    VEC_INLINE vec_##T relu_##T(vec_##T x) { return max_##T(zero_##T(), x); }                 \
    VEC_INLINE vec_##T relu6_##T(vec_##T x) {                                                 \
        return min_##T(broadcast_##T((real)6), relu_##T(x)); }                                \
    VEC_INLINE vec_##T hardsigmoid_##T(vec_##T x) {                                           \
        return relu6_##T(x + broadcast_##T((real)3)) / broadcast_##T((real)6); }              \
    VEC_INLINE vec_##T hardswish_##T(vec_##T x) {                                             \
        return x * relu6_##T(x + broadcast_##T((real)3)) / broadcast_##T((real)6); }

VMATH(f32, float)
VMATH(f64, double)

/* g f'(x), from x or from y = f(x): the table and its order are kernels/numpy/elementwise.py's. */
#define VMATH_SLOPES(T, real)                                                                 \
    VEC_INLINE vec_##T relu_input_grad_##T(vec_##T g, vec_##T y) {                            \
        return where_##T(y <= zero_##T(), zero_##T(), g); }                                   \
    VEC_INLINE vec_##T relu6_input_grad_##T(vec_##T g, vec_##T y) {                           \
        mask_##T outside = (y <= zero_##T()) | (y >= broadcast_##T((real)6));                 \
        return where_##T(outside, zero_##T(), g); }                                           \
    VEC_INLINE vec_##T hardsigmoid_input_grad_##T(vec_##T g, vec_##T x) {                     \
        vec_##T three = broadcast_##T((real)3);                                               \
        return where_##T((x <= -three) | (x >= three), zero_##T(), g / broadcast_##T((real)6)); } \
    VEC_INLINE vec_##T hardswish_input_grad_##T(vec_##T g, vec_##T x) {                       \
        vec_##T three = broadcast_##T((real)3), two = broadcast_##T((real)2);                 \
        vec_##T between = g * (x * two + three) / broadcast_##T((real)6);                     \
        return where_##T(x <= -three, zero_##T(), where_##T(x >= three, g, between)); }       \
    VEC_INLINE vec_##T sigmoid_input_grad_##T(vec_##T g, vec_##T y) {                         \
        return g * y * (broadcast_##T((real)1) - y); }                                        \
    VEC_INLINE vec_##T silu_input_grad_##T(vec_##T g, vec_##T x) {                            \
        vec_##T one = broadcast_##T((real)1), s = sigmoid_##T(x);                             \
        return g * s * (x * (one - s) + one); }                                               \
    VEC_INLINE vec_##T tanh_input_grad_##T(vec_##T g, vec_##T y) {                            \
        return g * (broadcast_##T((real)1) - y * y); }

VMATH_SLOPES(f32, float)
VMATH_SLOPES(f64, double)

/* finish(which, slope, y, yw, residual, rw, pixels, channels): y = activation(y) + residual on
 * a tile that was just written and is still in cache, yw and rw from pixel to pixel; slope, one
 * for each channel, is that of prelu. */
#define VMATH_FINISH(T, real)                                                                 \
    VEC_INLINE void activate_##T(int which, vec_##T slope, vec_##T *x, int count) {           \
        vec_##T y[MOST_AT_ONCE];                                                              \
        switch (which) {                                                                      \
        case ACT_RELU: EACH x[k] = relu_##T(x[k]); break;                                     \
        case ACT_RELU6: EACH x[k] = relu6_##T(x[k]); break;                                   \
        case ACT_PRELU: EACH x[k] = where_##T(x[k] > zero_##T(), x[k], x[k] * slope); break;  \
        case ACT_HARDSIGMOID: EACH x[k] = hardsigmoid_##T(x[k]); break;                       \
        case ACT_HARDSWISH: EACH x[k] = hardswish_##T(x[k]); break;                           \
        case ACT_SIGMOID: sigmoids_##T(x, y, count); EACH x[k] = y[k]; break;                 \
        case ACT_SILU: sigmoids_##T(x, y, count); EACH x[k] *= y[k]; break;                   \
        case ACT_TANH: EACH x[k] = tanh_##T(x[k]); break;                                     \
        } }                                                                                   \
    VEC_INLINE void finish_pixels_##T(int which, const real *slope, int count, real *y,       \
                                      ptrdiff_t yw, const real *residual, ptrdiff_t rw,       \
                                      ptrdiff_t channels) {                                   \
        vec_##T x[MOST_AT_ONCE], s = zero_##T();                                              \
        for (ptrdiff_t c = 0; c < channels; c += LANES_##T) {                                 \
            ptrdiff_t n = channels - c;                                                       \
            if (n >= LANES_##T) EACH x[k] = load_##T(y + k * yw + c);                         \
            else EACH x[k] = load_n_##T(y + k * yw + c, n);                                   \
            if (which == ACT_PRELU)                                                           \
                s = n >= LANES_##T ? load_##T(slope + c) : load_n_##T(slope + c, n);          \
            activate_##T(which, s, x, count);                                                 \
            if (residual && n >= LANES_##T) EACH x[k] += load_##T(residual + k * rw + c);     \
            else if (residual) EACH x[k] += load_n_##T(residual + k * rw + c, n);             \
            if (n >= LANES_##T) EACH store_##T(y + k * yw + c, x[k]);                         \
            else EACH store_n_##T(y + k * yw + c, x[k], n);                                   \
        } }                                                                                   \
    VEC_INLINE void finish_as_##T(int which, const real *slope, real *y, ptrdiff_t yw,        \
                                  const real *residual, ptrdiff_t rw, ptrdiff_t pixels,       \
                                  ptrdiff_t channels) {                                       \
        ptrdiff_t packs = (pixels + PACK - 1) / PACK;       /* as even as can be */           \
        for (ptrdiff_t count; packs > 0; pixels -= count, packs--) {                          \
            count = (pixels + packs - 1) / packs;                                             \
            switch (count) {                                                                  \
            case 1: finish_pixels_##T(which, slope, 1, y, yw, residual, rw, channels); break; \
            case 2: finish_pixels_##T(which, slope, 2, y, yw, residual, rw, channels); break; \
            case 3: finish_pixels_##T(which, slope, 3, y, yw, residual, rw, channels); break; \
            default: finish_pixels_##T(which, slope, PACK, y, yw, residual, rw, channels); }  \
            y += count * yw;                                                                  \
            if (residual) residual += count * rw;                                             \
        } }                                                                                   \
    static __attribute__((unused))                                                            \
    void finish_##T(int which, const real *slope, real *y, ptrdiff_t yw, const real *residual, \
                    ptrdiff_t rw, ptrdiff_t pixels, ptrdiff_t channels) {                     \
        switch (which) {                                                                      \
        case ACT_RELU: finish_as_##T(ACT_RELU, FINISH); break;                                \
        case ACT_RELU6: finish_as_##T(ACT_RELU6, FINISH); break;                              \
        case ACT_PRELU: finish_as_##T(ACT_PRELU, FINISH); break;                              \
        case ACT_HARDSIGMOID: finish_as_##T(ACT_HARDSIGMOID, FINISH); break;                  \
        case ACT_HARDSWISH: finish_as_##T(ACT_HARDSWISH, FINISH); break;                      \
        case ACT_SIGMOID: finish_as_##T(ACT_SIGMOID, FINISH); break;                          \
        case ACT_SILU: finish_as_##T(ACT_SILU, FINISH); break;                                \
        case ACT_TANH: finish_as_##T(ACT_TANH, FINISH); break;                                \
        } }
#define FINISH slope, y, yw, residual, rw, pixels, channels

VMATH_FINISH(f32, float)
VMATH_FINISH(f64, double)

#endif
