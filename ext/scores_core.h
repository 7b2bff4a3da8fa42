/* Sums and counts over bins by which imputed tracks are scored. */

#ifndef PREDICTD_SCORES_CORE_H
#define PREDICTD_SCORES_CORE_H

#include <stddef.h>
#include <stdint.h>

/* How values become keys: `dropped` bits of magnitudes are rounded away; with signs `middle` is the key of 0. */
typedef struct {
    int dropped, is_signed;
    int32_t middle;
} predictd_key_rule;

void predictd_keys(const float *restrict values, size_t n, predictd_key_rule rule, int32_t *restrict keys);

/*
 * In what follows there are t tracks of n bins each, one after the other: the observed one, and t - 1 imputed ones.
 * Count the keys of each: (t × n_keys).
 */
void predictd_tally_float(const float *tracks, size_t t, size_t n, predictd_key_rule rule, uint32_t *counts,
                          size_t n_keys);
void predictd_tally_double(const double *tracks, size_t t, size_t n, predictd_key_rule rule, uint32_t *counts,
                           size_t n_keys);

/* Means and centred products of the observed and each imputed track, moved to the means of all that came before. */
enum { PREDICTD_N, PREDICTD_MEAN_Y, PREDICTD_MEAN_X, PREDICTD_YX, PREDICTD_YY, PREDICTD_XX, PREDICTD_ERRORS,
       PREDICTD_LOWEST_Y, PREDICTD_LOWEST_X, PREDICTD_HIGHEST_Y, PREDICTD_HIGHEST_X, PREDICTD_JOINT };
void predictd_joint_float(const float *tracks, size_t t, size_t n, double *states);
void predictd_joint_double(const double *tracks, size_t t, size_t n, double *states);

/* Weights, and weighted squared errors, added to `sums`: two for each imputed track. */
void predictd_weighted_float(const float *tracks, size_t t, size_t n, const float *weights, double *sums);
void predictd_weighted_double(const double *tracks, size_t t, size_t n, const float *weights, double *sums);

/*
 * What is known of the tracks when all keys have been counted: of each track's keys (t × n_keys) their places among
 * those of all tracks, those of the observed track first: n_observed; and in `ranks`, from the start of a track to that of the
 * next, its ranks by how far a key is above `below`, where it is.
 */
typedef struct {
    const int32_t *places, *below;
    const double *ranks;
    const int64_t *starts;
    size_t n_keys, n_observed;
    predictd_key_rule rule;
} predictd_rank_tables;

/*
 * For each imputed track x and the observed one y. `tops`, 4 for each track, holds of its top 1 % and 5 % a threshold,
 * and how many bins with just that key are still to be taken; these are counted down. Added to `sums` are products and
 * sums of ranks; bins, squared errors and ranks of the other track in both tops of 1 %; overlaps of tops; bins and
 * ranks of x in peaks (`in_peaks` may be NULL). Bins of the tops and in peaks are counted by the other track's places, and by
 * those of x, in `observed`, `imputed` (imputed tracks × n_observed) and `peaks`.
 */
enum { PREDICTD_RANK_YX, PREDICTD_RANK_Y, PREDICTD_RANK_X, PREDICTD_RANK_YY, PREDICTD_RANK_XX, PREDICTD_OBSERVED,
       PREDICTD_OBSERVED_ERRORS, PREDICTD_OBSERVED_RANKS, PREDICTD_IMPUTED, PREDICTD_IMPUTED_ERRORS,
       PREDICTD_IMPUTED_RANKS, PREDICTD_MATCH, PREDICTD_CATCH_OBSERVED, PREDICTD_CATCH_IMPUTED, PREDICTD_PEAKS,
       PREDICTD_PEAKS_RANKS, PREDICTD_COMPARED };
typedef struct {
    int64_t *observed, *imputed, *peaks;
} predictd_positive;

void predictd_compare_float(const float *tracks, size_t t, size_t n, const uint8_t *in_peaks,
                            predictd_rank_tables tables, int64_t *tops, double *sums, predictd_positive positive);
void predictd_compare_double(const double *tracks, size_t t, size_t n, const uint8_t *in_peaks,
                             predictd_rank_tables tables, int64_t *tops, double *sums, predictd_positive positive);

/*
 * Means of m assays in n bins: of some of the rows, `stride` apart, in each bin; the mean times a factor; and the variance, if
 * it is wanted. Those of an assay are in `chosen` from its start to that of the next. Of `out` three rows, `stride` apart, are
 * of each assay; `between` those of an assay and of the next.
 */
typedef struct {
    float *first;
    size_t between, stride;
    int has_variance;
} predictd_means;

void predictd_assays(const float *restrict rows, size_t stride, size_t n, const int64_t *restrict chosen,
                     const int64_t *restrict starts, const float *restrict factors, size_t m, predictd_means out);

/* To each of m rows of n values: add a number, then bring within bounds. */
void predictd_bound(float *restrict rows, size_t m, size_t n, const float *restrict added, const float *restrict low,
                    const float *restrict high);

#endif
