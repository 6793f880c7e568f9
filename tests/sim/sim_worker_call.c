/* The calls of a simulated worker: taken from the lane, marked as the extension marks them, answered, or not. See sim.h. */
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

static void mark(struct worker_part *w, uint64_t state)
{
    if (w->status != NULL)
        __atomic_store_n(&w->status->claims[w->sequence % SEGMENT_SLOTS], CLAIM(w->sequence, state), __ATOMIC_RELEASE);
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

void job_begin(struct worker_part *w, const struct frame *f)
{
    unsigned tag;
    if (!read_tag(f, &tag))
        sim_fail("a worker got a call that it cannot read");
    enum fate fate = choose_fate();
    if (fate == FATE_CRASH_BEFORE) {
        proc_exit(w->proc, how_it_dies());
        return;
    }
    if (!claim(w, f->id)) {
        SIM_TRACE("  call %u was taken back", tag);
        return;
    }
    SIM_TRACE("  call %u begins, fate %d", tag, fate);
    w->busy = true;
    w->timed = (f->flags & FRAME_TIMED) != 0;
    w->sequence = f->id;
    w->tag = tag;
    w->fate = fate;
    w->began_ns = sim.now;
    if (!w->ring)
        mark(w, CLAIM_STARTED);
    ask_ran(tag, w->proc);
    uint64_t takes = sim_chance(sim.mood.slow) ? sim_below(400000) * SIM_US : sim_below(300) * SIM_US;
    w->until_ns = fate == FATE_HANGS ? SIM_NEVER : sim.now + (sim_chance(300) ? 0 : takes);
}

bool job_flagged(const struct worker_part *w)
{
    return w->status != NULL && __atomic_load_n(&w->status->cancel, __ATOMIC_ACQUIRE) == w->sequence;
}

bool job_may_go_on(const struct worker_part *w)
{
    return sim.now >= w->until_ns || (w->obeys && w->fate != FATE_HANGS && job_flagged(w));
}

void job_raise(struct worker_part *w)
{
    if (w->busy && !w->swallows && w->status != NULL && w->status->raise == w->sequence) {
        w->fate = FATE_RAISES;
        w->until_ns = sim.now;
        w->proc->due_ns = sim.now;
    }
}

static void put_answer(struct worker_part *w, int kind, uint64_t id, pit_value *v /* taken */)
{
    size_t at = w->out.len;
    buf_reserve(&w->out, 512);
    w->out.len = at + FRAME_HEADER;
    codec_encode(&w->out, v, NULL);
    pit_value_free(v);
    uint64_t took = sim.now - w->began_ns;
    frame_put_header(w->out.data + at, kind, 0, id, w->timed ? took : 0, w->out.len - at);
}

/* Something that no worker in order sends. */
static void put_lie(struct worker_part *w)
{
    w->babbles = sim_chance(400);
    switch (sim_below(4)) {
    case 0:
        put_answer(w, FRAME_RESULT, w->sequence + 1, pit_int(ask_answer(w->tag)));
        break;
    case 1:
        put_answer(w, FRAME_PONG, w->sequence, pit_int(0));
        break;
    case 2:
        put_answer(w, FRAME_RESULT, w->sequence, pit_int(ask_answer(w->tag)));
        put_answer(w, FRAME_RESULT, w->sequence, pit_int(-1));
        break;
    default:
        put_answer(w, FRAME_RESULT, w->sequence, pit_int(1));
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
        put_answer(w, FRAME_RESULT, w->sequence, pit_int(-1));
        w->retry_ns = sim.now + 20 * SIM_US;
    }
    return true;
}

void job_go_on(struct worker_part *w)
{
    w->busy = false;
    if (w->fate == FATE_CRASH_STARTED) {
        proc_exit(w->proc, how_it_dies());
        return;
    }
    if (w->status != NULL)
        __atomic_store_n(&w->status->finished, w->sequence, __ATOMIC_RELEASE);
    mark(w, CLAIM_FINISHED);
    if (w->fate == FATE_CRASH_FINISHED) {
        proc_exit(w->proc, how_it_dies());
        return;
    }
    SIM_TRACE("  call %u ends", w->tag);
    w->retry_ns = sim.now;
    if (w->fate == FATE_RAISES)
        put_answer(w, FRAME_ERROR, w->sequence, pit_pack("{s:s,s:s}", "code", "python_exception", "message", "ValueError: no"));
    else if (w->fate == FATE_LIES)
        put_lie(w);
    else
        put_answer(w, FRAME_RESULT, w->sequence, pit_int(ask_answer(w->tag)));
}

/* ---- the request ring ---- */

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
    else if (rc != 0 || frame_parse(in.data, in.n, &f) != 0 || f.kind != FRAME_CALL)
        sim_fail("a worker got something that is no call");
    else
        job_begin(w, &f);
    channel_frame_finish(&in);
}
