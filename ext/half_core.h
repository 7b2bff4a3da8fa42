/* float16 to float32. */

#ifndef PREDICTD_HALF_CORE_H
#define PREDICTD_HALF_CORE_H

#include <stddef.h>
#include <stdint.h>

/* Widen n IEEE 754 halves, given as their bits, exactly; `out` does not overlap `half`. */
void predictd_widen(const uint16_t *restrict half, float *restrict out, size_t n);

#endif
