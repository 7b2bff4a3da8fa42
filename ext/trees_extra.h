/* The cuts of extra trees: one random cut of each candidate, many candidates at a time. */

#ifndef PREDICTD_TREES_EXTRA_H
#define PREDICTD_TREES_EXTRA_H

#include "trees_part.h"

/*
 * Most nodes have few samples, too few to fill a vector: so the lanes of the vectors are candidates. Arrays of `width`
 * have a place for each of them; `own` has such a row for each of the n samples.
 */

PREDICTD_INLINE void find_ranges(const float *restrict own, int64_t n, int64_t width, float *restrict low,
                                 float *restrict high)
{
    for (int64_t lane = 0; lane < width; ++lane)
        low[lane] = high[lane] = own[lane];
    for (int64_t i = 1; i < n; ++i)
        for (int64_t lane = 0; lane < width; ++lane) {
            const float value = own[i * width + lane];
            low[lane] = value < low[lane] ? value : low[lane];
            high[lane] = value > high[lane] ? value : high[lane];
        }
}

/* Cuts uniform between two values, but not the higher one, so that neither side is empty. */
PREDICTD_INLINE void place_cuts(const float *restrict low, const float *restrict high, const double *restrict unit,
                                int64_t width, float *restrict last)
{
    for (int64_t lane = 0; lane < width; ++lane) {
        const double least = low[lane];
        const float value = (float)(least + unit[lane] * ((double)high[lane] - least));
        last[lane] = low[lane] <= value && value < high[lane] ? value : low[lane];
    }
}

/* Sums of y and of weights on the left; y are whole numbers whose sums doubles hold exactly. */
PREDICTD_INLINE void sum_left(const float *restrict own, const double *restrict y, const int32_t *restrict weight,
                              int64_t n, int64_t width, const float *restrict last, double *restrict sum,
                              int32_t *restrict count)
{
    for (int64_t lane = 0; lane < width; ++lane) {
        sum[lane] = 0.0;
        count[lane] = 0;
    }
    for (int64_t i = 0; i < n; ++i) {
        const double value = y[i];
        const int32_t times = weight[i];
        for (int64_t lane = 0; lane < width; ++lane) {
            sum[lane] += own[i * width + lane] <= last[lane] ? value : 0.0;
            count[lane] += own[i * width + lane] <= last[lane] ? times : 0;
        }
    }
}

/* As score_of in trees_core.c; of a lane that does not vary it is no number, or means nothing. */
PREDICTD_INLINE void score_lanes(double total, int32_t n, int64_t width, const double *restrict sum,
                                 const int32_t *restrict count, double *restrict score)
{
    for (int64_t lane = 0; lane < width; ++lane) {
        const double right = total - sum[lane];
        score[lane] = sum[lane] * sum[lane] * (1.0 / (double)count[lane]) +
                      right * right * (1.0 / (double)(n - count[lane]));
    }
}

/* The weights of a node's samples together. */
PREDICTD_INLINE int32_t weight_of_node(const predictd_forest_problem *problem, const node *at)
{
    return (int32_t)(at->total & (((int64_t)1 << problem->weight_bits) - 1));
}

/* Draw so many candidates, from number k on, and try a cut of each. Returns whether one of them varies in the node. */
PREDICTD_INLINE int try_lanes(const predictd_forest_problem *problem, workspace *w, const node *at, int64_t k,
                              int64_t lanes, cut *best)
{
    const int64_t n = at->stop - at->start, width = (lanes + LANES - 1) / LANES * LANES;
    const int32_t *restrict rows = w->rows + at->start;
    float *restrict own = w->own;
    float low[MOST_LANES], high[MOST_LANES], last[MOST_LANES];
    double unit[MOST_LANES], sum[MOST_LANES], score[MOST_LANES];
    int32_t count[MOST_LANES];
    int varies = 0;
    for (int64_t lane = 0; lane < width; ++lane)
        unit[lane] = 0.0;
    for (int64_t lane = 0; lane < lanes; ++lane) {
        const uint64_t number = next_random(w);
        draw_candidate(w, k + lane, number);
        unit[lane] = (double)(int32_t)(number & UINT32_C(0x7FFFFFFF)) * 0x1p-31;
    }
    for (int64_t lane = 0; lane < lanes; ++lane) {
        const float *restrict column = problem->values + w->features[k + lane] * problem->n_samples;
        for (int64_t i = 0; i < n; ++i) {
            own[i * width + lane] = column[rows[i]];
            PREDICTD_ONE_BY_ONE;
        }
    }
    find_ranges(own, n, width, low, high);
    place_cuts(low, high, unit, width, last);
    sum_left(own, w->y, w->weight, n, width, last, sum, count);
    score_lanes((double)(at->total >> problem->weight_bits), weight_of_node(problem, at), width, sum, count, score);
    for (int64_t lane = 0; lane < lanes; ++lane) {
        if (!(low[lane] < high[lane]))
            continue;
        varies = 1;
        if (score[lane] > best->score) {
            best->score = score[lane];
            best->left = (int64_t)sum[lane] * ((int64_t)1 << problem->weight_bits) + count[lane];
            best->feature = w->features[k + lane];
            best->last = last[lane];
        }
    }
    return varies;
}

/* Compare a cut with the best one. */
PREDICTD_INLINE void try_cut(const predictd_forest_problem *problem, const node *at, int32_t feature, int64_t left,
                             float last, cut *best)
{
    const double sum = (double)(left >> problem->weight_bits);
    const int32_t count = (int32_t)(left & (((int64_t)1 << problem->weight_bits) - 1));
    double score;
    score_lanes((double)(at->total >> problem->weight_bits), weight_of_node(problem, at), 1, &sum, &count, &score);
    if (score > best->score)
        *best = (cut){score, left, feature, last};
}

/* Try a cut of a candidate by what differs from its common value. Returns whether it varies in the node. */
PREDICTD_INLINE int cut_found(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature,
                              double unit, int64_t first, int64_t n, cut *best)
{
    const float *restrict values = w->found_values + first;
    const int64_t *restrict packed = w->found + first;
    const float common = problem->sparse->common[feature];
    const int some_common = n < at->stop - at->start;
    float low = some_common || !n ? common : values[0], high = low, last;
    int64_t left = 0, rest = at->total;
    for (int64_t i = 0; i < n; ++i) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    if (!(low < high))
        return 0;
    place_cuts(&low, &high, &unit, 1, &last);
    for (int64_t i = 0; i < n; ++i) {
        left += values[i] <= last ? packed[i] : 0;
        rest -= packed[i];
    }
    left += some_common && common <= last ? rest : 0;
    try_cut(problem, at, feature, left, last, best);
    return 1;
}

/* The same in a node that is spread. */
PREDICTD_INLINE int cut_spread(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature,
                               double unit, cut *best)
{
    const predictd_sparse *sparse = problem->sparse;
    const uint8_t *restrict weight_of = w->weight_of;
    const int64_t begin = sparse->by_feature[feature], end = sparse->by_feature[feature + 1];
    const int64_t size = weight_of_node(problem, at);
    const float common = sparse->common[feature];
    int64_t first = begin, stop = end, least = sparse->by_value[feature], greatest = sparse->by_value[feature + 1] - 1;
    while (first < end && !weight_of[sample_of(sparse, sparse->samples, first)])
        ++first;
    if (first == end)
        return 0;
    while (!weight_of[sample_of(sparse, sparse->samples, stop - 1)])
        --stop;
    while (sparse->ends[least] <= first - begin)
        ++least;
    while (greatest > least && sparse->ends[greatest - 1] >= stop - begin)
        --greatest;
    float low = sparse->distinct[least], high = sparse->distinct[greatest], last;
    int64_t entries = 0;
    if (at->stop - at->start <= end - begin)
        entries = sum_weights(sparse, w, first, stop - first);
    if (entries < size) {
        low = common < low ? common : low;
        high = common > high ? common : high;
    }
    if (!(low < high))
        return 0;
    place_cuts(&low, &high, &unit, 1, &last);
    const int64_t above = first_above(sparse, feature, last);
    const int64_t middle = begin + begin_of(sparse, sparse->ends, feature, above);
    const int64_t others_middle = w->others.by_feature[feature] + begin_of(sparse, w->others.ends, feature, above);
    /* Sum the side without the common value. */
    const int keeps_left = common <= last;
    const int64_t from = keeps_left ? middle : first, to = keeps_left ? stop : middle;
    int64_t sum = w->unit ? w->unit * sum_weights(sparse, w, from, to - from) : 0;
    for (int64_t entry = keeps_left ? others_middle : w->others.by_feature[feature];
         entry < (keeps_left ? w->others.by_feature[feature + 1] : others_middle); ++entry)
        sum += w->mass[sample_of(sparse, w->others.samples, entry)];
    try_cut(problem, at, feature, keeps_left ? at->total - sum : sum, last, best);
    return 1;
}

PREDICTD_INLINE cut random_cut_of_pair(const predictd_forest_problem *problem, workspace *w, const node *at)
{
    cut best = {-1.0, 0, -1, 0.0F};
    for (int64_t k = 0; k < w->n_features && best.feature < 0; ++k)
        try_pair(problem, w, at, draw_candidate(w, k, next_random(w)), &best);
    return best;
}

PREDICTD_INLINE cut best_random_cut(const predictd_forest_problem *problem, workspace *w, const node *at)
{
    cut best = {-1.0, 0, -1, 0.0F};
    if (problem->sparse)
        return best_of_candidates(problem, w, at, (try_candidate){cut_found, cut_spread, 1});
    const int64_t n = at->stop - at->start, most = n <= FEW ? MOST_LANES : LANES;
    const int64_t wanted = problem->n_candidates < w->n_features ? problem->n_candidates : w->n_features;
    int varies = 0;
    for (int64_t i = 0; i < n; ++i) {
        w->y[i] = (double)(w->packed[at->start + i] >> problem->weight_bits);
        w->weight[i] = (int32_t)(w->packed[at->start + i] & (((int64_t)1 << problem->weight_bits) - 1));
    }
    for (int64_t k = 0; k < wanted; k += most)
        varies |= try_lanes(problem, w, at, k, wanted - k < most ? wanted - k : most, &best);
    for (int64_t k = wanted; k < w->n_features && !varies; ++k)
        varies = try_lanes(problem, w, at, k, 1, &best);
    return best;
}

#endif
