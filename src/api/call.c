/* snakepit/call.h, the blocking forms and futures: validate, enter, translate. */
#include <snakepit/call.h>
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "pool/pool_internal.h"
#include "wire/json.h"
#include "wire/mp.h"

enum { COMMAND_MAX = 256, ID_MAX = 256 };

/* ---- checking ---- */

static bool text_is_good(const char *text, size_t max)
{
    size_t n = strnlen(text, max + 1);
    return n >= 1 && n <= max && mp_utf8_valid((const uint8_t *)text, n, NULL);
}

static pit_error *check_command(const char *command)
{
    if (command == NULL || *command == '\0')
        return error_new(PIT_E_INVALID_REQUEST, "the command is empty");
    if (!text_is_good(command, COMMAND_MAX))
        return error_new(PIT_E_INVALID_REQUEST, "the command is longer than %d bytes, or no UTF-8", COMMAND_MAX);
    return NULL;
}

static pit_error *check_options(const pit_call_options *o)
{
    if (o->session_id != NULL && !text_is_good(o->session_id, ID_MAX))
        return error_new(PIT_E_INVALID_SESSION_ID, "%s", pit_strerror(PIT_E_INVALID_SESSION_ID));
    if (o->correlation_id != NULL && !text_is_good(o->correlation_id, ID_MAX))
        return error_new(PIT_E_INVALID_PARAMETER, "correlation_id is 1 to %d bytes of UTF-8", ID_MAX);
    if (o->priority < 0 || o->priority > PIT_PRIORITY_URGENT)
        return error_new(PIT_E_INVALID_PARAMETER, "priority: %d is no PIT_PRIORITY_", o->priority);
    if (o->fail_fast < PIT_OFF || o->fail_fast > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "fail_fast is PIT_ON, PIT_OFF or 0");
    if (o->timeout_ms < 0 && o->timeout_ms != PIT_INFINITE)
        return error_new(PIT_E_INVALID_TIMEOUT,
                         "timeout_ms: %lld; a call needs a positive number of milliseconds, or PIT_INFINITE",
                         (long long)o->timeout_ms);
    return NULL;
}

static uint64_t after(uint64_t now_ns, int64_t ms)
{
    uint64_t ns;
    if (ms < 0 || __builtin_mul_overflow((uint64_t)ms, MS, &ns) || __builtin_add_overflow(now_ns, ns, &ns))
        return UINT64_MAX;
    return ns;
}

static void set_deadlines(struct call *c, const struct pool *p, const pit_call_options *o)
{
    c->entered_ns = pool_now(p);
    c->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms : o->deadline_ns != 0 ? PIT_INFINITE : p->set.timeout_ms;
    c->deadline_ns = after(c->entered_ns, c->timeout_ms);
    if (o->deadline_ns != 0 && o->deadline_ns < c->deadline_ns) {
        c->deadline_ns = o->deadline_ns;
        c->timeout_ms = o->deadline_ns > c->entered_ns ? (int64_t)((o->deadline_ns - c->entered_ns) / MS) : 0;
    }
    c->queue_deadline_ns = after(c->entered_ns, p->set.queue_timeout_ms);
    if (c->queue_deadline_ns > c->deadline_ns)
        c->queue_deadline_ns = c->deadline_ns;
}

/* Events name the call before it has a worker: it gets its correlation id now. */
static void observe(struct call *c, struct host *h)
{
    c->observed = telemetry_wants_calls(h->telemetry);
    if (!c->observed || c->correlation_id != NULL)
        return;
    call_put_id(c->id, h->call_prefix, __atomic_add_fetch(&h->call_counter, 1, __ATOMIC_RELAXED));
    c->correlation_id = c->id;
}

/* Fills a call, encodes it. *ret_pool; NULL or an error (owned). */
static pit_error *begin(pit *p, struct call *c, const char *command, const struct call_args *args,
                        const pit_call_options *given, struct pool **ret_pool)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *e = check_command(command);
    if (e == NULL && given != NULL) {
        int rc = options_copy(&o, sizeof o, given);
        e = rc != 0 ? options_refused(rc, "the call", "PIT_CALL_OPTIONS_INIT") : check_options(&o);
    }
    if (e != NULL)
        return e;
    struct pool *pool = host_find(p->host, o.pool, &e);
    if (pool == NULL)
        return e;
    *ret_pool = pool;
    c->command = command;
    c->session_id = o.session_id;
    c->correlation_id = o.correlation_id;
    c->priority = o.priority != 0 ? o.priority : PIT_PRIORITY_NORMAL;
    c->fail_fast = o.fail_fast == PIT_ON;
    set_deadlines(c, pool, &o);
    observe(c, p->host);
    e = call_encode(c, args, pool->set.max_frame);
    if (c->observed)
        c->serialize_ns = pool_now(pool) - c->entered_ns;
    if (e == NULL && c->deadline_ns <= c->entered_ns) {
        e = error_new(PIT_E_DEADLINE_EXCEEDED, "the deadline of the call of %s had passed before it began", command);
        error_detail_take(e, "phase", pit_str("entry"));
    }
    if (e != NULL) {
        error_pool(e, pool->set.name);
        error_correlation(e, c->correlation_id);
        pool_count_refusal(pool);
        return e;
    }
    if (c->observed)
        report_start(pool, c);
    return NULL;
}

/* ---- blocking ---- */

static void carry(pit *p, struct pool *pool, struct call *c);

/* The whole of a blocking call but entering. */
static int call_blocking(pit *p, const char *command, const struct call_args *args, const pit_call_options *o, pit_value **ret,
                         pit_error **reterr)
{
    struct call c;
    memset(&c, 0, offsetof(struct call, small));
    struct pool *pool = NULL;
    pit_error *e = begin(p, &c, command, args, o, &pool);
    if (e != NULL) {
        call_clear(&c);
        return error_give(reterr, e);
    }
    carry(p, pool, &c);
    if (c.observed)
        report_call(pool, &c);
    int rc = c.outcome.rc;
    if (rc == 0 && ret != NULL) {
        *ret = c.outcome.value;
        c.outcome.value = NULL;
    }
    if (c.outcome.error != NULL)
        error_correlation(c.outcome.error, pool_correlation(pool, &c));
    if (reterr != NULL) {
        *reterr = c.outcome.error;
        c.outcome.error = NULL;
    }
    call_clear(&c);
    return rc;
}

static void done_blocking(struct call *c)
{
    __atomic_store_n(&c->delivered, 1, __ATOMIC_SEQ_CST);
}

/* With a loop thread the calling thread rides the lane itself; when the host drives, the loop carries the call and this thread drives
 * the loop. */
static void carry(pit *p, struct pool *pool, struct call *c)
{
    if (p->host->set.drive == PIT_DRIVE_THREAD) {
        c->waited_for = true;
        pool_call(pool, c);
        return;
    }
    c->done = done_blocking;
    pit_error *e = pool_submit(pool, c);
    if (e != NULL) {
        c->outcome = outcome_failed(e);
        return;
    }
    host_wait(p->host, &c->delivered, 0, UINT64_MAX);
}

int pit_call(pit *p, const char *command, const pit_value *args, const pit_call_options *o, pit_value **ret, pit_error **reterr)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    struct call_args a = {.value = args};
    rc = call_blocking(p, command, &a, o, ret, reterr);
    api_leave(p);
    return rc;
}

int pit_callfv(pit *p, const char *command, const pit_call_options *o, pit_value **ret, pit_error **reterr, const char *format,
               va_list ap)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    va_list copy;
    va_copy(copy, ap);
    struct call_args a = {.packed = true, .format = format, .ap = &copy};
    rc = call_blocking(p, command, &a, o, ret, reterr);
    va_end(copy);
    api_leave(p);
    return rc;
}

int pit_callf(pit *p, const char *command, const pit_call_options *o, pit_value **ret, pit_error **reterr, const char *format,
              ...)
{
    va_list ap;
    va_start(ap, format);
    int rc = pit_callfv(p, command, o, ret, reterr, format, ap);
    va_end(ap);
    return rc;
}

int pit_call_json(pit *p, const char *command, const char *json, size_t n, const pit_call_options *o, char **ret_json,
                  size_t *ret_n, pit_error **reterr)
{
    pit_value *args = NULL, *result = NULL;
    int rc = json != NULL ? pit_value_parse_json(json, n, &args, reterr) : 0;
    if (rc != 0)
        return rc;
    if (pit_value_kind(args) == PIT_KIND_NIL) { /* JSON null is one positional None; no text is no argument */
        pit_value *list = pit_list();
        pit_list_append_take(list, args);
        args = list;
    }
    rc = pit_call(p, command, args, o, &result, reterr);
    pit_value_free(args);
    if (rc != 0)
        return rc;
    struct buf b = {0};
    rc = json_write(&b, result, 0);
    char *text = rc == 0 ? buf_take_str(&b) : NULL;
    buf_finish(&b);
    pit_value_free(result);
    if (rc == PIT_E_LIMIT_EXCEEDED)
        return error_set(reterr, rc, "the result has too many digits in huge integers to be written as JSON");
    if (text == NULL)
        return error_set(reterr, PIT_E_ALLOCATION_FAILED, "out of memory while the result was written as JSON");
    if (ret_n != NULL)
        *ret_n = strlen(text);
    if (ret_json != NULL)
        *ret_json = text;
    else
        mem_free(text);
    return 0;
}

/* ---- futures ---- */

/* References: the caller's, and the call's until its end has been told. A future outlives its host: what it needs then is in it. */
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
};

static void future_unref(pit_future *f)
{
    if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
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

/* The loop thread: the call has its outcome. */
static void future_done(struct call *c)
{
    pit_future *f = LIST_ENTRY(c, pit_future, call);
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

static char *put_text(char **to, const char *text)
{
    if (text == NULL)
        return NULL;
    size_t n = strlen(text) + 1;
    char *at = *to;
    memcpy(at, text, n);
    *to += n;
    return at;
}

/* The texts must outlive this call of pit_submit. */
static bool keep_texts(pit_future *f)
{
    struct call *c = &f->call;
    const char *texts[] = {c->command, c->session_id, c->correlation_id == c->id ? NULL : c->correlation_id};
    size_t n = 0;
    for (int i = 0; i < 3; i++)
        n += texts[i] != NULL ? strlen(texts[i]) + 1 : 0;
    char *to = f->texts = mem_alloc(n);
    if (to == NULL)
        return false;
    c->command = put_text(&to, texts[0]);
    c->session_id = put_text(&to, texts[1]);
    if (texts[2] != NULL)
        c->correlation_id = put_text(&to, texts[2]);
    return true;
}

static pit_error *submit(pit *p, pit_future *f, const char *command, const pit_value *args, const pit_call_options *o)
{
    struct call_args a = {.value = args};
    pit_error *e = begin(p, &f->call, command, &a, o, &f->pool);
    if (e == NULL && !keep_texts(f))
        e = error_new(PIT_E_ALLOCATION_FAILED, "out of memory");
    if (e != NULL)
        return e;
    f->call.done = future_done;
    e = pool_submit(f->pool, &f->call);
    if (e != NULL && f->call.observed) {
        f->call.outcome = outcome_failed(error_ref(e));
        report_call(f->pool, &f->call);
    }
    return e;
}

int pit_submit(pit *p, const char *command, const pit_value *args, const pit_call_options *o, pit_future **ret,
               pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_future *f = mem_alloc(sizeof *f);
    pit_error *e;
    if (f != NULL) {
        memset(&f->call, 0, offsetof(struct call, small));
        memset((char *)f + offsetof(pit_future, pit), 0, sizeof *f - offsetof(pit_future, pit));
        f->refs = 2;
        f->pit = p;
        f->os = p->os;
        e = submit(p, f, command, args, o);
    } else {
        e = error_new(PIT_E_ALLOCATION_FAILED, "out of memory");
    }
    if (e != NULL && f != NULL) {
        f->refs = 1;
        future_unref(f);
    } else if (e == NULL && ret != NULL) {
        *ret = f;
    } else if (e == NULL) {
        future_unref(f);
    }
    rc = error_give(reterr, e);
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
    future_unlock(f);
    if (p == NULL || rc != 0)
        return rc == PIT_E_SHUTTING_DOWN ? 0 : rc;
    pool_cancel(f->pool, &f->call, reason);
    api_leave(p);
    return 0;
}

void pit_future_free(pit_future *f)
{
    if (f != NULL)
        future_unref(f);
}
