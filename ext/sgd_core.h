/* The paper's stochastic gradient descent: see predictd/model/reference.py, which is its specification. */

#ifndef PREDICTD_SGD_CORE_H
#define PREDICTD_SGD_CORE_H

#include <stdint.h>

/* Rows are padded to a multiple of so many values: one 64-byte vector of float, two of double. */
enum { PREDICTD_BLOCK = 16 };

typedef struct {
    const float *y;             /* n_bins x n_pairs */
    const int32_t *pair_cells;  /* n_pairs */
    const int32_t *pair_assays; /* n_pairs */
    const double *pen_cells;    /* one a cell row */
    const double *pen_assays;   /* one an assay row */
    const double *decay_powers; /* 4 x 256: entry [k][i] is (1 - decay)^(i * 256^k) */
    int64_t n_pairs;            /* below 2^32, as n_bins */
    int64_t n_bins;
    int64_t rank;               /* L; a row's bias is at index L */
    double pen_bins;
    double mu;
    double learning_rate;
    double beta1;
    double beta2;
    double epsilon;
    double decay;
} predictd_sgd_problem;

/*
 * Make the updates of draws first .. first + count - 1 and return the sum of their squared errors.
 *
 * Values are rows x {x, m, v} x width, scalars rows x {d1, d2, t}. Nothing is checked here.
 */
double predictd_sgd_float(const predictd_sgd_problem *problem, float *cells, double *cell_scalars,
                          float *assays, double *assay_scalars, float *bins, double *bin_scalars,
                          uint64_t stream, uint64_t first, uint64_t count);
double predictd_sgd_double(const predictd_sgd_problem *problem, double *cells, double *cell_scalars,
                           double *assays, double *assay_scalars, double *bins, double *bin_scalars,
                           uint64_t stream, uint64_t first, uint64_t count);

#endif
