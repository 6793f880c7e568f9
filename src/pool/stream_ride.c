/* See stream.h. This file: streams whose reader rides the lane himself, and so has each chunk without a hop through another thread.
 *
 * The lane is a caller's from the moment when the call gets it. While its reader is in the library he is `inside` and does all that a blocking call
 * does: he receives, watches the clock and judges his worker's death. Between two reads nobody is inside, and the loop does not look at the lane either.
 * What is to be done then (a death, a frame that does not go out at once) begins with stream_take_over(), which makes the lane one of the loop's, and the
 * call one that the loop carries, for good; so does an absence of ABSENT_NS, of which the call's timer tells: when it rings, nobody is inside, and nobody
 * was since it rang last. A stream that has ended must not keep its worker because nobody reads on.
 *
 * Who is inside when the worker dies judges that death, or leaves it to the timer: a dead lane is never given to the loop but by who judges it there.
 * Sending is done under the pool's lock, by whoever has something to send. */
#include <string.h>

#include "base/alloc.h"
#include "pool/blocking.h"
#include "pool/cancel.h"
#include "pool/inner.h"
#include "pool/look.h"
#include "pool/pool_internal.h"
#include "pool/stream.h"

#define ABSENT_NS (20 * MS)

/* ---- who carries it: lock ---- */

bool stream_board(struct pool *p, struct lane *l, struct call *c)
{
    struct stream *s = c->stream;
    if (s == NULL || !s->rides || c->limited || c->observed || !l->worker->is_ring)
        return false;
    c->waited_for = s->riding = true;
    sched_assign(p, l, c, LANE_CALLER);
    int rc = l->channel->ops->send(l->channel, c->frame.data, c->frame.len, &c->sent);
    if (rc == PIT_E_PROTOCOL_ERROR)
        sched_condemn(p, l->worker, rc, worker_fault(rc));
    else if (rc == PIT_E_WORKER_LOST)
        sched_lost(p, l->worker);
    async_expire_at(p, c, c->sent_ns + ABSENT_NS);
    if (rc == CHANNEL_AGAIN)
        stream_take_over(p, s);
    return true;
}

/* The loop carries the call from here on. Its lane is in no list yet. */
static struct lane *give_to_loop(struct pool *p, struct stream *s)
{
    struct call *c = s->call;
    struct lane *l = c->lane;
    s->riding = c->waited_for = false;
    s->heard_ns = pool_now(p); /* what has come is not read yet: it was not silent */
    lane_move(l, LANE_LOOP);
    l->sending = c->sent < c->frame.len ? c : NULL;
    return l;
}

void stream_take_over(struct pool *p, struct stream *s)
{
    if (!s->riding || s->inside || s->call->state != CALL_SENT)
        return;
    struct lane *l = give_to_loop(p, s);
    list_push_back(&p->loop_lanes, &l->node);
    worker_unref(l->worker); /* not the last: it lives, or its death is being judged */
    async_expire_at(p, s->call, stream_due(p, s->call, last_look_due(s->call)));
    loop_wake(p->env->loop);
}

void stream_take_over_lane(struct pool *p, struct lane *l)
{
    struct flight *head = l->owner == LANE_CALLER ? lane_head(l) : NULL;
    if (head != NULL && head->call != NULL && head->call->stream != NULL)
        stream_take_over(p, head->call->stream);
}

/* Its worker died while somebody was inside who did not judge that: the loop does, as of its own lanes. */
static void judge_here(struct pool *p, struct stream *s, struct list *done)
{
    struct lane *l = give_to_loop(p, s);
    struct worker *w = l->worker;
    async_lane_gone(p, l, done);
    lane_move(l, LANE_CLOSED);
    bool last = worker_unref(w);
    if (last) {
        pool_unlock(p);
        worker_free(w);
        pool_lock(p);
    }
}

bool stream_keeps_time(struct pool *p, struct call *c, struct list *done)
{
    struct stream *s = c->stream;
    if (c->state == CALL_DONE) {
        wheel_stop(&p->expiry, &c->expiry);
        return true;
    }
    if (!s->riding)
        return false;
    if (s->inside || s->was_inside) {
        uint64_t now = pool_now(p);
        if (s->inside && now >= stream_due(p, c, last_look_due(c)))
            __atomic_store_n(&s->look, true, __ATOMIC_RELEASE);
        s->was_inside = s->inside;
        wheel_set(&p->expiry, &c->expiry, now + ABSENT_NS);
    } else {
        wheel_stop(&p->expiry, &c->expiry);
        if (c->state == CALL_SENT && c->lane->dead)
            judge_here(p, s, done);
        else
            stream_take_over(p, s);
    }
    return true;
}

/* lock: this thread rides from here on, if somebody shall. */
static bool get_inside(struct stream *s, bool reads)
{
    if (!s->riding || s->inside)
        return false;
    s->inside = s->was_inside = true;
    s->reads = reads;
    return true;
}

/* lock */
static void get_out(struct pool *p, struct stream *s)
{
    s->inside = false;
    if (!s->call->lane->dead && (pool_is_ending(p) || s->call->lane->unsent.len != 0))
        stream_take_over(p, s); /* what has to be done cannot wait for the next time */
    if (__atomic_load_n(&s->waiters, __ATOMIC_SEQ_CST) != 0)
        stream_changed(p, s);
}

/* ---- what comes ---- */

static void ended_badly(struct pool *p, struct call *c, pit_error *e)
{
    error_worker(e, c->lane->worker->id);
    error_pool(e, p->set.name);
    blocking_leave_behind(p, c, e, "unreadable");
}

/* lock: for another thread than this one. */
static bool keep(struct pool *p, struct stream *s, const struct stream_chunk *came)
{
    struct stream_chunk *k = mem_alloc(sizeof *k);
    if (k == NULL)
        return false;
    *k = *came;
    k->of_rider = false;
    list_push_back(&s->chunks, &k->node);
    stream_changed(p, s);
    return true;
}

int stream_ride_frame(struct pool *p, struct call *c, const struct frame *f, size_t bytes)
{
    struct stream *s = c->stream;
    if (f->id != c->sequence || c->sent < c->frame.len)
        return PIT_E_PROTOCOL_ERROR;
    if (f->kind == FRAME_CREDIT) {
        pool_lock(p);
        int rc = stream_take_credit(p, s, f);
        pool_unlock(p);
        return rc;
    }
    struct stream_chunk k = {.of_rider = true};
    pit_error *e = stream_decode(f, bytes, &k);
    pool_lock(p);
    bool good = stream_spend(s, bytes), kept = true;
    if (good && e == NULL) {
        k.index = s->received++;
        s->final = k.final;
        if (s->idle_ns != UINT64_MAX)
            s->heard_ns = pool_now(p);
        if (s->reads && s->came == NULL && list_empty(&s->chunks)) {
            s->slot = k;
            s->came = &s->slot;
        } else {
            kept = keep(p, s, &k);
        }
    }
    pool_unlock(p);
    if (good && e == NULL && kept) {
        report_stream_message(p, c, false, bytes);
        return 0;
    }
    pit_value_free(k.value);
    pit_value_free(k.metadata);
    if (good && e == NULL)
        e = error_new(PIT_E_ALLOCATION_FAILED, "out of memory while a chunk was read");
    if (good) {
        ended_badly(p, c, e);
        return INNER_LEFT;
    }
    pit_error_free(e);
    return PIT_E_PROTOCOL_ERROR;
}

/* ---- riding ---- */

static bool is_there(struct pool *p, const struct stream *s)
{
    if (s->reads)
        return s->came != NULL;
    pool_lock(p);
    bool room = s->send_chunks != 0 && s->send_bytes > 0 && async_can_send(s->call->lane); /* as stream_send has it */
    pool_unlock(p);
    return room;
}

static bool has_unsent(const struct call *c)
{
    return __atomic_load_n(&c->lane->has_unsent, __ATOMIC_ACQUIRE);
}

/* The clock says that something is due. true: the call has its outcome. */
static bool look_at_clock(struct pool *p, struct call *c, uint64_t *until_ns)
{
    pool_lock(p);
    pit_error *idle = pool_now(p) < c->deadline_ns ? stream_idle_error(p, c) : NULL;
    if (idle != NULL)
        last_look_put(p, c, idle);
    pool_unlock(p);
    if (idle != NULL) {
        error_worker(idle, c->lane->worker->id);
        blocking_leave_behind(p, c, idle, "deadline_exceeded");
        return true;
    }
    uint64_t due = last_look_due(c);
    if (pool_now(p) >= due && blocking_out_of_time(p, c, &due))
        return true;
    pool_lock(p);
    *until_ns = stream_due(p, c, due);
    pool_unlock(p);
    return false;
}

/* Is it to end, although there may always be something to read? true: it has its outcome. */
static bool must_end(struct pool *p, struct stream *s, uint64_t *until_ns)
{
    struct call *c = s->call;
    if (__atomic_load_n(&c->lane->worker->recycle.cut, __ATOMIC_SEQ_CST)) {
        blocking_leave_behind(p, c, recycled_error(p, c), RECYCLED_REASON);
        return true;
    }
    return __atomic_load_n(&s->look, __ATOMIC_RELAXED) && __atomic_exchange_n(&s->look, false, __ATOMIC_ACQ_REL) &&
           look_at_clock(p, c, until_ns);
}

static void send_what_is_left(struct pool *p, struct stream *s)
{
    pool_lock(p);
    async_send_rest(p, s->call->lane);
    if (s->call->lane->unsent.len == 0)
        stream_attend(p, s->call->lane);
    pool_unlock(p);
}

/* Until what the thread is there for has come: 0; PIT_E_PENDING; PIT_E_END: the call has its outcome; CHANNEL_AGAIN: its worker has died before it
 * began. due: when to look at the clock at the latest. */
static int ride(struct pool *p, struct stream *s, uint64_t due, uint64_t until_ns)
{
    struct call *c = s->call;
    struct channel_frame in;
    int rc = PIT_E_PENDING;
    channel_frame_init(&in);
    for (bool waited = false, woken = false;; waited = true) {
        if (__atomic_load_n(&c->wake, __ATOMIC_SEQ_CST) != 0)
            __atomic_store_n(&c->wake, 0, __ATOMIC_SEQ_CST);
        if (must_end(p, s, &due)) {
            rc = PIT_E_END;
            break;
        }
        if (has_unsent(c))
            send_what_is_left(p, s);
        enum step what = blocking_step(p, c, &in, woken);
        if (what == STEP_DONE || what == STEP_AGAIN) {
            rc = what == STEP_DONE ? PIT_E_END : CHANNEL_AGAIN;
            break;
        }
        if (is_there(p, s)) {
            rc = 0;
            break;
        }
        uint64_t first = due < until_ns ? due : until_ns, now = waited && first != UINT64_MAX ? pool_now(p) : 0;
        if (waited && now >= due && look_at_clock(p, c, &due)) {
            rc = PIT_E_END;
            break;
        }
        if (waited && now >= until_ns)
            break;
        if (what == STEP_FRAME && has_unsent(c))
            what = STEP_ROOM;
        blocking_wait(p, c, what, due < until_ns ? due : until_ns);
        woken = what == STEP_FRAME || what == STEP_ROOM;
    }
    channel_frame_finish(&in);
    return rc;
}

/* The thread that rode has the outcome: it lets go of the call, as the loop does of others. */
static void let_go(struct pool *p, struct stream *s)
{
    struct call *c = s->call;
    pool_lock(p);
    wheel_stop(&p->expiry, &c->expiry);
    s->riding = s->inside = false;
    pool_unlock(p);
    bool ending = pool_is_ending(p);
    struct host *h = p->host;
    c->done(c);
    if (ending)
        host_changed(h);
}

/* Its worker died before it had begun: it waits in the queue again, and the loop will see to it; or it was just given another lane. */
static void go_on_elsewhere(struct pool *p, struct stream *s)
{
    struct call *c = s->call;
    pool_lock(p);
    bool ended = c->state == CALL_DONE; /* while it was in the queue */
    if (!ended)
        s->inside = false;
    if (c->state == CALL_QUEUED) {
        s->riding = c->waited_for = false;
        async_expire_at(p, c, c->queue_deadline_ns);
        sched_spread(p);
    }
    pool_unlock(p);
    if (ended)
        let_go(p, s);
}

/* ---- waiting for either kind: any thread that may block ---- */

/* lock, where somebody else is inside: whoever gets out then sees that somebody waits. */
static void will_wait(struct stream *s)
{
    __atomic_add_fetch(&s->waiters, 1, __ATOMIC_SEQ_CST);
}

static bool wait_change(struct pool *p, struct stream *s, uint32_t seen, uint64_t until_ns)
{
    bool changed = host_wait(p->host, &s->change, seen, until_ns);
    __atomic_sub_fetch(&s->waiters, 1, __ATOMIC_SEQ_CST);
    return changed;
}

/* After a ride. k: NULL, or the chunk for which it was. 0: go on, or what the caller is told. */
static int ridden(struct pool *p, struct stream *s, int rc, const struct stream_chunk *k, bool stay)
{
    if (rc == PIT_E_END) {
        let_go(p, s);
    } else if (rc == CHANNEL_AGAIN) {
        go_on_elsewhere(p, s);
    } else {
        pool_lock(p);
        if (k != NULL)
            stream_took(p, s, k);
        if (!stay)
            get_out(p, s);
        pool_unlock(p);
    }
    return rc == PIT_E_PENDING ? rc : 0;
}

void stream_is_over(struct pool *p, struct stream *s)
{
    __atomic_store_n(&s->over, true, __ATOMIC_RELEASE);
    stream_changed(p, s);
}

static bool is_over(const struct stream *s)
{
    return __atomic_load_n(&s->over, __ATOMIC_ACQUIRE);
}

int stream_read(struct pool *p, struct stream *s, uint64_t until_ns, bool stay, struct stream_chunk **ret)
{
    for (;;) {
        uint32_t seen = __atomic_load_n(&s->change, __ATOMIC_SEQ_CST);
        if (is_over(s)) {
            *ret = stream_take_rest(s);
            return *ret != NULL ? 0 : PIT_E_END;
        }
        pool_lock(p);
        struct list *node = list_pop_front(&s->chunks);
        *ret = node != NULL ? LIST_ENTRY(node, struct stream_chunk, node) : NULL;
        if (*ret != NULL)
            stream_took(p, s, *ret);
        bool rides = *ret == NULL && ((stay && s->inside) || get_inside(s, true));
        uint64_t due = rides ? stream_due(p, s->call, last_look_due(s->call)) : 0;
        if (*ret == NULL && !rides)
            will_wait(s);
        pool_unlock(p);
        if (*ret != NULL)
            return 0;
        if (!rides) {
            if (!wait_change(p, s, seen, until_ns))
                return PIT_E_PENDING;
            continue;
        }
        int rc = ride(p, s, due, until_ns);
        *ret = rc == 0 ? s->came : NULL;
        s->came = rc == 0 ? NULL : s->came;
        rc = ridden(p, s, rc, *ret, stay);
        if (*ret != NULL || rc != 0)
            return rc;
    }
}

/* lock: its worker has died, and nobody has judged that. true: that was the last word on the worker. */
static bool end_on_dead_lane(struct pool *p, struct stream *s, struct outcome o)
{
    struct call *c = s->call;
    struct lane *l = c->lane;
    lane_pop(l);
    c->lane = NULL;
    sched_finish(p, c, o);
    sched_release(p, l);
    return worker_unref(l->worker);
}

static bool on_dead_lane(const struct stream *s)
{
    return s->riding && s->call->state == CALL_SENT && s->call->lane->dead;
}

void stream_stop(struct pool *p, struct stream *s, struct outcome o, const char *reason)
{
    int rc = o.rc;
    bool last = false;
    pool_lock(p);
    bool ended = on_dead_lane(s);
    if (ended && !inner_on_top(s->call->lane, s->call)) {
        s->inside = true; /* so nobody else judges it meanwhile */
        pool_unlock(p);
        inner_forget_above(p, s->call);
        pool_lock(p);
    }
    struct worker *w = ended ? s->call->lane->worker : NULL;
    s->inside = false;
    if (ended)
        last = end_on_dead_lane(p, s, o);
    else
        stream_take_over(p, s);
    pool_unlock(p);
    if (last)
        worker_free(w);
    if (ended && rc != PIT_E_CANCELLED)
        report_stream_halted(p, s->call, reason);
    if (ended)
        let_go(p, s);
    else
        pool_end_with(p, s->call, o, reason);
}

/* *ret_due: 0, or this thread rides until there is room, and looks at the clock then at the latest. */
static int try_write(struct pool *p, struct stream *s, struct buf *frame, uint64_t *ret_due)
{
    pool_lock(p);
    int rc = s->inbox_closed ? PIT_E_INVALID_REQUEST : stream_send(p, s, frame);
    bool rides = rc == CHANNEL_AGAIN && get_inside(s, false);
    *ret_due = rides ? stream_due(p, s->call, last_look_due(s->call)) : 0;
    if (rc == CHANNEL_AGAIN && !rides)
        will_wait(s);
    pool_unlock(p);
    return rc;
}

int stream_write(struct pool *p, struct stream *s, struct buf *frame, uint64_t until_ns)
{
    for (;;) {
        uint32_t seen = __atomic_load_n(&s->change, __ATOMIC_SEQ_CST);
        uint64_t due = 0;
        int rc = is_over(s) ? PIT_E_END : try_write(p, s, frame, &due);
        if (rc == PIT_E_END && !is_over(s)) { /* in a moment: then its outcome can be read */
            will_wait(s);
            wait_change(p, s, seen, UINT64_MAX);
            continue;
        }
        if (rc != CHANNEL_AGAIN)
            return rc;
        if (due == 0 && !wait_change(p, s, seen, until_ns))
            return PIT_E_PENDING;
        if (due != 0 && ridden(p, s, ride(p, s, due, until_ns), NULL, false) != 0)
            return PIT_E_PENDING;
    }
}
