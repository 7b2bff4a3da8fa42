/* What random forests and extra trees share: nodes, cuts, the workspace and random numbers. */

#ifndef PREDICTD_TREES_NODE_H
#define PREDICTD_TREES_NODE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "multiversion.h"
#include "trees_core.h"

/* LANES candidates of extra trees are a whole number of vectors; MOST_LANES are looked at together in nodes of FEW samples. */
enum { CODES = 256, LANES = 16, MOST_LANES = 64, FEW = 96 };
#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

/*
 * The samples of a node stand together in `rows` and `packed`, or where it is spread in `mass`: see trees_spread.h.
 * `total` is the sum of their packed values.
 */
typedef struct {
    int64_t start;
    int64_t stop;
    int64_t total;
    int spread;
} node;

/* The best cut so far: samples whose code or value of the feature is at most `last` go to the left. */
typedef struct {
    double score;
    int64_t left; /* packed sum */
    int32_t feature;
    float last;
} cut;

/* Entries of each feature in the order of its values: see trees_core.h. */
typedef struct {
    const int64_t *by_feature;
    const void *samples;
    const int32_t *ends;
} entry_list;

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
    double *y;  /* for extra: sums of y of the samples of a node, each times its weight, and the weights */
    int32_t *weight;
    /* See trees_sparse.h and trees_spread.h; all of it is NULL or 0 where all values are looked at. */
    int64_t wide;        /* nodes of so many samples are spread */
    uint8_t *weight_of;  /* of the samples of the node that is spread, 0 of others, by sample */
    int64_t *mass;       /* their packed values, less `unit` times their weight, by sample */
    int64_t unit;        /* packed value of the most common y at a weight of 1, or 0 */
    entry_list others;   /* entries of samples with another y, or all where `unit` is 0 */
    void *others_memory[3];
    int32_t *n_up_to;    /* sums of weights of a feature's entries, up to each, and of `mass` of those in `others` */
    int64_t *up_to;
    int32_t *bit_of;     /* of each feature: its word times 64, and its bit there */
    uint64_t *looked_at; /* bits of the candidates that are looked at together, and their lanes by bit */
    uint8_t *lane_of;
    void *finding;
    int64_t *found;      /* packed values of what differs in a node, lane by lane, and their codes or values */
    uint8_t *found_codes;
    float *found_values;
    int64_t stride; /* from lane to lane */
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
        w->weight = malloc(n * sizeof *w->weight);
    }
    if (!(w->features && w->rows && w->packed && w->stack && w->inverse && (!problem->extra || (w->own && w->y && w->weight))))
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
    free(w->weight);
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

#endif
