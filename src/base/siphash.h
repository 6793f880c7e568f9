/* SipHash-2-4 (Aumasson, Bernstein): a sum of 64 bits under a key. Who does not know the key cannot make two contents with the same sum. */
#ifndef PIT_BASE_SIPHASH_H
#define PIT_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t half[2];
};

uint64_t siphash(const struct siphash_key *key, const void *data, size_t n);

#endif
