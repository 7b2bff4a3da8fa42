#include "scores_core.h"

#include <string.h>

#include "multiversion.h"

/*
 * Bins whose products are about their own means; bits of a bin's class;
 * partial sums, which every instruction set adds in the same order (so many that compilers make vectors of them);
 * tracks whose keys are counted in turns.
 */
enum { STEP = 1024, TOP_1 = 1, TOP_5 = 2, PEAK = 4, TIED_1 = 8, TIED_5 = 16, LANES = 32, TOGETHER = 4 };
#define FOR_LANES for (size_t j = 0; j < LANES; ++j)

PREDICTD_INLINE double total(const double *lanes)
{
    double sum = 0.0;
    FOR_LANES
        sum += lanes[j];
    return sum;
}

PREDICTD_INLINE double smaller(double a, double b)
{
    return a < b ? a : b;
}

PREDICTD_INLINE double larger(double a, double b)
{
    return a > b ? a : b;
}

PREDICTD_INLINE void add_ranks(const double *y, const double *x, size_t n, double *sums)
{
    double yx[LANES] = {0}, of_y[LANES] = {0}, of_x[LANES] = {0}, yy[LANES] = {0}, xx[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        FOR_LANES
        {
            const double a = y[i + j], b = x[i + j];
            yx[j] += a * b;
            of_y[j] += a;
            of_x[j] += b;
            yy[j] += a * a;
            xx[j] += b * b;
        }
    for (; i < n; ++i) {
        yx[0] += y[i] * x[i];
        of_y[0] += y[i];
        of_x[0] += x[i];
        yy[0] += y[i] * y[i];
        xx[0] += x[i] * x[i];
    }
    sums[PREDICTD_RANK_YX] += total(yx);
    sums[PREDICTD_RANK_Y] += total(of_y);
    sums[PREDICTD_RANK_X] += total(of_x);
    sums[PREDICTD_RANK_YY] += total(yy);
    sums[PREDICTD_RANK_XX] += total(xx);
}

/* Bins of a step once they are ranked. */
typedef struct {
    uint8_t classes[STEP];
    int32_t keys[STEP];
    double ranks[STEP];
} ranked;

PREDICTD_INLINE void classify(size_t n, int64_t *tops, ranked *found)
{
    const int32_t first = (int32_t)tops[0], second = (int32_t)tops[2];
    uint8_t any = 0;
    for (size_t i = 0; i < n; ++i) {
        const int32_t key = found->keys[i];
        const uint8_t above = (uint8_t)((key > first ? TOP_1 : 0) | (key > second ? TOP_5 : 0));
        found->classes[i] = (uint8_t)(above | (key == first ? TIED_1 : 0) | (key == second ? TIED_5 : 0));
        any |= found->classes[i];
    }
    if (!(any & TIED_1 && tops[1] > 0) && !(any & TIED_5 && tops[3] > 0))
        return;
    for (size_t i = 0; i < n; ++i) {
        if (found->classes[i] & TIED_1 && tops[1] > 0) {
            found->classes[i] |= TOP_1;
            --tops[1];
        }
        if (found->classes[i] & TIED_5 && tops[3] > 0) {
            found->classes[i] |= TOP_5;
            --tops[3];
        }
    }
}

/* A function of its own, and so without gather instructions, which are no faster here. */
PREDICTD_APART void look_up(size_t n, const int32_t *places, const double *ranks, double *found)
{
    for (size_t i = 0; i < n; ++i)
        found[i] = ranks[places[i]];
}

PREDICTD_INLINE void rank(size_t n, predictd_rank_tables tables, size_t track, ranked *found)
{
    int32_t places[STEP];
    const int32_t below = tables.below[track];
    const int32_t last = (int32_t)(tables.starts[track + 1] - tables.starts[track] - 1);
    for (size_t i = 0; i < n; ++i) {
        const int32_t place = found->keys[i] > below ? found->keys[i] - below : 0;
        places[i] = place < last ? place : last;
    }
    look_up(n, places, tables.ranks + tables.starts[track], found->ranks);
}

/* Sums of the chosen rows in a step of bins, and how many are known in each. */
PREDICTD_INLINE void add_rows(const float *restrict rows, size_t stride, size_t n, const int64_t *restrict chosen, size_t k,
                              float *restrict sums, float *restrict counts)
{
    uint32_t unknown = 0;
    for (size_t i = 0; i < n; ++i) {
        sums[i] = 0.0f;
        counts[i] = (float)k;
    }
    for (size_t one = 0; one < k; ++one) {
        const float *row = rows + (size_t)chosen[one] * stride;
        for (size_t i = 0; i < n; ++i)
            sums[i] += row[i];
    }
    for (size_t i = 0; i < n; ++i)
        unknown |= sums[i] != sums[i];
    for (size_t i = 0; unknown && i < n; ++i)
        sums[i] = counts[i] = 0.0f;
    for (size_t one = 0; unknown && one < k; ++one) {
        const float *row = rows + (size_t)chosen[one] * stride;
        for (size_t i = 0; i < n; ++i) {
            sums[i] += row[i] == row[i] ? row[i] : 0.0f;
            counts[i] += row[i] == row[i] ? 1.0f : 0.0f;
        }
    }
}

PREDICTD_MULTIVERSION
void predictd_assays(const float *restrict rows, size_t stride, size_t n, const int64_t *restrict chosen,
                     const int64_t *restrict starts, const float *restrict factors, size_t m, predictd_means out)
{
    float sums[STEP], counts[STEP];
    double means[STEP], squares[STEP];
    for (size_t first = 0; first < n; first += STEP) {
        const size_t size = n - first < STEP ? n - first : STEP;
        for (size_t own = 0; own < m; ++own) {
            const size_t k = (size_t)(starts[own + 1] - starts[own]);
            const int64_t *columns = chosen + starts[own];
            float *mean = out.first + own * out.between + first, *scaled = mean + out.stride;
            float *variance = scaled + out.stride;
            add_rows(rows + first, stride, size, columns, k, sums, counts);
            for (size_t i = 0; i < size; ++i) {
                /* 0/0 where nothing is known. */
                means[i] = (double)sums[i] / (double)counts[i];
                mean[i] = (float)means[i];
                scaled[i] = (float)(means[i] * (double)factors[own]);
            }
            if (!out.has_variance)
                continue;
            for (size_t i = 0; i < size; ++i)
                squares[i] = 0.0;
            for (size_t one = 0; k > 1 && one < k; ++one) {
                const float *row = rows + (size_t)columns[one] * stride + first;
                for (size_t i = 0; i < size; ++i) {
                    const double gap = row[i] == row[i] ? (double)row[i] - means[i] : 0.0;
                    squares[i] += gap * gap;
                }
            }
            for (size_t i = 0; i < size; ++i)
                variance[i] = (float)(squares[i] / (double)(counts[i] > 0.0f ? counts[i] : 1.0f));
        }
    }
}

PREDICTD_MULTIVERSION
void predictd_bound(float *restrict rows, size_t m, size_t n, const float *restrict added, const float *restrict low,
                    const float *restrict high)
{
    for (size_t row = 0; row < m; ++row) {
        float *own = rows + row * n;
        for (size_t i = 0; i < n; ++i) {
            float value = own[i] + added[row];
            /* NaN stays. */
            value = value < low[row] ? low[row] : value;
            own[i] = value > high[row] ? high[row] : value;
        }
    }
}

#define REAL float
#define SCORES_FUNCTION(name) predictd_##name##_float
#include "scores_template.h"
#undef REAL
#undef SCORES_FUNCTION

#define REAL double
#define SCORES_FUNCTION(name) predictd_##name##_double
#include "scores_template.h"

PREDICTD_MULTIVERSION
void predictd_keys(const float *restrict values, size_t n, predictd_key_rule rule, int32_t *restrict keys)
{
    predictd_keys_of_float(values, n, rule, keys);
}
