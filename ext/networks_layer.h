/* Layers of small neural networks at a few bins at once. */

#ifndef PREDICTD_NETWORKS_LAYER_H
#define PREDICTD_NETWORKS_LAYER_H

#include <stddef.h>

#include "multiversion.h"
#include "networks_core.h"

/* LANES numbers are added at once, in vectors of a layer's units; TILE bins share what is read of a layer. */
enum { VECTORS = PREDICTD_UNITS / LANES, NARROW = 8 };

#if defined(__GNUC__)
typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int mask __attribute__((vector_size(4 * LANES)));
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float narrow __attribute__((vector_size(4 * NARROW)));
typedef float unaligned_narrow __attribute__((vector_size(4 * NARROW), aligned(4), may_alias));
#define LOAD(address) (*(const unaligned *)(address))
#define LOAD_NARROW(address) (*(const unaligned_narrow *)(address))
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
PREDICTD_INLINE void layer(const float *const *inputs, size_t k, const float *w, const float *bias, float *out)
{
    vector sums[TILE][VECTORS];
    for (int t = 0; t < TILE; ++t)
        for (int v = 0; v < VECTORS; ++v)
            sums[t][v] = LOAD(bias + v * LANES);
    add_products(inputs, k, w, sums);
    for (int t = 0; t < TILE; ++t)
        for (int v = 0; v < VECTORS; ++v)
            STORE(out + t * PREDICTD_UNITS + v * LANES, RAMP(sums[t][v]));
}

/* What a network gives by its last layer; added in one order, whatever LANES is. */
PREDICTD_INLINE float last_layer(const float *units, const float *last, float bias)
{
    narrow sum = {0};
    for (int v = 0; v < PREDICTD_UNITS; v += NARROW)
        sum += LOAD_NARROW(units + v) * LOAD_NARROW(last + v);
    for (int j = 0; j < NARROW; ++j)
        bias += sum[j];
    return bias;
}

#endif
