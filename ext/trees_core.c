#include "trees_core.h"

#include <stdlib.h>
#include <string.h>

#include "multiversion.h"
#include "trees_extra.h"
#include "trees_node.h"

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
                best->last = (float)code;
            }
        }
    }
    return varies;
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

PREDICTD_INLINE cut best_cut(const predictd_forest_problem *problem, workspace *w, const node *at)
{
    cut best = {-1.0, 0, -1, 0.0F};
    const int pair = at->stop - at->start == 2;
    const int64_t n_candidates = pair ? 1 : problem->n_candidates;
    const int32_t *rows = w->rows + at->start;
    int varies = 0;
    for (int64_t k = 0; k < w->n_features && (k < n_candidates || !varies); ++k) {
        const int32_t feature = draw_candidate(w, k, next_random(w));
        const uint8_t *column = problem->codes + feature * problem->n_samples;
        if (pair)
            varies |= part_pair(w, at, column[rows[0]], column[rows[1]], feature, &best);
        else
            varies |= try_all(w, column, at, problem->weight_bits, feature, &best);
    }
    return best;
}

/* Put the samples of the left side before the others, each side in its order; returns where the right side starts. */
PREDICTD_INLINE int64_t divide(const predictd_forest_problem *problem, workspace *w, const node *at, const cut *best)
{
    const int64_t column = best->feature * problem->n_samples;
    const uint8_t last_code = problem->extra ? 0 : (uint8_t)best->last;
    int64_t n_left = at->start, n_right = 0;
    for (int64_t i = at->start; i < at->stop; ++i) {
        const int32_t row = w->rows[i];
        const int64_t packed = w->packed[i];
        const int to_right = problem->extra ? !(problem->values[column + row] <= best->last)
                                            : problem->codes[column + row] > last_code;
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
            ++w->weights[below(next_random(w), n)];
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
        const int pair = at.stop - at.start == 2;
        const cut best = !problem->extra ? best_cut(problem, w, &at)
                         : pair          ? random_cut_of_pair(problem, w, &at)
                                         : best_random_cut(problem, w, &at);
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
    if (problem->extra) {
        /* Zeros: lanes without a candidate are read as well. */
        w->own = calloc(n <= FEW ? n * MOST_LANES : n * LANES + FEW * MOST_LANES, sizeof *w->own);
        w->y = malloc(n * sizeof *w->y);
    }
    if (w->features && w->rows && w->packed && w->stack && w->inverse && (!problem->extra || (w->own && w->y))) {
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
    free(w->own);
    free(w->y);
    free(w);
    return status;
}
