#include "half_core.h"

#include <string.h>

#include "multiversion.h"

static inline float as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t as_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

PREDICTD_MULTIVERSION
void predictd_widen(const uint16_t *restrict half, float *restrict out, size_t n)
{
    const uint32_t smallest_normal = UINT32_C(0x0400) << 13, infinity = UINT32_C(0x7C00) << 13;
    const uint32_t rebias = (uint32_t)(127 - 15) << 23; /* the exponents' offsets: 127 in float, 15 in half */
    const uint32_t subnormal_one = rebias + (UINT32_C(1) << 23); /* 2^-14, where half's subnormals end */

    for (size_t i = 0; i < n; ++i) {
        const uint32_t sign = (uint32_t)(half[i] & 0x8000) << 16;
        const uint32_t magnitude = (uint32_t)(half[i] & 0x7FFF) << 13;
        /* A subnormal is read as 2^-14 and a fraction, then loses the 2^-14: exact, all floats normal. */
        const uint32_t small = as_bits(as_float(magnitude + subnormal_one) - as_float(subnormal_one));
        const uint32_t normal = magnitude + rebias + (magnitude >= infinity ? rebias : 0);
        out[i] = as_float(sign | (magnitude < smallest_normal ? small : normal));
    }
}
