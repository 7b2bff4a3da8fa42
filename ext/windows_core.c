#include "windows_core.h"

#include <math.h>
#include <string.h>

#include "multiversion.h"

/* Add a bin's values to the sums and their numbers to the counts, or take them away: sign is 1 or -1. */
PREDICTD_INLINE void count(const float *values, size_t k, double sign, double *restrict sums, double *restrict counts)
{
    for (size_t j = 0; j < k; ++j) {
        const int known = values[j] == values[j];
        sums[j] += known ? sign * values[j] : 0.0;
        counts[j] += known ? sign : 0.0;
    }
}

PREDICTD_MULTIVERSION
void predictd_window_means(const float *signal, size_t length, size_t k, const int64_t *rows, size_t n_rows,
                           size_t half, double *sums, float *means)
{
    double *const counts = sums + k;
    /* The bins that are summed. */
    size_t low = 0, high = 0;
    memset(sums, 0, 2 * k * sizeof *sums);
    for (size_t i = 0; i < n_rows; ++i) {
        const size_t row = (size_t)rows[i];
        const size_t first = row > half ? row - half : 0, end = length - row > half ? row + half + 1 : length;
        if (first - low + end - high > end - first) {
            /* The windows share so few bins that a sum from scratch reads fewer. */
            memset(sums, 0, 2 * k * sizeof *sums);
            low = high = first;
        }
        for (; high < end; ++high)
            count(signal + high * k, k, 1.0, sums, counts);
        for (; low < first; ++low)
            count(signal + low * k, k, -1.0, sums, counts);
        float *const out = means + i * k;
        for (size_t j = 0; j < k; ++j) {
            /* What rounding leaves of sums of nothing is dropped. */
            sums[j] = counts[j] > 0.0 ? sums[j] : 0.0;
            out[j] = counts[j] > 0.0 ? (float)(sums[j] / counts[j]) : NAN;
        }
    }
}
