#include "networks_core.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "networks_layer.h"

/* Networks alone may fuse multiplications and additions (setup.py): without, they take twice as long. */
PREDICTD_MULTIVERSION_FUSED
void predictd_apply_networks(predictd_networks networks, const float *weights, const float *inputs, size_t n, size_t k,
                             float *out)
{
    for (size_t bin = 0; bin < n; bin += TILE) {
        const float *read[TILE], *within[TILE];
        float added[TILE] = {0};
        vector units[TILE * VECTORS];
        float hidden[TILE * PREDICTD_UNITS];
        for (size_t t = 0; t < TILE; ++t) {
            /* Beyond the last bin it is that one again. */
            read[t] = inputs + (bin + t < n ? bin + t : n - 1) * k;
            within[t] = hidden + t * PREDICTD_UNITS;
        }
        for (size_t r = 0; r < networks.n_networks; ++r) {
            const size_t units_before = r * PREDICTD_UNITS;
            if (weights[r] == 0.0f)
                continue;
            layer(read, k, networks.first + units_before * networks.n_rows, networks.first_bias + units_before, units);
            memcpy(hidden, units, sizeof hidden);
            layer(within, PREDICTD_UNITS, networks.second + units_before * PREDICTD_UNITS,
                  networks.second_bias + units_before, units);
            for (size_t t = 0; t < TILE; ++t) {
                vector sum = {0};
                for (size_t v = 0; v < VECTORS; ++v)
                    sum += units[t * VECTORS + v] * LOAD(networks.last + units_before + v * LANES);
                float given = networks.last_bias[r];
                for (size_t j = 0; j < LANES; ++j)
                    given += sum[j];
                added[t] += weights[r] * given;
            }
        }
        for (size_t t = 0; t < TILE && bin + t < n; ++t)
            out[bin + t] = added[t];
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

PREDICTD_MULTIVERSION_FUSED
void predictd_compress(float *values, size_t n)
{
    for (size_t i = 0; i < n; ++i) {
        const float size = 1.0f + fabsf(values[i]);
        values[i] = size <= FLT_MAX ? copysignf(logarithm(size), values[i]) : values[i];
    }
}
