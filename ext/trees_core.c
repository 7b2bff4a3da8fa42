#include "trees_core.h"

#include <stdlib.h>
#include <string.h>

#include "multiversion.h"

/* Most nodes have few samples, for which setting up vectors takes longer than the work. */
enum { CODES = 256, FEW = 8 };
#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

/* The samples of a node stand together in `rows` and `packed`; `total` is the sum of their packed values. */
typedef struct {
    int64_t start;
    int64_t stop;
    int64_t total;
} node;

/* The best cut so far: samples whose code (or value, as `ordered`) of the feature is at most `last` go to the left. */
typedef struct {
    double score;
    int64_t left; /* packed sum */
    int64_t feature;
    int32_t last;
} cut;

/*
 * A sample's packed value is (weight * y) * 2^weight_bits + weight: one addition sums both, exactly, as weights are
 * never negative and their sum stays below 2^weight_bits.
 */
typedef struct {
    uint64_t random;   /* state of splitmix64 */
    int32_t *features; /* candidates, in an order that changes as they are drawn */
    int64_t n_features;
    int32_t *rows;
    int32_t *other_rows;
    int64_t *packed;
    int64_t *other_packed;
    int64_t *weights;
    node *stack;
    double *inverse; /* 1 / k; 0 for k = 0 */
    int32_t *column; /* one feature in the samples of a node, for extra */
    int64_t sums[CODES];
} workspace;

PREDICTD_INLINE uint64_t mixed(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

PREDICTD_INLINE uint64_t next_random(workspace *w)
{
    w->random += GOLDEN;
    return mixed(w->random);
}

/* A whole number below n < 2^32. */
PREDICTD_INLINE int64_t random_below(workspace *w, int64_t n)
{
    return (int64_t)(((next_random(w) >> 32) * (uint64_t)n) >> 32);
}

PREDICTD_INLINE double random_unit(workspace *w)
{
    return (double)(next_random(w) >> 11) * 0x1p-53;
}

/* Sum over both sides of (sum of y)^2 / weight: the larger, the more the cut reduces the sum of squares. */
PREDICTD_INLINE double score_of(const workspace *w, int bits, int64_t left, int64_t total)
{
    const int64_t mask = ((int64_t)1 << bits) - 1, right = total - left;
    const double sum_left = (double)(left >> bits), sum_right = (double)(right >> bits);
    return sum_left * sum_left * w->inverse[left & mask] + sum_right * sum_right * w->inverse[right & mask];
}

/* Try all cuts of a feature. Returns whether it takes more than one value in the node. */
PREDICTD_INLINE int try_all(workspace *w, const uint8_t *column, const node *at, int bits, int32_t feature, cut *best)
{
    uint64_t present[CODES / 64] = {0};
    int64_t left = 0;
    int varies = 0;
    for (int64_t i = at->start; i < at->stop; ++i) {
        const unsigned code = column[w->rows[i]];
        w->sums[code] += w->packed[i];
        present[code >> 6] |= UINT64_C(1) << (code & 63);
    }
    for (int word = 0; word < CODES / 64; ++word) {
        uint64_t codes = present[word];
        while (codes) {
            const int code = word * 64 + PREDICTD_LOWEST_BIT(codes);
            codes &= codes - 1;
            left += w->sums[code];
            w->sums[code] = 0;
            if (left == at->total)
                return varies;
            varies = 1;
            const double score = score_of(w, bits, left, at->total);
            if (score > best->score) {
                best->score = score;
                best->left = left;
                best->feature = feature;
                best->last = code;
            }
        }
    }
    return varies;
}

/* Bits of floats, none of them -0, as whole numbers in the same order; its own inverse. */
PREDICTD_INLINE int32_t ordered(int32_t bits)
{
    return bits ^ ((bits >> 31) & INT32_C(0x7FFFFFFF));
}

PREDICTD_INLINE double as_double(int32_t key)
{
    const int32_t bits = ordered(key);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A number uniform between two values, but not the higher one, so that neither side is empty. */
PREDICTD_INLINE int32_t random_cut(workspace *w, int32_t low, int32_t high)
{
    const double least = as_double(low);
    const float value = (float)(least + random_unit(w) * (as_double(high) - least));
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return low <= ordered(bits) && ordered(bits) < high ? ordered(bits) : low;
}

/* Try one cut of a feature, uniform between its least and its greatest value in the node. */
PREDICTD_INLINE int try_one(workspace *w, const int32_t *column, const node *at, int bits, int32_t feature, cut *best)
{
    const int64_t n = at->stop - at->start;
    const int32_t *restrict rows = w->rows + at->start;
    const int64_t *restrict packed = w->packed + at->start;
    int32_t *restrict own = w->column;
    int32_t low = INT32_MAX, high = INT32_MIN;
    int64_t left = 0;
    const int few = n < FEW;
    if (few)
        for (int64_t i = 0; i < n; ++i) {
            const int32_t v = own[i] = ordered(column[rows[i]]);
            low = v < low ? v : low;
            high = v > high ? v : high;
            PREDICTD_ONE_BY_ONE;
        }
    else {
        for (int64_t i = 0; i < n; ++i)
            own[i] = ordered(column[rows[i]]);
        for (int64_t i = 0; i < n; ++i) {
            low = own[i] < low ? own[i] : low;
            high = own[i] > high ? own[i] : high;
        }
    }
    if (low == high)
        return 0;
    const int32_t last = random_cut(w, low, high);
    if (few)
        for (int64_t i = 0; i < n; ++i) {
            left += own[i] <= last ? packed[i] : 0;
            PREDICTD_ONE_BY_ONE;
        }
    else
        for (int64_t i = 0; i < n; ++i)
            left += own[i] <= last ? packed[i] : 0;
    const double score = score_of(w, bits, left, at->total);
    if (score > best->score) {
        best->score = score;
        best->left = left;
        best->feature = feature;
        best->last = last;
    }
    return 1;
}

/* Two samples are parted alike by every feature that differs: the first one drawn is as good as any. */
PREDICTD_INLINE int part_pair(const workspace *w, const node *at, int32_t one, int32_t other, int32_t feature, cut *best)
{
    if (one == other)
        return 0;
    best->score = 0.0;
    best->left = w->packed[at->start + (one > other)];
    best->feature = feature;
    best->last = one < other ? one : other;
    return 1;
}

/* Whether all samples of a node have the same y. */
PREDICTD_INLINE int is_pure(const predictd_forest_problem *problem, const workspace *w, const node *at)
{
    const int64_t first = problem->y[w->rows[at->start]];
    for (int64_t i = at->start + 1; i < at->stop; ++i)
        if (problem->y[w->rows[i]] != first)
            return 0;
    return 1;
}

PREDICTD_INLINE int try_feature(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature,
                              cut *best)
{
    const int64_t n = problem->n_samples;
    const int pair = at->stop - at->start == 2;
    const int32_t *rows = w->rows + at->start;
    if (problem->extra) {
        const int32_t *column = problem->values + feature * n;
        if (pair)
            return part_pair(w, at, ordered(column[rows[0]]), ordered(column[rows[1]]), feature, best);
        return try_one(w, column, at, problem->weight_bits, feature, best);
    }
    const uint8_t *column = problem->codes + feature * n;
    if (pair)
        return part_pair(w, at, column[rows[0]], column[rows[1]], feature, best);
    return try_all(w, column, at, problem->weight_bits, feature, best);
}

PREDICTD_INLINE cut best_cut(const predictd_forest_problem *problem, workspace *w, const node *at)
{
    cut best = {-1.0, 0, -1, 0};
    const int64_t n_candidates = at->stop - at->start == 2 ? 1 : problem->n_candidates;
    int varies = 0;
    for (int64_t k = 0; k < w->n_features && (k < n_candidates || !varies); ++k) {
        const int64_t drawn = k + random_below(w, w->n_features - k);
        const int32_t feature = w->features[drawn];
        w->features[drawn] = w->features[k];
        w->features[k] = feature;
        varies |= try_feature(problem, w, at, feature, &best);
    }
    return best;
}

/* Put the samples of the left side before the others, each side in its order; returns where the right side starts. */
PREDICTD_INLINE int64_t divide(const predictd_forest_problem *problem, workspace *w, const node *at, const cut *best)
{
    const int64_t column = best->feature * problem->n_samples;
    int64_t n_left = at->start, n_right = 0;
    for (int64_t i = at->start; i < at->stop; ++i) {
        const int32_t row = w->rows[i];
        const int64_t packed = w->packed[i];
        const int32_t own = problem->extra ? ordered(problem->values[column + row]) : problem->codes[column + row];
        const int to_right = own > best->last;
        w->rows[n_left] = row;
        w->packed[n_left] = packed;
        w->other_rows[n_right] = row;
        w->other_packed[n_right] = packed;
        n_left += !to_right;
        n_right += to_right;
    }
    memcpy(w->rows + n_left, w->other_rows, (size_t)n_right * sizeof *w->rows);
    memcpy(w->packed + n_left, w->other_packed, (size_t)n_right * sizeof *w->packed);
    return n_left;
}

/* Fill the root with the samples of a tree: all of them once, or a bootstrap sample. */
PREDICTD_INLINE node draw_samples(const predictd_forest_problem *problem, workspace *w)
{
    const int64_t n = problem->n_samples;
    node root = {0, 0, 0};
    for (int64_t row = 0; row < n; ++row)
        w->weights[row] = problem->extra;
    if (!problem->extra)
        for (int64_t draw = 0; draw < n; ++draw)
            ++w->weights[random_below(w, n)];
    for (int64_t row = 0; row < n; ++row) {
        const int64_t weight = w->weights[row];
        if (!weight)
            continue;
        w->rows[root.stop] = (int32_t)row;
        w->packed[root.stop] = weight * problem->y[row] * ((int64_t)1 << problem->weight_bits) + weight;
        root.total += w->packed[root.stop];
        ++root.stop;
    }
    return root;
}

PREDICTD_INLINE void grow(const predictd_forest_problem *problem, workspace *w, double *importances)
{
    const int bits = problem->weight_bits;
    const int64_t mask = ((int64_t)1 << bits) - 1;
    int64_t waiting = 1;
    w->stack[0] = draw_samples(problem, w);
    while (waiting) {
        const node at = w->stack[--waiting];
        if (at.stop - at.start < 2 || is_pure(problem, w, &at))
            continue;
        const cut best = best_cut(problem, w, &at);
        if (best.feature < 0)
            continue;
        const int64_t middle = divide(problem, w, &at, &best);
        const int64_t right = at.total - best.left;
        const int64_t n_left = best.left & mask, n_right = right & mask;
        const double gap = (double)(best.left >> bits) * (double)n_right - (double)(right >> bits) * (double)n_left;
        importances[best.feature] +=
            gap * gap * w->inverse[n_left] * w->inverse[n_right] * w->inverse[n_left + n_right];
        w->stack[waiting++] = (node){middle, at.stop, right};
        w->stack[waiting++] = (node){at.start, middle, best.left};
    }
}

PREDICTD_MULTIVERSION
static void grow_all(const predictd_forest_problem *problem, workspace *w, uint64_t seed, double *importances)
{
    for (int64_t tree = 0; tree < problem->n_trees; ++tree) {
        w->random = mixed(seed + (uint64_t)(tree + 1) * GOLDEN);
        grow(problem, w, importances);
    }
}

int predictd_forest(const predictd_forest_problem *problem, uint64_t seed, double *importances)
{
    const size_t n = (size_t)problem->n_samples;
    workspace *w = calloc(1, sizeof *w);
    int status = -1;
    if (!w)
        return status;
    w->features = malloc((size_t)problem->n_features * sizeof *w->features);
    w->rows = malloc(2 * n * sizeof *w->rows);
    w->packed = malloc(3 * n * sizeof *w->packed);
    w->stack = malloc((n + 1) * sizeof *w->stack);
    w->inverse = malloc((n + 1) * sizeof *w->inverse);
    w->column = malloc(n * sizeof *w->column);
    if (w->features && w->rows && w->packed && w->stack && w->inverse && w->column) {
        w->other_rows = w->rows + n;
        w->other_packed = w->packed + n;
        w->weights = w->packed + 2 * n;
        for (int64_t feature = 0; feature < problem->n_features; ++feature)
            if (feature != problem->excluded)
                w->features[w->n_features++] = (int32_t)feature;
        w->inverse[0] = 0.0;
        for (size_t k = 1; k <= n; ++k)
            w->inverse[k] = 1.0 / (double)k;
        grow_all(problem, w, seed, importances);
        status = 0;
    }
    free(w->features);
    free(w->rows);
    free(w->packed);
    free(w->stack);
    free(w->inverse);
    free(w->column);
    free(w);
    return status;
}
