/* One function, several instruction sets: the machine that runs it chooses, not the one that built it. */

#ifndef PREDICTD_MULTIVERSION_H
#define PREDICTD_MULTIVERSION_H

#include <stdint.h> /* through it __GLIBC__, where the C library is glibc */

/*
 * Feature names, not "arch=...": GCC takes an architecture for the exact processor model, so that
 * "arch=skylake-avx512" leaves every later Intel chip and every AMD chip with the plain version.
 * The choice needs ifunc, which glibc has and musl and macOS lack; other compilers get the plain function.
 * As sums have a fixed order and setup.py turns contraction to fused multiply-adds off, all versions
 * give the same bits.
 */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 6
#define PREDICTD_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
/*
 * For what setup.py lets the compiler fuse multiplications and additions in: the plain version differs in last bits.
 * "avx512f" alone would fuse in vectors of 512 bits only, and what is left over would have other bits.
 */
#define PREDICTD_MULTIVERSION_FUSED __attribute__((target_clones("fma", "default")))
#define PREDICTD_HAS_WIDE 1
#define PREDICTD_WIDE __attribute__((target("avx512f,avx512vl,fma")))
#define PREDICTD_IS_WIDE()                                                                                             \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
#else
#define PREDICTD_MULTIVERSION
#define PREDICTD_MULTIVERSION_FUSED
#endif

/* For what a multi-versioned function calls: left as a function of its own, it would be of the plain version. */
#if defined(__GNUC__)
#define PREDICTD_INLINE static inline __attribute__((always_inline))
#else
#define PREDICTD_INLINE static inline
#endif

/* For what should not become part of a multi-versioned function. */
#if defined(__GNUC__)
#define PREDICTD_APART static __attribute__((noinline))
#else
#define PREDICTD_APART static
#endif

/* Says of the loop that follows that what it writes in one pass is not read in another. */
#if defined(__clang__)
#define PREDICTD_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define PREDICTD_INDEPENDENT _Pragma("GCC ivdep")
#else
#define PREDICTD_INDEPENDENT
#endif

#if defined(__GNUC__)
#define PREDICTD_PREFETCH_WRITE(address) __builtin_prefetch((address), 1, 3)
#define PREDICTD_PREFETCH_READ(address) __builtin_prefetch((address), 0, 3)
#else
#define PREDICTD_PREFETCH_WRITE(address) ((void)(address))
#define PREDICTD_PREFETCH_READ(address) ((void)(address))
#endif

/* Within a loop: keeps it from being vectorised. */
#if defined(__GNUC__)
#define PREDICTD_ONE_BY_ONE __asm__ volatile("")
#else
#define PREDICTD_ONE_BY_ONE ((void)0)
#endif

#if defined(__GNUC__)
#define PREDICTD_LOWEST_BIT(word) __builtin_ctzll(word)
#define PREDICTD_COUNT_BITS(word) __builtin_popcountll(word)
#else
static inline int predictd_lowest_bit(uint64_t word)
{
    int bit = 0;
    for (; !(word & 1); word >>= 1)
        ++bit;
    return bit;
}
static inline int predictd_count_bits(uint64_t word)
{
    int n = 0;
    for (; word; word &= word - 1)
        ++n;
    return n;
}
#define PREDICTD_LOWEST_BIT(word) predictd_lowest_bit(word)
#define PREDICTD_COUNT_BITS(word) predictd_count_bits(word)
#endif

#endif
