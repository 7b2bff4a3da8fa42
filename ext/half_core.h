/* float16 to float32, and blocks of bins as tracks. */

#ifndef PREDICTD_HALF_CORE_H
#define PREDICTD_HALF_CORE_H

#include <stddef.h>
#include <stdint.h>

/* Widen n IEEE 754 halves, given as their bits, exactly; `out` does not overlap `half`. */
void predictd_widen(const uint16_t *restrict half, float *restrict out, size_t n);

/*
 * Some columns of (n × width) values as rows of float, `stride` apart, with the lowest and highest value of each:
 * NaN where one is NaN. n is at least 1.
 */
void predictd_rows_of_half(const uint16_t *restrict values, size_t n, size_t width, const int64_t *restrict columns,
                           size_t k, float *restrict rows, size_t stride, float *restrict low, float *restrict high);
void predictd_rows_of_float(const float *restrict values, size_t n, size_t width, const int64_t *restrict columns,
                            size_t k, float *restrict rows, size_t stride, float *restrict low, float *restrict high);

/* The lowest and highest value of each of k rows of n values, at least one; NaN where one is NaN. */
void predictd_ends(const float *restrict rows, size_t k, size_t n, float *restrict low, float *restrict high);

#endif
