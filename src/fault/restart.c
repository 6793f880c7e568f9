/* See restart.h. */
#include "fault/restart.h"

#include <string.h>

#include "base/units.h"

static const unsigned steps_ms[] = {100, 500, 1000, 2000, 5000};
enum { STEPS = sizeof steps_ms / sizeof steps_ms[0] };

static uint64_t delay_of(unsigned step)
{
    return steps_ms[step < STEPS ? step : STEPS - 1] * MS;
}

/* Notes a death; true: there were RESTART_DEATHS of them within RESTART_DEATHS_MS. */
static bool too_often(struct restart_slot *s, uint64_t now)
{
    if (s->n_deaths == RESTART_DEATHS) {
        memmove(s->deaths, s->deaths + 1, (RESTART_DEATHS - 1) * sizeof s->deaths[0]);
        s->n_deaths--;
    }
    s->deaths[s->n_deaths++] = now;
    return s->n_deaths == RESTART_DEATHS && now - s->deaths[0] <= RESTART_DEATHS_MS * MS;
}

static void forget(struct restart_slot *s)
{
    *s = (struct restart_slot){0};
}

uint64_t restart_slot_ended(struct restart_slot *s, const struct restart_rules *r, uint64_t now, enum restart_outcome o,
                            uint64_t lived_ns)
{
    if (o == RESTART_FAILED) { /* with the nets off too: a start that fails at once would be tried without end */
        uint64_t delay = delay_of(r->on ? s->failed : 0);
        s->failed += s->failed < STEPS;
        return delay;
    }
    if (lived_ns >= RESTART_HEALTHY_MS * MS)
        forget(s);
    if (o == RESTART_OURS || !r->on)
        return 0;
    bool often = too_often(s, now);
    if (!often && s->step == 0)
        return 0;
    uint64_t delay = delay_of(s->step);
    s->step += s->step < STEPS;
    return delay;
}

void restart_slot_ready(struct restart_slot *s)
{
    s->failed = 0;
}

uint64_t restart_pool_ask(struct restart_pool *p, const struct restart_rules *r, uint64_t now)
{
    if (!r->on)
        return 0;
    /* the ring's next place holds the grant that is max_restarts grants old */
    uint64_t free_at = p->n < r->max_restarts ? 0 : p->granted[p->next] + r->window_ns;
    if (free_at > now) {
        if (p->calm_ns == 0)
            p->since_ns = now;
        p->calm_ns = free_at + r->window_ns;
        return free_at;
    }
    p->granted[p->next] = now;
    p->next = (p->next + 1) % r->max_restarts;
    p->n += p->n < r->max_restarts;
    return 0;
}

bool restart_pool_is_degraded(const struct restart_pool *p)
{
    return p->calm_ns != 0;
}

bool restart_pool_recovers(struct restart_pool *p, uint64_t now)
{
    if (p->calm_ns == 0 || now < p->calm_ns)
        return false;
    p->calm_ns = 0;
    return true;
}
