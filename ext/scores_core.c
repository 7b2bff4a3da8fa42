#include "scores_core.h"

#include <string.h>

#include "multiversion.h"

/*
 * Bins whose products are about their own means; bits of a bin's class; bins of a tile in which columns become rows;
 * partial sums, which every instruction set adds in the same order (so many that compilers make vectors of them);
 * tracks whose keys are counted in turns.
 */
enum { STEP = 1024, TOP_1 = 1, TOP_5 = 2, PEAK = 4, TILE = 32, LANES = 32, TOGETHER = 4 };
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
    double ranks[STEP];
    int32_t places[STEP];
} ranked;

PREDICTD_INLINE void classify(const int32_t *keys, size_t n, int64_t *tops, uint8_t *classes)
{
    const int32_t first = (int32_t)tops[0], second = (int32_t)tops[2];
    for (size_t i = 0; i < n; ++i)
        classes[i] = (uint8_t)((keys[i] > first ? TOP_1 : 0) | (keys[i] > second ? TOP_5 : 0));
    for (int set = 0; set < 2; ++set)
        for (size_t i = 0; i < n && tops[2 * set + 1] > 0; ++i)
            if (keys[i] == tops[2 * set]) {
                classes[i] |= set ? TOP_5 : TOP_1;
                --tops[2 * set + 1];
            }
}

/* A function of its own, and so without gather instructions, which are no faster here. */
PREDICTD_APART void look_up(const int32_t *keys, size_t n, const int32_t *places, const double *centred, ranked *found)
{
    for (size_t i = 0; i < n; ++i) {
        found->places[i] = places[keys[i]];
        found->ranks[i] = centred[found->places[i]];
    }
}

PREDICTD_INLINE void rank(const int32_t *keys, size_t n, const int32_t *places, const double *centred, int64_t *tops,
                          ranked *found)
{
    classify(keys, n, tops, found->classes);
    look_up(keys, n, places, centred, found);
}

void predictd_columns(const float *restrict values, size_t n, size_t width, const int64_t *restrict columns,
                      size_t k, float *restrict rows)
{
    for (size_t first = 0; first < n; first += TILE) {
        const size_t size = n - first < TILE ? n - first : TILE;
        for (size_t row = 0; row < k; ++row) {
            const float *from = values + first * width + (size_t)columns[row];
            float *to = rows + row * n + first;
            for (size_t i = 0; i < size; ++i)
                to[i] = from[i * width];
        }
    }
}

PREDICTD_MULTIVERSION
void predictd_assay(const float *restrict rows, size_t stride, size_t n, const int64_t *restrict chosen, size_t k,
                    float factor, float *restrict mean, float *restrict scaled, float *restrict variance)
{
    for (size_t first = 0; first < n; first += STEP) {
        const size_t size = n - first < STEP ? n - first : STEP;
        float sums[STEP] = {0}, counts[STEP];
        double means[STEP], squares[STEP] = {0};
        uint32_t unknown = 0;
        for (size_t one = 0; one < k; ++one) {
            const float *row = rows + (size_t)chosen[one] * stride + first;
            for (size_t i = 0; i < size; ++i)
                sums[i] += row[i];
        }
        for (size_t i = 0; i < size; ++i) {
            counts[i] = (float)k;
            unknown |= sums[i] != sums[i];
        }
        for (size_t i = 0; unknown && i < size; ++i)
            sums[i] = counts[i] = 0.0f;
        for (size_t one = 0; unknown && one < k; ++one) {
            const float *row = rows + (size_t)chosen[one] * stride + first;
            for (size_t i = 0; i < size; ++i) {
                const float known = row[i] == row[i] ? 1.0f : 0.0f;
                sums[i] += row[i] == row[i] ? row[i] : 0.0f;
                counts[i] += known;
            }
        }
        for (size_t i = 0; i < size; ++i) {
            /* 0/0 where nothing is known. */
            means[i] = (double)sums[i] / (double)counts[i];
            mean[first + i] = (float)means[i];
            scaled[first + i] = (float)(means[i] * (double)factor);
        }
        if (!variance)
            continue;
        for (size_t one = 0; k > 1 && one < k; ++one) {
            const float *row = rows + (size_t)chosen[one] * stride + first;
            for (size_t i = 0; i < size; ++i) {
                const double gap = row[i] == row[i] ? (double)row[i] - means[i] : 0.0;
                squares[i] += gap * gap;
            }
        }
        for (size_t i = 0; i < size; ++i)
            variance[first + i] = (float)(squares[i] / (double)(counts[i] > 0.0f ? counts[i] : 1.0f));
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
