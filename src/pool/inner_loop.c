/* See inner.h. This file: lanes of the loop. The loop receives what a worker asks for, a tool thread runs it and answers under the pool's lock; or, for a tool that
 * may, the loop itself. Meanwhile the loop goes on receiving: so a worker that has been told to end is heard while the tool still runs. */
#include <string.h>

#include "base/alloc.h"
#include "pool/cancel.h"
#include "pool/inner_private.h"
#include "pool/look.h"
#include "pool/pool_internal.h"
#include "pool/stream.h"
#include "pool/tool_threads.h"

/* ---- the worker asks ---- */

int inner_loop_frame(struct pool *p, struct lane *l, const struct frame *f, struct channel_frame *in)
{
    if (f->kind == FRAME_CHUNK || f->kind == FRAME_CREDIT)
        return stream_loop_frame(p, l, f, in->n);
    if (inner_is_of_stream(f))
        return inner_stream_frame(p, l, f);
    if (f->kind != FRAME_TOOL_CALL && f->kind != FRAME_TOOL_LIST)
        return worker_side_frame(l->worker, f);
    buf_append(&l->asked, in->data, in->n);
    return l->asked.failed ? PIT_E_ALLOCATION_FAILED : INNER_STOP;
}

static void keep_text(char to[TOOL_ID_MAX + 1], const char *text, const char **ret)
{
    size_t n = text != NULL ? strnlen(text, TOOL_ID_MAX) : 0;
    memcpy(to, text != NULL ? text : "", n);
    to[n] = '\0';
    *ret = text != NULL ? to : NULL;
}

struct tool_job *inner_make_job(struct pool *p, struct lane *l, struct call *c, uint64_t id)
{
    struct tool_job *j = mem_zalloc(sizeof *j);
    if (j == NULL)
        return NULL;
    j->lane = l;
    j->level = l->nested;
    j->ctx = (struct pit_tool_ctx){.host = p->host,
                                   .pool = p,
                                   .lane = l,
                                   .id = id,
                                   .sequence = c->sequence,
                                   .depth = (int)c->depth + 1,
                                   .worker_id = l->worker->id,
                                   .deadline_ns = c->deadline_ns};
    keep_text(j->session_id, c->session_id, &j->ctx.session_id);
    keep_text(j->correlation_id, pool_correlation(p, c), &j->ctx.correlation_id);
    worker_ref(l->worker);
    return j;
}

/* lock: who asks, and may he? NULL and rc 0: he has been refused. */
static struct tool_job *admit(struct pool *p, struct lane *l, const struct frame *f, struct inner_mail **ret_mail, int *rc)
{
    struct flight *fl = lane_inner(l);
    *rc = PIT_E_PROTOCOL_ERROR;
    if (l->owner != LANE_LOOP || fl == NULL || f->id == 0 || f->id == l->asked_id || inner_stream_has(l, f->id) ||
        inner_is_deaf(l))
        return NULL;
    if (fl->call == NULL) {
        struct buf out = {0};
        inner_refuse_given_up(p, f->id, &out);
        if (!inner_put_to(l, l->nested, &out))
            inner_condemn(p, l);
        buf_finish(&out);
        *rc = 0;
        return NULL;
    }
    struct call *c = fl->call;
    if (c->sent < c->frame.len || (l->asking >> l->nested & 1) != 0)
        return NULL;
    if (l->nested == 0 && l->count > 1) {
        async_take_back(p, l);
        sched_spread(p);
    }
    struct tool_job *j = inner_make_job(p, l, c, f->id);
    *rc = j != NULL ? 0 : PIT_E_ALLOCATION_FAILED;
    if (j == NULL)
        return NULL;
    l->asked_id = f->id;
    __atomic_store_n(&l->inner, 1, __ATOMIC_RELEASE);
    c->called_tools = true;
    l->asking |= UINT32_C(1) << l->nested;
    *ret_mail = c->level != 0 ? (struct inner_mail *)(uintptr_t)c->made_by : NULL;
    return j;
}

/* ---- answering ---- */

/* lock: does the level still wait for this answer? */
static bool is_wanted(const struct tool_job *j)
{
    struct lane *l = j->lane;
    unsigned at = l->count - l->nested + j->level; /* one further than its place: level 0 is the first flight */
    if (l->owner != LANE_LOOP || l->dead || j->level > l->nested)
        return false;
    struct flight *f = j->level == 0 ? lane_head(l) : lane_at(l, at - 1);
    return f != NULL && f->sequence == j->ctx.sequence;
}

static void finish(struct tool_job *j, struct buf *out)
{
    struct pool *p = j->ctx.pool;
    struct lane *l = j->lane;
    struct worker *w = l->worker;
    pool_lock(p);
    bool wanted = is_wanted(j);
    if (wanted) {
        l->asking &= ~(UINT32_C(1) << j->level);
        if ((out->len != 0 || out->failed) && !inner_put_to(l, j->level, out)) /* empty: what it asked was no question */
            inner_condemn(p, l);
    }
    bool rest = wanted && l->unsent.len != 0;
    bool last = worker_unref(w);
    pool_unlock(p);
    if (rest)
        loop_wake(p->env->loop);
    if (last)
        worker_free(w);
    tool_unref(j->tool);
    buf_finish(&j->frame);
    buf_finish(out);
    mem_free(j);
}

void inner_job_run(struct tool_job *j)
{
    struct frame f;
    struct asked a;
    struct buf out = {0};
    if (inner_given_up(j->ctx.pool, j->lane, j->ctx.sequence)) { /* while it waited for a thread */
        inner_job_drop(j);
        return;
    }
    if (frame_parse(j->frame.data, j->frame.len, &f) == 0 && inner_read(&f, &a) == 0)
        inner_run(&j->ctx, j->tool, &a, &out);
    tool_let_go(&j->ctx);
    if (j->streams)
        inner_stream_finish(j, &out);
    else
        finish(j, &out);
}

void inner_job_drop(struct tool_job *j)
{
    struct buf out = {0};
    inner_refuse_given_up(j->ctx.pool, j->ctx.id, &out);
    if (j->streams)
        inner_stream_finish(j, &out);
    else
        finish(j, &out);
}

/* ---- who runs it ---- */

/* lock: the flight of the call that has called the tool, with its level; NULL: its worker or its caller has gone. */
static struct flight *find_level(struct lane *l, uint64_t sequence, unsigned *ret_level)
{
    unsigned first = l->count - l->nested;
    if (l->owner != LANE_LOOP || l->dead)
        return NULL;
    for (unsigned i = 0; i <= l->nested; i++) {
        struct flight *f = i == 0 ? lane_head(l) : lane_at(l, first + i - 1);
        *ret_level = i;
        if (f != NULL && f->sequence == sequence)
            return f->call != NULL ? f : NULL;
    }
    return NULL;
}

/* The thread that waits in the call which asks: it has nothing else to do. */
static void deliver(struct inner_mail *mail, struct tool_job *j)
{
    struct host *h = j->ctx.host;
    uint32_t *word = &mail->word;
    __atomic_store_n(&mail->job, j, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST); /* *j and *mail may be gone from here on */
    h->os->futex_wake(word, 1);
    host_changed(h);
}

static void hand_out(struct pool *p, struct tool_job *j, struct inner_mail *mail)
{
    if (j->tool->run_on == PIT_RUN_ON_LOOP) {
        j->ctx.lane = NULL; /* nothing that waits may be called from it */
        inner_job_run(j);
        return;
    }
    if (mail != NULL) {
        deliver(mail, j);
        return;
    }
    int rc = tool_threads_add(&p->host->tool_threads, &j->node);
    if (rc == 0)
        return;
    struct buf out = {0};
    inner_refuse(p, j->ctx.id, inner_no_thread(j->tool->name, rc), &out);
    finish(j, &out);
}

/* Before the tool runs: its call, if that still waits, must know. */
static void mark(struct pool *p, const struct tool_job *j)
{
    unsigned level;
    if (j->tool->idempotent)
        return;
    pool_lock(p);
    struct flight *f = find_level(j->lane, j->ctx.sequence, &level);
    if (f != NULL)
        f->call->unrepeatable = true;
    pool_unlock(p);
}

static int answer(struct pool *p, struct tool_job *j, struct inner_mail *mail, const struct frame *f)
{
    struct asked a;
    struct buf out = {0};
    if (f->kind == FRAME_TOOL_LIST) {
        inner_list(p, j->ctx.session_id, f->id, &out);
        finish(j, &out);
        return 0;
    }
    int rc = inner_read(f, &a);
    j->tool = rc == 0 ? tools_find(&p->host->tools, j->ctx.session_id, a.name) : NULL;
    if (j->tool != NULL)
        mark(p, j);
    if (j->tool != NULL && inner_streams(j->tool, &a))
        return inner_stream_begin(j, &a);
    if (j->tool != NULL) {
        hand_out(p, j, mail);
        return 0;
    }
    if (rc == 0)
        inner_refuse_missing(p, j->lane, j->ctx.session_id, &a, &out);
    finish(j, &out);
    return rc;
}

void inner_serve(struct pool *p, struct lane *l)
{
    struct buf frame = l->asked;
    struct frame f;
    struct inner_mail *mail = NULL;
    struct tool_job *j = NULL;
    l->asked = (struct buf){0};
    int rc = frame_parse(frame.data, frame.len, &f);
    pool_lock(p);
    if (rc == 0)
        j = admit(p, l, &f, &mail, &rc);
    pool_unlock(p);
    if (j != NULL) {
        j->frame = frame; /* f points into it still */
        frame = (struct buf){0};
        rc = answer(p, j, mail, &f);
    }
    buf_finish(&frame);
    if (rc == 0)
        return;
    pool_lock(p);
    sched_condemn(p, l->worker, rc, worker_fault(rc));
    pool_unlock(p);
}

/* ---- the stack ---- */

void inner_popped(struct pool *p, struct lane *l, unsigned level)
{
    l->asking &= ~(UINT32_C(1) << level);
    if (l->senders != 0)
        inner_streams_changed(l);
    if (level == 0) {
        __atomic_store_n(&l->inner, 0, __ATOMIC_RELEASE);
        l->held.len = 0;
        return;
    }
    if (!inner_put_held(l))
        inner_condemn(p, l);
    host_changed(p->host);
}

void inner_end_above(struct pool *p, struct call *c, const char *reason, struct list *done)
{
    struct lane *l = c->lane;
    for (unsigned i = l->count; i-- > 0;) {
        struct call *above = lane_at(l, i)->call;
        if (above == NULL || above->level != c->level + 1)
            continue;
        pit_error *e = error_new(PIT_E_CANCELLED, "the call that the call of %s was made in has ended", above->command);
        error_pool(e, p->set.name);
        cancel_end(p, above, e, reason != NULL ? reason : "", done);
        return;
    }
}

/* ---- calls that tools make ---- */

static void on_done(struct call *c)
{
    struct inner_mail *mail = (struct inner_mail *)(uintptr_t)c->made_by;
    const struct os_ops *os = mail->os;
    uint32_t *word = &mail->word;
    __atomic_fetch_or(word, INNER_DONE, __ATOMIC_SEQ_CST); /* *mail and *c may be gone from here on */
    os->futex_wake(word, 1);
}

struct turn {
    struct pool *pool;
    struct lane *lane;
    uint64_t sequence;
};

/* Nothing runs above it; or it is not there any more. */
static bool is_our_turn(void *arg)
{
    const struct turn *t = arg;
    unsigned level;
    pool_lock(t->pool);
    bool yes = find_level(t->lane, t->sequence, &level) == NULL || level == t->lane->nested;
    pool_unlock(t->pool);
    return yes;
}

/* lock: NULL: it is on its way. */
static pit_error *put_inside(struct pool *p, struct call *c, const struct pit_tool_ctx *under)
{
    struct lane *l = under->lane;
    unsigned level;
    if (l->dead)
        return worker_end_error(l->worker, c);
    if (find_level(l, under->sequence, &level) == NULL)
        return error_pool(error_new(PIT_E_CANCELLED, "the call that the call of %s was made in has ended", c->command),
                          p->set.name);
    if (level != l->nested)
        return expired_error(p, c, false);
    inner_assign(p, l, c);
    if (c->sent < c->frame.len)
        async_push(p, l, c);
    async_expire_at(p, c, last_look_due(c));
    return NULL;
}

static void wait_for_end(struct host *h, struct inner_mail *mail)
{
    for (uint32_t taken = 0;;) {
        uint32_t seen = __atomic_load_n(&mail->word, __ATOMIC_SEQ_CST);
        bool done = (seen & INNER_DONE) != 0;
        if ((seen & ~INNER_DONE) != taken) {
            struct tool_job *j = __atomic_load_n(&mail->job, __ATOMIC_SEQ_CST);
            taken = seen & ~INNER_DONE;
            if (done)
                inner_job_drop(j);
            else
                inner_job_run(j);
        } else if (done) {
            return;
        } else {
            host_wait(h, &mail->word, seen, UINT64_MAX);
        }
    }
}

void inner_submit(struct pool *p, struct call *c, struct pit_tool_ctx *under)
{
    struct inner_mail mail = {.os = p->env->os};
    struct turn turn = {p, under->lane, under->sequence};
    c->made_by = &mail;
    c->done = on_done;
    host_wait_until(p->host, is_our_turn, &turn, c->deadline_ns);
    pool_lock(p);
    pit_error *e = put_inside(p, c, under);
    p->requests += e != NULL;
    p->errors += e != NULL;
    pool_unlock(p);
    if (e != NULL) {
        c->outcome = outcome_failed(e);
        return;
    }
    loop_wake(p->env->loop);
    const char *cut = __atomic_load_n(&c->cut, __ATOMIC_SEQ_CST);
    if (cut != NULL)
        pool_cancel(p, c, cut);
    wait_for_end(p->host, &mail);
}
