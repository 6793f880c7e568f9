/* What a simulated worker does with a stream: it gives chunks for which it has credit, reads its inbox, and grants the host what it has read. See sim.h. */
#include <string.h>

#include "sim_worker.h"
#include "wire/mp.h"

enum { BLOB_MOST = 300, SEND_LEAST = FRAME_HEADER };

static uint64_t little_endian(const uint8_t *p, int n)
{
    uint64_t x = 0;
    for (int i = n; i-- > 0;)
        x = x << 8 | p[i];
    return x;
}

void producer_begin(struct job *j, const struct frame *f)
{
    const uint8_t *field;
    size_t n;
    if (!frame_field(f, FIELD_STREAM, &field, &n) || n != FIELD_STREAM_SIZE)
        sim_fail("the call of stream %u does not say what its window is", j->tag);
    struct producer *p = &j->producer;
    bool inbox = (little_endian(field + 4, 4) & FIELD_STREAM_INBOX) != 0;
    *p = (struct producer){.left = sim_below(12),
                           .chunks = little_endian(field, 4),
                           .bytes = (int64_t)little_endian(field + 8, 8),
                           .inbox = inbox,
                           .inbox_over = !inbox};
    p->window = p->chunks;
    p->window_bytes = (uint64_t)p->bytes;
    p->in_chunks = inbox ? p->window : 0;
    p->in_bytes = inbox ? p->bytes : 0;
    if (p->window > SIM_WINDOW)
        sim_fail("the window of stream %u is %llu", j->tag, (unsigned long long)p->window);
    flow_begins(j->tag);
}

static void later(struct job *j)
{
    uint64_t takes = sim_chance(sim.mood.slow / 8) ? sim_below(40000) : sim_below(60);
    j->until_ns = sim.now + (sim_chance(400) ? 0 : takes * SIM_US);
}

static void give_chunk(struct worker_part *w, struct job *j)
{
    static const uint8_t blob[BLOB_MOST];
    struct producer *p = &j->producer;
    pit_value *v = pit_list(), *metadata = sim_chance(200) ? pit_pack("{s:i}", "part", 1) : NULL;
    p->left--;
    bool final = p->left == 0 && p->inbox_over && j->tools == 0 && sim_chance(400);
    pit_list_append_take(v, pit_int(j->tag));
    pit_list_append_take(v, pit_uint(flow_produced(j->tag, final)));
    if (sim_chance(300))
        pit_list_append_take(v, pit_bytes(blob, sim_below(BLOB_MOST)));
    size_t n = put_frame(w, FRAME_CHUNK, final ? FRAME_FINAL : 0, j->sequence, 0, v, metadata);
    p->chunks--;
    p->bytes -= (int64_t)n;
    later(j);
}

/* Half a window at a time; or what there is. */
static bool grant(struct worker_part *w, struct job *j, bool all)
{
    struct producer *p = &j->producer;
    if (p->taken == 0 || (!all && 2 * p->taken < p->window && 2 * p->taken_bytes < p->window_bytes))
        return false;
    put_frame(w, FRAME_CREDIT, 0, j->sequence, 0, pit_uint(p->taken), pit_uint(p->taken_bytes));
    p->in_chunks += p->taken;
    p->in_bytes += (int64_t)p->taken_bytes;
    p->taken = p->taken_bytes = 0;
    return true;
}

static bool read_inbox(struct worker_part *w, struct job *j)
{
    struct producer *p = &j->producer;
    if (p->n_waiting == 0) {
        if (!p->inbox_over)
            j->state = JOB_WANTS_INBOX;
        return !p->inbox_over;
    }
    flow_heard(j->tag, p->waiting[0].number);
    p->taken++;
    p->taken_bytes += p->waiting[0].bytes;
    memmove(&p->waiting[0], &p->waiting[1], --p->n_waiting * sizeof p->waiting[0]);
    grant(w, j, sim_chance(100));
    later(j);
    return true;
}

bool producer_go_on(struct worker_part *w, struct job *j)
{
    struct producer *p = &j->producer;
    bool may_read = p->inbox && (p->n_waiting != 0 || !p->inbox_over);
    if (p->left == 0 || (may_read && sim_chance(400)))
        return p->inbox && sim_chance(950) && read_inbox(w, j); /* one in twenty does not wait for its end */
    if (p->chunks != 0 && p->bytes > 0)
        give_chunk(w, j);
    else
        j->state = JOB_WANTS_CREDIT;
    return true;
}

/* ---- what comes ---- */

static void go_on_from(struct job *j, enum job_state state)
{
    if (j->state != state)
        return;
    j->state = JOB_WORKS;
    j->until_ns = sim.now;
}

static void take_credit(struct job *j, const struct frame *f)
{
    struct producer *p = &j->producer;
    const uint8_t *at = f->payload, *end = f->payload + f->payload_n;
    struct mp_token t[2];
    for (int i = 0; i < 2; i++)
        if (mp_read(&at, end, &t[i]) != MP_OK || t[i].type != MP_INT || t[i].i < 0)
            sim_fail("a credit for stream %u cannot be read", j->tag);
    p->chunks += (uint64_t)t[0].i;
    p->bytes += t[1].i;
    flow_granted(j->tag, p->chunks, p->window);
    go_on_from(j, JOB_WANTS_CREDIT);
}

static void take_value(struct job *j, const struct frame *f, size_t bytes)
{
    struct producer *p = &j->producer;
    const uint8_t *at = f->payload;
    struct mp_token head, number;
    if (p->inbox_over)
        sim_fail("the inbox of stream %u gets a value, and was ended or never there", j->tag);
    if (p->in_chunks == 0 || p->in_bytes <= 0 || p->n_waiting == SIM_WINDOW)
        sim_fail("the inbox of stream %u gets a value without credit", j->tag);
    if (mp_read(&at, at + f->payload_n, &head) != MP_OK || mp_read(&at, f->payload + f->payload_n, &number) != MP_OK)
        sim_fail("the inbox of stream %u gets what cannot be read", j->tag);
    p->in_chunks--;
    p->in_bytes -= (int64_t)bytes;
    p->waiting[p->n_waiting].number = (unsigned)number.i;
    p->waiting[p->n_waiting++].bytes = (unsigned)bytes;
    go_on_from(j, JOB_WANTS_INBOX);
}

void producer_frame(struct worker_part *w, const struct frame *f, size_t bytes)
{
    struct job *j = NULL;
    for (unsigned i = 0; i < w->n_jobs; i++)
        if (w->jobs[i].sequence == f->id)
            j = &w->jobs[i];
    if (j == NULL) /* its call has ended */
        return;
    if (!j->stream)
        sim_fail("call %u is no stream, and gets a frame of one", j->tag);
    if (f->kind == FRAME_CREDIT) {
        take_credit(j, f);
    } else if (f->kind == FRAME_SEND) {
        take_value(j, f, bytes);
    } else {
        if (j->producer.inbox_over)
            sim_fail("the inbox of stream %u ends twice", j->tag);
        j->producer.inbox_over = true;
        flow_inbox_ended(j->tag);
        go_on_from(j, JOB_WANTS_INBOX);
    }
}

/* What no producer in order sends. */
void put_stream_lie(struct worker_part *w, struct job *j)
{
    uint64_t id = j->sequence;
    pit_value *chunk = pit_int(-1);
    switch (sim_below(6)) {
    case 0: /* of another call */
        put_frame(w, FRAME_CHUNK, 0, id + 1, 0, chunk, NULL);
        break;
    case 1: /* metadata that is no map */
        put_frame(w, FRAME_CHUNK, 0, id, 0, chunk, pit_list());
        break;
    case 2: /* more than there are */
        put_frame(w, FRAME_CREDIT, 0, id, 0, pit_uint(SIM_WINDOW + 1), pit_uint(UINT64_MAX));
        pit_value_free(chunk);
        break;
    case 3: /* what is the host's to send */
        put_frame(w, FRAME_SEND, 0, id, 0, chunk, NULL);
        break;
    case 4:
        put_frame(w, FRAME_CREDIT, 0, id, 0, chunk, NULL);
        break;
    default: /* nothing at all */
        put_frame(w, FRAME_CHUNK, 0, id, 0, NULL, NULL);
        pit_value_free(chunk);
    }
    w->babbles = sim_chance(300);
}
