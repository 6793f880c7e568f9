/* Streams of the simulated program: told of on the caller's thread or on the loop, or read at their reader's pace, with or without an inbox; read to the
 * end, halted, failed, closed. And what must be so of each: chunks in order without gap or double, one end and nothing after it, no credit for more
 * than the window. See sim.h. */
#include <snakepit/stream.h>
#include <string.h>

#include "sim_scenario.h"

/* What is known of a stream, by the number of its call. */
static struct flow {
    uint64_t produced, got; /* chunks: by the worker, to the reader */
    bool final, final_came; /* the producer has marked its last chunk */
    bool synthetic;         /* the reader was told of an end that the producer did not mark */
    bool left;              /* its reader has had enough */
    bool failed;            /* and said that it fails */
    bool reading, sending;  /* a thread waits for it */
    unsigned ends;          /* that its callback was told of */
    unsigned sent, heard;
    bool closed_inbox, bidi;
    unsigned patience; /* chunks that its reader wants */
    pit_stream *stream;
    bool leaves; /* the sender shall stop */
    struct ask *ask;
} flows[SIM_CALLS];

void stream_reset(void)
{
    memset(flows, 0, sizeof flows);
}

static unsigned tag_of(const struct flow *f)
{
    return (unsigned)(f - flows);
}

static struct flow *new_flow(int form, pit_call_options *o)
{
    struct ask *a = new_ask(form, o);
    struct flow *f = &flows[a - asks];
    *f = (struct flow){.ask = a, .patience = sim_chance(600) ? UINT32_MAX : sim_below(8)};
    a->again = false; /* its reader has had some of it, perhaps */
    return f;
}

/* ---- what the worker sees ---- */

void flow_begins(unsigned tag)
{
    if (flows[tag].produced != 0)
        sim_fail("stream %u begins again", tag);
}

uint64_t flow_produced(unsigned tag, bool final)
{
    flows[tag].final = final;
    return flows[tag].produced++;
}

void flow_granted(unsigned tag, uint64_t credit, uint64_t window)
{
    const struct flow *f = &flows[tag];
    uint64_t taken = f->got + 1; /* one is granted again before its reader knows of it */
    if (credit + f->produced > window + taken)
        sim_fail("stream %u has credit for %llu chunks, and %llu of %llu were taken; its window is %llu", tag,
                 (unsigned long long)credit, (unsigned long long)f->got, (unsigned long long)f->produced,
                 (unsigned long long)window);
}

void flow_heard(unsigned tag, unsigned number)
{
    if (number != flows[tag].heard++)
        sim_fail("stream %u was sent value %u, and hears %u", tag, flows[tag].heard - 1, number);
}

void flow_inbox_ended(unsigned tag)
{
    if (!flows[tag].closed_inbox)
        sim_fail("the inbox of stream %u has ended, and nobody has ended it", tag);
}

void flow_check_wait(const struct sim_wait *w)
{
    const struct flow *f = &flows[w->tag];
    const struct ask *a = &asks[w->tag];
    if (f->ask == NULL)
        return;
    if (a->completions != 0 && w->hears)
        sim_fail("the reader of stream %u has gone, and its producer has not heard of it", w->tag);
    if (a->completions != 0)
        return;
    if (w->for_credit && f->reading && f->got == f->produced)
        sim_fail("stream %u: its producer waits for credit, and its reader for chunks", w->tag);
    if (w->for_inbox && f->sending)
        sim_fail("stream %u: its producer waits for a value, and who sends for room", w->tag);
}

/* ---- what its reader sees ---- */

static void check_chunk(struct flow *f, const pit_value *v)
{
    int64_t tag = 0, index = 0;
    if (f->left || f->ends != 0)
        sim_fail("stream %u gives a chunk after its end", tag_of(f));
    if (!pit_value_get_int(pit_value_at(v, 0), &tag) || tag != tag_of(f))
        sim_fail("stream %u gives a chunk of another one", tag_of(f));
    if (!pit_value_get_int(pit_value_at(v, 1), &index) || index != (int64_t)f->got)
        sim_fail("stream %u gives chunk %lld after %llu", tag_of(f), (long long)index, (unsigned long long)f->got);
    f->got++;
    if (f->got > f->produced)
        sim_fail("stream %u gives more chunks than were made", tag_of(f));
}

static void check_event(struct flow *f, const pit_stream_event *ev)
{
    if (f->left || f->ends != 0)
        sim_fail("the callback of stream %u is called after the end", tag_of(f));
    if (ev->kind != PIT_STREAM_CHUNK) {
        f->ends++;
        if (ev->kind == PIT_STREAM_END && !f->final_came && !f->synthetic)
            sim_fail("stream %u ends, and no chunk was the last one", tag_of(f));
        return;
    }
    if (f->final_came || f->synthetic)
        sim_fail("stream %u gives a chunk after the last one", tag_of(f));
    if (ev->index != f->got)
        sim_fail("chunk %llu of stream %u is told of as %llu", (unsigned long long)f->got, tag_of(f),
                 (unsigned long long)ev->index);
    f->synthetic = ev->is_final && pit_value_get(ev->value, "synthetic_final") != NULL;
    if (f->synthetic)
        return;
    check_chunk(f, ev->value);
    f->final_came = ev->is_final;
    if (ev->is_final != (f->final && f->got == f->produced))
        sim_fail("chunk %llu of stream %u is%s told of as the last one", (unsigned long long)ev->index, tag_of(f),
                 ev->is_final ? "" : " not");
}

void flow_check_end(const struct ask *a, int rc)
{
    const struct flow *f = &flows[a - asks];
    bool told = a->form == ASK_STREAM || a->form == ASK_TOLD;
    if (f->ask == NULL)
        return;
    if (rc == 0 && !f->left && f->got != f->produced)
        sim_fail("stream %u ends well, and %llu of %llu chunks were read", tag_of(f), (unsigned long long)f->got,
                 (unsigned long long)f->produced);
    if (told && f->left && f->ends != 0)
        sim_fail("the callback of stream %u has had enough, and was told of an end", tag_of(f));
    if (told && !f->left && f->ends != 1 && a->runs != 0)
        sim_fail("the callback of stream %u was told of %u ends", tag_of(f), f->ends);
    if (f->left && !a->unsure)
        sim_fail("stream %u was left, and nobody knows", tag_of(f));
}

/* ---- callbacks ---- */

static int on_event(pit_stream_event *ev, void *user)
{
    struct flow *f = user;
    struct ask *a = f->ask;
    int rc = 0;
    f->reading = false;
    check_event(f, ev);
    if (a->form == ASK_STREAM && sim_chance(200)) {
        a->outside++;
        dawdle(sim_chance(100) ? 60000 : 500);
        a->outside--;
    }
    if (ev->kind == PIT_STREAM_CHUNK && f->got > f->patience) {
        f->left = a->unsure = true;
        f->failed = sim_chance(300);
        rc = f->failed ? pit_stream_event_fail(ev, "enough") : PIT_STREAM_HALT;
    }
    f->reading = a->form == ASK_STREAM;
    return rc;
}

static void call_told_here(struct live *l)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    struct flow *f = new_flow(ASK_STREAM, &o);
    pit_value *args = ask_arguments(f->ask), *v = NULL;
    pit_error *e = NULL;
    if (sim_chance(300))
        o.canceller = l->canceller = pit_canceller_new();
    l->ask = f->ask;
    f->reading = true;
    int rc = pit_call_stream(sim.p, "stream", args, &o, on_event, f, &v, &e);
    f->reading = false;
    l->ask = NULL;
    l->canceller = NULL;
    if (f->left && rc != (f->failed ? PIT_E_CALLBACK_FAILED : 0))
        sim_fail("stream %u was %s, and returns %d", tag_of(f), f->failed ? "failed" : "halted", rc);
    ask_completed(f->ask, rc, v, e);
    pit_canceller_free(o.canceller);
    pit_value_free(args);
    pit_value_free(v);
    pit_error_free(e);
}

static void on_done(pit_future *future, void *user)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    int rc = pit_future_result(future, &v, &e);
    ask_completed(user, rc, v, e);
    pit_value_free(v);
    pit_error_free(e);
}

static void call_told_there(struct live *l)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    struct flow *f = new_flow(ASK_TOLD, &o);
    pit_value *args = ask_arguments(f->ask);
    pit_error *e = NULL;
    pit_future *future = NULL;
    int rc = pit_submit_stream(sim.p, "stream", args, &o, on_event, f, &future, &e);
    pit_value_free(args);
    if (rc != 0) {
        ask_completed(f->ask, rc, NULL, e);
    } else {
        pit_future_on_done(future, on_done, f->ask);
        l->future = future;
        l->ask = f->ask;
        while (pit_future_wait(future, some_time_ms()) == PIT_E_PENDING)
            continue;
        l->future = NULL;
        l->ask = NULL;
        pit_future_free(future);
    }
    pit_error_free(e);
}

/* ---- at its reader's pace ---- */

static void send_one(struct flow *f)
{
    static const uint8_t blob[200];
    pit_value *v = pit_list();
    pit_error *e = NULL;
    pit_list_append_take(v, pit_uint(f->sent));
    if (sim_chance(300))
        pit_list_append_take(v, pit_bytes(blob, sizeof blob));
    f->sending = true;
    int rc = pit_stream_send(f->stream, v, sim_chance(300) ? 0 : 1 + (int64_t)sim_below(30), &e);
    f->sending = false;
    f->sent += rc == 0;
    f->leaves = f->leaves || (rc != 0 && rc != PIT_E_PENDING);
    pit_value_free(v);
    pit_error_free(e);
}

static void *sender(void *arg)
{
    struct flow *f = arg;
    for (unsigned left = sim_below(20); left > 0 && !f->leaves; left--) {
        send_one(f);
        if (sim_chance(200))
            dawdle(1000);
    }
    f->closed_inbox = true;
    pit_stream_send_end(f->stream);
    return NULL;
}

/* The next chunk; false: there is none any more, and *ret is how it has ended. */
static bool read_one(struct flow *f, int *ret, pit_error **ret_error)
{
    pit_value *v = NULL;
    pit_error_free(*ret_error);
    *ret_error = NULL;
    f->ask->outside--;
    f->reading = true;
    *ret = pit_stream_next(f->stream, sim_chance(100) ? 0 : some_time_ms(), &v, ret_error);
    f->reading = false;
    f->ask->outside++;
    if (*ret == 0)
        check_chunk(f, v);
    pit_value_free(v);
    return *ret == 0 || *ret == PIT_E_PENDING;
}

static void check_same_end(struct flow *f, int rc)
{
    int again = pit_stream_next(f->stream, 0, NULL, NULL);
    if (again != rc && again != PIT_E_SHUTTING_DOWN)
        sim_fail("stream %u has ended with %d, and then with %d", tag_of(f), rc, again);
    if ((pit_stream_result(f->stream) != NULL) != (rc == PIT_E_END))
        sim_fail("stream %u has ended with %d, and its result says something else", tag_of(f), rc);
}

static void read_all(struct flow *f, struct fiber *other)
{
    struct ask *a = f->ask;
    pit_error *e = NULL;
    int rc = 0;
    bool more = true;
    while (more && f->got < f->patience && rc != PIT_E_SHUTTING_DOWN) {
        if (f->bidi && other == NULL && !f->leaves && sim_chance(300))
            send_one(f);
        more = read_one(f, &rc, &e);
        if (sim_chance(other != NULL ? 400 : 100))
            dawdle(sim_chance(200) ? 50000 : 2000);
    }
    f->left = a->unsure = more || rc == PIT_E_SHUTTING_DOWN;
    f->leaves = true;
    if (other != NULL)
        fiber_join(other);
    if (!f->left)
        check_same_end(f, rc);
    const pit_value *v = pit_stream_result(f->stream);
    pit_value *kept = v != NULL ? pit_value_ref((pit_value *)(uintptr_t)v) : NULL;
    pit_stream_close(f->stream);
    ask_completed(a, f->left ? PIT_E_CANCELLED : rc == PIT_E_END ? 0 : rc, kept, e);
    pit_value_free(kept);
    pit_error_free(e);
}

static void call_pulled(void)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    struct flow *f = new_flow(ASK_PULL, &o);
    f->bidi = sim_chance(500);
    f->ask->outside++;
    pit_value *args = ask_arguments(f->ask);
    pit_error *e = NULL;
    int rc = pit_stream_open(sim.p, "stream", args, &o, f->bidi ? PIT_STREAM_BIDI : PIT_STREAM_READ, &f->stream, &e);
    pit_value_free(args);
    if (rc != 0)
        ask_completed(f->ask, rc, NULL, e);
    else
        read_all(f, f->bidi && sim_chance(600) ? fiber_start(sender, f, "a sender") : NULL);
    pit_error_free(e);
}

void stream_call(struct live *l)
{
    unsigned dice = sim_below(4);
    if (dice == 0)
        call_told_here(l);
    else if (dice == 1)
        call_told_there(l);
    else
        call_pulled();
}
