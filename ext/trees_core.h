/* Forests of regression trees for one target: see predictd/grn/reference.py, which is their specification. */

#ifndef PREDICTD_TREES_CORE_H
#define PREDICTD_TREES_CORE_H

#include <stdint.h>

typedef struct {
    const uint8_t *codes;  /* n_features x n_samples: each feature's values by their rank; not for extra */
    const float *values;   /* n_features x n_samples: each feature's values; for extra */
    const int64_t *y;      /* n_samples: the target in whole units, so that sums are exact in any order */
    int64_t n_samples;
    int64_t n_features;
    int64_t excluded;      /* a feature that is no candidate; -1: all are */
    int64_t n_candidates;  /* features that a node looks at */
    int64_t n_trees;
    int weight_bits;       /* n_samples < 2^weight_bits, and |y| n_samples < 2^(62 - weight_bits) and 2^53 */
    int extra;             /* random cuts of all samples instead of the best cuts of a bootstrap sample */
} predictd_forest_problem;

/*
 * Add the reductions of the sum of squares, by feature, over all nodes of all trees; in squared units of y.
 * Returns 0, or -1 where memory is short. Nothing is checked here.
 */
int predictd_forest(const predictd_forest_problem *problem, uint64_t seed, double *importances);

#endif
