/* The calls of a simulated worker: taken from the lane, marked as the extension marks them, answered, or not. Calls nest: while one waits for a tool
 * of the host it serves those that the tool makes. See sim.h; streams are in sim_worker_stream.c, what it asks of tools in sim_worker_tool.c. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "sim_worker.h"
#include "wire/codec.h"
#include "wire/mp.h"

static enum fate choose_fate(void)
{
    static const enum fate crashes[] = {FATE_CRASH_BEFORE, FATE_CRASH_STARTED, FATE_CRASH_FINISHED};
    if (sim.quiet)
        return FATE_ANSWERS;
    if (sim_chance(sim.mood.crash))
        return crashes[sim_below(3)];
    if (sim_chance(sim.mood.hang))
        return FATE_HANGS;
    if (sim_chance(sim.mood.lie))
        return FATE_LIES;
    return sim_chance(50) ? FATE_RAISES : FATE_ANSWERS;
}

static int how_it_dies(void)
{
    static const int statuses[] = {SIGSEGV, SIGABRT, 0, 1 << 8, 3 << 8, SIGKILL};
    return statuses[sim_below(6)];
}

/* The number in the arguments: the first of the list. */
static bool read_tag(const struct frame *f, unsigned *ret)
{
    const uint8_t *at = f->payload, *end = at + f->payload_n;
    struct mp_token t;
    for (int i = 0; i < 4; i++)
        if (mp_read(&at, end, &t) == MP_OK && t.type == MP_INT) {
            *ret = (unsigned)t.i;
            return t.i >= 0 && t.i < SIM_CALLS;
        }
    return false;
}

/* ---- marks ---- */

static void mark(struct worker_part *w, uint64_t sequence, uint64_t state)
{
    if (w->status != NULL)
        __atomic_store_n(&w->status->claims[sequence % SEGMENT_SLOTS], CLAIM(sequence, state), __ATOMIC_RELEASE);
}

/* As the extension does it: one exchange; false: the host has taken the call back. */
static bool claim(struct worker_part *w, uint64_t sequence)
{
    if (w->status == NULL || !w->ring)
        return true;
    uint64_t old =
        __atomic_exchange_n(&w->status->claims[sequence % SEGMENT_SLOTS], CLAIM(sequence, CLAIM_STARTED), __ATOMIC_ACQ_REL);
    return old != CLAIM(sequence, CLAIM_REVOKED);
}

static uint64_t attention(const struct worker_part *w)
{
    return w->status != NULL ? __atomic_load_n(&w->status->attention, __ATOMIC_ACQUIRE) : 0;
}

/* It looks at the cooperative flag. */
static bool is_flagged(const struct worker_part *w, const struct job *j)
{
    return (w->status != NULL && __atomic_load_n(&w->status->cancel, __ATOMIC_ACQUIRE) == j->sequence) ||
           w->told_cancel == j->sequence;
}

/* ---- beginning ---- */

static void check_nested(const struct worker_part *w, const struct job *outer, const struct frame *f, unsigned tag)
{
    if (outer == NULL)
        sim_fail("call %u comes as a tool's, and none waits for one", tag);
    if (w->n_jobs == JOBS || w->n_jobs > SIM_DEPTH_MAX)
        sim_fail("call %u is the %uth inside another", tag, w->n_jobs);
    if (outer->state != JOB_ASKS)
        sim_fail("call %u comes into call %u, which waits for no tool", tag, outer->tag);
    if (outer->deadline_ns != 0 && (f->stamp == 0 || f->stamp > outer->deadline_ns))
        sim_fail("call %u was made by a tool of call %u, and may last longer", tag, outer->tag);
    if (f->id <= outer->sequence)
        sim_fail("call %u was made by a tool of call %u, and its number is not higher", tag, outer->tag);
}

static void begin(struct worker_part *w, const struct frame *f)
{
    unsigned tag;
    struct job *outer = top_job(w);
    if (!read_tag(f, &tag))
        sim_fail("a worker got a call that it cannot read");
    enum fate fate = choose_fate();
    if (fate == FATE_CRASH_BEFORE) {
        w->proc->at_work = outer != NULL; /* it has met this one */
        proc_exit(w->proc, how_it_dies());
        return;
    }
    if (!claim(w, f->id)) {
        SIM_TRACE("  call %u was taken back", tag);
        return;
    }
    if ((f->flags & FRAME_NESTED) != 0)
        check_nested(w, outer, f, tag);
    SIM_TRACE("  call %u begins, fate %d", tag, fate);
    struct job *j = &w->jobs[w->n_jobs++];
    *j = (struct job){.sequence = f->id,
                      .tag = tag,
                      .fate = fate,
                      .state = JOB_WORKS,
                      .timed = (f->flags & FRAME_TIMED) != 0,
                      .stream = f->kind == FRAME_STREAM_CALL,
                      .deadline_ns = f->stamp,
                      .began_ns = sim.now,
                      .attention = attention(w)};
    if (!w->ring)
        mark(w, j->sequence, CLAIM_STARTED);
    ask_ran(tag, w->proc);
    uint64_t takes = sim_chance(sim.mood.slow) ? sim_below(400000) * SIM_US : sim_below(300) * SIM_US;
    j->until_ns = fate == FATE_HANGS ? SIM_NEVER : sim.now + (sim_chance(300) ? 0 : takes);
    if (j->stream)
        producer_begin(j, f);
    if (sim.mood.tools != 0 && sim_chance(sim.mood.tools))
        j->tools = 1 + sim_below(2);
}

/* ---- going on ---- */

bool job_listens(struct worker_part *w)
{
    const struct job *j = top_job(w);
    return w->out.len == 0 && (j == NULL || j->state != JOB_WORKS);
}

bool job_may_go_on(struct worker_part *w)
{
    struct job *j = top_job(w);
    if (j->state != JOB_WORKS) /* it sleeps: it looks when it is woken */
        return attention(w) != j->attention || w->told_cancel == j->sequence;
    return sim.now >= j->until_ns || (w->obeys && j->fate != FATE_HANGS && is_flagged(w, j));
}

void job_raise(struct worker_part *w)
{
    struct job *j = top_job(w);
    if (j != NULL && !w->swallows && w->status != NULL && w->status->raise == j->sequence) {
        j->fate = FATE_RAISES;
        j->state = JOB_WORKS;
        j->tools = j->producer.left = 0;
        j->producer.inbox_over = true;
        j->until_ns = sim.now;
        w->proc->due_ns = sim.now;
    }
}

/* What it waits for has come, or it has been woken: true, it ends as one that was cancelled. */
static bool looks_up(struct worker_part *w, struct job *j)
{
    j->attention = attention(w);
    if (!w->obeys || !is_flagged(w, j)) {
        w->told_cancel = w->told_cancel == j->sequence ? 0 : w->told_cancel;
        return false;
    }
    if (j->stream || j->state == JOB_ASKS)
        j->fate = FATE_RAISES;
    return true;
}

void job_go_on(struct worker_part *w)
{
    struct job *j = top_job(w);
    bool slept = j->state != JOB_WORKS;
    if (looks_up(w, j)) {
        job_end(w);
        return;
    }
    if (slept)
        return;
    if (j->tools != 0 && sim_chance(500) && tool_ask(w, j))
        return;
    if (j->stream && producer_go_on(w, j))
        return;
    if (!tool_ask(w, j))
        job_end(w);
}

/* ---- answering ---- */

size_t put_frame(struct worker_part *w, int kind, unsigned flags, uint64_t id, uint64_t stamp, pit_value *v, pit_value *more)
{
    size_t at = w->out.len;
    buf_append(&w->out, (const uint8_t[FRAME_HEADER]){0}, FRAME_HEADER);
    if (v != NULL)
        codec_encode(&w->out, v, NULL);
    if (more != NULL)
        codec_encode(&w->out, more, NULL);
    pit_value_free(v);
    pit_value_free(more);
    frame_put_header(w->out.data + at, kind, flags, id, stamp, w->out.len - at);
    w->retry_ns = sim.now;
    return w->out.len - at;
}

static void put_answer(struct worker_part *w, const struct job *j, int kind, uint64_t id, pit_value *v /* taken */)
{
    put_frame(w, kind, 0, id, j->timed ? sim.now - j->began_ns : 0, v, NULL);
}

/* Something that no worker in order sends. */
static void put_lie(struct worker_part *w, struct job *j)
{
    w->babbles = sim_chance(400);
    switch (sim_below(4)) {
    case 0:
        put_answer(w, j, FRAME_RESULT, j->sequence + 1, pit_int(ask_answer(j->tag)));
        break;
    case 1:
        put_answer(w, j, FRAME_PONG, j->sequence, pit_int(0));
        break;
    case 2:
        put_answer(w, j, FRAME_RESULT, j->sequence, pit_int(ask_answer(j->tag)));
        put_answer(w, j, FRAME_RESULT, j->sequence, pit_int(-1));
        break;
    default:
        put_answer(w, j, FRAME_RESULT, j->sequence, pit_int(1));
        w->out.data[0] = 77;
    }
}

bool job_push_out(struct worker_part *w)
{
    int rc = w->lane->ops->send(w->lane, w->out.data, w->out.len, &w->out_done);
    if (rc == CHANNEL_AGAIN) {
        w->retry_ns = sim.now + 20 * SIM_US + sim_below(100) * SIM_US;
        return false;
    }
    buf_finish(&w->out);
    w->out_done = 0;
    if (w->babbles) {
        put_frame(w, FRAME_RESULT, 0, 0, 0, pit_int(-1), NULL);
        w->retry_ns = sim.now + 20 * SIM_US;
    }
    return true;
}

/* The call that runs ends, as its fate is. */
void job_end(struct worker_part *w)
{
    struct job *j = top_job(w);
    if (j->fate == FATE_CRASH_STARTED) {
        proc_exit(w->proc, how_it_dies());
        return;
    }
    if (w->status != NULL)
        __atomic_store_n(&w->status->finished, j->sequence, __ATOMIC_RELEASE);
    mark(w, j->sequence, CLAIM_FINISHED);
    if (j->fate == FATE_CRASH_FINISHED) {
        proc_exit(w->proc, how_it_dies());
        return;
    }
    SIM_TRACE("  call %u ends", j->tag);
    w->lied = w->lied || j->fate == FATE_LIES;
    if (j->fate == FATE_RAISES)
        put_answer(w, j, FRAME_ERROR, j->sequence,
                   pit_pack("{s:s,s:s}", "code", "python_exception", "message", "ValueError: no"));
    else if (j->fate != FATE_LIES)
        put_answer(w, j, FRAME_RESULT, j->sequence, pit_int(ask_answer(j->tag)));
    else if (j->stream && sim_chance(700))
        put_stream_lie(w, j);
    else if (sim.mood.tools != 0 && sim_chance(700))
        put_tool_lie(w, j);
    else
        put_lie(w, j);
    w->n_jobs--;
}

/* ---- the lane ---- */

static void keep(struct worker_part *w, const struct channel_frame *in)
{
    if (w->n_kept == KEPT)
        sim_fail("%u calls are written ahead of one that waits for a tool", w->n_kept);
    w->kept[w->n_kept] = (struct buf){0};
    buf_append(&w->kept[w->n_kept++], in->data, in->n);
}

bool job_begin_kept(struct worker_part *w)
{
    if (w->n_kept == 0)
        return false;
    struct buf first = w->kept[0];
    struct frame f;
    memmove(w->kept, w->kept + 1, --w->n_kept * sizeof first);
    if (frame_parse(first.data, first.len, &f) == 0)
        begin(w, &f);
    buf_finish(&first);
    return true;
}

/* What comes on its lane while it listens. */
void job_frame(struct worker_part *w, const struct frame *f, const struct channel_frame *in)
{
    if (w->lied)
        return;
    switch (f->kind) {
    case FRAME_CALL:
    case FRAME_STREAM_CALL:
        if (w->n_jobs != 0 && (f->flags & FRAME_NESTED) == 0)
            keep(w, in);
        else
            begin(w, f);
        break;
    case FRAME_CREDIT:
    case FRAME_SEND:
    case FRAME_SEND_END:
        producer_frame(w, f, in->n);
        break;
    case FRAME_TOOL_RESULT:
    case FRAME_TOOL_ERROR:
    case FRAME_TOOL_LIST:
        tool_answered(w, f);
        break;
    default:
        sim_fail("a worker got a frame of kind %s on its lane", frame_kind_name(f->kind));
    }
}

static uint64_t request_head(const struct worker_part *w)
{
    const uint8_t *lane = (const uint8_t *)(const void *)w->status;
    return __atomic_load_n(&((const struct ring_shared *)(const void *)(lane + LANE_REQUEST_OFFSET))->head, __ATOMIC_ACQUIRE);
}

bool job_may_read(const struct worker_part *w)
{
    return request_head(w) != w->head_seen;
}

void job_read(struct worker_part *w)
{
    struct channel_frame in;
    struct frame f;
    uint64_t head = request_head(w);
    channel_frame_init(&in);
    int rc = w->lane->ops->recv(w->lane, &in);
    if (rc == CHANNEL_AGAIN)
        w->head_seen = head;
    else if (rc != 0 || frame_parse(in.data, in.n, &f) != 0)
        sim_fail("a worker got something that it cannot read");
    else
        job_frame(w, &f, &in);
    channel_frame_finish(&in);
}
