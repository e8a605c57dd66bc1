/* A convolution of your own, judged: minigrad vectors vectors --operation conv2d;
 * ./conv2d vectors results;  minigrad judge vectors results */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static float *read_npy(const char *folder, const char *name, const char *array, long count) {
    char path[4096];
    unsigned char start[10];
    snprintf(path, sizeof path, "%s/%s/%s.npy", folder, name, array);
    FILE *file = fopen(path, "rb");
    if (!file || fread(start, 1, 10, file) != 10) { perror(path); exit(2); }
    fseek(file, 10 + start[8] + 256 * start[9], SEEK_SET); /* behind the header */
    float *data = malloc((count + 1) * sizeof *data);
    if (fread(data, sizeof *data, count, file) != (size_t)count) { perror(path); exit(2); }
    return fclose(file), data;
}

static void write_npy(const char *folder, const char *name, const float *y, const int s[4]) {
    char path[4096], header[119];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    mkdir(path, 0777);
    strcat(path, "/y.npy");
    FILE *file = fopen(path, "wb");
    if (!file) { perror(path); exit(2); }
    const char *form = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d, %d, %d), }";
    snprintf(header, sizeof header, form, s[0], s[1], s[2], s[3]);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, file); /* version 1.0, a header of 118 bytes */
    fprintf(file, "%-117s\n", header);
    fwrite(y, sizeof *y, (size_t)s[0] * s[1] * s[2] * s[3], file);
    fclose(file);
}
int main(int argc, char **argv) {
    char list[4096], name[256];
    int n, c, h, v, o, i, kh, kw, sh, sw, top, bottom, left, right, dh, dw, groups;
    snprintf(list, sizeof list, "%s/conv2d.txt", argc == 3 ? argv[1] : "");
    FILE *cases = fopen(list, "r");
    if (!cases) { fprintf(stderr, "usage: conv2d VECTORS RESULTS\n"); return 2; }
    mkdir(argv[2], 0777);
    while (fscanf(cases, "%255s %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d", name, &n, &c, &h, &v, &o,
                  &i, &kh, &kw, &sh, &sw, &top, &bottom, &left, &right, &dh, &dw, &groups) == 18) {
        float *x = read_npy(argv[1], name, "x", (long)n * c * h * v), *bias = read_npy(argv[1], name, "bias", o);
        float *w = read_npy(argv[1], name, "w", (long)o * i * kh * kw);
        int ho = (h + top + bottom - dh * (kh - 1) - 1) / sh + 1, wo = (v + left + right - dw * (kw - 1) - 1) / sw + 1;
        float *y = malloc(((size_t)n * o * ho * wo + 1) * sizeof *y), *out = y;
        for (int m = 0; m < n; m++) for (int k = 0; k < o; k++) for (int p = 0; p < ho; p++) for (int q = 0; q < wo; q++) {
            float sum = bias[k];
            for (int j = 0; j < i; j++) for (int a = 0; a < kh; a++) for (int b = 0; b < kw; b++) {
                int row = p * sh - top + a * dh, col = q * sw - left + b * dw, in = k / (o / groups) * i + j;
                if (row >= 0 && row < h && col >= 0 && col < v)
                    sum += x[((m * c + in) * h + row) * v + col] * w[((k * i + j) * kh + a) * kw + b];
            }
            *out++ = sum;
        }
        write_npy(argv[2], name, y, (int[4]){n, o, ho, wo});
        free(x), free(w), free(bias), free(y);
    }
}
