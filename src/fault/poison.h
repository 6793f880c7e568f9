/* Calls that kill: which content has ended how many workers lately. Pure: content, digests and the time go in.
 *
 * Invariants
 *  1. A table has at most POISON_ENTRIES contents; a new one takes the place of that whose last death is longest ago.
 *  2. A content is bad while it has killed `crashes` times within ttl_ns before its last death, and that is no longer ago than ttl_ns.
 *  3. Whoever is told that a content is bad has compared all of it: length and a sample first, which tell nearly all others apart at no
 *     cost, then the digest. The sample of a short content is the whole of it. */
#ifndef PIT_FAULT_POISON_H
#define PIT_FAULT_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POISON_ENTRIES = 64 /* a set of them is 64 bits */,
    POISON_SAMPLE = 256,
    POISON_CRASHES = 8 /* at most */,
    POISON_DIGEST = 32
};

struct poison_rules {
    bool on;
    unsigned crashes; /* 1 to POISON_CRASHES */
    uint64_t ttl_ns;
};

struct poison_entry {
    uint8_t digest[POISON_DIGEST];
    uint8_t sample[POISON_SAMPLE];
    size_t n;                        /* bytes of the content */
    uint64_t deaths[POISON_CRASHES]; /* the latest, oldest first */
    unsigned n_deaths;               /* 0: the place is free */
};

struct poison_table {
    struct poison_entry entries[POISON_ENTRIES];
    uint64_t bad; /* the set of the bad entries */
};

/* A death by this content: the place of its entry. *ret_new: the place was free, or another's until now. */
unsigned poison_note(struct poison_table *t, const struct poison_rules *r, uint64_t now_ns, const uint8_t *content, size_t n,
                     const uint8_t digest[POISON_DIGEST], bool *ret_new);
/* Forgets what is over: the set of the places that became free. */
uint64_t poison_prune(struct poison_table *t, const struct poison_rules *r, uint64_t now_ns);
/* The next bad entry from `from` on that may be this content: its digest is to be compared, and whether it is over. -1: there is none. */
int poison_candidate(const struct poison_table *t, unsigned from, const uint8_t *content, size_t n);

#endif
