/* Means over windows along the genome. */

#ifndef PREDICTD_WINDOWS_CORE_H
#define PREDICTD_WINDOWS_CORE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Means of k tracks over ±half bins around some bins of one run, from `signal` (length × k) to `means` (rows × k). The
 * run's ends cut a window; NaN does not count, and is the mean of nothing. `rows` ascend; `scratch` has room for 3 k.
 */
void predictd_window_means(const float *signal, size_t length, size_t k, const int64_t *rows, size_t n_rows,
                           size_t half, double *scratch, float *means);

#endif
