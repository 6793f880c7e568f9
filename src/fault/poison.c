/* See poison.h. */
#include "fault/poison.h"

#include <string.h>

/* Pieces from all over a long content, its beginning and its end among them. */
static void take_sample(uint8_t out[POISON_SAMPLE], const uint8_t *content, size_t n)
{
    enum { PIECE = 8, GAPS = POISON_SAMPLE / PIECE - 1 };
    memset(out, 0, POISON_SAMPLE);
    if (n <= POISON_SAMPLE) {
        memcpy(out, content, n);
        return;
    }
    for (size_t i = 0; i < GAPS; i++)
        memcpy(out + PIECE * i, content + (n - PIECE) / GAPS * i, PIECE);
    memcpy(out + PIECE * GAPS, content + n - PIECE, PIECE);
}

static uint64_t last_death(const struct poison_entry *e)
{
    return e->deaths[e->n_deaths - 1];
}

static unsigned find_place(const struct poison_table *t, size_t n, const uint8_t digest[POISON_DIGEST], bool *ret_new)
{
    unsigned place = 0;
    *ret_new = true;
    for (unsigned i = 0; i < POISON_ENTRIES; i++) {
        const struct poison_entry *e = &t->entries[i], *best = &t->entries[place];
        if (e->n_deaths != 0 && e->n == n && memcmp(e->digest, digest, POISON_DIGEST) == 0) {
            *ret_new = false;
            return i;
        }
        if (best->n_deaths != 0 && (e->n_deaths == 0 || last_death(e) < last_death(best)))
            place = i;
    }
    return place;
}

unsigned poison_note(struct poison_table *t, const struct poison_rules *r, uint64_t now_ns, const uint8_t *content, size_t n,
                     const uint8_t digest[POISON_DIGEST], bool *ret_new)
{
    unsigned place = find_place(t, n, digest, ret_new);
    struct poison_entry *e = &t->entries[place];
    if (*ret_new) {
        t->bad &= ~(UINT64_C(1) << place);
        *e = (struct poison_entry){.n = n};
        memcpy(e->digest, digest, POISON_DIGEST);
        take_sample(e->sample, content, n);
    }
    if (e->n_deaths == POISON_CRASHES) {
        memmove(e->deaths, e->deaths + 1, (POISON_CRASHES - 1) * sizeof *e->deaths);
        e->n_deaths--;
    }
    e->deaths[e->n_deaths++] = now_ns;
    if (e->n_deaths >= r->crashes && now_ns - e->deaths[e->n_deaths - r->crashes] <= r->ttl_ns)
        t->bad |= UINT64_C(1) << place;
    return place;
}

uint64_t poison_prune(struct poison_table *t, const struct poison_rules *r, uint64_t now_ns)
{
    uint64_t freed = 0;
    for (unsigned i = 0; i < POISON_ENTRIES; i++) {
        struct poison_entry *e = &t->entries[i];
        if (e->n_deaths == 0 || now_ns - last_death(e) <= r->ttl_ns)
            continue;
        e->n_deaths = 0;
        freed |= UINT64_C(1) << i;
    }
    t->bad &= ~freed;
    return freed;
}

int poison_candidate(const struct poison_table *t, unsigned from, const uint8_t *content, size_t n)
{
    uint8_t sample[POISON_SAMPLE];
    bool sampled = false;
    for (uint64_t left = from < POISON_ENTRIES ? t->bad >> from << from : 0; left != 0; left &= left - 1) {
        int i = __builtin_ctzll(left);
        if (t->entries[i].n != n)
            continue;
        if (!sampled)
            take_sample(sample, content, n);
        sampled = true;
        if (memcmp(sample, t->entries[i].sample, sizeof sample) == 0)
            return i;
    }
    return -1;
}
