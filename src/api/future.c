/* snakepit/call.h and stream.h, futures. */
#include <snakepit/stream.h>
#include <string.h>

#include "api/carried.h"
#include "api/stream_tell.h"
#include "base/alloc.h"
#include "pool/tool_wait.h"

struct told_stream {
    struct stream stream;
    struct teller teller;
    pit_future *future;
};

struct pit_future {
    struct carried c;
    void (*fn)(pit_future *f, void *user); /* under the guard, as are user and told */
    void *user;
    bool told;                    /* fn has run, or there was none when it was time */
    struct told_stream *streamed; /* NULL: it has one answer */
};

static void future_unref(pit_future *f)
{
    if (!carried_unref(&f->c))
        return;
    if (f->streamed != NULL)
        stream_finish(&f->streamed->stream);
    mem_free(f->streamed);
    mem_free(f);
}

static bool future_finished(const pit_future *f)
{
    return __atomic_load_n(&f->c.call.wake, __ATOMIC_ACQUIRE) != 0;
}

/* ---- of a stream: what it gives is told on the loop thread ---- */

static void tell_came(struct stream *s)
{
    struct told_stream *t = LIST_ENTRY(s, struct told_stream, stream);
    struct pool *p = t->future->c.pool;
    struct stream_chunk *k;
    struct outcome end;
    while (!t->teller.over && (k = stream_take(p, s)) != NULL)
        if (!tell_chunk(&t->teller, k, &end))
            pool_end_with(p, s->call, end, end.rc == 0 ? "halted" : "callback_failed");
}

/* What is left of it, and its outcome; then it has finished. */
static void tell_rest(struct told_stream *t)
{
    struct call *c = &t->future->c.call;
    struct stream_chunk *k;
    struct outcome end;
    while (!t->teller.over && (k = stream_take_rest(&t->stream)) != NULL) {
        if (!tell_chunk(&t->teller, k, &end)) {
            outcome_free(&c->outcome);
            c->outcome = end;
        }
    }
    tell_outcome(&t->teller, &c->outcome);
    sched_wake(t->future->c.pool, c);
}

/* The loop thread: the call has its outcome. */
static void future_done(struct call *c)
{
    pit_future *f = LIST_ENTRY(c, pit_future, c.call);
    if (f->streamed != NULL)
        tell_rest(f->streamed);
    carried_end(&f->c);
    carried_lock(&f->c);
    void (*fn)(pit_future *, void *) = f->fn;
    void *user = f->user;
    f->told = true;
    f->c.pit = NULL;
    carried_unlock(&f->c);
    if (fn != NULL)
        fn(f, user);
    future_unref(f);
}

/* streamed (taken): NULL, or what is told of. */
static int make_future(pit *p, const char *command, const pit_value *args, const pit_call_options *o,
                       struct told_stream *streamed, pit_future **ret, pit_error **reterr)
{
    pit_future *f = mem_alloc(sizeof *f);
    pit_error *e;
    if (f != NULL) {
        carried_init(&f->c, p);
        memset((char *)f + offsetof(pit_future, fn), 0, sizeof *f - offsetof(pit_future, fn));
        f->streamed = streamed;
        if (streamed != NULL)
            streamed->future = f;
        e = carried_begin(&f->c, command, args, o, streamed != NULL ? &streamed->stream : NULL, false, future_done);
    } else {
        mem_free(streamed);
        e = error_new(PIT_E_ALLOCATION_FAILED, "out of memory");
    }
    if (e == NULL && ret != NULL) {
        *ret = f;
    } else if (f != NULL) {
        if (e != NULL)
            f->c.refs = 1;
        future_unref(f);
    }
    return error_give(reterr, e);
}

int pit_submit(pit *p, const char *command, const pit_value *args, const pit_call_options *o, pit_future **ret,
               pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    rc = make_future(p, command, args, o, NULL, ret, reterr);
    api_leave(p);
    return rc;
}

int pit_submit_stream(pit *p, const char *command, const pit_value *args, const pit_call_options *o, pit_stream_fn fn,
                      void *user, pit_future **ret, pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    struct told_stream *t = fn != NULL ? mem_zalloc(sizeof *t) : NULL;
    if (t == NULL) {
        rc = fn == NULL ? error_set(reterr, PIT_E_INVALID_PARAMETER, "the callback of a stream is NULL")
                        : error_set(reterr, PIT_E_ALLOCATION_FAILED, "out of memory");
    } else {
        list_init(&t->stream.chunks);
        t->stream.on_chunk = tell_came;
        t->teller = (struct teller){.fn = fn, .user = user};
        rc = make_future(p, command, args, o, t, ret, reterr);
    }
    api_leave(p);
    return rc;
}

/* lock */
static bool has_no_outcome(void *arg)
{
    return ((const struct call *)arg)->state != CALL_DONE;
}

int pit_future_wait(pit_future *f, int64_t timeout_ms)
{
    if (f == NULL || timeout_ms < PIT_NOW)
        return PIT_E_INVALID_PARAMETER;
    if (future_finished(f))
        return 0;
    if (timeout_ms == 0 || timeout_ms == PIT_NOW)
        return PIT_E_PENDING;
    carried_lock(&f->c);
    pit *p = f->c.pit;
    int rc = p != NULL ? api_enter_blocking(p) : 0;
    carried_unlock(&f->c);
    if (p == NULL || rc != 0)
        return future_finished(f) ? 0 : rc;
    struct tool_wait w;
    if (tool_wait_begin(p->host, f->c.pool, &w, has_no_outcome, &f->c.call)) {
        rc = host_wait_call(p->host, &f->c.call, host_deadline(p->host, timeout_ms)) ? 0 : PIT_E_PENDING;
        tool_wait_end(f->c.pool, &w);
    } else {
        rc = PIT_E_WOULD_DEADLOCK;
    }
    api_leave(p);
    return rc;
}

int pit_future_result(pit_future *f, pit_value **ret, pit_error **reterr)
{
    if (f == NULL)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "the future is NULL");
    if (!future_finished(f))
        return error_set(reterr, PIT_E_PENDING, "the call has no outcome yet");
    const struct outcome *o = &f->c.call.outcome;
    if (o->rc == 0 && ret != NULL)
        *ret = pit_value_ref(o->value);
    if (reterr != NULL)
        *reterr = o->error != NULL ? error_ref(o->error) : NULL;
    return o->rc;
}

int pit_future_on_done(pit_future *f, void (*fn)(pit_future *f, void *user), void *user)
{
    if (f == NULL)
        return PIT_E_INVALID_PARAMETER;
    carried_lock(&f->c);
    bool told = f->told;
    f->fn = fn;
    f->user = user;
    carried_unlock(&f->c);
    if (told && fn != NULL) {
        host_callback_begins();
        fn(f, user);
        host_callback_ended();
    }
    return 0;
}

int pit_future_cancel(pit_future *f, const char *reason)
{
    if (f == NULL)
        return PIT_E_INVALID_PARAMETER;
    if (future_finished(f))
        return 0;
    carried_lock(&f->c);
    pit *p = f->c.pit;
    int rc = p != NULL ? api_enter(p) : 0;
    if (p == NULL || rc != 0) {
        carried_unlock(&f->c);
        return rc == PIT_E_SHUTTING_DOWN ? 0 : rc;
    }
    /* While this waits for the pool's lock, the call may end, and the future's last owner let go of it. */
    __atomic_add_fetch(&f->c.refs, 1, __ATOMIC_RELAXED);
    carried_unlock(&f->c);
    pool_cancel(f->c.pool, &f->c.call, reason);
    api_leave(p);
    future_unref(f);
    return 0;
}

void pit_future_free(pit_future *f)
{
    if (f != NULL)
        future_unref(f);
}
