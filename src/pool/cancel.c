/* See cancel.h. Order of events: the caller's outcome is given under the lock in which the call leaves its lane or the queue; what happens to
 * the worker afterwards is nobody's business but the ladder's, and is told once, when that has ended.
 *
 * Invariants
 *  1. A flight without a call has a ladder as soon as it is the first of its lane: there is one flag and one signal for each lane.
 *  2. The signal is sent on the loop, which closes the pidfd: so it cannot reach another process. It says nothing by itself: the worker
 *     compares the status word `raise` with the call that runs.
 *  3. A note is in its lane until the ladder ends, then in the pool until it is told. Without memory for one a ladder is climbed all the
 *     same, and ends untold. */
#include "pool/cancel.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "pool/inner.h"
#include "pool/look.h"
#include "pool/pool_internal.h"

#define LOOK_AGAIN_NS (2 * MS)

int cancel_max_rung(const struct pool *p, const struct call *c)
{
    int rung = c->max_rung != 0 ? c->max_rung : p->set.cancel_max_rung;
    return pool_has_adapter(p) && rung > RUNG_FLAG ? RUNG_FLAG : rung; /* nobody can end a thread */
}

int cancel_first_rung(const struct pool *p, const struct call *c)
{
    return cancel_max_rung(p, c) < RUNG_FLAG ? RUNG_DROP : RUNG_FLAG;
}

/* ---- what will be told ---- */

static struct cancel_note *make_note(struct pool *p, const struct lane *l, struct call *c, const char *reason)
{
    const char *texts[] = {c->command, c->session_id, pool_correlation(p, c), reason[0] != '\0' ? reason : NULL};
    enum { TEXTS = sizeof texts / sizeof texts[0] };
    size_t n = 0;
    for (int i = 0; i < TEXTS; i++)
        n += texts[i] != NULL ? strlen(texts[i]) + 1 : 0;
    struct cancel_note *note = mem_alloc(sizeof *note + n);
    if (note == NULL)
        return NULL;
    char *to = note->texts;
    *note = (struct cancel_note){.sequence = c->sequence,
                                 .entered_ns = c->entered_ns,
                                 .generation = l->worker->generation,
                                 .max_rung = cancel_max_rung(p, c)};
    note->command = mem_put_str(&to, texts[0]);
    note->session_id = mem_put_str(&to, texts[1]);
    note->correlation_id = mem_put_str(&to, texts[2]);
    note->reason = mem_put_str(&to, texts[3]);
    memcpy(note->worker_id, l->worker->id, sizeof note->worker_id);
    return note;
}

static struct cancel_note *note_of(struct lane *l, uint64_t sequence)
{
    if (l->notes.next == NULL)
        return NULL;
    LIST_EACH(node, &l->notes)
    {
        struct cancel_note *note = LIST_ENTRY(node, struct cancel_note, node);
        if (note->sequence == sequence)
            return note;
    }
    return NULL;
}

static void tell_cancelled(struct pool *p, const struct cancel_note *n)
{
    if (!telemetry_wants(p->env->telemetry, EVENT_CALL_CANCELLED))
        return;
    struct event_common common = {.pool = p->set.name,
                                  .worker_id = n->worker_id,
                                  .session_id = n->session_id,
                                  .correlation_id = n->correlation_id,
                                  .generation = n->generation,
                                  .call_id = n->sequence};
    char rung[8];
    snprintf(rung, sizeof rung, "%d", n->ladder.rung);
    const double numbers[] = {(double)(n->ended_ns - n->entered_ns) / 1e6,
                              (double)ladder_spent(&n->ladder, RUNG_FLAG, n->ended_ns) / 1e6,
                              (double)ladder_spent(&n->ladder, RUNG_RAISE, n->ended_ns) / 1e6,
                              (double)ladder_spent(&n->ladder, RUNG_KILL, n->ended_ns) / 1e6};
    const char *texts[] = {n->command, rung, n->reason};
    telemetry_emit(p->env->telemetry, EVENT_CALL_CANCELLED, &common, numbers, texts);
}

static void on_told(struct loop_work *w)
{
    struct pool *p = LIST_ENTRY(w, struct pool, cancelled_work);
    for (;;) {
        pool_lock(p);
        struct list *node = list_pop_front(&p->cancelled_notes);
        pool_unlock(p);
        if (node == NULL)
            return;
        struct cancel_note *note = LIST_ENTRY(node, struct cancel_note, node);
        tell_cancelled(p, note);
        mem_free(note);
    }
}

static void free_notes(struct list *notes)
{
    struct list *node;
    while (notes->next != NULL && (node = list_pop_front(notes)) != NULL)
        mem_free(LIST_ENTRY(node, struct cancel_note, node));
}

void cancel_init(struct pool *p)
{
    list_init(&p->cancelled_notes);
    p->cancelled_work.fn = on_told;
}

void cancel_finish(struct pool *p)
{
    free_notes(&p->cancelled_notes);
}

/* ---- giving up ---- */

/* The rest of the frame stays with the lane: a big one moves there, what is on its caller's stack is copied. */
static void keep_rest(struct lane *l, struct call *c)
{
    size_t n = c->frame.len;
    __atomic_store_n(&l->has_unsent, true, __ATOMIC_RELEASE);
    if (c->frame.borrowed || l->unsent.len != 0) {
        struct buf behind = l->unsent; /* of a lane whose calls call tools: none of it is out */
        l->unsent = (struct buf){0};
        l->unsent_at = 0;
        l->unsent_done = c->sent;
        buf_append(&l->unsent, c->frame.data, n);
        if (behind.len != 0)
            buf_append(&l->unsent, behind.data, behind.len);
        buf_finish(&behind);
        return;
    }
    l->unsent_at = 0;
    l->unsent = c->frame;
    l->unsent_done = c->sent;
    buf_init_fixed(&c->frame, NULL, 0);
    c->frame.len = c->sent = n; /* its size is still told */
}

/* true: the loop must be asked to attend to the lane. */
static bool give_up(struct pool *p, struct lane *l, struct flight *f, const char *reason)
{
    struct call *c = f->call;
    if (l->owner == LANE_CALLER && l->dead) { /* its worker's end has been judged: nobody else will close the lane */
        lane_pop_inner(l);
        if (c->level == 0)
            sched_release(p, l);
        return false;
    }
    f->call = NULL;
    if (c->sent < c->frame.len) { /* the worker must get the rest, or the ring is useless */
        keep_rest(l, c);
        if (l->unsent.failed)
            sched_condemn(p, l->worker, PIT_E_WORKER_KILLED, "it was killed: memory ran out in the middle of a message to it");
        if (l->sending == c)
            l->sending = NULL;
    }
    struct cancel_note *note = reason != NULL ? make_note(p, l, c, reason) : NULL;
    if (note != NULL)
        list_push_back(&l->notes, &note->node);
    bool flagged =
        cancel_max_rung(p, c) >= RUNG_FLAG || c->stream != NULL; /* a producer that nobody reads does not end by itself */
    if (f == lane_inner(l) && flagged)                           /* others when they come to the front: there is one flag */
        lane_flag_cancel(l, f->sequence);
    if (c->stream != NULL) /* it may be waiting for credit, or for the inbox */
        l->channel->ops->nudge(l->channel);
    if (l->owner == LANE_CALLER && c->level == 0) {
        sched_hold_socket(l, false);
        lane_move(l, LANE_LOOP);
        list_push_back(&p->loop_lanes, &l->node);
    }
    l->given_up++;
    if (l->senders != 0)
        inner_streams_changed(l);
    return true;
}

void cancel_abandon(struct pool *p, struct lane *l, struct flight *f, const char *reason)
{
    if (give_up(p, l, f, reason))
        async_attend(p, l);
}

/* A call that is with a worker gets an outcome before its answer: taken back where it has not started, else given up.
 * *ret_left: the lane that the loop must be asked to attend to then. */
static bool withdraw(struct pool *p, struct call *c, const char *reason, struct lane **ret_left)
{
    struct lane *l = c->lane;
    bool dropped = false;
    for (unsigned i = 0; i < l->count; i++) {
        struct flight *f = lane_at(l, i);
        if (f->call != c)
            continue;
        /* on a socket the worker's marks are not taken in one step: it may have begun all the same */
        dropped = i > 0 && c->sent == c->frame.len && l->worker->is_ring && lane_revoke(l, f->sequence);
        if (dropped) {
            lane_drop(l, i);
            l->nested -= c->level != 0;
        } else if (give_up(p, l, f, reason))
            *ret_left = l;
        break;
    }
    c->lane = NULL;
    return dropped;
}

static bool end_call(struct pool *p, struct call *c, struct outcome o, const char *reason, struct list *done,
                     struct lane **ret_left)
{
    bool dropped = true;
    if (call_waits(c)) {
        sched_forget(p, c);
    } else if (c->state == CALL_SENT) {
        if (o.error != NULL)
            error_worker(o.error, c->lane->worker->id);
        if (c->lane->nested > c->level)
            inner_end_above(p, c, reason, done);
        dropped = withdraw(p, c, reason, ret_left);
    }
    if (o.error != NULL)
        error_detail_take(o.error, "rung", pit_int(dropped ? RUNG_DROP : cancel_first_rung(p, c)));
    async_complete(p, c, o, done);
    return dropped;
}

bool cancel_end(struct pool *p, struct call *c, pit_error *e, const char *reason, struct list *done)
{
    struct lane *left = NULL;
    bool dropped = end_call(p, c, outcome_failed(e), reason, done, &left);
    if (left != NULL)
        async_attend(p, left);
    return dropped;
}

void pool_expire(struct pool *p, struct call *c)
{
    struct list done;
    list_init(&done);
    pool_lock(p);
    if (call_waits(c) || c->state == CALL_SENT)
        cancel_end(p, c, expired_error(p, c, c->state == CALL_QUEUED), "deadline_exceeded", &done);
    pool_unlock(p);
    host_deliver(p->host, p, &done);
}

/* lock */
static struct outcome cancelled(struct pool *p, const struct call *c, const char *reason)
{
    pit_error *e = error_new(PIT_E_CANCELLED, "the call of %s was cancelled%s%s", c->command, reason != NULL ? ": " : "",
                             reason != NULL ? reason : "");
    return outcome_failed(error_pool(e, p->set.name));
}

/* o: NULL, or what it ends with (taken), in place of an error. */
static void begin_end(struct pool *p, struct call *c, struct outcome *o, const char *reason, struct pool_ending *ret)
{
    bool dropped = false;
    *ret = (struct pool_ending){.pool = p};
    list_init(&ret->done);
    pool_lock(p);
    if (call_waits(c) || c->state == CALL_SENT) {
        struct outcome end = o != NULL ? *o : cancelled(p, c, reason);
        dropped = end_call(p, c, end, reason != NULL ? reason : "", &ret->done, &ret->left);
        o = NULL;
        if (ret->left != NULL && !async_claim(ret->left))
            ret->left = NULL;
    }
    pool_unlock(p);
    if (o != NULL)
        outcome_free(o);
    if (dropped)
        report_cancelled(p, c, reason);
}

void pool_cancel_begin(struct pool *p, struct call *c, const char *reason, struct pool_ending *ret)
{
    begin_end(p, c, NULL, reason, ret);
}

void pool_end_with(struct pool *p, struct call *c, struct outcome o, const char *reason)
{
    struct pool_ending e;
    if (o.rc != PIT_E_CANCELLED) /* its reader has read all that he wanted */
        report_stream_halted(p, c, reason);
    begin_end(p, c, &o, reason, &e);
    pool_cancel_finish(&e);
}

void pool_cancel_finish(struct pool_ending *e)
{
    host_deliver(e->pool->host, e->pool, &e->done);
    if (e->left != NULL) /* after the caller, who wants the same CPU */
        loop_post(e->pool->env->loop, &e->left->attend);
}

void pool_cancel(struct pool *p, struct call *c, const char *reason)
{
    struct pool_ending e;
    pool_cancel_begin(p, c, reason, &e);
    pool_cancel_finish(&e);
}

/* ---- the ladder: loop, lock ---- */

static void take_rung(struct pool *p, struct lane *l)
{
    struct worker *w = l->worker;
    recorder_note(w, RECORDER_RUNG, (unsigned)l->ladder.rung, l->ladder.sequence);
    if (l->ladder.rung == RUNG_RAISE) {
        lane_flag_raise(l, l->ladder.sequence);
        worker_signal(w, CANCEL_SIGNAL);
    } else if (l->ladder.rung == RUNG_KILL) {
        last_look_ask(p, w);
    }
}

/* Once it has said where it is; some milliseconds later at most. */
static void kill_when_seen(struct pool *p, struct lane *l, uint64_t *ret_due_ns)
{
    if (last_look_pending(p, l->worker)) {
        *ret_due_ns = pool_now(p) + LOOK_AGAIN_NS;
        return;
    }
    last_look_keep(p, l);
    sched_condemn(p, l->worker, PIT_E_WORKER_KILLED, "it was killed: a call on it did not end in time after its cancellation");
}

static bool takes_signal(const struct lane *l)
{
    return l->status != NULL && (l->worker->capabilities & WORKER_TAKES_SIGNAL) != 0;
}

static void climb(struct pool *p, struct lane *l)
{
    const struct ladder_rules rules = {
        .grace_ns = (uint64_t)p->set.cancel_grace_ms * MS, .raise_ns = RAISE_WAIT_NS, .can_raise = takes_signal(l)};
    uint64_t due;
    while (ladder_climb(&l->ladder, &rules, pool_now(p), &due))
        take_rung(p, l);
    if (l->ladder.rung == RUNG_KILL && l->worker->condemned == 0)
        kill_when_seen(p, l, &due);
    if (l->ladder.rung >= l->ladder.max_rung && pool_is_ending(p))
        host_changed(p->host);
    if (due != UINT64_MAX)
        loop_timer_set(p->env->loop, &l->grace, due);
    else
        loop_timer_stop(p->env->loop, &l->grace);
}

void cancel_tell(struct pool *p, struct lane *l)
{
    if (l->ladder.rung < RUNG_FLAG || l->cancel_told == l->ladder.sequence)
        return;
    int rc = worker_cancel(l->worker, l->ladder.sequence);
    if (rc == 1)
        l->cancel_told = l->ladder.sequence;
    else if (rc < 0)
        sched_condemn(p, l->worker, rc, "it does not read its control socket, and was killed");
}

void cancel_watch(struct pool *p, struct lane *l)
{
    struct flight *head = lane_inner(l);
    bool given_up = head != NULL && head->call == NULL;
    if (l->worker->dead) /* its end will be the ladder's */
        return;
    if (given_up ? l->ladder.sequence == head->sequence : l->ladder.sequence == 0)
        return;
    if (!given_up) {
        ladder_clear(&l->ladder);
        loop_timer_stop(p->env->loop, &l->grace);
        return;
    }
    const struct cancel_note *note = note_of(l, head->sequence);
    ladder_begin(&l->ladder, head->sequence, note != NULL ? note->max_rung : p->set.cancel_max_rung, pool_now(p));
    if (l->ladder.rung == RUNG_FLAG) {
        recorder_note(l->worker, RECORDER_RUNG, RUNG_FLAG, head->sequence);
        lane_flag_cancel(l, head->sequence);
        if (l->inner != 0) /* it may be waiting for a tool's answer */
            l->channel->ops->nudge(l->channel);
        if (takes_signal(l) && lane_runs_task(l, head->sequence))
            worker_signal(l->worker, CANCEL_SIGNAL);
        cancel_tell(p, l);
    }
    climb(p, l);
}

void cancel_on_grace(struct loop_timer *t)
{
    struct lane *l = LIST_ENTRY(t, struct lane, grace);
    struct pool *p = l->worker->pool;
    pool_lock(p);
    if (l->ladder.sequence != 0 && !l->worker->dead)
        climb(p, l);
    pool_unlock(p);
}

bool cancel_climbs(const struct pool *p, struct lane *l)
{
    const struct flight *f = lane_inner(l);
    if (f == NULL || f->call != NULL || l->worker->dead)
        return false;
    if (l->ladder.sequence == f->sequence)
        return l->ladder.rung < l->ladder.max_rung;
    const struct cancel_note *note = note_of(l, f->sequence); /* its turn comes as soon as the loop looks */
    return (note != NULL ? note->max_rung : p->set.cancel_max_rung) > RUNG_FLAG;
}

void cancel_ended(struct pool *p, struct lane *l, uint64_t sequence)
{
    struct cancel_note *note = note_of(l, sequence);
    bool climbed = l->ladder.sequence == sequence;
    if (climbed && l->ladder.rung == RUNG_RAISE && (l->worker->capabilities & WORKER_SURVIVES_CANCEL) == 0)
        pool_retire(p, l->worker, RECYCLE_CANCELLED); /* what the exception went through may be in any state */
    if (note != NULL) {
        list_remove(&note->node);
        note->ended_ns = pool_now(p);
        note->ladder = l->ladder;
        if (!climbed) /* it came to the front and was answered, or its worker ended, before the loop looked */
            ladder_begin(&note->ladder, sequence, note->max_rung, note->ended_ns);
        list_push_back(&p->cancelled_notes, &note->node);
        loop_post(p->env->loop, &p->cancelled_work);
    }
    if (climbed) {
        ladder_clear(&l->ladder);
        loop_timer_stop(p->env->loop, &l->grace);
    }
    if (pool_is_ending(p)) /* who closes waits for it */
        host_changed(p->host);
}
