/* See heartbeat.h. */
#include "fault/heartbeat.h"

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

unsigned heartbeat_end(struct heartbeat *b)
{
    unsigned what = (b->watched ? HEARTBEAT_STOPPED : 0u) | (b->stalled ? HEARTBEAT_MOVES : 0u);
    b->watched = b->waiting = b->stalled = false;
    b->missed = 0;
    return what;
}

void heartbeat_unsent(struct heartbeat *b, const struct heartbeat_rules *r, uint64_t now_ns)
{
    b->ping--;
    b->waiting = false;
    b->next_ns = now_ns + r->interval_ns;
}

static void begin(struct heartbeat *b, const struct heartbeat_seen *seen, uint64_t now_ns)
{
    b->watched = true;
    b->pong = b->ping; /* what was asked during an earlier call does not count any more */
    b->next_ns = now_ns;
    b->progress = seen->progress;
    b->progress_ns = seen->running_since_ns;
    b->asked_ns = 0;
}

static void take_pong(struct heartbeat *b, const struct heartbeat_rules *r, const struct heartbeat_seen *seen, uint64_t now_ns,
                      struct heartbeat_step *s)
{
    uint32_t ahead = seen->pong - b->pong;
    if (ahead == 0 || ahead > b->ping - b->pong)
        return;
    bool last = seen->pong == b->ping;
    uint64_t from = last ? b->sent_ns : b->oldest_ns;
    uint64_t when = seen->pong_ns >= from && seen->pong_ns <= now_ns ? seen->pong_ns : now_ns;
    s->what |= HEARTBEAT_PONG;
    s->latency_ns = when - from;
    b->pong = seen->pong;
    b->missed = 0;
    if (b->asked_ns == 0)
        b->asked_ns = when;
    if (!last) {
        b->oldest_ns = b->sent_ns;
        return;
    }
    b->waiting = false;
    b->next_ns = b->sent_ns + r->interval_ns;
}

static void take_progress(struct heartbeat *b, const struct heartbeat_rules *r, const struct heartbeat_seen *seen,
                          uint64_t now_ns, struct heartbeat_step *s)
{
    if (seen->progress != b->progress) {
        s->what |= b->stalled ? HEARTBEAT_MOVES : 0u;
        b->stalled = false;
        b->progress = seen->progress;
        b->progress_ns = now_ns;
        b->asked_ns = 0;
        return;
    }
    if (b->stalled || b->asked_ns == 0 || now_ns - b->asked_ns < r->stall_ns)
        return;
    b->stalled = true;
    s->what |= HEARTBEAT_STALLED;
    s->stalled_ns = now_ns - b->progress_ns;
}

static void take_miss(struct heartbeat *b, const struct heartbeat_rules *r, uint64_t now_ns, struct heartbeat_step *s)
{
    if (!b->waiting || now_ns - b->sent_ns < r->timeout_ns)
        return;
    b->waiting = false;
    b->next_ns = now_ns;
    s->missed = ++b->missed;
    s->what |= HEARTBEAT_MISSED;
    if (b->missed % r->max_missed == 0)
        s->what |= HEARTBEAT_FAILED | (r->dependent ? HEARTBEAT_KILL : 0u);
}

static void send_ping(struct heartbeat *b, uint64_t now_ns, struct heartbeat_step *s)
{
    if (b->waiting || now_ns < b->next_ns)
        return;
    if (b->ping == b->pong)
        b->oldest_ns = now_ns;
    b->ping++;
    b->sent_ns = now_ns;
    b->waiting = true;
    s->what |= HEARTBEAT_PING;
}

struct heartbeat_step heartbeat_step(struct heartbeat *b, const struct heartbeat_rules *r, const struct heartbeat_seen *seen,
                                     uint64_t now_ns)
{
    struct heartbeat_step s = {.due_ns = UINT64_MAX};
    uint64_t since = seen->running_since_ns;
    if (since == 0 || now_ns < since || now_ns - since < r->interval_ns) {
        s.what = heartbeat_end(b);
        if (since != 0)
            s.due_ns = since + r->interval_ns;
        return s;
    }
    if (!b->watched) {
        begin(b, seen, now_ns);
        s.what = HEARTBEAT_STARTED;
    }
    take_pong(b, r, seen, now_ns, &s);
    take_progress(b, r, seen, now_ns, &s);
    take_miss(b, r, now_ns, &s);
    if ((s.what & HEARTBEAT_KILL) != 0) {
        s.what |= heartbeat_end(b);
        return s;
    }
    send_ping(b, now_ns, &s);
    /* nobody tells of a pong: it is looked for when the next ping would be due */
    s.due_ns = b->waiting ? earlier(b->sent_ns + r->timeout_ns, now_ns + r->interval_ns) : b->next_ns;
    if (b->asked_ns != 0 && !b->stalled)
        s.due_ns = earlier(s.due_ns, b->asked_ns + r->stall_ns);
    return s;
}
