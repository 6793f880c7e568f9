/* See inner.h. This file: tools that stream. Each runs on a thread of its own, and sends by itself, under the pool's lock, on whatever lane its reader's call has;
 * who receives there, a thread that rides or the loop, takes the reader's credit and wakes it. So no reader waits for another one's producer, and what the
 * worker asks of other tools meanwhile is answered as ever.
 *
 * Invariants
 *  1. A chunk is sent only with credit for it, to a call that runs, and while nothing else waits for room in the lane: of all that streams one frame is
 *     kept there at most (l->unsent_chunk).
 *  2. The answer goes out after the last chunk, in the same way, whether the reader has closed or not; after the end of the call nothing does.
 *  3. While l->senders is not 0 everybody sends on the lane under the pool's lock, who rides it, too; a nested call goes out through `unsent` then.
 *
 * Failure: a worker that grants more than its window, or sends what is no credit, has broken the protocol. An id that nothing stands under is that
 * of a tool which has just ended: dropped. */
#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "pool/inner_private.h"
#include "pool/pool_internal.h"
#include "pool/stream.h"
#include "pool/tool_threads.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum { OPEN_MAX = 16 /* on a lane */ };
#define LOOK_NS (20 * MS) /* a socket that is full: so often is looked whether its rest is still this thread's to send */

static struct tool_job *job_of(struct tool_stream *s)
{
    return LIST_ENTRY(s, struct tool_job, stream);
}

/* ---- whom it is for: lock ---- */

/* The call that it was asked for in. NULL: that has ended, or was given up, or its worker was. */
static struct call *call_of(const struct tool_job *j)
{
    struct lane *l = j->lane;
    if (l->dead || l->broken || l->worker->condemned != 0)
        return NULL;
    for (unsigned i = l->count; i-- > 0;)
        if (lane_at(l, i)->sequence == j->ctx.sequence)
            return lane_at(l, i)->call;
    return NULL;
}

static void changed(struct tool_job *j)
{
    struct tool_stream *s = &j->stream;
    __atomic_add_fetch(&s->change, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&s->waiters, __ATOMIC_SEQ_CST) != 0)
        j->ctx.host->os->futex_wake(&s->change, INT_MAX);
}

void inner_streams_changed(struct lane *l)
{
    LIST_EACH(node, &l->streams)
    changed(job_of(LIST_ENTRY(node, struct tool_stream, node)));
}

bool inner_stream_has(struct lane *l, uint64_t id)
{
    LIST_EACH(node, &l->streams)
    if (job_of(LIST_ENTRY(node, struct tool_stream, node))->ctx.id == id)
        return true;
    return false;
}

/* ---- sending ---- */

static bool is_free(const struct lane *l)
{
    return l->unsent.len == 0 && l->sending == NULL;
}

/* lock: now, or as soon as there is room. */
static void put(struct pool *p, struct lane *l, const struct buf *frame)
{
    bool first = is_free(l);
    if (frame->failed || !inner_put(l, frame->data, frame->len))
        inner_condemn(p, l);
    if (l->unsent.len == 0)
        return;
    if (first)
        l->unsent_chunk = frame->len;
    stream_take_over_lane(p, l); /* where nobody rides who could send the rest */
    if (l->owner == LANE_LOOP && !loop_is_current(p->env->loop))
        loop_wake(p->env->loop);
    else if (l->owner == LANE_CALLER && l->channel->ops->rouse != NULL)
        l->channel->ops->rouse(l->channel);
}

/* Who rides a socket cannot be roused while he waits for a frame: this thread sends the rest. */
static void push_rest(struct tool_job *j)
{
    struct pool *p = j->ctx.pool;
    struct lane *l = j->lane;
    for (;;) {
        pool_lock(p);
        bool ours = l->owner == LANE_CALLER && l->channel->ops->rouse == NULL && !l->dead && l->unsent.len != 0;
        int rc = ours ? inner_flush(l) : 0, fd = l->worker->control_fd;
        pool_unlock(p);
        if (rc != CHANNEL_AGAIN)
            return;
        p->env->os->poll_one(fd, OS_WRITABLE, pool_now(p) + LOOK_NS);
    }
}

/* lock: 0; CHANNEL_AGAIN: not now; PIT_E_CANCELLED. */
static int try_send(struct tool_job *j, const struct buf *frame)
{
    struct tool_stream *s = &j->stream;
    struct lane *l = j->lane;
    if (s->closed || call_of(j) == NULL)
        return PIT_E_CANCELLED;
    if (s->chunks == 0 || s->bytes <= 0 || !is_free(l))
        return CHANNEL_AGAIN;
    s->chunks--;
    s->bytes -= (int64_t)frame->len;
    put(j->ctx.pool, l, frame);
    return 0;
}

static bool wait_change(struct host *h, struct tool_stream *s, uint32_t seen, uint64_t until_ns)
{
    __atomic_add_fetch(&s->waiters, 1, __ATOMIC_SEQ_CST);
    bool moved = host_wait(h, &s->change, seen, until_ns);
    __atomic_sub_fetch(&s->waiters, 1, __ATOMIC_SEQ_CST);
    return moved;
}

/* No room: PIT_E_PENDING and the like, or 0: there may be some now. */
static int wait_for_room(struct pit_tool_ctx *c, uint32_t seen, uint64_t until_ns, bool now)
{
    struct tool_stream *s = c->stream;
    if (now)
        return PIT_E_PENDING;
    if (!s->may_wait)
        return PIT_E_WRONG_THREAD;
    if (wait_change(c->host, s, seen, until_ns < c->deadline_ns ? until_ns : c->deadline_ns))
        return 0;
    return c->host->os->now_ns() >= c->deadline_ns ? PIT_E_DEADLINE_EXCEEDED : PIT_E_PENDING;
}

static int encode(struct pit_tool_ctx *c, const pit_value *v, struct buf *frame)
{
    struct codec_error why = {0};
    buf_append(frame, (const uint8_t[FRAME_HEADER]){0}, FRAME_HEADER);
    int rc = codec_encode(frame, v, &why);
    if (rc == 0 && frame->failed)
        rc = PIT_E_ALLOCATION_FAILED;
    if (rc == 0 && frame->len > c->pool->set.max_frame)
        rc = PIT_E_LIMIT_EXCEEDED;
    if (rc == 0) {
        frame_put_header(frame->data, FRAME_TOOL_CHUNK, 0, c->id, 0, frame->len);
        return 0;
    }
    pit_error_free(c->failure); /* what it says when it returns that */
    c->failure =
        rc == PIT_E_LIMIT_EXCEEDED
            ? error_new(rc, "the value takes %zu bytes, more than max_frame_bytes (%zu)", frame->len, c->pool->set.max_frame)
            : error_new(rc, "the value cannot be sent: %s%s%s", why.text[0] != '\0' ? why.text : pit_strerror(rc),
                        why.path[0] != '\0' ? " at " : "", why.path);
    return rc;
}

int inner_stream_send(struct pit_tool_ctx *c, const pit_value *v, int64_t timeout_ms)
{
    struct tool_job *j = job_of(c->stream);
    struct pool *p = c->pool;
    bool now = timeout_ms == 0 || timeout_ms == PIT_NOW;
    uint64_t until = now ? 0 : host_deadline(c->host, timeout_ms);
    uint8_t small[512];
    struct buf frame;
    buf_init_on(&frame, small, sizeof small);
    int rc = encode(c, v, &frame);
    for (bool again = rc == 0; again;) {
        pool_lock(p);
        uint32_t seen = __atomic_load_n(&c->stream->change, __ATOMIC_SEQ_CST);
        rc = try_send(j, &frame);
        pool_unlock(p);
        again = rc == CHANNEL_AGAIN && (rc = wait_for_room(c, seen, until, now)) == 0;
    }
    buf_finish(&frame);
    if (rc == 0)
        push_rest(j);
    return rc;
}

bool inner_stream_closed(struct pit_tool_ctx *c)
{
    struct tool_job *j = job_of(c->stream);
    pool_lock(c->pool);
    bool closed = c->stream->closed || call_of(j) == NULL;
    pool_unlock(c->pool);
    return closed;
}

/* ---- what its reader says ---- */

static int take_credit(struct tool_stream *s, const struct frame *f)
{
    const uint8_t *at = f->payload, *end = f->payload + f->payload_n;
    struct mp_token t[2];
    for (int i = 0; i < 2; i++)
        if (mp_read(&at, end, &t[i]) != MP_OK || t[i].type != MP_INT || t[i].i < 0)
            return PIT_E_PROTOCOL_ERROR;
    if (at != end)
        return PIT_E_PROTOCOL_ERROR;
    if (s == NULL)
        return 0;
    uint64_t chunks = (uint64_t)t[0].i, bytes = (uint64_t)t[1].i;
    int64_t held = s->bytes > 0 ? s->bytes : 0;
    if (chunks > s->window - s->chunks || bytes > INT64_MAX - (uint64_t)held)
        return PIT_E_PROTOCOL_ERROR;
    s->chunks += chunks;
    s->bytes += (int64_t)bytes;
    return 0;
}

int inner_stream_frame(struct pool *p, struct lane *l, const struct frame *f)
{
    struct tool_stream *s = NULL;
    pool_lock(p);
    LIST_EACH(node, &l->streams)
    if (job_of(LIST_ENTRY(node, struct tool_stream, node))->ctx.id == f->id)
        s = LIST_ENTRY(node, struct tool_stream, node);
    int rc = f->kind == FRAME_TOOL_CREDIT ? take_credit(s, f) : f->payload_n != 0 ? PIT_E_PROTOCOL_ERROR : 0;
    if (s != NULL && f->kind == FRAME_TOOL_CLOSE)
        s->closed = true;
    if (s != NULL)
        changed(job_of(s));
    pool_unlock(p);
    return rc;
}

/* ---- beginning and ending ---- */

static uint64_t little(const uint8_t *p, unsigned n)
{
    uint64_t x = 0;
    while (n-- > 0)
        x = x << 8 | p[n];
    return x;
}

static pit_error *too_many(const char *what)
{
    return error_new(PIT_E_LIMIT_EXCEEDED, "so many tools stream at a time already %s", what);
}

/* What the worker wants is what the tool does; NULL. Else an error (owned). */
static pit_error *mismatch(const struct tool *t, const struct asked *a)
{
    if (t->streaming == (a->window != NULL))
        return NULL;
    pit_error *e =
        t->streaming ? error_new(PIT_E_STREAMING_REQUIRED,
                                 "the tool %s streams: it is read by stream_host_tool() or astream_host_tool()", t->name)
                     : error_new(PIT_E_STREAMING_NOT_SUPPORTED,
                                 "the tool %s does not stream: it is called by call_host_tool() or acall_host_tool()", t->name);
    return error_detail_take(e, "tool", pit_str(t->name));
}

/* lock: the job is its lane's from here on; or an error (owned), and it is not. */
static pit_error *join(struct tool_job *j, const struct asked *a)
{
    struct lane *l = j->lane;
    struct host *h = j->ctx.host;
    struct tool_stream *s = &j->stream;
    uint64_t bytes = little(a->window + 8, 8);
    if (j->frame.failed)
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while a tool was called");
    if (l->senders >= OPEN_MAX)
        return too_many("for this worker");
    if (__atomic_add_fetch(&h->streaming, 1, __ATOMIC_SEQ_CST) > TOOL_THREADS_MAX) {
        __atomic_sub_fetch(&h->streaming, 1, __ATOMIC_SEQ_CST);
        return too_many("in this program");
    }
    j->streams = true;
    j->ctx.apart = true;
    j->ctx.stream = s;
    s->may_wait = j->tool->run_on != PIT_RUN_ON_LOOP;
    s->window = s->chunks = little(a->window, 4);
    s->bytes = bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX;
    list_push_back(&l->streams, &s->node);
    __atomic_store_n(&l->senders, l->senders + 1, __ATOMIC_RELEASE);
    return NULL;
}

static void start(struct tool_job *j)
{
    if (!j->stream.may_wait) {
        inner_job_run(j);
        return;
    }
    int rc = tool_threads_add(&j->ctx.host->stream_threads, &j->node);
    if (rc == 0)
        return;
    struct buf out = {0};
    inner_refuse(j->ctx.pool, j->ctx.id, inner_no_thread(j->tool->name, rc), &out);
    inner_stream_finish(j, &out);
}

void inner_stream_finish(struct tool_job *j, struct buf *out)
{
    struct pool *p = j->ctx.pool;
    struct lane *l = j->lane;
    struct worker *w = l->worker;
    pool_lock(p);
    while (j->stream.may_wait && call_of(j) != NULL && !is_free(l)) {
        uint32_t seen = __atomic_load_n(&j->stream.change, __ATOMIC_SEQ_CST);
        pool_unlock(p);
        wait_change(j->ctx.host, &j->stream, seen, UINT64_MAX);
        pool_lock(p);
    }
    list_remove(&j->stream.node);
    if (call_of(j) != NULL)
        put(p, l, out);
    pool_unlock(p);
    push_rest(j);
    pool_lock(p);
    __atomic_store_n(&l->senders, l->senders - 1, __ATOMIC_RELEASE);
    bool last = worker_unref(w);
    pool_unlock(p);
    if (last)
        worker_free(w);
    __atomic_sub_fetch(&j->ctx.host->streaming, 1, __ATOMIC_SEQ_CST);
    tool_unref(j->tool);
    buf_finish(&j->frame);
    buf_finish(out);
    mem_free(j);
}

/* The answer to a call of a tool that does not begin. No lock. */
static void refuse(struct pool *p, struct lane *l, uint64_t id, pit_error *e)
{
    struct buf out = {0};
    inner_refuse(p, id, e, &out);
    pool_lock(p);
    put(p, l, &out);
    pool_unlock(p);
    buf_finish(&out);
}

static void discard(struct tool_job *j)
{
    struct pool *p = j->ctx.pool;
    struct worker *w = j->lane->worker;
    pool_lock(p);
    bool last = worker_unref(w);
    pool_unlock(p);
    if (last)
        worker_free(w);
    tool_unref(j->tool);
    buf_finish(&j->frame);
    mem_free(j);
}

int inner_stream_begin(struct tool_job *j, const struct asked *a)
{
    struct pool *p = j->ctx.pool;
    if (a->window != NULL && (a->window_n != FIELD_STREAM_SIZE || little(a->window + 4, 4) != 0)) {
        discard(j);
        return PIT_E_PROTOCOL_ERROR;
    }
    pit_error *e = mismatch(j->tool, a);
    pool_lock(p);
    j->lane->asking &= ~(UINT32_C(1) << j->level);
    if (e == NULL)
        e = join(j, a);
    pool_unlock(p);
    if (e == NULL) {
        start(j);
        return 0;
    }
    refuse(p, j->lane, a->id, e);
    discard(j);
    return 0;
}
