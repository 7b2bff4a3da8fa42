/* The best cuts of features that are coded by a byte: what random forests and boosted trees share. */

#ifndef PREDICTD_TREES_BEST_H
#define PREDICTD_TREES_BEST_H

#include <string.h>

#include "trees_sparse.h"

/* Sum over both sides of (sum of y)^2 / weight: the larger, the more the cut reduces the sum of squares. */
PREDICTD_INLINE double score_of(const workspace *w, int bits, int64_t left, int64_t total)
{
    const int64_t mask = ((int64_t)1 << bits) - 1, right = total - left;
    const double sum_left = (double)(left >> bits), sum_right = (double)(right >> bits);
    return sum_left * sum_left * w->inverse[left & mask] + sum_right * sum_right * w->inverse[right & mask];
}

/* Try all cuts between the codes that are present, and clear their sums. Returns whether there is more than one. */
PREDICTD_INLINE int try_sums(workspace *w, const uint64_t *present, const node *at, int bits, int32_t feature, cut *best)
{
    int64_t left = 0;
    int varies = 0;
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

/* Try all cuts of a feature. Returns whether it takes more than one value in the node. */
PREDICTD_INLINE int try_all(workspace *w, const uint8_t *column, const node *at, int bits, int32_t feature, cut *best)
{
    uint64_t present[CODES / 64] = {0};
    for (int64_t i = at->start; i < at->stop; ++i) {
        const unsigned code = column[w->rows[i]];
        w->sums[code] += w->packed[i];
        present[code >> 6] |= UINT64_C(1) << (code & 63);
    }
    return try_sums(w, present, at, bits, feature, best);
}

/* The same by what differs from the common code in a small node. */
PREDICTD_INLINE int try_found(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature,
                              double unit, int64_t first, int64_t n, cut *best)
{
    uint64_t present[CODES / 64] = {0};
    int64_t rest = at->total;
    (void)unit;
    for (int64_t i = first; i < first + n; ++i) {
        const unsigned code = w->found_codes[i];
        w->sums[code] += w->found[i];
        rest -= w->found[i];
        present[code >> 6] |= UINT64_C(1) << (code & 63);
    }
    if (n < at->stop - at->start) {
        const unsigned code = w->common_codes[feature];
        w->sums[code] += rest;
        present[code >> 6] |= UINT64_C(1) << (code & 63);
    }
    return try_sums(w, present, at, problem->weight_bits, feature, best);
}

/* The same in a node of any size, of a feature alone. */
PREDICTD_INLINE int try_alone(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature,
                              double unit, cut *best)
{
    if (!is_rare(w, at, feature))
        return try_all(w, problem->codes + feature * problem->n_samples, at, problem->weight_bits, feature, best);
    int64_t n = 0;
    PREDICTD_FIND_RARE(uint8_t, w->found_codes, n);
    return n && try_found(problem, w, at, feature, unit, 0, n, best);
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
    if (w->sparse && !pair)
        return best_of_candidates(problem, w, at, (try_candidate){try_found, try_alone});
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
    if (w->sparse)
        for (int64_t i = at->start; i < at->stop; ++i)
            w->standing[w->rows[i]].place = i;
    return n_left;
}

/* What a cut of a node takes from the sum of squares. */
PREDICTD_INLINE double reduction_of(const workspace *w, int bits, int64_t left, int64_t total)
{
    const int64_t mask = ((int64_t)1 << bits) - 1, right = total - left;
    const int64_t n_left = left & mask, n_right = right & mask;
    const double gap = (double)(left >> bits) * (double)n_right - (double)(right >> bits) * (double)n_left;
    return gap * gap * w->inverse[n_left] * w->inverse[n_right] * w->inverse[n_left + n_right];
}

#endif
