#include "windows_core.h"

#include <math.h>
#include <string.h>

#include "multiversion.h"

/*
 * Sums that fall to so small a part of what they were are made again: a sum in double precision keeps errors of 2^-53 of
 * the largest that it was, and single precision shows 2^-24 of what is left.
 */
static const double FALL = 0x1p-26;

/* Add a bin's values to the sums and their numbers to the counts. */
PREDICTD_INLINE void add(const float *values, size_t k, double *restrict sums, double *restrict counts)
{
    for (size_t j = 0; j < k; ++j) {
        const int known = values[j] == values[j];
        sums[j] += known ? values[j] : 0.0;
        counts[j] += known ? 1.0 : 0.0;
    }
}

/* Take them away, and keep the largest that the sums were. */
PREDICTD_INLINE void take_away(const float *values, size_t k, double *restrict sums, double *restrict counts,
                               double *restrict largest)
{
    for (size_t j = 0; j < k; ++j) {
        const int known = values[j] == values[j];
        const double size = fabs(sums[j]);
        largest[j] = size > largest[j] ? size : largest[j];
        sums[j] -= known ? values[j] : 0.0;
        counts[j] -= known ? 1.0 : 0.0;
    }
}

/* Sum a window anew where little is left of the sum, so that what left the window leaves no trace. */
PREDICTD_INLINE void mend(const float *window, size_t n, size_t k, double *restrict sums, double *restrict largest)
{
    int fallen = 0;
    for (size_t j = 0; j < k; ++j)
        fallen |= fabs(sums[j]) < FALL * largest[j];
    if (!fallen)
        return;
    for (size_t j = 0; j < k; ++j) {
        if (!(fabs(sums[j]) < FALL * largest[j]))
            continue;
        sums[j] = largest[j] = 0.0;
        for (size_t i = 0; i < n; ++i) {
            const float value = window[i * k + j];
            sums[j] += value == value ? value : 0.0;
        }
    }
}

PREDICTD_MULTIVERSION
void predictd_window_means(const float *signal, size_t length, size_t k, const int64_t *rows, size_t n_rows,
                           size_t half, double *scratch, float *means)
{
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
            add(signal + high * k, k, sums, counts);
        for (; low < first; ++low)
            take_away(signal + low * k, k, sums, counts, largest);
        mend(signal + low * k, high - low, k, sums, largest);
        float *const out = means + i * k;
        for (size_t j = 0; j < k; ++j)
            out[j] = counts[j] > 0.0 ? (float)(sums[j] / counts[j]) : NAN;
    }
}
