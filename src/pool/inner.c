/* See inner.h. This file: threads that ride a lane. The tool runs between two receptions, on the rider's stack; the calls that it makes ride the same
 * lane one level further in. What it gives up keeps its flight until the worker answers it: only then the outer level goes on. */
#include "pool/inner.h"

#include "pool/cancel.h"
#include "pool/inner_private.h"
#include "pool/look.h"
#include "pool/pool_internal.h"
#include "pool/stream.h"

bool inner_given_up(struct pool *p, struct lane *l, uint64_t sequence)
{
    bool waits = false;
    pool_lock(p);
    for (unsigned i = 0; i < l->count && !l->dead; i++)
        waits = waits || (lane_at(l, i)->sequence == sequence && lane_at(l, i)->call != NULL);
    pool_unlock(p);
    return !waits;
}

/* One frame after the other: to a ring each is a record, or a run of fragments, of its own. */
int inner_flush(struct lane *l)
{
    int rc = 0;
    if (l->unsent.len == 0)
        return 0;
    while (rc == 0 && l->unsent_at < l->unsent.len) {
        const uint8_t *frame = l->unsent.data + l->unsent_at;
        size_t n = (size_t)frame_peek_size(frame, UINT32_MAX); /* ours */
        rc = l->channel->ops->send(l->channel, frame, n, &l->unsent_done);
        if (rc == CHANNEL_AGAIN)
            return rc;
        l->unsent_at += n;
        l->unsent_done = 0;
    }
    buf_finish(&l->unsent);
    l->unsent_at = l->unsent_done = l->unsent_chunk = 0;
    l->unsent_inner = false;
    __atomic_store_n(&l->has_unsent, false, __ATOMIC_RELEASE);
    if (l->senders != 0) /* then under the lock */
        inner_streams_changed(l);
    return rc;
}

int inner_flush_ridden(struct pool *p, struct lane *l)
{
    if (__atomic_load_n(&l->senders, __ATOMIC_ACQUIRE) == 0)
        return inner_flush(l);
    pool_lock(p);
    int rc = inner_flush(l);
    pool_unlock(p);
    return rc;
}

bool inner_queue(struct lane *l, const uint8_t *frame, size_t n, size_t done)
{
    if (l->unsent.len == 0) {
        l->unsent_at = 0;
        l->unsent_done = done;
    }
    buf_append(&l->unsent, frame, n);
    l->unsent_inner = true;
    __atomic_store_n(&l->has_unsent, true, __ATOMIC_RELEASE);
    return !l->unsent.failed;
}

/* ---- the worker asks ---- */

/* An answer to that level. Under the lock: of a stream that is ridden other threads send, too. */
static void put_to(struct pool *p, struct lane *l, unsigned level, const struct buf *out)
{
    pool_lock(p);
    if (!inner_put_to(l, level, out))
        inner_condemn(p, l);
    pool_unlock(p);
}

/* Is it a number that the worker may use? */
static bool is_fresh(const struct host *h, const struct lane *l, uint64_t id)
{
    if (id == 0 || id == l->asked_id)
        return false;
    for (const struct pit_tool_ctx *c = tool_innermost(h); c != NULL; c = c->outer)
        if (c->lane == l && c->id == id)
            return false;
    return true;
}

/* May it ask with this number, and does it read what it is answered? */
static bool may_ask(struct pool *p, struct lane *l, uint64_t id)
{
    bool senders = __atomic_load_n(&l->senders, __ATOMIC_ACQUIRE) != 0;
    if (senders)
        pool_lock(p);
    bool may = !inner_is_deaf(l) && !(senders && inner_stream_has(l, id));
    if (senders)
        pool_unlock(p);
    return may && is_fresh(p->host, l, id);
}

/* Runs the tool (taken) and answers. What both have left is let go when the answer is out: the worker goes on meanwhile. */
static void serve(struct pool *p, struct call *c, const struct asked *a, struct tool *t, struct buf *out)
{
    struct lane *l = c->lane;
    struct pit_tool_ctx ctx = {.host = p->host,
                               .pool = p,
                               .lane = l,
                               .rides = true,
                               .id = a->id,
                               .sequence = c->sequence,
                               .depth = (int)c->depth + 1,
                               .session_id = c->session_id,
                               .correlation_id = pool_correlation(p, c),
                               .worker_id = l->worker->id,
                               .deadline_ns = c->deadline_ns};
    inner_run(&ctx, t, a, out);
    put_to(p, l, c->level, out);
    tool_let_go(&ctx);
    tool_unref(t);
}

/* What stands above c has been given up, and asks: it is told so. */
static int refuse(struct pool *p, struct lane *l, uint64_t id)
{
    uint8_t small[ANSWER_SMALL];
    struct buf out;
    if (!may_ask(p, l, id))
        return PIT_E_PROTOCOL_ERROR;
    buf_init_on(&out, small, sizeof small);
    inner_refuse_given_up(p, id, &out);
    put_to(p, l, l->nested, &out);
    buf_finish(&out);
    return 0;
}

static int begin_stream(struct pool *p, struct call *c, struct tool *t /* taken */, const struct asked *a,
                        const struct channel_frame *in)
{
    pool_lock(p);
    struct tool_job *j = inner_make_job(p, c->lane, c, a->id);
    pool_unlock(p);
    if (j == NULL) {
        struct buf out = {0};
        tool_unref(t);
        inner_refuse(p, a->id, error_new(PIT_E_ALLOCATION_FAILED, "out of memory while a tool was called"), &out);
        put_to(p, c->lane, c->level, &out);
        buf_finish(&out);
        return 0;
    }
    j->tool = t;
    buf_append(&j->frame, in->data, in->n);
    return inner_stream_begin(j, a);
}

static int ask(struct pool *p, struct call *c, const struct frame *f, const struct channel_frame *in)
{
    struct lane *l = c->lane;
    struct asked a;
    uint8_t small[ANSWER_SMALL];
    struct buf out;
    if (!may_ask(p, l, f->id))
        return PIT_E_PROTOCOL_ERROR;
    l->asked_id = f->id;
    __atomic_store_n(&l->inner, 1, __ATOMIC_RELEASE);
    c->called_tools = true;
    buf_init_on(&out, small, sizeof small);
    bool lists = f->kind == FRAME_TOOL_LIST;
    if (!lists && inner_read(f, &a) != 0)
        return PIT_E_PROTOCOL_ERROR;
    struct tool *t = lists ? NULL : tools_find(&p->host->tools, c->session_id, a.name);
    if (t != NULL) {
        c->unrepeatable |= !t->idempotent;
        if (inner_streams(t, &a))
            return begin_stream(p, c, t, &a, in);
        serve(p, c, &a, t, &out);
    } else {
        if (lists)
            inner_list(p, c->session_id, f->id, &out);
        else
            inner_refuse_missing(p, l, c->session_id, &a, &out);
        put_to(p, l, c->level, &out);
    }
    buf_finish(&out);
    return 0;
}

/* ---- what was given up has been answered ---- */

struct ended {
    struct pool *pool;
    struct lane *lane;
};

/* Loop: it has the ladder's timer. */
static void end_given_up(struct host *h, void *arg)
{
    const struct ended *x = arg;
    struct lane *l = x->lane;
    (void)h;
    pool_lock(x->pool);
    uint64_t sequence = lane_inner(l)->sequence;
    lane_pop_inner(l);
    l->given_up--;
    cancel_ended(x->pool, l, sequence);
    cancel_watch(x->pool, l);
    pool_unlock(x->pool);
}

static void pop_given_up(struct pool *p, struct lane *l)
{
    struct ended x = {p, l};
    host_run(p->host, end_given_up, &x);
}

/* A frame while something above `level`, which this thread has, is given up and runs still. */
static int above(struct pool *p, struct lane *l, const struct frame *f)
{
    if (inner_is_of_stream(f))
        return inner_stream_frame(p, l, f);
    if (f->kind == FRAME_TOOL_CALL || f->kind == FRAME_TOOL_LIST)
        return refuse(p, l, f->id);
    if (f->kind != FRAME_RESULT && f->kind != FRAME_ERROR)
        return worker_side_frame(l->worker, f);
    if (lane_inner(l)->sequence != f->id)
        return PIT_E_PROTOCOL_ERROR;
    pop_given_up(p, l);
    pool_lock(p);
    if (!inner_put_held(l))
        inner_condemn(p, l);
    stream_attend(p, l);
    pool_unlock(p);
    return 0;
}

int inner_frame(struct pool *p, struct call *c, const struct frame *f, struct channel_frame *in)
{
    struct lane *l = c->lane;
    if (l->inner != 0 && !inner_on_top(l, c))
        return above(p, l, f);
    if (c->stream != NULL && (f->kind == FRAME_CHUNK || f->kind == FRAME_CREDIT))
        return stream_ride_frame(p, c, f, in->n);
    bool asks = f->kind == FRAME_TOOL_CALL || f->kind == FRAME_TOOL_LIST;
    if (asks && c->sent == c->frame.len)
        return ask(p, c, f, in);
    return inner_is_of_stream(f) ? inner_stream_frame(p, l, f) : worker_side_frame(l->worker, f);
}

void inner_forget_above(struct pool *p, struct call *c)
{
    while (!inner_on_top(c->lane, c))
        pop_given_up(p, c->lane);
}

/* ---- leaving ---- */

/* lock: the worker has still to get the rest of an answer that nobody waits for. */
static void hand_over(struct pool *p, struct lane *l)
{
    sched_hold_socket(l, false);
    lane_move(l, LANE_LOOP);
    list_push_back(&p->loop_lanes, &l->node);
    async_attend(p, l);
}

void inner_leave(struct pool *p, struct call *c, struct outcome o)
{
    struct lane *l = c->lane;
    struct worker *w = l->worker;
    bool last = false;
    pool_lock(p);
    lane_pop_inner(l);
    l->finished++;
    c->lane = NULL;
    if (l->senders != 0)
        inner_streams_changed(l);
    sched_finish(p, c, o);
    if (c->level == 0) {
        __atomic_store_n(&l->inner, 0, __ATOMIC_RELEASE);
        buf_finish(&l->held);
        if (l->unsent.len == 0 || w->dead || w->condemned != 0)
            sched_release(p, l);
        else
            hand_over(p, l);
        last = worker_unref(w);
    } else {
        stream_attend(p, l); /* of the call that it was made in: nobody could send */
    }
    pool_unlock(p);
    if (last)
        worker_free(w);
}

/* ---- calls that tools make ---- */

static bool is_dead(void *arg)
{
    return __atomic_load_n(&((struct lane *)arg)->dead, __ATOMIC_SEQ_CST);
}

static pit_error *drain_once(struct pool *p, struct call *c, struct lane *l, struct channel_frame *in)
{
    struct channel *ch = l->channel;
    struct frame f;
    bool dead = is_dead(l);
    inner_flush_ridden(p, l);
    int rc = ch->ops->recv(ch, in);
    if (rc == 0 && (rc = frame_parse(in->data, in->n, &f)) == 0)
        rc = above(p, l, &f);
    if (rc == 0)
        return NULL;
    if (dead)
        return worker_end_error(l->worker, c);
    if (pool_now(p) >= c->deadline_ns)
        return expired_error(p, c, false);
    if (rc == CHANNEL_AGAIN && worker_ending(l->worker) == 0) {
        ch->ops->wait(
            ch, __atomic_load_n(&l->has_unsent, __ATOMIC_ACQUIRE) ? CHANNEL_FOR_ROOM | CHANNEL_FOR_FRAME : CHANNEL_FOR_FRAME,
            c->deadline_ns, p->set.spin_ns);
        return NULL;
    }
    pool_lock(p);
    if (rc == CHANNEL_AGAIN || rc == PIT_E_WORKER_LOST)
        sched_lost(p, l->worker);
    else
        sched_condemn(p, l->worker, rc, worker_fault(rc));
    pool_unlock(p);
    host_wait_until(p->host, is_dead, l, c->deadline_ns);
    return NULL;
}

/* The worker answers what an earlier call of the tool has left behind, first. */
static pit_error *drain(struct pool *p, struct call *c, struct pit_tool_ctx *under, unsigned level)
{
    struct channel_frame in;
    pit_error *e = NULL;
    channel_frame_init(&in);
    while (e == NULL && under->lane->nested != level)
        e = drain_once(p, c, under->lane, &in);
    channel_frame_finish(&in);
    return e;
}

/* The level of the call that has called the tool. */
static unsigned level_of(struct lane *l, uint64_t sequence)
{
    unsigned first = l->count - l->nested; /* of the nested ones */
    for (unsigned i = 0; i < l->nested; i++)
        if (lane_at(l, first + i)->sequence == sequence)
            return i + 1;
    return 0;
}

/* lock: whoever rides c looks up, or its worker is told. */
static void tell_of_cut(struct call *c)
{
    struct lane *l = c->lane;
    if (l != NULL && l->channel->ops->rouse != NULL)
        l->channel->ops->rouse(l->channel);
    else if (l != NULL)
        lane_flag_cancel(l, c->sequence);
}

void inner_cut(struct pool *p, struct call *c, const char *reason)
{
    pool_lock(p);
    __atomic_store_n(&c->cut, reason, __ATOMIC_SEQ_CST);
    tell_of_cut(c);
    sched_wake(p, c); /* where it waits to hear how its worker has ended */
    pool_unlock(p);
}

void inner_call(struct pool *p, struct call *c, struct pit_tool_ctx *under)
{
    if (!under->rides) {
        inner_submit(p, c, under);
        return;
    }
    pit_error *e = drain(p, c, under, level_of(under->lane, under->sequence));
    pool_lock(p);
    if (e == NULL) {
        inner_assign(p, under->lane, c);
        if (c->cut != NULL)
            tell_of_cut(c);
        pool_unlock(p);
        pool_ride(p, c);
        return;
    }
    p->requests++;
    p->errors++;
    pool_unlock(p);
    c->outcome = outcome_failed(e);
}
