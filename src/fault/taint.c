/* See taint.h. */
#include "fault/taint.h"

#include <stdio.h>

void taint_set(struct taint *t, uint64_t now_ns, uint64_t duration_ns, uint64_t generation, bool stays, const char *reason)
{
    uint64_t until;
    if (__builtin_add_overflow(now_ns, duration_ns, &until))
        until = UINT64_MAX;
    t->until_ns = until > t->until_ns ? until : t->until_ns;
    t->since_ns = now_ns;
    t->generation = generation;
    t->stays = stays;
    __atomic_store_n(&t->restart, 1, __ATOMIC_RELEASE);
    snprintf(t->reason, sizeof t->reason, "%s", reason);
}

void taint_lift(struct taint *t)
{
    t->until_ns = 0;
    t->stays = false;
    __atomic_store_n(&t->restart, 0, __ATOMIC_RELEASE);
}

bool taint_meets(const struct taint *t, uint64_t generation)
{
    return taint_is_on(t) && (t->stays || generation <= t->generation);
}

bool taint_consume_restart(struct taint *t)
{
    return __atomic_exchange_n(&t->restart, 0, __ATOMIC_ACQ_REL) == 1;
}
