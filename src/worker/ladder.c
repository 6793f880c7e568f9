/* See ladder.h. */
#include "worker/ladder.h"

static void reach(struct ladder *l, int rung, uint64_t now_ns)
{
    l->rung = rung;
    l->at_ns[rung] = now_ns;
}

void ladder_begin(struct ladder *l, uint64_t sequence, int max_rung, uint64_t now_ns)
{
    *l = (struct ladder){.sequence = sequence, .max_rung = max_rung};
    reach(l, max_rung >= RUNG_FLAG ? RUNG_FLAG : RUNG_DROP, now_ns);
}

void ladder_clear(struct ladder *l)
{
    *l = (struct ladder){0};
}

static uint64_t later(uint64_t at_ns, uint64_t ns)
{
    uint64_t due;
    return __builtin_add_overflow(at_ns, ns, &due) ? UINT64_MAX : due;
}

/* The rung above the present one, RUNG_NONE when there is none; *ret_due_ns: its time. */
static int above(const struct ladder *l, const struct ladder_rules *r, uint64_t *ret_due_ns)
{
    int next = RUNG_NONE;
    if (l->rung == RUNG_FLAG)
        next = r->can_raise ? RUNG_RAISE : RUNG_KILL;
    else if (l->rung == RUNG_RAISE)
        next = RUNG_KILL;
    if (next == RUNG_NONE || next > l->max_rung)
        return RUNG_NONE;
    *ret_due_ns = later(l->at_ns[l->rung], l->rung == RUNG_FLAG ? r->grace_ns : r->raise_ns);
    return next;
}

bool ladder_climb(struct ladder *l, const struct ladder_rules *r, uint64_t now_ns, uint64_t *ret_due_ns)
{
    uint64_t due;
    *ret_due_ns = UINT64_MAX;
    int next = above(l, r, &due);
    if (next == RUNG_NONE)
        return false;
    if (now_ns < due) {
        *ret_due_ns = due;
        return false;
    }
    reach(l, next, now_ns);
    return true;
}

uint64_t ladder_spent(const struct ladder *l, int rung, uint64_t end_ns)
{
    uint64_t from = l->at_ns[rung];
    if (from == 0)
        return 0;
    for (int i = rung + 1; i < RUNGS; i++)
        if (l->at_ns[i] != 0)
            return l->at_ns[i] - from;
    return end_ns > from ? end_ns - from : 0;
}
