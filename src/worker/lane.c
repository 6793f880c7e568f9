/* See lane.h. */
#include "worker/lane.h"

#include <signal.h>

#include "base/sm.h"
#include "worker/worker.h"

static const struct sm_state owners[] = {{NULL, 0},
#define LANE_OWNER_ROW(constant, name, edges) {#name, edges},
                                         LANE_OWNER_LIST(LANE_OWNER_ROW)
#undef LANE_OWNER_ROW
};
static const struct sm_table table = {"lane", owners, LANE_OWNER_COUNT};

bool lane_move(struct lane *l, int owner)
{
    return sm_move(&table, &l->owner, owner);
}

uint64_t lane_push(struct lane *l, struct call *c)
{
    uint64_t sequence = ++l->sequence;
    l->flights[(l->first + l->count) % SEGMENT_SLOTS] = (struct flight){sequence, c};
    l->count++;
    return sequence;
}

struct flight *lane_at(struct lane *l, unsigned i)
{
    return i < l->count ? &l->flights[(l->first + i) % SEGMENT_SLOTS] : NULL;
}

struct flight *lane_head(struct lane *l)
{
    return lane_at(l, 0);
}

bool lane_has_mark(const struct lane *l)
{
    return l->sequence - l->answered < SEGMENT_SLOTS;
}

void lane_pop(struct lane *l)
{
    l->answered = l->flights[l->first].sequence;
    l->first = (l->first + 1) % SEGMENT_SLOTS;
    l->count--;
}

struct flight *lane_inner(struct lane *l)
{
    return l->nested != 0 ? lane_at(l, l->count - 1) : lane_head(l);
}

struct flight *lane_flight(struct lane *l, const struct call *c)
{
    for (unsigned i = 0; i < l->count; i++)
        if (lane_at(l, i)->call == c)
            return lane_at(l, i);
    return NULL;
}

void lane_pop_inner(struct lane *l)
{
    if (l->nested == 0) {
        lane_pop(l);
        return;
    }
    l->nested--;
    l->count--;
}

void lane_drop(struct lane *l, unsigned i)
{
    for (; i + 1 < l->count; i++)
        *lane_at(l, i) = *lane_at(l, i + 1);
    l->count--;
}

bool lane_started(const struct lane *l, uint64_t sequence)
{
    if (l->status == NULL)
        return true;
    uint64_t claim = __atomic_load_n(&l->status->claims[sequence % SEGMENT_SLOTS], __ATOMIC_ACQUIRE);
    return claim == CLAIM(sequence, CLAIM_STARTED) || claim == CLAIM(sequence, CLAIM_FINISHED);
}

uint64_t lane_last_begun(const struct lane *l)
{
    for (unsigned i = l->count; i > 0; i--) {
        uint64_t sequence = l->flights[(l->first + i - 1) % SEGMENT_SLOTS].sequence;
        if (lane_started(l, sequence))
            return sequence;
    }
    return 0;
}

bool lane_had_begun(const struct lane *l, struct call *c, uint64_t sequence, bool next)
{
    bool doubtful = next && c->sent == c->frame.len && exit_signal(l->worker->how) != SIGKILL;
    if (c->called_tools || c->fed || lane_started(l, sequence) || (doubtful && c->spared))
        return true;
    c->spared |= doubtful;
    return false;
}

bool lane_revoke(struct lane *l, uint64_t sequence)
{
    if (l->status == NULL)
        return false;
    uint64_t *slot = &l->status->claims[sequence % SEGMENT_SLOTS];
    uint64_t old = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (old >> 2 == sequence)
        return false;
    return __atomic_compare_exchange_n(slot, &old, CLAIM(sequence, CLAIM_REVOKED), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void lane_flag_cancel(struct lane *l, uint64_t sequence)
{
    if (l->status != NULL)
        __atomic_store_n(&l->status->cancel, sequence, __ATOMIC_SEQ_CST);
}

void lane_flag_raise(struct lane *l, uint64_t sequence)
{
    if (l->status != NULL)
        __atomic_store_n(&l->status->raise, sequence, __ATOMIC_SEQ_CST);
}

bool lane_runs_task(const struct lane *l, uint64_t sequence)
{
    return l->status != NULL && __atomic_load_n(&l->status->task, __ATOMIC_SEQ_CST) == sequence;
}

void lane_tell_ahead(struct lane *l, bool ahead)
{
    l->written_ahead = ahead;
    if (l->status != NULL)
        __atomic_store_n(&l->status->written_ahead, ahead ? 1 : 0, __ATOMIC_RELAXED);
}
