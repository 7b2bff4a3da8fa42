/* The best cuts of features that are coded by a byte: what random forests and boosted trees share. */

#ifndef PREDICTD_TREES_BEST_H
#define PREDICTD_TREES_BEST_H

#include "trees_part.h"

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
        const unsigned code = (unsigned)problem->sparse->common[feature];
        w->sums[code] += rest;
        present[code >> 6] |= UINT64_C(1) << (code & 63);
    }
    return try_sums(w, present, at, problem->weight_bits, feature, best);
}

/* Compare a cut with the best one. Returns whether it parts the node; where it does not, it means nothing. */
PREDICTD_INLINE int try_one(const workspace *w, const node *at, int bits, int32_t feature, int64_t left, float last,
                            cut *best)
{
    if (!left || left == at->total)
        return 0;
    const double score = score_of(w, bits, left, at->total);
    if (score > best->score)
        *best = (cut){score, left, feature, last};
    return 1;
}

/* Values with so many entries each are worth a loop of their own. */
enum { MANY = 16 };

/* Sum what a node that is spread has of a feature's entries, up to the last one of each value, and of all. */
PREDICTD_INLINE int64_t sum_entries(const predictd_sparse *sparse, workspace *w, int32_t feature)
{
    const int64_t begin = sparse->by_feature[feature], n = sparse->by_feature[feature + 1] - begin;
    const int64_t first = sparse->by_value[feature], n_values = sparse->by_value[feature + 1] - first;
    const int64_t others = w->others.by_feature[feature], n_others = w->others.by_feature[feature + 1] - others;
    const int32_t *restrict ends = sparse->ends + first;
    int64_t *restrict up_to = w->up_to;
    int32_t *restrict n_up_to = w->n_up_to;
    int64_t sum = 0;
    int32_t weight = 0;
    up_to[0] = 0;
    for (int64_t entry = 0; entry < n_others; ++entry) {
        sum += w->mass[sample_of(sparse, w->others.samples, others + entry)];
        up_to[entry + 1] = sum;
    }
    if (w->unit && n_values * MANY < n) {
        int64_t done = 0;
        for (int64_t value = 0; value < n_values; done = ends[value++]) {
            weight += (int32_t)sum_weights(sparse, w, begin + done, ends[value] - done);
            n_up_to[ends[value]] = weight;
        }
    } else if (w->unit) {
        for (int64_t entry = 0; entry < n; ++entry) {
            weight += w->weight_of[sample_of(sparse, sparse->samples, begin + entry)];
            n_up_to[entry + 1] = weight;
        }
    }
    return sum + w->unit * weight;
}

/* Try all cuts of a feature in a node that is spread. Returns whether it takes more than one value there. */
PREDICTD_INLINE int try_spread(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature,
                               double unit, cut *best)
{
    const predictd_sparse *sparse = problem->sparse;
    const int64_t sum = sum_entries(sparse, w, feature), rest = at->total - sum;
    const int64_t first = sparse->by_value[feature], stop = sparse->by_value[feature + 1];
    const int64_t common = first + sparse->n_below[feature];
    int64_t left = 0;
    int varies = 0;
    (void)unit;
    if (!sum)
        return 0;
    for (int64_t value = first; value < stop; ++value) {
        if (value == common)
            varies |= try_one(w, at, problem->weight_bits, feature, left + rest, sparse->common[feature], best);
        left = w->up_to[w->others.ends[value]] + w->unit * w->n_up_to[sparse->ends[value]];
        varies |= try_one(w, at, problem->weight_bits, feature, value < common ? left : left + rest,
                          sparse->distinct[value], best);
    }
    return varies;
}

PREDICTD_INLINE cut best_cut(const predictd_forest_problem *problem, workspace *w, const node *at)
{
    cut best = {-1.0, 0, -1, 0.0F};
    const int pair = at->stop - at->start == 2;
    if (problem->sparse && !pair)
        return best_of_candidates(problem, w, at, (try_candidate){try_found, try_spread, 0});
    const int64_t n_candidates = pair ? 1 : problem->n_candidates;
    int varies = 0;
    for (int64_t k = 0; k < w->n_features && (k < n_candidates || !varies); ++k) {
        const int32_t feature = draw_candidate(w, k, next_random(w));
        const uint8_t *column = problem->codes + feature * problem->n_samples;
        varies |= pair ? try_pair(problem, w, at, feature, &best)
                       : try_all(w, column, at, problem->weight_bits, feature, &best);
    }
    return best;
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
