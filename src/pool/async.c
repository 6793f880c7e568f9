/* Calls that the loop carries: futures, every call of a host-driven pit, and what callers left behind.
 *
 * A lane of the loop may hold several calls ahead (its window) when their command is known to be short: publishing many frames for
 * one wake-up is worth more than anything else. Should the first of them turn out to be long, the others are taken back (they are
 * revoked in the worker's claim table, so that they run exactly once) and go elsewhere.
 *
 * Who sends on a lane of the loop holds the pool's lock; only the loop receives. */
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "pool/cancel.h"
#include "pool/inner.h"
#include "pool/limits.h"
#include "pool/look.h"
#include "pool/pool_internal.h"
#include "pool/stream.h"

enum { BATCH = 64, LAST_TURNS = 64, OFFER_RUN = 16 /* so many calls go to one lane before the next is chosen */ };
#define STALL_NS (4 * MS) /* so long may the first call of a lane keep others waiting that stand behind it */

/* ---- expiry ---- */

static struct call *of_timer(struct wheel_timer *t)
{
    return LIST_ENTRY(t, struct call, expiry);
}

void async_expire_at(struct pool *p, struct call *c, uint64_t due_ns)
{
    if (c->of_batch)
        return;
    if (due_ns == UINT64_MAX) {
        wheel_stop(&p->expiry, &c->expiry);
        return;
    }
    wheel_set(&p->expiry, &c->expiry, due_ns);
    if (due_ns < p->expiry_due_ns) {
        p->expiry_due_ns = due_ns;
        loop_post(p->env->loop, &p->look_at_expiry);
    }
}

/* ---- sending: lock ---- */

static bool lane_has_room(const struct lane *l, unsigned window)
{
    if (l->worker->dead || l->worker->draining || l->worker->aside || l->sending != NULL || l->unsent.len != 0 ||
        l->given_up != 0 || l->inner != 0)
        return false;
    return l->count == 0 || (l->windowed && l->worker->is_ring && l->count < window && lane_has_mark(l));
}

struct lane *async_lane(struct pool *p, struct call *c)
{
    struct lane *best = sched_take(p);
    if (best != NULL || c->window <= 1 || p->queue.depth != 0)
        return best;
    LIST_EACH(node, &p->loop_lanes)
    {
        struct lane *l = LIST_ENTRY(node, struct lane, node);
        if (lane_has_room(l, c->window) && (best == NULL || l->count < best->count))
            best = l;
    }
    return best;
}

/* Sends what is left of the call's frame; what fails here shows as the worker's end. more: the worker will be told of it with others. */
static void push_frame(struct pool *p, struct lane *l, struct call *c, bool more)
{
    struct channel *ch = l->channel;
    int rc = (more && ch->ops->put != NULL ? ch->ops->put : ch->ops->send)(ch, c->frame.data, c->frame.len, &c->sent);
    l->sending = rc == CHANNEL_AGAIN ? c : NULL;
    if (rc == PIT_E_PROTOCOL_ERROR)
        sched_condemn(p, l->worker, rc, worker_fault(rc));
    else if (rc == PIT_E_WORKER_LOST)
        sched_lost(p, l->worker);
}

void async_push(struct pool *p, struct lane *l, struct call *c)
{
    push_frame(p, l, c, false);
}

bool async_claim(struct lane *l)
{
    if (l->attended)
        return false;
    l->attended = true;
    worker_ref(l->worker);
    return true;
}

/* The loop shall look at the lane's timers; the lane lives until it has. */
void async_attend(struct pool *p, struct lane *l)
{
    if (async_claim(l))
        loop_post(p->env->loop, &l->attend);
}

/* The loop must hear of the answer. It arms its lanes before it sleeps; a lane that was idle until now is armed here: the worker
 * rings the control socket, and nobody else receives on it yet. */
static void ensure_heard(struct pool *p, struct lane *l, bool was_idle)
{
    if (loop_is_current(p->env->loop))
        return;
    bool quiet = true;
    if (was_idle) {
        l->armed = true;
        quiet = l->channel->ops->arm(l->channel, CHANNEL_FOR_FRAME);
    }
    if (!quiet || l->sending != NULL)
        loop_wake(p->env->loop);
}

/* What is known of the command now: while the call waited, others may have told more. */
static void learn(struct pool *p, struct call *c)
{
    bool measure;
    c->window = commands_window(&p->commands, c->command, &measure);
    if (c->taken_back || c->limited || c->stream != NULL)
        c->window = 1;
    if (measure && c->stream == NULL)
        call_measure(c);
}

static void dispatch(struct pool *p, struct lane *l, struct call *c, bool more)
{
    bool was_idle = l->owner != LANE_LOOP;
    if (l->count == 0)
        l->windowed = c->window > 1;
    sched_assign(p, l, c, LANE_LOOP);
    if (c->limited)
        limits_begin(p, l, c);
    push_frame(p, l, c, more);
    async_expire_at(p, c, stream_due(p, c, last_look_due(c)));
    if (c->stream != NULL)
        stream_attend(p, l);
    if (l->count > 1 && !l->written_ahead)
        lane_tell_ahead(l, true);
    if (l->count == 2 && l->stalled == 0)
        async_attend(p, l);
    ensure_heard(p, l, was_idle);
}

void async_dispatch(struct pool *p, struct lane *l, struct call *c)
{
    dispatch(p, l, c, false);
}

/* Tells the worker of what was put. */
static void tell_of_run(struct lane *l)
{
    if (l != NULL && l->channel->ops->tell != NULL)
        l->channel->ops->tell(l->channel);
}

static void refill(struct pool *p, struct lane *l)
{
    struct call *head;
    while ((head = queue_head(&p->queue)) != NULL && !head->waited_for) {
        learn(p, head);
        if (!lane_has_room(l, head->window))
            break;
        sched_unqueue(p, head);
        async_dispatch(p, l, head);
    }
}

static void enter(struct pool *p, struct call *c)
{
    c->state = CALL_NEW;
    p->requests++;
    p->active++;
}

pit_error *pool_submit(struct pool *p, struct call *c)
{
    pool_lock(p);
    enter(p, c);
    pit_error *e = sched_admit_call(p, c);
    if (e == NULL) {
        learn(p, c);
        struct lane *l = async_lane(p, c);
        if (l != NULL) {
            if (!stream_board(p, l, c))
                async_dispatch(p, l, c);
        } else if (c->fail_fast) {
            e = sched_none_free(p);
        } else if ((e = sched_enqueue(p, c)) == NULL) {
            async_expire_at(p, c, c->queue_deadline_ns);
        }
    }
    if (e != NULL) {
        p->errors++;
        p->active--;
    }
    pool_unlock(p);
    return e;
}

/* It enters and ends at once, if it is poison. */
static bool enter_refused(struct pool *p, struct call *c)
{
    pit_error *refused = poison_refuse(p, c);
    if (refused == NULL)
        return false;
    enter(p, c);
    poison_drop(p, c, refused);
    return true;
}

unsigned pool_offer(struct pool *p, struct call *const *calls, unsigned n, bool may_queue, pit_error **ret)
{
    struct lane *l = NULL;
    unsigned taken = 0, run = 0;
    pool_lock(p);
    *ret = sched_admit(p);
    for (; taken < n && *ret == NULL && p->queue.depth == 0; taken++) {
        struct call *c = calls[taken];
        if (p->poison.bad && enter_refused(p, c))
            continue;
        learn(p, c);
        if (l == NULL || run == OFFER_RUN || !lane_has_room(l, c->window)) {
            tell_of_run(l);
            l = async_lane(p, c);
            run = 0;
        }
        if (l == NULL)
            break;
        run++;
        enter(p, c);
        dispatch(p, l, c, true);
    }
    tell_of_run(l);
    if (taken == 0 && *ret == NULL && may_queue && p->queue.depth < (size_t)p->set.max_queue_size) {
        taken = 1;
        if (!p->poison.bad || !enter_refused(p, calls[0])) {
            enter(p, calls[0]);
            *ret = sched_enqueue(p, calls[0]);
            async_expire_at(p, calls[0], calls[0]->queue_deadline_ns);
        }
    }
    pool_unlock(p);
    return taken;
}

/* ---- ending ---- */

/* Ends a call that the loop carries; onto *done, for async_deliver. */
void async_complete(struct pool *p, struct call *c, struct outcome o, struct list *done)
{
    if (!c->of_batch)
        wheel_stop(&p->expiry, &c->expiry);
    if (c->untold != 0) /* report_call tells of it first */
        list_remove(&c->untold_node);
    if (o.error != NULL)
        error_correlation(o.error, pool_correlation(p, c));
    sched_finish(p, c, o);
    list_push_back(done, &c->done_node);
}

/* Calls of batches are told of by dozens: who hears of them is on another CPU, and each word to him costs as much as the rest. */
void async_deliver(struct pool *p, struct list *done)
{
    struct list *node;
    struct call *first = NULL, *last = NULL; /* of a batch, not told of yet */
    bool any = !list_empty(done);
    while ((node = list_pop_front(done)) != NULL) {
        struct call *c = LIST_ENTRY(node, struct call, done_node);
        if (c->limited && c->limit_passed != LIMITS)
            report_limit(p, c);
        if (first != NULL && !(c->of_batch && c->made_by == last->made_by)) {
            first->done(first);
            first = NULL;
        }
        if (!c->of_batch) {
            if (c->stream == NULL)
                sched_wake(p, c);
            c->done(c);
            continue;
        }
        if (first == NULL)
            first = c;
        else
            last->done_next = c;
        last = c;
    }
    if (first != NULL)
        first->done(first);
    if (any && pool_is_ending(p))
        host_changed(p->host);
}

/* Its time is not over: it will be soon, or its stream gives too little. */
static void look_again(struct pool *p, struct call *c)
{
    uint64_t due = last_look_due(c);
    if (pool_now(p) >= due) {
        last_look_ask(p, c->lane->worker);
        due = c->deadline_ns;
    }
    wheel_set(&p->expiry, &c->expiry, stream_due(p, c, due));
}

static void on_expiry(struct loop_timer *t)
{
    struct pool *p = LIST_ENTRY(t, struct pool, expiry_timer);
    struct list due, done;
    list_init(&due);
    list_init(&done);
    pool_lock(p);
    wheel_advance(&p->expiry, pool_now(p), &due);
    struct list *node;
    while ((node = list_first(&due)) != NULL) {
        struct call *c = of_timer(LIST_ENTRY(node, struct wheel_timer, node));
        if (c->stream != NULL && stream_keeps_time(p, c, &done))
            continue;
        pit_error *e = NULL;
        if (c->state == CALL_SENT && pool_now(p) < c->deadline_ns && (e = stream_idle_error(p, c)) == NULL) { /* nearly */
            look_again(p, c);
            continue;
        }
        if (e == NULL)
            e = expired_error(p, c, c->state == CALL_QUEUED);
        cancel_end(p, c, last_look_put(p, c, e), "deadline_exceeded", &done);
    }
    p->expiry_due_ns = wheel_next(&p->expiry);
    if (p->expiry_due_ns != UINT64_MAX)
        loop_timer_set(p->env->loop, t, p->expiry_due_ns);
    pool_unlock(p);
    async_deliver(p, &done);
}

static void on_look_at_expiry(struct loop_work *w)
{
    struct pool *p = LIST_ENTRY(w, struct pool, look_at_expiry);
    pool_lock(p);
    uint64_t due = p->expiry_due_ns;
    pool_unlock(p);
    if (due != UINT64_MAX)
        loop_timer_set(p->env->loop, &p->expiry_timer, due);
}

/* ---- receiving: the loop ---- */

struct answers {
    unsigned n, frames; /* answers; with what else came */
    struct {
        uint64_t id, stamp, decode_ns;
        size_t bytes;
        struct outcome outcome;
    } got[BATCH];
};

/* Takes the answers that are there. 0, CHANNEL_AGAIN when there are no more, or why the worker must go. */
static int receive(struct lane *l, struct answers *b)
{
    const struct os_ops *os = l->worker->env->os;
    bool timed = telemetry_wants_calls(l->worker->env->telemetry);
    struct channel_frame in;
    channel_frame_init(&in);
    int rc = 0;
    b->n = b->frames = 0;
    if (l->broken)
        return CHANNEL_AGAIN;
    for (; b->frames < BATCH; b->frames++) {
        struct frame f;
        rc = l->channel->ops->recv(l->channel, &in);
        if (rc == 0)
            rc = frame_parse(in.data, in.n, &f);
        if (rc == 0 && f.kind != FRAME_RESULT && f.kind != FRAME_ERROR)
            rc = inner_loop_frame(l->worker->pool, l, &f, &in);
        else if (rc == 0) {
            b->got[b->n].id = f.id;
            b->got[b->n].stamp = f.stamp;
            b->got[b->n].bytes = in.n;
            uint64_t began = timed ? os->now_ns() : 0;
            b->got[b->n].outcome = call_decode(&f, &in);
            b->got[b->n++].decode_ns = timed ? os->now_ns() - began : 0;
        }
        if (rc != 0)
            break;
    }
    channel_frame_finish(&in);
    return rc;
}

/* Is part of the call's frame still to be sent? Whatever comes then is no answer to it. */
static bool still_sending(const struct lane *l, const struct flight *f)
{
    return f->call != NULL ? f->call->sent < f->call->frame.len : l->unsent.len != 0 && !l->unsent_inner && l->count == 1;
}

/* Gives the answers to their calls: lock. false: an answer to no call. */
static bool settle(struct pool *p, struct lane *l, struct answers *b, struct list *done)
{
    bool good = true;
    for (unsigned i = 0; i < b->n; i++) {
        struct flight *f = lane_inner(l);
        good = good && f != NULL && f->sequence == b->got[i].id && !still_sending(l, f);
        struct call *c = good ? f->call : NULL;
        unsigned level = l->nested;
        if (good) {
            lane_pop_inner(l);
            if (c == NULL) {
                l->given_up--;
                cancel_ended(p, l, b->got[i].id);
            }
        }
        if (good && l->inner != 0)
            inner_popped(p, l, level);
        if (c == NULL) {
            outcome_free(&b->got[i].outcome);
            continue;
        }
        struct outcome o = b->got[i].outcome;
        if (o.error != NULL) {
            error_worker(o.error, l->worker->id);
            error_pool(o.error, p->set.name);
            if (p->set.taint_error_types != NULL)
                taint_failed(p, l->worker, o.error);
        }
        if (c->timed && b->got[i].stamp != 0) /* unasked it proves nothing */
            commands_measured(&p->commands, c->command, b->got[i].stamp);
        c->bytes_out = b->got[i].bytes;
        c->deserialize_ns = b->got[i].decode_ns;
        c->python_ns = b->got[i].stamp;
        c->lane = NULL;
        l->finished++;
        async_complete(p, c, c->limited ? limits_settle(p, l, c, o) : o, done);
    }
    return good;
}

void async_send_rest(struct pool *p, struct lane *l)
{
    if (l->sending != NULL) { /* what is unsent beside it stands behind it */
        push_frame(p, l, l->sending, false);
        if (l->sending == NULL && l->senders != 0) /* tools that stream have waited for that */
            inner_streams_changed(l);
    }
    if (l->unsent.len == 0 || l->sending != NULL)
        return;
    int rc = inner_flush(l);
    if (rc == PIT_E_WORKER_LOST)
        sched_lost(p, l->worker);
}

bool async_can_send(const struct lane *l)
{
    bool free = l->owner == LANE_LOOP || (l->owner == LANE_CALLER && l->nested == 0); /* else who rides sends */
    return free && l->sending == NULL && l->unsent.len == 0 && !l->dead && !l->broken && l->worker->condemned == 0;
}

void async_send_inner(struct pool *p, struct lane *l, const uint8_t *frame, size_t n)
{
    size_t done = 0;
    int rc = l->channel->ops->send(l->channel, frame, n, &done);
    if (rc == PIT_E_PROTOCOL_ERROR)
        sched_condemn(p, l->worker, rc, worker_fault(rc));
    else if (rc == PIT_E_WORKER_LOST)
        sched_lost(p, l->worker);
    if (rc != CHANNEL_AGAIN)
        return;
    if (!inner_queue(l, frame, n, done))
        sched_condemn(p, l->worker, PIT_E_WORKER_KILLED, "it was killed: memory ran out in the middle of a message to it");
    stream_take_over_lane(p, l); /* where nobody rides who could send the rest */
    if (l->owner == LANE_CALLER)
        l->channel->ops->rouse(l->channel);
    else if (!loop_is_current(p->env->loop))
        loop_wake(p->env->loop);
}

/* A worker on the socket cannot ring for room: the loop watches for it while there is something to send. */
static void watch_room(struct lane *l)
{
    struct worker *w = l->worker;
    bool wanted = l->sending != NULL || l->unsent.len != 0;
    uint32_t events = EPOLLIN | (wanted ? (uint32_t)EPOLLOUT : 0);
    if (!w->is_ring && w->control_open && w->control_source.events != events)
        sched_watch(w, events);
}

/* Nothing that comes here counts any more. What is not read keeps the socket readable: the loop would not rest until the worker has gone. lock. */
static void stop_listening(struct lane *l)
{
    struct worker *w = l->worker;
    l->broken = true;
    if (!w->is_ring && w->control_open)
        sched_watch(w, 0);
}

static bool turn_lane(struct pool *p, struct lane *l, struct list *done)
{
    struct answers b;
    bool dead = l->dead;
    int rc = receive(l, &b);
    pool_lock(p);
    if (!settle(p, l, &b, done))
        rc = PIT_E_PROTOCOL_ERROR;
    bool breaks = rc != 0 && rc != CHANNEL_AGAIN && rc != PIT_E_WORKER_LOST;
    if (breaks || rc == PIT_E_WORKER_LOST)
        stop_listening(l);
    if (!dead && breaks)
        sched_condemn(p, l->worker, rc, worker_fault(rc));
    if (!dead && rc == PIT_E_WORKER_LOST)
        sched_lost(p, l->worker);
    cancel_watch(p, l);
    if (l->owner == LANE_LOOP && !dead && !l->broken && l->worker->condemned == 0) {
        async_send_rest(p, l);
        stream_attend(p, l);
        cancel_tell(p, l);
        refill(p, l);
        watch_room(l);
        if (l->count == 0 && l->unsent.len == 0)
            sched_release(p, l);
    }
    pool_unlock(p);
    bool asked = l->asked.len != 0 && !dead;
    if (asked)
        inner_serve(p, l);
    return b.frames != 0 || asked;
}

bool pool_turn(struct pool *p)
{
    struct list done;
    bool any = false;
    list_init(&done);
    pool_lock(p);
    size_t n = 0;
    LIST_EACH(node, &p->loop_lanes)
    n++;
    struct list *node = list_first(&p->loop_lanes);
    for (; n > 0 && node != NULL && node != &p->loop_lanes; n--) {
        struct list *next = node->next; /* only this thread takes lanes out of the list */
        struct lane *l = LIST_ENTRY(node, struct lane, node);
        pool_unlock(p);
        any = turn_lane(p, l, &done) || any;
        pool_lock(p);
        node = next;
    }
    pool_unlock(p);
    async_deliver(p, &done);
    return any;
}

bool pool_arm(struct pool *p)
{
    bool quiet = true;
    pool_lock(p);
    LIST_EACH(node, &p->loop_lanes)
    {
        struct lane *l = LIST_ENTRY(node, struct lane, node);
        if (l->dead || l->broken)
            continue;
        l->armed = true;
        if (!l->channel->ops->arm(l->channel, CHANNEL_FOR_FRAME))
            quiet = false;
        if ((l->sending != NULL || l->unsent.len != 0) && !l->channel->ops->arm(l->channel, CHANNEL_FOR_ROOM))
            quiet = false;
    }
    pool_unlock(p);
    return quiet;
}

void pool_disarm(struct pool *p)
{
    pool_lock(p);
    LIST_EACH(node, &p->loop_lanes)
    {
        struct lane *l = LIST_ENTRY(node, struct lane, node);
        if (l->armed && !l->dead)
            l->channel->ops->disarm(l->channel);
        l->armed = false;
    }
    pool_unlock(p);
}

/* ---- the worker's end ---- */

void async_lane_gone(struct pool *p, struct lane *l, struct list *done)
{
    struct answers b;
    int rc = 0;
    for (int turns = 0; rc == 0 && turns < LAST_TURNS; turns++) {
        pool_unlock(p);
        rc = receive(l, &b); /* the answers that it had published come first */
        pool_lock(p);
        if (!settle(p, l, &b, done))
            break;
    }
    while (l->count > 0) {
        struct flight f = *lane_at(l, l->count - 1);
        l->count--;
        struct call *c = f.call;
        bool nested = l->nested != 0; /* by a tool: it ends with the call that has called that */
        l->nested -= nested;
        if (c == NULL) {
            cancel_ended(p, l, f.sequence);
            continue;
        }
        c->lane = NULL;
        bool started = nested || lane_had_begun(l, c, f.sequence, l->count == 0);
        pit_error *e = started ? worker_end_error(l->worker, c) : sched_admit_call(p, c);
        if (started && !nested && barrier_takes(p, l, c, &e))
            continue;
        if (e != NULL) {
            async_complete(p, c, outcome_failed(e), done);
        } else {
            sched_requeue(p, c);
            async_expire_at(p, c, c->queue_deadline_ns);
        }
    }
    l->sending = NULL;
}

/* ---- a lane's timers ---- */

void async_take_back(struct pool *p, struct lane *l)
{
    struct list back;
    list_init(&back);
    while (l->count > 1 && l->nested == 0) {
        struct flight f = *lane_at(l, l->count - 1);
        if (f.call == NULL || f.call->sent < f.call->frame.len || !lane_revoke(l, f.sequence))
            break;
        lane_drop(l, l->count - 1);
        f.call->taken_back = true;
        sched_requeue(p, f.call);
        async_expire_at(p, f.call, f.call->queue_deadline_ns);
    }
    l->windowed = false;
}

/* `stalled` is the first call's sequence when the timer was set, 0 while it is not. */
static void watch_head(struct pool *p, struct lane *l)
{
    l->stalled = l->count - l->nested > 1 ? lane_head(l)->sequence : 0;
    if (l->stalled != 0)
        loop_timer_set(p->env->loop, &l->stall, pool_now(p) + STALL_NS);
}

static void on_stall(struct loop_timer *t)
{
    struct lane *l = LIST_ENTRY(t, struct lane, stall);
    struct pool *p = l->worker->pool;
    pool_lock(p);
    if (l->count > 1 && lane_head(l)->sequence == l->stalled)
        async_take_back(p, l);
    watch_head(p, l);
    sched_spread(p);
    pool_unlock(p);
}

static void on_attend(struct loop_work *w)
{
    struct lane *l = LIST_ENTRY(w, struct lane, attend);
    struct worker *worker = l->worker;
    struct pool *p = worker->pool;
    pool_lock(p);
    l->attended = false;
    cancel_watch(p, l);
    limits_watch(p, l);
    if (!worker->dead && l->stalled == 0)
        watch_head(p, l);
    bool heard = worker->is_ring || worker->dead;
    pool_unlock(p);
    if (!heard)
        worker_attend(worker);
    pool_lock(p);
    bool last = worker_unref(worker);
    pool_unlock(p);
    if (last)
        worker_free(worker);
}

void lane_init_hooks(struct lane *l)
{
    list_init(&l->notes);
    list_init(&l->streams);
    l->grace.fn = cancel_on_grace;
    l->limit.timer.fn = limits_on_timer;
    l->stall.fn = on_stall;
    l->attend.fn = on_attend;
}

static void on_tell(struct loop_work *w)
{
    struct pool *p = LIST_ENTRY(w, struct pool, tell_work);
    for (;;) {
        struct call_way way;
        pool_lock(p);
        struct list *node = list_pop_front(&p->untold);
        struct call *c = node != NULL ? LIST_ENTRY(node, struct call, untold_node) : NULL;
        if (c != NULL)
            sched_take_way(c, &way);
        pool_unlock(p);
        if (c == NULL)
            return;
        report_way(p, c, &way); /* it lives: its end is told on this thread */
    }
}

void async_init(struct pool *p)
{
    list_init(&p->untold);
    list_init(&p->tool_waits);
    p->tell_work.fn = on_tell;
    p->expiry_due_ns = UINT64_MAX;
    p->expiry_timer.fn = on_expiry;
    p->look_at_expiry.fn = on_look_at_expiry;
}
