/* Layers of small neural networks at a few bins at once. */

#ifndef PREDICTD_NETWORKS_LAYER_H
#define PREDICTD_NETWORKS_LAYER_H

#include <stddef.h>

#include "multiversion.h"
#include "networks_core.h"

/*
 * Numbers that are added at once; vectors of a layer's units; bins that share what is read of a layer, so many that all
 * their sums stay in the sixteen registers of AVX.
 */
enum { LANES = 8, VECTORS = PREDICTD_UNITS / LANES, TILE = 3 };

#if defined(__GNUC__)
typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int mask __attribute__((vector_size(4 * LANES)));
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define LOAD(address) (*(const unaligned *)(address))
#define STORE(address, own) (*(unaligned *)(address) = (own))
/* 0 where it is negative; NaN stays. */
#define RAMP(sum) ((vector)((mask)(sum) & ~((sum) < (vector){0})))
/* `own` where a unit is above 0, else 0. */
#define WHERE_POSITIVE(own, unit) ((vector)((mask)(own) & ((unit) > (vector){0})))
#else
#error "a compiler with GNU vectors (GCC, Clang) is needed"
#endif

/* Add inputs · w to the sums of units at some bins; rows of w are PREDICTD_UNITS long. */
PREDICTD_INLINE void add_products(const float *const *inputs, size_t k, const float *w, vector sums[TILE][VECTORS])
{
    for (size_t i = 0; i < k; ++i)
        for (int v = 0; v < VECTORS; ++v) {
            const vector own = LOAD(w + i * PREDICTD_UNITS + v * LANES);
            for (int t = 0; t < TILE; ++t)
                sums[t][v] += inputs[t][i] * own;
        }
}

/* A layer of units at some bins: bias + inputs · w, and 0 where that is negative. */
PREDICTD_INLINE void layer(const float *const *inputs, size_t k, const float *w, const float *bias, vector *out)
{
    vector sums[TILE][VECTORS];
    for (int t = 0; t < TILE; ++t)
        for (int v = 0; v < VECTORS; ++v)
            sums[t][v] = LOAD(bias + v * LANES);
    add_products(inputs, k, w, sums);
    for (int t = 0; t < TILE; ++t)
        for (int v = 0; v < VECTORS; ++v)
            out[t * VECTORS + v] = RAMP(sums[t][v]);
}

#endif
