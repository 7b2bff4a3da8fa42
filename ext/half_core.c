#include "half_core.h"

#include <string.h>

#include "multiversion.h"

/* Bins of a tile in which columns become rows. */
enum { TILE = 128 };

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

PREDICTD_INLINE float widened(uint16_t half)
{
    const uint32_t smallest_normal = UINT32_C(0x0400) << 13, infinity = UINT32_C(0x7C00) << 13;
    const uint32_t rebias = (uint32_t)(127 - 15) << 23; /* the exponents' offsets: 127 in float, 15 in half */
    const uint32_t subnormal_one = rebias + (UINT32_C(1) << 23); /* 2^-14, where half's subnormals end */
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    const uint32_t magnitude = (uint32_t)(half & 0x7FFF) << 13;
    /* A subnormal is read as 2^-14 and a fraction, then loses the 2^-14: exact, all floats normal. */
    const uint32_t small = as_bits(as_float(magnitude + subnormal_one) - as_float(subnormal_one));
    const uint32_t normal = magnitude + rebias + (magnitude >= infinity ? rebias : 0);
    return as_float(sign | (magnitude < smallest_normal ? small : normal));
}

PREDICTD_MULTIVERSION
void predictd_widen(const uint16_t *restrict half, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; ++i)
        out[i] = widened(half[i]);
}

/* Codes of floats ascend with them as whole numbers: from below minus infinity to above infinity are those of NaN. */
PREDICTD_INLINE uint32_t code_of(float value)
{
    const uint32_t bits = as_bits(value);
    return bits ^ ((uint32_t)((int32_t)bits >> 31) | UINT32_C(0x80000000));
}

PREDICTD_INLINE float value_of(uint32_t code)
{
    return as_float(code ^ (code >> 31 ? UINT32_C(0x80000000) : UINT32_C(0xFFFFFFFF)));
}

/* Lowest and highest code of values, of which there is one at least. */
PREDICTD_INLINE void find_codes(const float *restrict values, size_t n, uint32_t *restrict low, uint32_t *restrict high)
{
    uint32_t lowest = UINT32_MAX, highest = 0;
    for (size_t i = 0; i < n; ++i) {
        const uint32_t code = code_of(values[i]);
        lowest = code < lowest ? code : lowest;
        highest = code > highest ? code : highest;
    }
    *low = lowest;
    *high = highest;
}

/* What the codes stand for, or NaN for both. */
PREDICTD_INLINE void decode(uint32_t lowest, uint32_t highest, float *low, float *high)
{
    const uint32_t below = code_of(as_float(UINT32_C(0xFF800000))), above = code_of(as_float(UINT32_C(0x7F800000)));
    const int known = lowest >= below && highest <= above;
    *low = known ? value_of(lowest) : as_float(UINT32_C(0x7FC00000));
    *high = known ? value_of(highest) : *low;
}

PREDICTD_MULTIVERSION
void predictd_ends(const float *restrict rows, size_t k, size_t n, float *restrict low, float *restrict high)
{
    for (size_t row = 0; row < k; ++row) {
        uint32_t lowest, highest;
        find_codes(rows + row * n, n, &lowest, &highest);
        decode(lowest, highest, low + row, high + row);
    }
}

/* A tile of a column as part of a row, and the ends of its codes; `halves` or `floats` is given. */
PREDICTD_INLINE void to_row(const uint16_t *restrict halves, const float *restrict floats, size_t n, size_t width,
                            float *restrict row, uint32_t *restrict low, uint32_t *restrict high)
{
    if (halves) {
        uint16_t own[TILE];
        for (size_t i = 0; i < n; ++i)
            own[i] = halves[i * width];
        for (size_t i = 0; i < n; ++i)
            row[i] = widened(own[i]);
    } else {
        for (size_t i = 0; i < n; ++i)
            row[i] = floats[i * width];
    }
    find_codes(row, n, low, high);
}

PREDICTD_INLINE void to_rows(const uint16_t *restrict halves, const float *restrict floats, size_t n, size_t width,
                             const int64_t *restrict columns, size_t k, float *restrict rows, size_t stride,
                             float *restrict low, float *restrict high)
{
    for (size_t first = 0; first < n; first += TILE)
        for (size_t row = 0; row < k; ++row) {
            const size_t from = first * width + (size_t)columns[row];
            const uint16_t *of_half = halves ? halves + from : NULL;
            const float *of_float = floats ? floats + from : NULL;
            float *to = rows + row * stride + first;
            uint32_t lowest, highest;
            if (n - first >= TILE)
                to_row(of_half, of_float, TILE, width, to, &lowest, &highest);
            else
                to_row(of_half, of_float, n - first, width, to, &lowest, &highest);
            /* Codes, until all bins are seen. */
            low[row] = as_float(first && as_bits(low[row]) < lowest ? as_bits(low[row]) : lowest);
            high[row] = as_float(first && as_bits(high[row]) > highest ? as_bits(high[row]) : highest);
        }
    for (size_t row = 0; row < k; ++row)
        decode(as_bits(low[row]), as_bits(high[row]), low + row, high + row);
}

PREDICTD_MULTIVERSION
void predictd_rows_of_half(const uint16_t *restrict values, size_t n, size_t width, const int64_t *restrict columns,
                           size_t k, float *restrict rows, size_t stride, float *restrict low, float *restrict high)
{
    to_rows(values, NULL, n, width, columns, k, rows, stride, low, high);
}

PREDICTD_MULTIVERSION
void predictd_rows_of_float(const float *restrict values, size_t n, size_t width, const int64_t *restrict columns,
                            size_t k, float *restrict rows, size_t stride, float *restrict low, float *restrict high)
{
    to_rows(NULL, values, n, width, columns, k, rows, stride, low, high);
}
