/* What becomes of a node, whatever tree it is of: whether it is parted, and how its samples are. */

#ifndef PREDICTD_TREES_PART_H
#define PREDICTD_TREES_PART_H

#include "trees_spread.h"

/* Whether all samples of a node have the same y. */
PREDICTD_INLINE int is_pure(const predictd_forest_problem *problem, const workspace *w, const node *at)
{
    if (at->spread) {
        int64_t row = 0;
        while (!w->weight_of[row])
            ++row;
        for (const int64_t first = problem->y[row]; row < problem->n_samples; ++row)
            if (w->weight_of[row] && problem->y[row] != first)
                return 0;
        return 1;
    }
    const int64_t first = problem->y[w->rows[at->start]];
    for (int64_t i = at->start + 1; i < at->stop; ++i)
        if (problem->y[w->rows[i]] != first)
            return 0;
    return 1;
}

/* Take up a node, the last one that was put aside. */
PREDICTD_INLINE void take_up(const predictd_forest_problem *problem, workspace *w, node *at)
{
    if (problem->sparse && !at->spread && at->stop - at->start >= w->wide)
        spread_samples(problem, w, at);
}

/* Two samples are parted alike by every feature that differs: the first one drawn is as good as any. */
PREDICTD_INLINE int try_pair(const predictd_forest_problem *problem, const workspace *w, const node *at,
                             int32_t feature, cut *best)
{
    float values[2];
    for (int i = 0; i < 2; ++i) {
        const int64_t row = w->rows[at->start + i], place = feature * problem->n_samples + row;
        values[i] = problem->sparse  ? value_of(problem->sparse, row, feature, problem->extra)
                    : problem->extra ? problem->values[place]
                                     : problem->codes[place];
    }
    if (!(values[0] < values[1] || values[1] < values[0]))
        return 0;
    *best = (cut){0.0, w->packed[at->start + (values[0] > values[1])], feature,
                  values[0] < values[1] ? values[0] : values[1]};
    return 1;
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
        const int to_right =
            problem->sparse  ? !(value_of(problem->sparse, row, best->feature, problem->extra) <= best->last)
            : problem->extra ? !(problem->values[column + row] <= best->last)
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

/* Part a node. The left side is to be taken up next. */
PREDICTD_INLINE void part(const predictd_forest_problem *problem, workspace *w, const node *at, const cut *best,
                          node *left, node *right)
{
    if (at->spread) {
        part_spread(problem, w, at, best, left, right);
        return;
    }
    const int64_t middle = divide(problem, w, at, best);
    *left = (node){at->start, middle, best->left, 0};
    *right = (node){middle, at->stop, at->total - best->left, 0};
}

#endif
