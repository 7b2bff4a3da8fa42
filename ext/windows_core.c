#include "windows_core.h"

#include <math.h>
#include <string.h>

#include "multiversion.h"

/*
 * A sum that falls to this part of what it was is made again: in double precision it keeps errors of 2^-53 of its largest,
 * and single precision shows 2^-24 of what is left.
 */
static const double FALL = 0x1p-26;

/* Add a bin's values to the sums and their numbers to the counts, or take them away: sign is 1 or -1. */
PREDICTD_INLINE void count(const float *values, size_t k, double sign, double *restrict sums, double *restrict counts)
{
    for (size_t j = 0; j < k; ++j) {
        const int known = values[j] == values[j];
        sums[j] += known ? sign * values[j] : 0.0;
        counts[j] += known ? sign : 0.0;
    }
}

/* Write means, and what sums are now to their largest; returns whether any has fallen. */
PREDICTD_INLINE int64_t write_means(size_t k, const double *restrict sums, const double *restrict counts,
                                    double *restrict largest, float *restrict means)
{
    int64_t fallen = 0;
    for (size_t j = 0; j < k; ++j) {
        const double size = fabs(sums[j]);
        fallen |= size < FALL * largest[j];
        largest[j] = size > largest[j] ? size : largest[j];
        means[j] = counts[j] > 0.0 ? (float)(sums[j] / counts[j]) : NAN;
    }
    return fallen;
}

/* Sum the n bins of a window from scratch where the sum has fallen, so that what has left leaves no trace. */
PREDICTD_APART void sum_fallen(const float *window, size_t n, size_t k, double *sums, double *largest)
{
    for (size_t j = 0; j < k; ++j) {
        if (fabs(sums[j]) >= FALL * largest[j])
            continue;
        sums[j] = largest[j] = 0.0;
        for (size_t i = 0; i < n; ++i)
            sums[j] += window[i * k + j] == window[i * k + j] ? window[i * k + j] : 0.0;
    }
}

PREDICTD_MULTIVERSION
void predictd_window_means(const float *signal, size_t length, size_t k, const int64_t *rows, size_t n_rows,
                           size_t half, double *scratch, float *means)
{
    /* The largest sums are those of the windows before: each bin that is added is still there when its row is done. */
    double *const sums = scratch, *const counts = scratch + k, *const largest = scratch + 2 * k;
    /* The bins that are summed. */
    size_t low = 0, high = 0;
    memset(scratch, 0, 3 * k * sizeof *scratch);
    for (size_t i = 0; i < n_rows; ++i) {
        const size_t row = (size_t)rows[i];
        const size_t first = row > half ? row - half : 0, end = length - row > half ? row + half + 1 : length;
        if (first - low + end - high > end - first) {
            /* The windows share so few bins that a sum from scratch reads fewer. */
            memset(scratch, 0, 3 * k * sizeof *scratch);
            low = high = first;
        }
        for (; high < end; ++high)
            count(signal + high * k, k, 1.0, sums, counts);
        for (; low < first; ++low)
            count(signal + low * k, k, -1.0, sums, counts);
        if (write_means(k, sums, counts, largest, means + i * k)) {
            sum_fallen(signal + low * k, high - low, k, sums, largest);
            write_means(k, sums, counts, largest, means + i * k);
        }
    }
}
