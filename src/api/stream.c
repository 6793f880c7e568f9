/* snakepit/stream.h: streams that a thread reads, through a callback or at its own pace. The loop carries the call; the thread takes what has come. */
#include <snakepit/stream.h>
#include <string.h>

#include "api/carried.h"
#include "api/stream_tell.h"
#include "base/alloc.h"

enum { SMALL_FRAME = 512 }; /* bytes: sent without a block of the heap */

struct pit_stream {
    struct carried c;
    struct stream stream;
    pit_stream_event last; /* the reader's: what is said of the chunk that it has; size 0 before the first */
    pit_value *last_metadata;
};

static void stream_unref(pit_stream *s)
{
    if (!carried_unref(&s->c))
        return;
    stream_finish(&s->stream);
    pit_value_free(s->last_metadata);
    mem_free(s);
}

static bool has_ended(const pit_stream *s)
{
    return __atomic_load_n(&s->stream.over, __ATOMIC_ACQUIRE);
}

/* The call has its outcome: on the loop, or on the thread that rode it there. */
static void stream_done(struct call *c)
{
    pit_stream *s = LIST_ENTRY(c, pit_stream, c.call);
    carried_end(&s->c);
    stream_is_over(s->c.pool, &s->stream);
    carried_let_go(&s->c);
    stream_unref(s);
}

/* ---- opening ---- */

/* NULL and *ret, or an error (owned). */
static pit_error *open_stream(pit *p, const char *command, const pit_value *args, const pit_call_options *o, bool inbox,
                              pit_stream **ret)
{
    pit_stream *s = mem_alloc(sizeof *s);
    if (s == NULL)
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory");
    carried_init(&s->c, p);
    memset((char *)s + offsetof(pit_stream, stream), 0, sizeof *s - offsetof(pit_stream, stream));
    list_init(&s->stream.chunks);
    s->stream.rides = p->host->set.drive == PIT_DRIVE_THREAD;
    pit_error *e = carried_begin(&s->c, command, args, o, &s->stream, inbox, stream_done);
    if (e == NULL) {
        *ret = s;
        return NULL;
    }
    s->c.refs = 1;
    stream_unref(s);
    return e;
}

/* ---- with a callback, on this thread ---- */

/* Everything that the stream gives, until its end, or until the callback has had enough. */
static void tell_all(pit_stream *s, struct teller *t, struct outcome *ret)
{
    struct pool *p = s->c.pool;
    struct stream_chunk *k;
    while (stream_read(p, &s->stream, UINT64_MAX, true, &k) == 0) {
        if (tell_chunk(t, k, ret))
            continue;
        const struct outcome none = {.value = pit_nil()};
        stream_stop(p, &s->stream, none, ret->rc == 0 ? "halted" : "callback_failed");
        return;
    }
    *ret = s->c.call.outcome;
    s->c.call.outcome = (struct outcome){0};
    tell_outcome(t, ret);
}

static int give(struct outcome *o, pit_value **ret, pit_error **reterr)
{
    int rc = o->rc;
    if (rc == 0 && ret != NULL) {
        *ret = o->value;
        o->value = NULL;
    }
    if (reterr != NULL) {
        *reterr = o->error;
        o->error = NULL;
    }
    outcome_free(o);
    return rc;
}

int pit_call_stream(pit *p, const char *command, const pit_value *args, const pit_call_options *o, pit_stream_fn fn, void *user,
                    pit_value **ret_final, pit_error **reterr)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_stream *s = NULL;
    pit_error *e = fn != NULL ? open_stream(p, command, args, o, false, &s)
                              : error_new(PIT_E_INVALID_PARAMETER, "the callback of a stream is NULL");
    if (e != NULL) {
        rc = error_give(reterr, e);
    } else {
        struct teller t = {.fn = fn, .user = user};
        struct outcome end = {0};
        tell_all(s, &t, &end);
        rc = give(&end, ret_final, reterr);
        stream_unref(s);
    }
    api_leave(p);
    return rc;
}

/* ---- at the reader's own pace ---- */

int pit_stream_open(pit *p, const char *command, const pit_value *args, const pit_call_options *o, int flags, pit_stream **ret,
                    pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e;
    if (ret == NULL || (flags != PIT_STREAM_READ && flags != PIT_STREAM_BIDI))
        e = error_new(PIT_E_INVALID_PARAMETER, ret == NULL ? "there is no place for the stream: ret is NULL"
                                                           : "flags is PIT_STREAM_READ or PIT_STREAM_BIDI");
    else
        e = open_stream(p, command, args, o, flags == PIT_STREAM_BIDI, ret);
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}

/* Enters what the stream belongs to. 0 and *ret; *ret NULL: it has ended. */
static int enter_stream(pit_stream *s, bool blocks, pit **ret)
{
    carried_lock(&s->c);
    pit *p = s->c.pit;
    int rc = p == NULL ? 0 : blocks ? api_enter_blocking(p) : api_enter(p);
    carried_unlock(&s->c);
    *ret = rc == 0 ? p : NULL;
    return rc == PIT_E_SHUTTING_DOWN && has_ended(s) ? 0 : rc;
}

/* How the stream has ended, for who looks for a chunk. */
static int ended_with(const pit_stream *s, pit_error **reterr)
{
    const struct outcome *o = &s->c.call.outcome;
    if (reterr != NULL)
        *reterr = o->error != NULL ? error_ref(o->error) : NULL;
    return o->rc != 0 ? o->rc : PIT_E_END;
}

/* 0 and *ret, PIT_E_END, PIT_E_PENDING. p NULL: it has ended. */
static int next_chunk(pit *p, pit_stream *s, uint64_t until_ns, struct stream_chunk **ret)
{
    if (p != NULL)
        return stream_read(s->c.pool, &s->stream, until_ns, false, ret);
    *ret = stream_take_rest(&s->stream);
    return *ret != NULL ? 0 : PIT_E_END;
}

/* Takes the metadata over. */
static void remember(pit_stream *s, struct stream_chunk *k)
{
    if (s->last_metadata != NULL)
        pit_value_free(s->last_metadata);
    s->last_metadata = k->metadata;
    k->metadata = NULL;
    s->last = (pit_stream_event){.size = sizeof s->last,
                                 .kind = PIT_STREAM_CHUNK,
                                 .is_final = k->final,
                                 .index = k->index,
                                 .metadata = s->last_metadata};
}

int pit_stream_next(pit_stream *s, int64_t timeout_ms, pit_value **ret_chunk, pit_error **reterr)
{
    if (s == NULL || timeout_ms < PIT_NOW)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, s == NULL ? "the stream is NULL" : "timeout_ms is negative");
    bool now = timeout_ms == 0 || timeout_ms == PIT_NOW;
    pit *p;
    int rc = enter_stream(s, !now, &p);
    if (rc != 0)
        return api_refused(reterr, rc);
    struct stream_chunk *k;
    rc = next_chunk(p, s, p == NULL || now ? 0 : host_deadline(p->host, timeout_ms), &k);
    if (p != NULL)
        api_leave(p);
    if (rc == PIT_E_END)
        return ended_with(s, reterr);
    if (reterr != NULL)
        *reterr = NULL;
    if (rc != 0)
        return rc;
    if (ret_chunk != NULL) {
        *ret_chunk = k->value;
        k->value = NULL;
    }
    remember(s, k);
    stream_chunk_free(k);
    return 0;
}

const pit_stream_event *pit_stream_chunk(const pit_stream *s)
{
    return s != NULL && s->last.size != 0 ? &s->last : NULL;
}

const pit_value *pit_stream_result(const pit_stream *s)
{
    return s != NULL && has_ended(s) && list_empty(&s->stream.chunks) ? s->c.call.outcome.value : NULL;
}

/* ---- sending ---- */

static int no_sending(const pit_stream *s, pit_error **reterr)
{
    if (!s->stream.inbox)
        return error_set(reterr, PIT_E_INVALID_REQUEST, "the stream of %s was not opened with PIT_STREAM_BIDI",
                         s->c.call.command);
    return error_set(reterr, PIT_E_INVALID_REQUEST, "pit_stream_send_end() was called on the stream of %s", s->c.call.command);
}

int pit_stream_send(pit_stream *s, const pit_value *v, int64_t timeout_ms, pit_error **reterr)
{
    if (s == NULL || timeout_ms < PIT_NOW)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, s == NULL ? "the stream is NULL" : "timeout_ms is negative");
    if (!s->stream.inbox)
        return no_sending(s, reterr);
    bool now = timeout_ms == 0 || timeout_ms == PIT_NOW;
    pit *p;
    int rc = enter_stream(s, !now, &p);
    if (rc != 0)
        return api_refused(reterr, rc);
    if (p == NULL)
        return ended_with(s, reterr);
    struct buf frame;
    uint8_t small[SMALL_FRAME];
    buf_init_on(&frame, small, sizeof small);
    pit_error *e = stream_encode(s->c.pool, v, &frame);
    if (e == NULL)
        rc = stream_write(s->c.pool, &s->stream, &frame, now ? 0 : host_deadline(p->host, timeout_ms));
    if (e == NULL && rc == 0)
        report_stream_message(s->c.pool, &s->c.call, true, frame.len);
    buf_finish(&frame);
    api_leave(p);
    if (e != NULL)
        return error_give(reterr, e);
    if (rc == PIT_E_INVALID_REQUEST)
        return no_sending(s, reterr);
    if (rc == PIT_E_END && has_ended(s))
        return ended_with(s, reterr);
    if (reterr != NULL)
        *reterr = NULL;
    return rc;
}

int pit_stream_send_end(pit_stream *s)
{
    pit *p;
    if (s == NULL)
        return PIT_E_INVALID_PARAMETER;
    if (!s->stream.inbox)
        return PIT_E_INVALID_REQUEST;
    int rc = enter_stream(s, false, &p);
    if (rc != 0 || p == NULL)
        return rc;
    pool_lock(s->c.pool);
    stream_send_end(s->c.pool, &s->stream);
    pool_unlock(s->c.pool);
    api_leave(p);
    return 0;
}

static void stream_close(pit_stream *s)
{
    pit_error *e = error_new(PIT_E_CANCELLED, "the stream of %s was closed", s->c.call.command);
    stream_stop(s->c.pool, &s->stream, outcome_failed(error_pool(e, s->c.pool->set.name)), "closed");
}

void pit_stream_close(pit_stream *s)
{
    pit *p;
    if (s == NULL)
        return;
    if (enter_stream(s, false, &p) == 0 && p != NULL) {
        stream_close(s);
        api_leave(p);
    }
    stream_unref(s);
}
