/* A square of numbers turned over inside the registers.
 *
 * zip takes two rows and deals their numbers out by turns: (a0 a1 ..), (b0 b1 ..) become
 * (a0 b0 a1 b1 ..), in two registers.  Zip row i with row i + L/2 for every i, and the bits of
 * a number's place (row, column) move up by one, the highest coming in again at the bottom.
 * After log2(L) times row and column have changed places.
 */
#ifndef MINIGRAD_TRANSPOSE_H
#define MINIGRAD_TRANSPOSE_H

#include "vec.h"

#define ZIP_2_LOW 0, 2
#define ZIP_2_HIGH 1, 3
#define ZIP_4_LOW 0, 4, 1, 5
#define ZIP_4_HIGH 2, 6, 3, 7
#define ZIP_8_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_8_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define ZIP_16_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_16_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31

#if defined(__clang__)
#define ZIP(a, b, mask, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define ZIP(a, b, mask, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

/* dst[c][r] = src[r][c] for r < rows and c < columns, at most LANES each.  Rows of dst are
 * written whole, with zeros beyond rows. */
#define TRANSPOSE(T, real, L)                                                                 \
    VEC_INLINE void transpose_##T(const real *src, ptrdiff_t step, ptrdiff_t rows,            \
                                  ptrdiff_t columns, real *dst, ptrdiff_t dst_step) {         \
        vec_##T from[L], to[L];                                                               \
        for (int r = 0; r < L; r++)                                                           \
            from[r] = r >= rows ? zero_##T()                                                  \
                    : columns == L ? load_##T(src + r * step)                                 \
                                   : load_n_##T(src + r * step, columns);                     \
        for (int times = L; times > 1; times /= 2) {                                          \
            for (int i = 0; i < L / 2; i++) {                                                 \
                to[2 * i] = ZIP(from[i], from[i + L / 2], mask_##T, ZIP_##L##_LOW);           \
                to[2 * i + 1] = ZIP(from[i], from[i + L / 2], mask_##T, ZIP_##L##_HIGH);      \
            }                                                                                 \
            for (int i = 0; i < L; i++) from[i] = to[i];                                      \
        }                                                                                     \
        for (ptrdiff_t c = 0; c < L && c < columns; c++) store_##T(dst + c * dst_step, from[c]); \
    }

#if VEC_BYTES == 64
TRANSPOSE(f32, float, 16)
TRANSPOSE(f64, double, 8)
#elif VEC_BYTES == 32
TRANSPOSE(f32, float, 8)
TRANSPOSE(f64, double, 4)
#else
TRANSPOSE(f32, float, 4)
TRANSPOSE(f64, double, 2)
#endif

#endif
