/* What random forests and extra trees share: nodes, cuts, the workspace and random numbers. */

#ifndef PREDICTD_TREES_NODE_H
#define PREDICTD_TREES_NODE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "multiversion.h"
#include "trees_core.h"

/* LANES candidates of extra trees are a whole number of vectors; MOST_LANES are looked at together in nodes of FEW samples. */
enum { CODES = 256, LANES = 16, MOST_LANES = 64, FEW = 96, SMALL = 512 };
#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

/* The samples of a node stand together in `rows` and `packed`; `total` is the sum of their packed values. */
typedef struct {
    int64_t start;
    int64_t stop;
    int64_t total;
} node;

/* The best cut so far: samples whose code or value of the feature is at most `last` go to the left. */
typedef struct {
    double score;
    int64_t left; /* packed sum */
    int32_t feature;
    float last;
} cut;

/* A sample's packed value in a tree, and where it stands in `rows`; -1 where it is not drawn. */
typedef struct {
    int64_t packed;
    int64_t place;
} standing;

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
    int64_t sums[CODES];
    float *own; /* for extra: the candidates' values in the samples of a node, sample by sample */
    double *y;  /* for extra: y of the samples of a node */
    /* See trees_sparse.h; all of it is NULL or unused where `sparse` is 0. */
    int sparse;
    uint8_t *common_codes; /* the common value of each feature */
    float *common_values;
    int64_t *by_feature; /* where a feature's differing values begin, and the next one's */
    int64_t *by_sample;
    int32_t *samples_of; /* sample of each, by feature; feature of each, by sample */
    int32_t *features_of;
    void *value_by_feature; /* uint8_t or float */
    void *value_by_sample;
    standing *standing;
    int32_t *lane_of; /* -1, but while candidates are looked at together */
    int64_t *found; /* packed values of what differs in a node, and their codes or values */
    uint8_t *found_codes;
    float *found_values;
    int64_t n_found[MOST_LANES];
} workspace;

/* Returns 0, or -1 where memory is short; it is to be closed in either case. */
static inline int open_workspace(const predictd_forest_problem *problem, workspace *w)
{
    const size_t n = (size_t)problem->n_samples;
    memset(w, 0, sizeof *w);
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
    if (!(w->features && w->rows && w->packed && w->stack && w->inverse && (!problem->extra || (w->own && w->y))))
        return -1;
    w->other_rows = w->rows + n;
    w->other_packed = w->packed + n;
    w->weights = w->packed + 2 * n;
    for (int64_t feature = 0; feature < problem->n_features; ++feature)
        if (feature != problem->excluded)
            w->features[w->n_features++] = (int32_t)feature;
    w->inverse[0] = 0.0;
    for (size_t k = 1; k <= n; ++k)
        w->inverse[k] = 1.0 / (double)k;
    return 0;
}

static inline void close_workspace(workspace *w)
{
    free(w->features);
    free(w->rows);
    free(w->packed);
    free(w->stack);
    free(w->inverse);
    free(w->own);
    free(w->y);
}

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

/* A whole number below n < 2^32, by the upper half of a random number. */
PREDICTD_INLINE int64_t below(uint64_t number, int64_t n)
{
    return (int64_t)(((number >> 32) * (uint64_t)n) >> 32);
}

/* Draw candidate k among those from k on, and put it there; the lower half of `number` is left for a cut. */
PREDICTD_INLINE int32_t draw_candidate(workspace *w, int64_t k, uint64_t number)
{
    const int64_t drawn = k + below(number, w->n_features - k);
    const int32_t feature = w->features[drawn];
    w->features[drawn] = w->features[k];
    w->features[k] = feature;
    return feature;
}

/* Note where the samples of a tree stand. */
PREDICTD_INLINE void place_samples(workspace *w, int64_t n, const node *root)
{
    if (!w->sparse)
        return;
    for (int64_t row = 0; row < n; ++row)
        w->standing[row].place = -1;
    for (int64_t i = root->start; i < root->stop; ++i)
        w->standing[w->rows[i]] = (standing){w->packed[i], i};
}

/* Two samples are parted alike by every feature that differs: the first one drawn is as good as any. */
PREDICTD_INLINE int part_pair(const workspace *w, const node *at, float one, float other, int32_t feature, cut *best)
{
    if (!(one < other || other < one))
        return 0;
    best->score = 0.0;
    best->left = w->packed[at->start + (one > other)];
    best->feature = feature;
    best->last = one < other ? one : other;
    return 1;
}

#endif
