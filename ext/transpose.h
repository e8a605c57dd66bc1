/* Numbers turned over inside the registers, and converted on the way: from the planes of an image
 * to its pixels and back.
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

/* A number of 16 bits as IEEE 754 has it, and the same in 32.  The exponents differ by 112, and a
 * product with a power of two sets that right for subnormal numbers too.  On the way back a
 * number is rounded to the nearest, ties to even; one of 65520 or more becomes infinite. */
typedef uint16_t halfs_f32 __attribute__((vector_size(VEC_BYTES / 2)));
typedef uint32_t words_f32 __attribute__((vector_size(VEC_BYTES)));

#define PICK(mask, a, b) (((words_f32)(mask) & (words_f32)(a)) | (~(words_f32)(mask) & (words_f32)(b)))

VEC_INLINE vec_f32 read_half(const uint16_t *p, ptrdiff_t n) {
    halfs_f32 h = {0};
    memcpy(&h, p, n * sizeof *p);
    words_f32 u = __builtin_convertvector(h, words_f32), sign = (u & 0x8000) << 16;
    vec_f32 y = (vec_f32)((u & 0x7fff) << 13) * broadcast_f32(0x1p112f);
    mask_f32 huge = y >= broadcast_f32(0x1p16f);               /* infinite, or NaN */
    return (vec_f32)((words_f32)y | ((words_f32)huge & 0x7f800000) | sign);
}

VEC_INLINE void write_half(uint16_t *p, vec_f32 v, ptrdiff_t n) {
    words_f32 u = (words_f32)v, sign = (u >> 16) & 0x8000;
    u &= 0x7fffffff;
    vec_f32 x = (vec_f32)u, magic = broadcast_f32(0.5f);       /* whose last bit is 2^-24 */
    words_f32 small = (words_f32)(x + magic) - (words_f32)magic;
    words_f32 normal = (u - 0x38000000 + 0xfff + ((u >> 13) & 1)) >> 13;
    words_f32 huge = PICK(x == x, (words_f32){0} + 0x7c00, (words_f32){0} + 0x7e00);
    words_f32 bits = PICK(x < broadcast_f32(0x1p-14f), small, normal);
    bits = PICK(x < broadcast_f32(0x1p16f), bits, huge) | sign;
    halfs_f32 h = __builtin_convertvector(bits, halfs_f32);
    memcpy(p, &h, n * sizeof *p);
}

#define READ_f32(p, n) ((n) == LANES_f32 ? load_f32(p) : load_n_f32(p, n))
#define READ_f64(p, n) ((n) == LANES_f64 ? load_f64(p) : load_n_f64(p, n))
#define READ_f16_f32(p, n) ((n) == LANES_f32 ? read_half(p, LANES_f32) : read_half(p, n))
#define READ_f32_f16 READ_f32
#define WRITE_f32(p, v, n) ((n) == LANES_f32 ? store_f32(p, v) : store_n_f32(p, v, n))
#define WRITE_f64(p, v, n) ((n) == LANES_f64 ? store_f64(p, v) : store_n_f64(p, v, n))
#define WRITE_f16_f32 WRITE_f32
#define WRITE_f32_f16(p, v, n) ((n) == LANES_f32 ? write_half(p, v, LANES_f32) : write_half(p, v, n))

#define SQUARE(T, L)                                                                          \
    VEC_INLINE void square_##T(vec_##T *from) {                                               \
        vec_##T to[L];                                                                        \
        for (int times = L; times > 1; times /= 2) {                                          \
            for (int i = 0; i < L / 2; i++) {                                                 \
                to[2 * i] = ZIP(from[i], from[i + L / 2], mask_##T, ZIP_##L##_LOW);           \
                to[2 * i + 1] = ZIP(from[i], from[i + L / 2], mask_##T, ZIP_##L##_HIGH);      \
            }                                                                                 \
            for (int i = 0; i < L; i++) from[i] = to[i];                                      \
        } }

/* dst[c][r] = src[r][c] for r < rows and c < columns, at most LANES each.  Rows of dst are
 * written whole, with zeros beyond rows. */
#define TRANSPOSE(T, real, L)                                                                 \
    VEC_INLINE void transpose_##T(const real *src, ptrdiff_t step, ptrdiff_t rows,            \
                                  ptrdiff_t columns, real *dst, ptrdiff_t dst_step) {         \
        vec_##T v[L];                                                                         \
        for (int r = 0; r < L; r++)                                                           \
            v[r] = r >= rows ? zero_##T() : READ_##T(src + r * step, columns);                \
        square_##T(v);                                                                        \
        for (ptrdiff_t c = 0; c < L && c < columns; c++) store_##T(dst + c * dst_step, v[c]); }

/* turn_map: the same for any number of rows and columns, of which it writes nothing else; N names
 * the types of src and dst.  copy_line: y[k] = x[k]. */
#define TURN(N, T, from, to, L)                                                               \
    VEC_INLINE void turn_square_##N(const from *src, ptrdiff_t step, ptrdiff_t rows,          \
                                    ptrdiff_t columns, to *dst, ptrdiff_t dst_step) {         \
        vec_##T v[L];                                                                         \
        for (int r = 0; r < L; r++)                                                           \
            v[r] = r >= rows ? zero_##T() : READ_##N(src + r * step, columns);                \
        square_##T(v);                                                                        \
        for (int c = 0; c < L; c++)                                                           \
            if (c < columns) WRITE_##N(dst + c * dst_step, v[c], rows); }                     \
    static __attribute__((unused)) void turn_map_##N(                                          \
        const from *src, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t columns, to *dst,          \
        ptrdiff_t dst_step) {                                                                 \
        for (ptrdiff_t c = 0; c < columns; c += L)                                            \
            for (ptrdiff_t r = 0; r < rows; r += L) {                                         \
                ptrdiff_t tall = rows - r < L ? rows - r : L;                                 \
                ptrdiff_t wide = columns - c < L ? columns - c : L;                           \
                const from *x = src + r * step + c;                                           \
                if (tall == L && wide == L)                                                   \
                    turn_square_##N(x, step, L, L, dst + c * dst_step + r, dst_step);         \
                else turn_square_##N(x, step, tall, wide, dst + c * dst_step + r, dst_step);  \
            } }                                                                               \
    VEC_INLINE void copy_line_##N(const from *x, to *y, ptrdiff_t n) {                        \
        for (; n > 0; n -= L, x += L, y += L) {                                               \
            vec_##T v = READ_##N(x, (n < L ? n : L));                                         \
            WRITE_##N(y, v, (n < L ? n : L));                                                 \
        } }

#define TURNS(L, H)                                                                           \
    SQUARE(f32, L)                                                                            \
    SQUARE(f64, H)                                                                            \
    TRANSPOSE(f32, float, L)                                                                  \
    TRANSPOSE(f64, double, H)                                                                 \
    TURN(f32, f32, float, float, L)                                                           \
    TURN(f64, f64, double, double, H)                                                         \
    TURN(f16_f32, f32, uint16_t, float, L)                                                    \
    TURN(f32_f16, f32, float, uint16_t, L)

#if VEC_BYTES == 64
TURNS(16, 8)
#elif VEC_BYTES == 32
TURNS(8, 4)
#else
TURNS(4, 2)
#endif

#endif
