/* See crashes.h. */
#include "fault/crashes.h"

#include <stddef.h>

#define MINUTE_NS UINT64_C(60000000000)

void crashes_add(struct crashes *c, uint64_t now_ns, unsigned slot, bool segfault)
{
    c->ring[c->next].at_ns = now_ns;
    c->ring[c->next].slot = slot;
    c->ring[c->next].segfault = segfault;
    c->next = (c->next + 1) % CRASHES_KEPT;
    c->n += c->n < CRASHES_KEPT;
    c->total++;
}

/* The i-th latest. */
static unsigned place(const struct crashes *c, unsigned i)
{
    return (c->next + CRASHES_KEPT - 1 - i) % CRASHES_KEPT;
}

static unsigned within(const struct crashes *c, uint64_t now_ns, uint64_t window_ns)
{
    unsigned n = 0;
    while (n < c->n && now_ns - c->ring[place(c, n)].at_ns < window_ns)
        n++;
    return n;
}

static bool seen_later(const struct crashes *c, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (c->ring[place(c, k)].slot == c->ring[place(c, i)].slot)
            return true;
    return false;
}

struct crash_facts crashes_look(const struct crashes *c, const struct crash_rules *r, uint64_t now_ns)
{
    struct crash_facts f = {.in_window = within(c, now_ns, r->window_ns), .in_minute = within(c, now_ns, MINUTE_NS)};
    for (unsigned i = 0; i < f.in_window; i++) {
        f.segfaults += c->ring[place(c, i)].segfault;
        f.workers += !seen_later(c, i);
    }
    f.healthy = f.in_window < r->max_crashes;
    return f;
}

unsigned crashes_of_slot(const struct crashes *c, const struct crash_rules *r, uint64_t now_ns, unsigned slot)
{
    unsigned n = 0;
    for (unsigned i = 0, all = within(c, now_ns, r->window_ns); i < all; i++)
        n += c->ring[place(c, i)].slot == slot;
    return n;
}

const char *crashes_pattern(const struct crash_facts *f)
{
    if (!f->healthy)
        return "unhealthy";
    if (f->segfaults > CRASHES_ALERT_SEGFAULTS)
        return "segfaults";
    return f->in_minute > CRASHES_ALERT ? "crash rate" : NULL;
}
