/* See barrier.h. */
#include "fault/barrier.h"

static uint64_t backoff_of(const struct barrier_rules *r, unsigned restarts)
{
    if (r->n_backoff == 0)
        return 0;
    return r->backoff_ns[restarts < r->n_backoff ? restarts : r->n_backoff - 1];
}

bool barrier_retries(const struct barrier_rules *r, bool idempotent, unsigned restarts, uint64_t now_ns, uint64_t deadline_ns,
                     uint64_t *ret_at_ns)
{
    bool may = r->retry == BARRIER_ALWAYS || (r->retry == BARRIER_IDEMPOTENT && idempotent);
    uint64_t at;
    if (!r->on || !may || restarts >= r->max_restarts)
        return false;
    if (__builtin_add_overflow(now_ns, backoff_of(r, restarts), &at) || at >= deadline_ns)
        return false;
    *ret_at_ns = at;
    return true;
}

bool barrier_marks(const struct barrier_rules *r, unsigned exit_class, int exit_code)
{
    if (!r->on)
        return false;
    if (exit_class < 32 && (r->mark >> exit_class & 1) != 0)
        return true;
    for (unsigned i = 0; i < r->n_codes; i++)
        if (r->codes[i] == exit_code)
            return true;
    return false;
}
