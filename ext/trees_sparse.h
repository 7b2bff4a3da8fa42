/*
 * Features that mostly have one value, such as the zeros of single cells: only the others are looked at. Sums are
 * exact, so that trees are the same to the bit as without this.
 *
 * A small node goes through its samples: the bits of each tell which of the candidates differ there. What a large node
 * does is in trees_spread.h.
 */

#ifndef PREDICTD_TREES_SPARSE_H
#define PREDICTD_TREES_SPARSE_H

#include "trees_node.h"

/* What a sample costs in a node that is not spread, in entries of one that is. */
#define SAMPLE_COST 28
/* Samples that are looked at together, and words with hits that are written at once. */
enum { ROWS = 32, AT_ONCE = 4 };

/* Which of a sample's words has the bit of a feature. */
PREDICTD_INLINE int64_t word_of(int32_t feature)
{
    return feature / PREDICTD_LINE * 8 + feature % PREDICTD_LINE / 64;
}

PREDICTD_INLINE int32_t sample_of(const predictd_sparse *sparse, const void *samples, int64_t entry)
{
    return sparse->narrow ? ((const uint16_t *)samples)[entry] : ((const int32_t *)samples)[entry];
}

PREDICTD_INLINE entry_list all_entries(const predictd_sparse *sparse)
{
    return (entry_list){sparse->by_feature, sparse->samples, sparse->ends};
}

/* Some samples of a node and what was found in them: apart in steps without a branch, as none can be foreseen. */
typedef struct {
    uint64_t live[ROWS];
    int32_t words[ROWS * 64 + AT_ONCE]; /* sample * 64 + word */
    int64_t place[ROWS * MOST_LANES];
    int64_t packed[ROWS * MOST_LANES];
    uint8_t lane[ROWS * MOST_LANES];
} finding;

/* Returns 0, or -1 where memory is short. */
static inline int open_sparse(const predictd_forest_problem *problem, workspace *w)
{
    const predictd_sparse *sparse = problem->sparse;
    const int64_t n = problem->n_samples, m = problem->n_features;
    if (!sparse)
        return 0;
    int64_t longest = 0;
    for (int64_t feature = 0; feature < m; ++feature) {
        const int64_t length = sparse->by_feature[feature + 1] - sparse->by_feature[feature];
        longest = length > longest ? length : longest;
    }
    const double walked = (double)sparse->by_feature[m] / (double)m * (double)problem->n_candidates;
    w->wide = walked > (double)n * SAMPLE_COST ? n : (int64_t)(walked / SAMPLE_COST);
    w->wide = w->wide < FEW ? FEW : w->wide;
    /* Not a power of two of cache lines, so that lanes do not displace each other. */
    w->stride = (w->wide < n ? w->wide : n) / 16 * 16 + 24;
    w->weight_of = calloc((size_t)n, 1);
    w->mass = calloc((size_t)n, sizeof *w->mass);
    w->looked_at = calloc((size_t)sparse->n_words, sizeof *w->looked_at);
    w->lane_of = malloc((size_t)sparse->n_words * 64);
    w->bit_of = malloc((size_t)m * sizeof *w->bit_of);
    w->finding = malloc(sizeof(finding));
    w->n_up_to = calloc((size_t)(longest + 1), sizeof *w->n_up_to);
    w->up_to = malloc((size_t)(longest + 1) * sizeof *w->up_to);
    w->found = malloc((size_t)w->stride * MOST_LANES * sizeof *w->found);
    w->found_codes = malloc((size_t)w->stride * MOST_LANES);
    w->found_values = malloc((size_t)w->stride * MOST_LANES * sizeof *w->found_values);
    if (!(w->weight_of && w->mass && w->looked_at && w->lane_of && w->bit_of && w->finding && w->n_up_to && w->up_to &&
          w->found && w->found_codes && w->found_values))
        return -1;
    for (int64_t feature = 0; feature < m; ++feature)
        w->bit_of[feature] = (int32_t)(word_of((int32_t)feature) * 64 + feature % 64);
    w->others = all_entries(sparse);
    return 0;
}

static inline void close_sparse(workspace *w)
{
    free(w->weight_of);
    free(w->mass);
    free(w->n_up_to);
    for (int i = 0; i < 3; ++i)
        free(w->others_memory[i]);
    free(w->looked_at);
    free(w->lane_of);
    free(w->bit_of);
    free(w->finding);
    free(w->up_to);
    free(w->found);
    free(w->found_codes);
    free(w->found_values);
}

/* Where the value of an entry is, whose bit is one of this word. */
PREDICTD_INLINE int64_t place_of(const uint64_t *line, int64_t word, uint64_t bit)
{
    return (int64_t)(line[6] + (line[7] >> (10 * word) & 1023)) + PREDICTD_COUNT_BITS(line[word] & (bit - 1));
}

/* A sample's value of a feature, or its code. */
PREDICTD_INLINE float value_of(const predictd_sparse *sparse, int32_t row, int32_t feature, int extra)
{
    const int64_t word = word_of(feature);
    const uint64_t *line = sparse->bits + row * sparse->n_words + word / 8 * 8;
    const uint64_t bit = UINT64_C(1) << (feature % 64);
    if (!(line[word % 8] & bit))
        return sparse->common[feature];
    const int64_t place = place_of(line, word % 8, bit);
    return extra ? sparse->values[place] : sparse->codes[place];
}

/* Which of at most 64 words have bits in common. */
PREDICTD_INLINE uint64_t words_in_common(const uint64_t *restrict one, const uint64_t *restrict other, int64_t n)
{
    uint64_t live = 0;
    for (int64_t k = 0; k < n; ++k)
        live |= (uint64_t)((one[k] & other[k]) != 0) << k;
    return live;
}

/* Which words of some samples have bits in common with the candidates; returns how many. */
PREDICTD_INLINE int64_t find_words(const uint64_t *restrict bits, int64_t n_words, const int32_t *restrict rows,
                                   int64_t n, const uint64_t *restrict looked_at, int64_t width, finding *f)
{
    int64_t found = 0;
    for (int64_t i = 0; i < n; ++i)
        for (int64_t word = 0; word < width; word += 8)
            PREDICTD_PREFETCH_READ(bits + rows[i] * n_words + word);
    for (int64_t i = 0; i < n; ++i)
        f->live[i] = words_in_common(bits + rows[i] * n_words, looked_at, width);
    for (int64_t i = 0; i < n; ++i) {
        uint64_t live = f->live[i];
        int64_t here = found;
        found += PREDICTD_COUNT_BITS(live);
        /* More are written than there are, in most cases, and the rest is written over. */
        do {
            for (int k = 0; k < AT_ONCE; ++k) {
                f->words[here++] = (int32_t)(i * 64 + PREDICTD_LOWEST_BIT(live | UINT64_C(1) << 63));
                live &= live - 1;
            }
        } while (live);
    }
    return found;
}

/*
 * What differs in a node that is not spread, of so many candidates from number k on: that of lane i begins at place
 * i * w->stride of w->found and its codes or values, and w->n_found[i] says how much it is.
 */
PREDICTD_INLINE void find_together(const predictd_sparse *sparse, workspace *w, const node *at, int64_t k,
                                   int64_t lanes, int extra)
{
    finding *f = w->finding;
    for (int64_t lane = 0; lane < lanes; ++lane) {
        const int32_t bit = w->bit_of[w->features[k + lane]];
        w->lane_of[bit] = (uint8_t)lane;
        w->looked_at[bit / 64] |= UINT64_C(1) << (bit % 64);
        w->n_found[lane] = 0;
    }
    for (int64_t i = at->start; i < at->stop; i += ROWS)
        for (int64_t first = 0; first < sparse->n_words; first += 64) {
            const int64_t rest = sparse->n_words - first, rows = at->stop - i < ROWS ? at->stop - i : ROWS;
            const int64_t n = find_words(sparse->bits + first, sparse->n_words, w->rows + i, rows,
                                         w->looked_at + first, rest < 64 ? rest : 64, f);
            int64_t found = 0;
            for (int64_t j = 0; j < n; ++j) {
                const int64_t row = f->words[j] / 64, word = f->words[j] % 64;
                const uint64_t *line = sparse->bits + w->rows[i + row] * sparse->n_words + first + word / 8 * 8;
                for (uint64_t hits = line[word % 8] & w->looked_at[first + word]; hits; hits &= hits - 1) {
                    const int64_t place = f->place[found] = place_of(line, word % 8, hits & (~hits + 1));
                    PREDICTD_PREFETCH_READ(extra ? (const void *)(sparse->values + place) : sparse->codes + place);
                    f->packed[found] = w->packed[i + row];
                    f->lane[found++] = w->lane_of[(first + word) * 64 + PREDICTD_LOWEST_BIT(hits)];
                }
            }
            for (int64_t j = 0; j < found; ++j) {
                const int64_t there = f->lane[j] * w->stride + w->n_found[f->lane[j]]++;
                w->found[there] = f->packed[j];
                if (extra)
                    w->found_values[there] = sparse->values[f->place[j]];
                else
                    w->found_codes[there] = sparse->codes[f->place[j]];
            }
        }
    for (int64_t lane = 0; lane < lanes; ++lane)
        w->looked_at[w->bit_of[w->features[k + lane]] / 64] = 0;
}

/* What a method does with a candidate: each returns whether it takes more than one value in the node. */
typedef struct {
    int (*found)(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature, double unit,
                 int64_t first, int64_t n, cut *best);
    int (*spread)(const predictd_forest_problem *problem, workspace *w, const node *at, int32_t feature, double unit,
                  cut *best);
    int extra;
} try_candidate;

/* Draw candidates until so many were tried and one of them varies; `how` is a constant, and inlined. */
PREDICTD_INLINE cut best_of_candidates(const predictd_forest_problem *problem, workspace *w, const node *at,
                                       try_candidate how)
{
    cut best = {-1.0, 0, -1, 0.0F};
    const int64_t wanted = problem->n_candidates < w->n_features ? problem->n_candidates : w->n_features;
    double unit[MOST_LANES];
    int varies = 0;
    for (int64_t k = 0, lanes; k < wanted || (k < w->n_features && !varies); k += lanes) {
        lanes = k >= wanted ? 1 : wanted - k < MOST_LANES ? wanted - k : MOST_LANES;
        for (int64_t lane = 0; lane < lanes; ++lane) {
            const uint64_t number = next_random(w);
            draw_candidate(w, k + lane, number);
            unit[lane] = (double)(int32_t)(number & UINT32_C(0x7FFFFFFF)) * 0x1p-31;
        }
        if (!at->spread)
            find_together(problem->sparse, w, at, k, lanes, how.extra);
        for (int64_t lane = 0; lane < lanes; ++lane) {
            const int32_t feature = w->features[k + lane];
            if (at->spread)
                varies |= how.spread(problem, w, at, feature, unit[lane], &best);
            else if (w->n_found[lane])
                varies |= how.found(problem, w, at, feature, unit[lane], lane * w->stride, w->n_found[lane], &best);
        }
    }
    return best;
}

#endif
