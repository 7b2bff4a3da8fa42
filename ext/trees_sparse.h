/*
 * Features of which most samples have one value, such as the zeros of single cells: only the others are looked at. Sums
 * are exact, so that trees are the same to the bit as without this.
 */

#ifndef PREDICTD_TREES_SPARSE_H
#define PREDICTD_TREES_SPARSE_H

#include "trees_node.h"

/* Values that differ, by this share of all, are few; they are read by sample in nodes of SMALL samples, else by feature. */
#define FEW_DIFFER 0.25

/* The value that more than half of the samples have, or that of the last one. */
PREDICTD_INLINE int64_t common_place(const predictd_forest_problem *problem, int64_t feature)
{
    const int64_t n = problem->n_samples, column = feature * n;
    int64_t found = 0, votes = 0;
    for (int64_t row = 0; row < n; ++row) {
        const int same = problem->extra ? problem->values[column + row] == problem->values[column + found]
                                        : problem->codes[column + row] == problem->codes[column + found];
        if (!votes)
            found = row;
        votes += !votes || same ? 1 : -1;
    }
    return found;
}

PREDICTD_INLINE int differs(const predictd_forest_problem *problem, const workspace *w, int64_t feature, int64_t row)
{
    const int64_t place = feature * problem->n_samples + row;
    return problem->extra ? problem->values[place] != w->common_values[feature]
                          : problem->codes[place] != w->common_codes[feature];
}

/* Find what differs; where that is much, w->sparse stays 0. Returns 0, or -1 where memory is short. */
static inline int open_sparse(const predictd_forest_problem *problem, workspace *w)
{
    const int64_t n = problem->n_samples, m = problem->n_features;
    const size_t size = problem->extra ? sizeof(float) : 1;
    int64_t most = (int64_t)(FEW_DIFFER * (double)n * (double)m), total = 0;
    w->common_codes = malloc((size_t)m);
    w->common_values = malloc((size_t)m * sizeof *w->common_values);
    w->by_feature = calloc((size_t)m + 1, sizeof *w->by_feature);
    w->by_sample = calloc((size_t)n + 1, sizeof *w->by_sample);
    if (!(w->common_codes && w->common_values && w->by_feature && w->by_sample))
        return -1;
    for (int64_t feature = 0; feature < m; ++feature) {
        const int64_t place = feature * n + common_place(problem, feature);
        w->common_codes[feature] = problem->extra ? 0 : problem->codes[place];
        w->common_values[feature] = problem->extra ? problem->values[place] : 0.0F;
        for (int64_t row = 0; row < n; ++row) {
            const int other = differs(problem, w, feature, row);
            total += other;
            w->by_sample[row + 1] += other;
        }
        w->by_feature[feature + 1] = total;
        if (total > most)
            return 0;
    }
    for (int64_t row = 0; row < n; ++row)
        w->by_sample[row + 1] += w->by_sample[row];
    w->samples_of = malloc((size_t)(total + 1) * sizeof *w->samples_of);
    w->features_of = malloc((size_t)(total + 1) * sizeof *w->features_of);
    w->value_by_feature = malloc((size_t)(total + 1) * size);
    w->value_by_sample = malloc((size_t)(total + 1) * size);
    w->standing = malloc((size_t)n * sizeof *w->standing);
    w->lane_of = malloc((size_t)m * sizeof *w->lane_of);
    const size_t longest = (size_t)(n > SMALL * MOST_LANES ? n : SMALL * MOST_LANES);
    w->found = malloc(longest * sizeof *w->found);
    w->found_codes = malloc(longest);
    w->found_values = malloc(longest * sizeof *w->found_values);
    if (!(w->samples_of && w->features_of && w->value_by_feature && w->value_by_sample && w->standing && w->lane_of &&
          w->found && w->found_codes && w->found_values))
        return -1;
    int64_t at = 0;
    for (int64_t feature = 0; feature < m; ++feature) {
        w->lane_of[feature] = -1;
        for (int64_t row = 0; row < n; ++row) {
            if (!differs(problem, w, feature, row))
                continue;
            const int64_t there = w->by_sample[row]++;
            w->samples_of[at] = (int32_t)row;
            w->features_of[there] = (int32_t)feature;
            if (problem->extra) {
                const float value = problem->values[feature * n + row];
                ((float *)w->value_by_feature)[at] = ((float *)w->value_by_sample)[there] = value;
            } else {
                const uint8_t code = problem->codes[feature * n + row];
                ((uint8_t *)w->value_by_feature)[at] = ((uint8_t *)w->value_by_sample)[there] = code;
            }
            ++at;
        }
    }
    /* Each start was moved to its end, which is the next one's start. */
    for (int64_t row = n; row > 0; --row)
        w->by_sample[row] = w->by_sample[row - 1];
    w->by_sample[0] = 0;
    w->sparse = 1;
    return 0;
}

static inline void close_sparse(workspace *w)
{
    free(w->common_codes);
    free(w->common_values);
    free(w->by_feature);
    free(w->by_sample);
    free(w->samples_of);
    free(w->features_of);
    free(w->value_by_feature);
    free(w->value_by_sample);
    free(w->standing);
    free(w->lane_of);
    free(w->found);
    free(w->found_codes);
    free(w->found_values);
}

/*
 * What differs in a node of at most SMALL samples, of so many candidates from number k on: that of lane i begins at
 * place i * SMALL of w->found and its codes or values, and w->n_found[i] says how much it is.
 */
PREDICTD_INLINE void find_together(const predictd_forest_problem *problem, workspace *w, const node *at, int64_t k,
                                   int64_t lanes)
{
    for (int64_t lane = 0; lane < lanes; ++lane) {
        w->lane_of[w->features[k + lane]] = (int32_t)lane;
        w->n_found[lane] = 0;
    }
    for (int64_t i = at->start; i < at->stop; ++i) {
        const int64_t stop = w->by_sample[w->rows[i] + 1];
        for (int64_t entry = w->by_sample[w->rows[i]]; entry < stop; ++entry) {
            const int32_t lane = w->lane_of[w->features_of[entry]];
            if (lane < 0)
                continue;
            const int64_t place = lane * SMALL + w->n_found[lane]++;
            w->found[place] = w->packed[i];
            if (problem->extra)
                w->found_values[place] = ((const float *)w->value_by_sample)[entry];
            else
                w->found_codes[place] = ((const uint8_t *)w->value_by_sample)[entry];
        }
    }
    for (int64_t lane = 0; lane < lanes; ++lane)
        w->lane_of[w->features[k + lane]] = -1;
}

PREDICTD_INLINE int is_in(const node *at, int64_t place)
{
    return (uint64_t)(place - at->start) < (uint64_t)(at->stop - at->start);
}

/* Whether a feature has fewer differing values in all than a node has samples. */
PREDICTD_INLINE int is_rare(const workspace *w, const node *at, int32_t feature)
{
    return w->by_feature[feature + 1] - w->by_feature[feature] < at->stop - at->start;
}

/*
 * What differs in a node of any size, of a rare feature: packed values at w->found, and their codes or values. An entry is
 * written in any case, and kept where it belongs; n counts those.
 */
#define PREDICTD_FIND_RARE(type, found_values, n)                                  \
    do {                                                                           \
        const type *restrict values_ = w->value_by_feature;                        \
        const int32_t *restrict samples_ = w->samples_of;                          \
        const standing *restrict standing_ = w->standing;                          \
        int64_t *restrict packed_ = w->found;                                      \
        type *restrict found_ = (found_values);                                    \
        const int64_t stop_ = w->by_feature[feature + 1];                          \
        for (int64_t entry = w->by_feature[feature]; entry < stop_; ++entry) {     \
            const standing own = standing_[samples_[entry]];                       \
            packed_[n] = own.packed;                                               \
            found_[n] = values_[entry];                                            \
            n += is_in(at, own.place);                                             \
        }                                                                          \
    } while (0)

/* What a method does with a candidate: each returns whether it takes more than one value in the node. */
typedef struct {
    int (*found)(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature, double unit,
                 int64_t first, int64_t n, cut *best);
    int (*alone)(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature, double unit,
                 cut *best);
} try_candidate;

/* Draw candidates until so many were tried and one of them varies; `how` is a constant, and inlined. */
PREDICTD_INLINE cut best_of_candidates(const predictd_forest_problem *problem, workspace *w, const node *at,
                                       try_candidate how)
{
    cut best = {-1.0, 0, -1, 0.0F};
    const int64_t wanted = problem->n_candidates < w->n_features ? problem->n_candidates : w->n_features;
    double unit[MOST_LANES];
    int varies = 0;
    for (int64_t k = 0, lanes; k < wanted || (k < w->n_features && !varies); k += lanes) {
        lanes = k >= wanted ? 1 : wanted - k < MOST_LANES ? wanted - k : MOST_LANES;
        for (int64_t lane = 0; lane < lanes; ++lane) {
            const uint64_t number = next_random(w);
            draw_candidate(w, k + lane, number);
            unit[lane] = (double)(int32_t)(number & UINT32_C(0x7FFFFFFF)) * 0x1p-31;
        }
        const int together = lanes > 1 && at->stop - at->start <= SMALL;
        if (together)
            find_together(problem, w, at, k, lanes);
        for (int64_t lane = 0; lane < lanes; ++lane) {
            const int32_t feature = w->features[k + lane];
            if (!together)
                varies |= how.alone(problem, w, at, feature, unit[lane], &best);
            else if (w->n_found[lane])
                varies |= how.found(problem, w, at, feature, unit[lane], lane * SMALL, w->n_found[lane], &best);
        }
    }
    return best;
}

#endif
