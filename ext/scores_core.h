/* Sums and counts over bins by which imputed tracks are scored. */

#ifndef PREDICTD_SCORES_CORE_H
#define PREDICTD_SCORES_CORE_H

#include <stddef.h>
#include <stdint.h>

/* Bins with their keys: of a track's magnitude `dropped` bits are rounded away; `middle` is the key of 0. */
void predictd_keys(const float *restrict values, size_t n, int dropped, int is_signed, int32_t middle,
                   int32_t *restrict keys);

/* Count keys. */
void predictd_tally(const int32_t *restrict keys, size_t n, uint32_t *restrict counts);

/*
 * Which bins are in the top 1 % (bit 0) and 5 % (bit 1). `tops` holds two thresholds, each followed by how many bins
 * with just that key are still to be taken; these are counted down.
 */
void predictd_classify(const int32_t *restrict keys, size_t n, int64_t *restrict tops, uint8_t *restrict classes);

/* Of keys their places among those that occur, and the ranks there. */
void predictd_ranks(const int32_t *restrict keys, size_t n, const int32_t *restrict places,
                    const double *restrict centred, int32_t *restrict own, double *restrict ranks);

/* Means and centred products of two tracks, moved to the means of all that came before. */
enum { PREDICTD_N, PREDICTD_MEAN_Y, PREDICTD_MEAN_X, PREDICTD_YX, PREDICTD_YY, PREDICTD_XX, PREDICTD_ERRORS,
       PREDICTD_LOWEST_Y, PREDICTD_LOWEST_X, PREDICTD_HIGHEST_Y, PREDICTD_HIGHEST_X, PREDICTD_JOINT };
void predictd_joint_float(const float *y, const float *x, size_t n, double *state);
void predictd_joint_double(const double *y, const double *x, size_t n, double *state);

/* Weights, and weighted squared errors, added to `sums`. */
void predictd_weighted_float(const float *y, const float *x, const float *weights, size_t n, double *sums);
void predictd_weighted_double(const double *y, const double *x, const float *weights, size_t n, double *sums);

/* What is known of a track's bins when all have been counted. */
typedef struct {
    const uint8_t *classes;
    const double *ranks;
    const int32_t *places;
} predictd_ranked;

/*
 * Products and sums of ranks; bins, squared errors and ranks of the other track in both tops of 1 %; overlaps of tops;
 * bins and ranks of x in peaks (bit 2 of the classes of y): added to `sums`. Bins of the tops and in peaks are counted
 * by the other track's keys, and by those of x, in `observed`, `imputed` and `peaks`.
 */
enum { PREDICTD_RANK_YX, PREDICTD_RANK_Y, PREDICTD_RANK_X, PREDICTD_RANK_YY, PREDICTD_RANK_XX, PREDICTD_OBSERVED,
       PREDICTD_OBSERVED_ERRORS, PREDICTD_OBSERVED_RANKS, PREDICTD_IMPUTED, PREDICTD_IMPUTED_ERRORS,
       PREDICTD_IMPUTED_RANKS, PREDICTD_MATCH, PREDICTD_CATCH_OBSERVED, PREDICTD_CATCH_IMPUTED, PREDICTD_PEAKS,
       PREDICTD_PEAKS_RANKS, PREDICTD_COMPARED };
void predictd_compare_float(const float *y, const float *x, predictd_ranked of_y, predictd_ranked of_x, size_t n,
                            double *sums, int64_t *observed, int64_t *imputed, int64_t *peaks);
void predictd_compare_double(const double *y, const double *x, predictd_ranked of_y, predictd_ranked of_x, size_t n,
                             double *sums, int64_t *observed, int64_t *imputed, int64_t *peaks);

/* Some columns of (n × width) values as rows. */
void predictd_columns(const float *restrict values, size_t n, size_t width, const int64_t *restrict columns,
                      size_t k, float *restrict rows);

/* Mean of what some of the rows (of `stride` values each) have in n bins, the mean times a factor, and the variance. */
void predictd_assay(const float *restrict rows, size_t stride, size_t n, const int64_t *restrict chosen, size_t k,
                    float factor, float *restrict mean, float *restrict scaled, float *restrict variance);

#endif
