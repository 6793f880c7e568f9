/* snakepit/call.h and stream.h, futures. */
#include <snakepit/stream.h>
#include <string.h>

#include "api/api.h"
#include "api/begin.h"
#include "api/canceller.h"
#include "api/stream_tell.h"
#include "base/alloc.h"
#include "pool/pool_internal.h"

/* References: the caller's, and the call's until its end has been told. A future outlives its host: what it needs then is in it. */
struct told_stream {
    struct stream stream;
    struct teller teller;
    pit_future *future;
};

struct pit_future {
    struct call call;
    pit *pit;
    struct pool *pool;
    const struct os_ops *os;
    uint32_t refs;  /* atomic */
    uint32_t guard; /* a small lock for on_done: 0 free, 1 held */
    void (*fn)(pit_future *f, void *user);
    void *user;
    bool told;   /* under guard: fn has run, or there was none when it was time */
    char *texts; /* command, session id, correlation id: the call borrows them */
    struct canceller_entry entry;
    struct told_stream *streamed; /* NULL: it has one answer */
};

static void future_unref(pit_future *f)
{
    if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (f->streamed != NULL)
        stream_finish(&f->streamed->stream);
    mem_free(f->streamed);
    call_clear(&f->call);
    mem_free(f->texts);
    mem_free(f);
}

static void future_lock(pit_future *f)
{
    while (__atomic_exchange_n(&f->guard, 1, __ATOMIC_ACQUIRE) != 0)
        f->os->futex_wait(&f->guard, 1, f->os->now_ns() + MS);
}

static void future_unlock(pit_future *f)
{
    __atomic_store_n(&f->guard, 0, __ATOMIC_RELEASE);
}

static bool future_finished(const pit_future *f)
{
    return __atomic_load_n(&f->call.wake, __ATOMIC_ACQUIRE) != 0;
}

/* ---- of a stream: what it gives is told on the loop thread ---- */

static void tell_came(struct stream *s)
{
    struct told_stream *t = LIST_ENTRY(s, struct told_stream, stream);
    struct pool *p = t->future->pool;
    struct stream_chunk *k;
    struct outcome end;
    while (!t->teller.over && (k = stream_take(p, s)) != NULL)
        if (!tell_chunk(&t->teller, k, &end))
            pool_end_with(p, s->call, end, end.rc == 0 ? "halted" : "callback_failed");
}

/* What is left of it, and its outcome; then it has finished. */
static void tell_rest(struct told_stream *t)
{
    struct call *c = &t->future->call;
    struct stream_chunk *k;
    struct outcome end;
    while (!t->teller.over && (k = stream_take_rest(&t->stream)) != NULL) {
        if (!tell_chunk(&t->teller, k, &end)) {
            outcome_free(&c->outcome);
            c->outcome = end;
        }
    }
    tell_outcome(&t->teller, &c->outcome);
    sched_wake(t->future->pool, c);
}

/* The loop thread: the call has its outcome. */
static void future_done(struct call *c)
{
    pit_future *f = LIST_ENTRY(c, pit_future, call);
    canceller_leave(&f->entry);
    if (f->streamed != NULL)
        tell_rest(f->streamed);
    if (c->observed)
        report_call(f->pool, c);
    future_lock(f);
    void (*fn)(pit_future *, void *) = f->fn;
    void *user = f->user;
    f->told = true;
    f->pit = NULL;
    future_unlock(f);
    if (fn != NULL)
        fn(f, user);
    future_unref(f);
}

/* Its end has not been told, for that waits until this has returned: so the handle is there. One that is being closed ends its calls by itself. */
static void future_fire(struct canceller_entry *e, const char *reason, struct canceller_rest *rest)
{
    pit_future *f = LIST_ENTRY(e, pit_future, entry);
    if (api_enter(f->pit) != 0)
        return;
    rest->pit = f->pit;
    pool_cancel_begin(f->pool, &f->call, reason, &rest->ending);
}

static pit_error *hand_over(pit_future *f, pit_canceller *canceller)
{
    const char *reason;
    f->call.done = future_done;
    canceller_join(canceller, &f->entry, future_fire);
    pit_error *e = pool_submit(f->pool, &f->call);
    if (e != NULL) {
        canceller_leave(&f->entry);
        if (f->call.observed) {
            f->call.outcome = outcome_failed(error_ref(e));
            report_call(f->pool, &f->call);
        }
    } else if (canceller_fired(canceller, &reason)) {
        pool_cancel(f->pool, &f->call, reason);
    }
    return e;
}

static pit_error *submit(pit *p, pit_future *f, const char *command, const pit_value *args, const pit_call_options *o)
{
    struct call_plan plan;
    struct call_args a = {.value = args};
    pit_error *e = call_check_command(command);
    if (e != NULL)
        return e;
    e = call_plan_make(p, o, &plan);
    if (e == NULL && f->streamed != NULL)
        call_stream_plan(&plan, &f->call, &f->streamed->stream, false);
    if (e == NULL)
        e = call_begin(p, &plan, &f->call, command, &a);
    else
        call_plan_refuse(&plan, 1, e);
    call_plan_finish(&plan);
    f->pool = plan.pool;
    if (e == NULL && (f->texts = call_keep_texts(&f->call)) == NULL)
        e = error_new(PIT_E_ALLOCATION_FAILED, "out of memory");
    return e != NULL ? e : hand_over(f, plan.options.canceller);
}

/* streamed (taken): NULL, or what is told of. */
static int make_future(pit *p, const char *command, const pit_value *args, const pit_call_options *o,
                       struct told_stream *streamed, pit_future **ret, pit_error **reterr)
{
    pit_future *f = mem_alloc(sizeof *f);
    pit_error *e;
    if (f != NULL) {
        memset(&f->call, 0, offsetof(struct call, small));
        memset((char *)f + offsetof(pit_future, pit), 0, sizeof *f - offsetof(pit_future, pit));
        f->refs = 2;
        f->pit = p;
        f->os = p->os;
        f->streamed = streamed;
        if (streamed != NULL)
            streamed->future = f;
        e = submit(p, f, command, args, o);
    } else {
        mem_free(streamed);
        e = error_new(PIT_E_ALLOCATION_FAILED, "out of memory");
    }
    if (e == NULL && ret != NULL) {
        *ret = f;
    } else if (f != NULL) {
        if (e != NULL)
            f->refs = 1;
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

int pit_future_wait(pit_future *f, int64_t timeout_ms)
{
    if (f == NULL || timeout_ms < PIT_NOW)
        return PIT_E_INVALID_PARAMETER;
    if (future_finished(f))
        return 0;
    if (timeout_ms == 0 || timeout_ms == PIT_NOW)
        return PIT_E_PENDING;
    future_lock(f);
    pit *p = f->pit;
    int rc = p != NULL ? api_enter_blocking(p) : 0;
    future_unlock(f);
    if (p == NULL || rc != 0)
        return future_finished(f) ? 0 : rc;
    bool done = host_wait_call(p->host, &f->call, host_deadline(p->host, timeout_ms));
    api_leave(p);
    return done ? 0 : PIT_E_PENDING;
}

int pit_future_result(pit_future *f, pit_value **ret, pit_error **reterr)
{
    if (f == NULL)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "the future is NULL");
    if (!future_finished(f))
        return error_set(reterr, PIT_E_PENDING, "the call has no outcome yet");
    const struct outcome *o = &f->call.outcome;
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
    future_lock(f);
    bool told = f->told;
    f->fn = fn;
    f->user = user;
    future_unlock(f);
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
    future_lock(f);
    pit *p = f->pit;
    int rc = p != NULL ? api_enter(p) : 0;
    if (p == NULL || rc != 0) {
        future_unlock(f);
        return rc == PIT_E_SHUTTING_DOWN ? 0 : rc;
    }
    /* While this waits for the pool's lock, the call may end, and the future's last owner let go of it. */
    __atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
    future_unlock(f);
    pool_cancel(f->pool, &f->call, reason);
    api_leave(p);
    future_unref(f);
    return 0;
}

void pit_future_free(pit_future *f)
{
    if (f != NULL)
        future_unref(f);
}
