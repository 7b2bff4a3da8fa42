/* Forests of regression trees for one target: see predictd/grn/reference.py, which is their specification. */

#ifndef PREDICTD_TREES_CORE_H
#define PREDICTD_TREES_CORE_H

#include <stdint.h>

/*
 * Features of which most samples have one value, the common one, such as the zeros of single cells: what differs, by
 * feature and by sample. An entry is a sample and a feature whose value is not the common one.
 */
typedef struct {
    const float *common;       /* n_features */
    const int64_t *by_feature; /* n_features + 1: where a feature's entries begin, by value */
    const void *samples;       /* of the entries: uint16_t where `narrow`, else int32_t */
    const int64_t *by_value;   /* n_features + 1: where a feature's distinct values begin, ascending */
    const float *distinct;     /* those values, or codes */
    const int32_t *ends;       /* where their entries end, counted from the feature's first */
    const int32_t *n_below;    /* n_features: distinct values below the common one */
    const uint64_t *bits;      /* n_samples x n_words: which features differ; see below */
    const uint8_t *codes;      /* of the entries, by sample and feature; not for extra */
    const float *values;       /* the same, for extra */
    int64_t n_words;
    int narrow;
} predictd_sparse;

/*
 * The words of a sample are lines of 8, for 384 features each: bit f % 64 of word f / 64 is set where feature f of the
 * line differs; then comes the place of the line's first value in `codes` or `values`, and in ten bits for each of the
 * six words how many bits of the line are set before it. All of that is in one line of the cache.
 */
enum { PREDICTD_LINE = 384 };

typedef struct {
    const predictd_sparse *sparse; /* NULL: all values are looked at */
    const uint8_t *codes;  /* n_features x n_samples: each feature's values by their rank; not for extra */
    const float *values;   /* n_features x n_samples: each feature's values; for extra */
    const int64_t *y;      /* n_samples: the target in whole units, so that sums are exact in any order */
    const int64_t *drawn;  /* n_samples: which samples trees are grown on, one perhaps several times; NULL: each once */
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
