/*
 * Small neural networks, and what they read, for one kind of processor: included once for each.
 *
 * NETWORKS_TARGET says for which one functions are compiled, NETWORKS_FUNCTION names them; LANES and TILE are those of
 * networks_layer.h.
 */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "networks_layer.h"

/* Bins that a network's weights, once read, are used for: they, and what is read there, stay in the nearest cache. */
enum { TOGETHER = 48 };
_Static_assert(TOGETHER % TILE == 0, "tiles are whole");

NETWORKS_TARGET
void NETWORKS_FUNCTION(apply_networks)(predictd_networks networks, const float *weights, const float *inputs, size_t n,
                                       size_t k, float *out)
{
    for (size_t bin = 0; bin < n; bin += TOGETHER) {
        const float *read[TOGETHER], *within[TILE];
        float added[TOGETHER] = {0}, hidden[TILE * PREDICTD_UNITS], units[TILE * PREDICTD_UNITS];
        const size_t some = n - bin < TOGETHER ? n - bin : TOGETHER;
        for (size_t t = 0; t < TOGETHER; ++t)
            /* Beyond the last bin it is that one again. */
            read[t] = inputs + (t < some ? bin + t : n - 1) * k;
        for (size_t t = 0; t < TILE; ++t)
            within[t] = hidden + t * PREDICTD_UNITS;
        for (size_t r = 0; r < networks.n_networks; ++r) {
            const size_t units_before = r * PREDICTD_UNITS;
            if (weights[r] == 0.0f)
                continue;
            for (size_t start = 0; start < some; start += TILE) {
                layer(read + start, k, networks.first + units_before * networks.n_rows,
                      networks.first_bias + units_before, hidden);
                layer(within, PREDICTD_UNITS, networks.second + units_before * PREDICTD_UNITS,
                      networks.second_bias + units_before, units);
                for (size_t t = 0; t < TILE; ++t)
                    added[start + t] += weights[r] * last_layer(units + t * PREDICTD_UNITS,
                                                                networks.last + units_before, networks.last_bias[r]);
            }
        }
        memcpy(out + bin, added, some * sizeof *added);
    }
}

/* Natural logarithm of a finite number ≥ 1, up to rounding. */
PREDICTD_INLINE float logarithm(float number)
{
    union {
        float number;
        int32_t bits;
    } whole = {number}, part;
    /* number = part · 2^power, √½ ≤ part < √2: the bits of √½ are taken away before the power is read. */
    const int32_t power = (whole.bits - 0x3f3504f3) >> 23;
    part.bits = whole.bits - power * (1 << 23);
    /* log(part) = 2 artanh(s), whose series here goes on with s^11/11 < 4e-10. */
    const float s = (part.number - 1.0f) / (part.number + 1.0f), square = s * s;
    const float series = 1.0f + square * (1.0f / 3 + square * (1.0f / 5 + square * (1.0f / 7 + square * (1.0f / 9))));
    return (float)power * 0.69314718f + 2.0f * s * series;
}

NETWORKS_TARGET
void NETWORKS_FUNCTION(compress)(float *values, size_t n)
{
    for (size_t i = 0; i < n; ++i) {
        const float size = 1.0f + fabsf(values[i]);
        values[i] = size <= FLT_MAX ? copysignf(logarithm(size), values[i]) : values[i];
    }
}
