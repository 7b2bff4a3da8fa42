/*
 * Large nodes of features that mostly have one value. Such a node is spread: its samples have their weights in
 * w->weight_of and the rest of their packed values in w->mass, where all others have 0, so that a candidate is a walk
 * along its entries. One node at a time is spread, the one that is looked at; what waits has its samples in w->rows.
 */

#ifndef PREDICTD_TREES_SPREAD_H
#define PREDICTD_TREES_SPREAD_H

#include "trees_sparse.h"

/* So large a share of samples with one y is worth a list of the entries of all others. */
#define MOST_SHARE 0.6
enum { MOST_WEIGHT = 255 };

/* The value that more than half of the samples have, if one does (Boyer & Moore 1991). */
static inline int64_t common_y(const predictd_forest_problem *problem)
{
    int64_t common = problem->y[0], votes = 0;
    for (int64_t row = 0; row < problem->n_samples; ++row) {
        common = votes ? common : problem->y[row];
        votes += problem->y[row] == common ? 1 : -1;
    }
    return common;
}

/*
 * Where most samples have one y, such as a gene that few cells express, sums of most entries are numbers of samples,
 * times that y: find the entries of the other samples. Returns 0, or -1 where memory is short.
 */
static inline int open_others(const predictd_forest_problem *problem, workspace *w)
{
    const predictd_sparse *sparse = problem->sparse;
    if (!sparse)
        return 0;
    const int64_t m = problem->n_features, common = common_y(problem);
    int64_t same = 0, found = 0;
    for (int64_t row = 0; row < problem->n_samples; ++row)
        same += problem->y[row] == common;
    if ((double)same < MOST_SHARE * (double)problem->n_samples)
        return 0;
    const size_t size = sparse->narrow ? sizeof(uint16_t) : sizeof(int32_t);
    int64_t *by_feature = w->others_memory[0] = malloc((size_t)(m + 1) * sizeof *by_feature);
    int32_t *ends = w->others_memory[1] = malloc((size_t)sparse->by_value[m] * sizeof *ends);
    void *samples = w->others_memory[2] = malloc((size_t)sparse->by_feature[m] * size);
    if (!(by_feature && ends && samples))
        return -1;
    for (int64_t feature = 0; feature < m; ++feature) {
        int64_t entry = sparse->by_feature[feature];
        by_feature[feature] = found;
        for (int64_t value = sparse->by_value[feature]; value < sparse->by_value[feature + 1]; ++value) {
            for (; entry < sparse->by_feature[feature] + sparse->ends[value]; ++entry) {
                const int32_t row = sample_of(sparse, sparse->samples, entry);
                if (sparse->narrow)
                    ((uint16_t *)samples)[found] = (uint16_t)row;
                else
                    ((int32_t *)samples)[found] = row;
                found += problem->y[row] != common;
            }
            ends[value] = (int32_t)(found - by_feature[feature]);
        }
    }
    by_feature[m] = found;
    w->unit = common * ((int64_t)1 << problem->weight_bits) + 1;
    w->others = (entry_list){by_feature, samples, ends};
    return 0;
}

/* The first of a feature's distinct values above `last`. */
PREDICTD_INLINE int64_t first_above(const predictd_sparse *sparse, int32_t feature, float last)
{
    int64_t low = sparse->by_value[feature], high = sparse->by_value[feature + 1];
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (sparse->distinct[middle] <= last)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Where the entries of a feature's distinct value begin, counted from the feature's first. */
PREDICTD_INLINE int64_t begin_of(const predictd_sparse *sparse, const int32_t *ends, int32_t feature, int64_t value)
{
    return value > sparse->by_value[feature] ? ends[value - 1] : 0;
}

PREDICTD_INLINE void spread_samples(const predictd_forest_problem *problem, workspace *w, node *at)
{
    const int64_t mask = ((int64_t)1 << problem->weight_bits) - 1;
    for (int64_t i = at->start; i < at->stop; ++i) {
        const int64_t weight = w->packed[i] & mask;
        /* As a mark any number but 0 does; draw_samples sees to it that `unit` is 0 where weights are larger. */
        w->weight_of[w->rows[i]] = weight < MOST_WEIGHT ? (uint8_t)weight : MOST_WEIGHT;
        w->mass[w->rows[i]] = w->packed[i] - w->unit * weight;
    }
    at->spread = 1;
}

PREDICTD_INLINE int64_t packed_of(const workspace *w, int64_t row)
{
    return w->mass[row] + w->unit * w->weight_of[row];
}

PREDICTD_INLINE void drop_samples(const predictd_forest_problem *problem, workspace *w, const node *at)
{
    if (at->spread) {
        memset(w->weight_of, 0, (size_t)problem->n_samples);
        memset(w->mass, 0, (size_t)problem->n_samples * sizeof *w->mass);
    }
}

PREDICTD_INLINE void gather_samples(const predictd_forest_problem *problem, workspace *w, node *at)
{
    int64_t i = at->start;
    for (int32_t row = 0; i < at->stop; ++row) {
        w->rows[i] = row;
        w->packed[i] = packed_of(w, row);
        i += w->weight_of[row] != 0;
    }
    drop_samples(problem, w, at);
    at->spread = 0;
}

/* Part a spread node: the side without the common value leaves it, and what then waits is gathered. */
PREDICTD_INLINE void part_spread(const predictd_forest_problem *problem, workspace *w, const node *at, const cut *best,
                                 node *left, node *right)
{
    const predictd_sparse *sparse = problem->sparse;
    const int64_t n = sparse->by_feature[best->feature + 1] - sparse->by_feature[best->feature];
    const int64_t n_left =
        begin_of(sparse, sparse->ends, best->feature, first_above(sparse, best->feature, best->last));
    const int keeps_left = sparse->common[best->feature] <= best->last;
    int64_t middle = keeps_left ? at->stop : at->start;
    /* Neither side is empty: so what is written where it does not stay is still within the node's part of w->rows. */
    for (int64_t entry = keeps_left ? n_left : 0; entry < (keeps_left ? n : n_left); ++entry) {
        const int32_t row = sample_of(sparse, sparse->samples, sparse->by_feature[best->feature] + entry);
        const int64_t place = middle - keeps_left;
        w->rows[place] = row;
        w->packed[place] = packed_of(w, row);
        middle += w->weight_of[row] == 0 ? 0 : keeps_left ? -1 : 1;
        w->weight_of[row] = 0;
        w->mass[row] = 0;
    }
    *left = (node){at->start, middle, best->left, keeps_left};
    *right = (node){middle, at->stop, at->total - best->left, !keeps_left};
    if (!keeps_left)
        gather_samples(problem, w, right);
    else if (middle - at->start < w->wide)
        gather_samples(problem, w, left);
}

/* Sum the weights of n entries of the node that is spread. */
PREDICTD_INLINE int64_t sum_weights(const predictd_sparse *sparse, const workspace *w, int64_t entry, int64_t n)
{
    const int64_t stop = entry + n;
    int64_t one = 0, other = 0;
    for (; entry + 2 <= stop; entry += 2) {
        one += w->weight_of[sample_of(sparse, sparse->samples, entry)];
        other += w->weight_of[sample_of(sparse, sparse->samples, entry + 1)];
    }
    for (; entry < stop; ++entry)
        one += w->weight_of[sample_of(sparse, sparse->samples, entry)];
    return one + other;
}

#endif
