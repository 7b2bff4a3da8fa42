#include "sgd_core.h"

#include <math.h>
#include <stddef.h>

#include "multiversion.h"

/* So many draws ahead a bin's row and a value of y are fetched: y from memory, rows mostly from cache. */
enum { AHEAD_ROW = 4, AHEAD_Y = 16, CACHE_LINE = 64 };

typedef struct {
    uint64_t pair;
    uint64_t bin;
} draw;

/* Draw k of a stream: splitmix64 by counter, each half of its bits scaled to a range by multiply-shift. */
static inline draw draw_at(uint64_t stream, uint64_t k, uint64_t n_pairs, uint64_t n_bins)
{
    uint64_t z = stream + (k + 1) * UINT64_C(0x9E3779B97F4A7C15);
    draw d;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    d.pair = ((z >> 32) * n_pairs) >> 32;
    d.bin = ((z & UINT64_C(0xFFFFFFFF)) * n_bins) >> 32;
    return d;
}

/* (1 - decay)^k as a product of four powers, the same in whatever calls it is made; k ends at 2^32 - 1. */
static inline double decay_power(const double *table, double touches)
{
    const uint64_t k = touches < 4294967295.0 ? (uint64_t)touches : UINT64_C(0xFFFFFFFF);
    return table[k & 255] * table[256 + ((k >> 8) & 255)] *
           (table[512 + ((k >> 16) & 255)] * table[768 + ((k >> 24) & 255)]);
}

/*
 * What Nadam's step needs of a row besides its values, with the divisions taken out of the inner loop:
 * lr ((1-b) g/d1 + b' m/dm) / (sqrt(v/d2) + eps)  =  (from_g g + from_m m) / (sqrt(v) + floor).
 */
typedef struct {
    double beta1;
    double from_g;
    double from_m;
    double floor;
} nadam;

static inline nadam touch(const predictd_sgd_problem *problem, double *scalars)
{
    const double t = scalars[2] + 1.0;
    const double power = decay_power(problem->decay_powers, scalars[2]);
    const double beta1 = problem->beta1 * power;
    const double beta1_next = beta1 * (1.0 - problem->decay);
    const double d1 = beta1 * scalars[0] + (1.0 - beta1);
    const double d2 = problem->beta2 * scalars[1] + (1.0 - problem->beta2);
    const double root = sqrt(d2);
    const double rate = problem->learning_rate * power * root;
    nadam row;
    row.beta1 = beta1;
    row.from_g = rate * (1.0 - beta1) / d1;
    row.from_m = rate * beta1_next / (1.0 - beta1_next * (1.0 - d1));
    row.floor = problem->epsilon * root;
    scalars[0] = d1;
    scalars[1] = d2;
    scalars[2] = t;
    return row;
}

#define REAL float
#define SQRT sqrtf
#define SGD_FUNCTION predictd_sgd_float
#include "sgd_template.h"
#undef REAL
#undef SQRT
#undef SGD_FUNCTION

#define REAL double
#define SQRT sqrt
#define SGD_FUNCTION predictd_sgd_double
#include "sgd_template.h"
