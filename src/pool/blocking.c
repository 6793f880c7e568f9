/* A blocking call: carried to its outcome by the thread that made it, without a hop through another thread.
 *
 *   enter: admitted, gets a lane or a place in the queue
 *   step:  everything that can be done without waiting; says what it waits for
 *   wait:  the one blocking line
 *   leave: the lane goes back
 *
 * The worker may die, answer, pass the deadline and be given up all at once: the thread that holds the lane decides, under the
 * pool's lock, in a fixed order: the answers that were published, then the marks, then the rest. */
#include "pool/blocking.h"

#include "pool/cancel.h"
#include "pool/inner.h"
#include "pool/look.h"
#include "pool/pool_internal.h"

enum { LONG_DECODE = 1 << 20 }; /* bytes from which on decoding takes time that matters */

/* Gives the lane back with the call's outcome. */
static void leave_lane(struct pool *p, struct call *c, struct outcome o)
{
    struct lane *l = c->lane;
    struct worker *w = l->worker;
    if (l->inner != 0) {
        inner_leave(p, c, o);
        return;
    }
    pool_lock(p);
    lane_pop(l);
    l->finished++;
    c->lane = NULL;
    sched_finish(p, c, o);
    sched_release(p, l);
    bool last = worker_unref(w);
    pool_unlock(p);
    if (last)
        worker_free(w);
}

/* The worker has broken the rules: the call fails now, the loop kills the worker and closes the lane. */
static void accuse(struct pool *p, struct call *c, int code, const char *text)
{
    struct worker *w = c->lane->worker;
    pit_error *e = error_new(code, "worker %s: %s", w->id, text);
    error_worker(e, w->id);
    error_pool(e, p->set.name);
    if (c->level != 0)
        inner_forget_above(p, c);
    pool_lock(p);
    sched_condemn(p, w, code, text);
    if (c->level != 0)
        lane_pop_inner(c->lane);
    else
        cancel_abandon(p, c->lane, lane_head(c->lane), NULL);
    bool last = c->level == 0 && worker_unref(w);
    c->lane = NULL;
    sched_finish(p, c, outcome_failed(e));
    pool_unlock(p);
    if (last)
        worker_free(w);
}

/* The worker has ended and its exit is known. false: the call is in the queue again, or will be. */
static bool judge_death(struct pool *p, struct call *c)
{
    struct lane *l = c->lane;
    struct worker *w = l->worker;
    if (l->inner != 0)
        inner_forget_above(p, c);
    if (c->level != 0) {
        inner_leave(p, c, outcome_failed(worker_end_error(w, c)));
        return true;
    }
    pit_error *e = lane_had_begun(l, c, c->sequence, true) ? worker_end_error(w, c) : NULL;
    bool again = false;
    pool_lock(p);
    lane_pop(l);
    c->lane = NULL;
    if (e == NULL)
        e = sched_admit_call(p, c); /* it never ran: it may run elsewhere, if there is an elsewhere */
    else if (barrier_takes(p, l, c, &e))
        again = true;
    if (e != NULL)
        sched_finish(p, c, outcome_failed(e));
    else if (!again)
        sched_requeue(p, c);
    sched_release(p, l);
    bool last = worker_unref(w);
    pool_unlock(p);
    if (last)
        worker_free(w);
    loop_post(p->env->loop, &p->kill_work); /* the successor's start has given way to us */
    return e != NULL;
}

void blocking_leave_behind(struct pool *p, struct call *c, pit_error *e, const char *reason)
{
    struct lane *l = c->lane;
    pool_lock(p);
    if (l->dead && !inner_on_top(l, c)) { /* nobody will answer what is above it any more */
        pool_unlock(p);
        inner_forget_above(p, c);
        pool_lock(p);
    }
    cancel_abandon(p, l, lane_flight(l, c), reason);
    bool last = c->level == 0 && worker_unref(l->worker);
    c->lane = NULL;
    sched_finish(p, c, outcome_failed(e));
    pool_unlock(p);
    if (last)
        worker_free(l->worker);
}

static void see_failure(struct pool *p, const struct worker *w, const pit_error *e)
{
    pool_lock(p);
    taint_failed(p, w, e);
    pool_unlock(p);
}

static enum step take_frame(struct pool *p, struct call *c, struct channel_frame *in)
{
    struct frame f;
    int rc = frame_parse(in->data, in->n, &f);
    bool answer = rc == 0 && (f.kind == FRAME_RESULT || f.kind == FRAME_ERROR);
    bool sent = c->sent == c->frame.len;
    if (answer && f.id == c->sequence && sent && (c->lane->inner == 0 || inner_on_top(c->lane, c))) {
        c->bytes_out = in->n;
        c->python_ns = f.stamp;
        uint64_t began = c->observed ? pool_now(p) : 0;
        struct outcome o = call_decode(&f, in);
        if (c->observed)
            c->deserialize_ns = (c->ended_ns = pool_now(p)) - began;
        if (c->bytes_out > LONG_DECODE && pool_now(p) >= c->deadline_ns) {
            outcome_free(&o);
            o = outcome_failed(expired_error(p, c, false));
        }
        if (o.error != NULL) {
            error_worker(o.error, c->lane->worker->id);
            error_pool(o.error, p->set.name);
            if (p->set.taint_error_types != NULL)
                see_failure(p, c->lane->worker, o.error);
        }
        leave_lane(p, c, o);
        return STEP_DONE;
    }
    if (rc == 0)
        rc = inner_frame(p, c, &f, in);
    if (rc == 0)
        return sent && !__atomic_load_n(&c->lane->has_unsent, __ATOMIC_ACQUIRE) ? STEP_FRAME : STEP_ROOM;
    if (rc == INNER_LEFT)
        return STEP_DONE;
    accuse(p, c, PIT_E_PROTOCOL_ERROR,
           answer && !sent ? "it answered a call before it had read all of it, and was killed"
                           : "it sent something that is no answer to its call, and was killed");
    return STEP_DONE;
}

/* The end of the channel, or of the worker: the loop finds out, and wakes us when all is known. */
static enum step lost(struct pool *p, struct call *c, int seen_status)
{
    struct worker *w = c->lane->worker;
    pool_lock(p);
    if (seen_status != 0)
        w->seen_status = seen_status;
    sched_lost(p, w);
    pool_unlock(p);
    return STEP_EXIT;
}

enum step blocking_step(struct pool *p, struct call *c, struct channel_frame *in, bool woken)
{
    struct channel *ch = c->lane->channel;
    bool ended = __atomic_load_n(&c->lane->dead, __ATOMIC_SEQ_CST); /* before looking for answers: they come first */
    size_t had = c->sent;
    int rc = 0;
    if (c->sent < c->frame.len)
        rc = ch->ops->send(ch, c->frame.data, c->frame.len, &c->sent);
    else if (c->lane->inner != 0 && c->stream == NULL) /* who rides a stream does it under the lock */
        rc = inner_flush_ridden(p, c->lane);
    bool cut = rc == PIT_E_WORKER_LOST, full = rc == CHANNEL_AGAIN; /* cut: the frame will never be whole */
    if (rc == 0 || rc == CHANNEL_AGAIN || cut)
        rc = ch->ops->recv(ch, in);
    if (rc == CHANNEL_AGAIN && cut)
        rc = PIT_E_WORKER_LOST;
    if (rc == 0)
        return take_frame(p, c, in);
    if (ended)
        return judge_death(p, c) ? STEP_DONE : STEP_AGAIN;
    bool in_vain = rc == CHANNEL_AGAIN && woken && c->sent == had;
    int status = in_vain ? worker_ending(c->lane->worker) : 0; /* so does the kernel ring when it dies */
    if (rc == CHANNEL_AGAIN && status == 0)
        return full ? STEP_ROOM : STEP_FRAME;
    if (rc == PIT_E_WORKER_LOST || status != 0) /* mostly its end; but a worker may live on after it has closed its side */
        return lost(p, c, status);
    accuse(p, c, rc, worker_fault(rc));
    return STEP_DONE;
}

bool blocking_out_of_time(struct pool *p, struct call *c, uint64_t *until_ns)
{
    bool over = pool_now(p) >= c->deadline_ns;
    pit_error *e = over ? expired_error(p, c, false) : NULL;
    *until_ns = c->deadline_ns;
    pool_lock(p);
    if (over)
        last_look_put(p, c, e);
    else
        last_look_ask(p, c->lane->worker);
    pool_unlock(p);
    if (over)
        blocking_leave_behind(p, c, e, "deadline_exceeded");
    return over;
}

void blocking_wait(struct pool *p, struct call *c, enum step what, uint64_t deadline_ns)
{
    struct channel *ch = what == STEP_FRAME || what == STEP_ROOM ? c->lane->channel : NULL;
    if (ch != NULL)
        ch->ops->wait(ch, what == STEP_FRAME ? CHANNEL_FOR_FRAME : CHANNEL_FOR_ROOM | CHANNEL_FOR_FRAME, deadline_ns,
                      p->set.spin_ns);
    else
        call_sleep(c, p->env->os, deadline_ns);
}

static pit_error *cut_error(struct pool *p, struct call *c, const char *reason)
{
    pit_error *e =
        error_new(PIT_E_CANCELLED, "the call of %s was cancelled%s%s", c->command, *reason != '\0' ? ": " : "", reason);
    error_pool(e, p->set.name);
    error_worker(e, c->lane->worker->id);
    return error_detail_take(e, "rung", pit_int(cancel_first_rung(p, c)));
}

/* Rides the lane until the call has its outcome: true; or is back in the queue. Its way is told when the frame is out: the worker works
 * meanwhile. */
static bool ride(struct pool *p, struct call *c, struct call_way *way)
{
    struct channel_frame in;
    enum step what;
    uint64_t until = last_look_due(c);
    channel_frame_init(&in);
    for (bool waited = false, woken = false;; waited = true) {
        if (__atomic_load_n(&c->wake, __ATOMIC_SEQ_CST) != 0)
            __atomic_store_n(&c->wake, 0, __ATOMIC_SEQ_CST);
        what = blocking_step(p, c, &in, woken);
        if (way->steps != 0)
            report_way(p, c, way);
        if (what == STEP_DONE || what == STEP_AGAIN)
            break;
        if (!waited && c->coarse) /* the worker works meanwhile: now the clock costs nothing */
            __atomic_store_n(&c->sent_ns, pool_now(p), __ATOMIC_RELAXED);
        if ((waited || c->called_tools) && until != UINT64_MAX && pool_now(p) >= until && blocking_out_of_time(p, c, &until)) {
            what = STEP_DONE;
            break;
        }
        const char *cut = waited ? __atomic_load_n(&c->cut, __ATOMIC_SEQ_CST) : NULL;
        if (cut != NULL) {
            blocking_leave_behind(p, c, cut_error(p, c, cut), cut);
            what = STEP_DONE;
            break;
        }
        if (waited && __atomic_load_n(&c->lane->worker->recycle.cut, __ATOMIC_SEQ_CST)) {
            blocking_leave_behind(p, c, recycled_error(p, c), RECYCLED_REASON);
            what = STEP_DONE;
            break;
        }
        blocking_wait(p, c, what, until);
        woken = what == STEP_FRAME || what == STEP_ROOM;
    }
    channel_frame_finish(&in);
    return what == STEP_DONE;
}

/* Waits in the queue until the call has its outcome: true; or a lane. */
static bool wait_for_lane(struct pool *p, struct call *c, struct call_way *way)
{
    pool_lock(p);
    sched_take_way(c, way);
    if (way->steps != 0) {
        pool_unlock(p);
        report_way(p, c, way);
        pool_lock(p);
    }
    while (call_waits(c)) {
        bool queued = c->state == CALL_QUEUED;
        uint64_t until = queued ? c->queue_deadline_ns : c->deadline_ns;
        c->notified = false;
        if (queued && sched_try(p, c))
            break;
        if (pool_now(p) >= until) {
            sched_forget(p, c);
            sched_finish(p, c, outcome_failed(expired_error(p, c, queued)));
            break;
        }
        __atomic_store_n(&c->wake, 0, __ATOMIC_RELEASE);
        pool_unlock(p);
        blocking_wait(p, c, STEP_LANE, until);
        pool_lock(p);
    }
    bool done = c->state == CALL_DONE;
    sched_take_way(c, way);
    pool_unlock(p);
    return done;
}

static pit_error *enter(struct pool *p, struct call *c)
{
    pit_error *e = sched_admit_call(p, c);
    if (e != NULL)
        return e;
    struct lane *l = sched_take(p);
    if (l != NULL) {
        sched_assign(p, l, c, LANE_CALLER);
        return NULL;
    }
    return c->fail_fast ? sched_none_free(p) : sched_enqueue(p, c);
}

/* With the change of the worker's state, if that is all there is to tell: it too can wait until the frame is out. Lock. */
static void take_way(struct pool *p, struct call *c, struct call_way *ret)
{
    sched_take_way(c, ret);
    const struct state_note *note = ret->steps != 0 ? poollock_take_note(&p->lock) : NULL;
    if (note == NULL)
        return;
    ret->steps |= CALL_WORKER;
    ret->generation = note->generation;
    ret->from = note->from;
    ret->to = note->to;
}

void pool_call(struct pool *p, struct call *c)
{
    pool_lock(p);
    p->requests++;
    p->active++;
    c->state = CALL_NEW;
    pit_error *e = enter(p, c);
    if (e != NULL)
        sched_finish(p, c, outcome_failed(e));
    bool queued = c->state == CALL_QUEUED, done = c->state == CALL_DONE;
    struct call_way way;
    way.steps = 0;
    if (c->state == CALL_SENT)
        take_way(p, c, &way);
    pool_unlock(p);
    while (!done) {
        done = queued ? wait_for_lane(p, c, &way) : ride(p, c, &way);
        queued = !queued;
    }
    if (pool_is_ending(p))
        host_changed(p->host);
}

void pool_ride(struct pool *p, struct call *c)
{
    struct call_way way;
    pool_lock(p);
    sched_take_way(c, &way);
    pool_unlock(p);
    ride(p, c, &way);
}
