/* The activations of a fused epilogue and of the elementwise operations: one definition.
 *
 * activate_T(which, v) applies one of them to a register.  `which` is the same for a whole
 * call, so the switch is predicted.  Every one of them keeps NaN: see max and min in vec.h.
 *
 *     hardsigmoid(x) = min(max(x + 3, 0), 6) (1/6)        hardswish(x) = x hardsigmoid(x)
 *
 * 1/6 is rounded once; 6 times that rounds to exactly 1 in both precisions.
 */
#ifndef MINIGRAD_VMATH_H
#define MINIGRAD_VMATH_H

#include "vec.h"

enum activation { ACT_NONE, ACT_RELU, ACT_RELU6, ACT_HARDSIGMOID, ACT_HARDSWISH };

#define VMATH(T, real)                                                                        \
    VEC_INLINE vec_##T relu_##T(vec_##T x) { return max_##T(zero_##T(), x); }                 \
    VEC_INLINE vec_##T relu6_##T(vec_##T x) {                                                 \
        return min_##T(broadcast_##T((real)6), relu_##T(x)); }                                \
    VEC_INLINE vec_##T hardsigmoid_##T(vec_##T x) {                                           \
        vec_##T shifted = add_##T(x, broadcast_##T((real)3));                                 \
        return mul_##T(relu6_##T(shifted), broadcast_##T((real)(1.0 / 6.0))); }               \
    VEC_INLINE vec_##T hardswish_##T(vec_##T x) { return mul_##T(x, hardsigmoid_##T(x)); }    \
    VEC_INLINE vec_##T activate_##T(int which, vec_##T x) {                                   \
        switch (which) {                                                                      \
        case ACT_RELU: return relu_##T(x);                                                    \
        case ACT_RELU6: return relu6_##T(x);                                                  \
        case ACT_HARDSIGMOID: return hardsigmoid_##T(x);                                      \
        case ACT_HARDSWISH: return hardswish_##T(x);                                          \
        default: return x;                                                                    \
        } }

VMATH(f32, float)
VMATH(f64, double)

#endif
