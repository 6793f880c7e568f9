/* What every form of a call begins with: its options are checked and read, its pool is found, its frame is encoded. */
#include "api/begin.h"

#include <string.h>

#include "api/canceller.h"
#include "api/metadata.h"
#include "base/alloc.h"
#include "pool/pool_internal.h"
#include "pool/stream.h"
#include "pool/tool_run.h"
#include "wire/mp.h"

enum { EXACT_BELOW_MS = 10000 };

/* ---- checking ---- */

bool call_text_is_good(const char *text, size_t max)
{
    size_t n = strnlen(text, max + 1);
    return n >= 1 && n <= max && mp_utf8_valid((const uint8_t *)text, n, NULL);
}

pit_error *call_check_command(const char *command)
{
    if (command == NULL || *command == '\0')
        return error_new(PIT_E_INVALID_REQUEST, "the command is empty");
    if (!call_text_is_good(command, CALL_COMMAND_MAX))
        return error_new(PIT_E_INVALID_REQUEST, "the command is longer than %d bytes, or no UTF-8", CALL_COMMAND_MAX);
    return NULL;
}

static pit_error *check_options(const pit_call_options *o)
{
    if (o->session_id != NULL && !call_text_is_good(o->session_id, CALL_ID_MAX))
        return error_new(PIT_E_INVALID_SESSION_ID, "%s", pit_strerror(PIT_E_INVALID_SESSION_ID));
    if (o->correlation_id != NULL && !call_text_is_good(o->correlation_id, CALL_ID_MAX))
        return error_new(PIT_E_INVALID_PARAMETER, "correlation_id is 1 to %d bytes of UTF-8", CALL_ID_MAX);
    if (o->priority < 0 || o->priority > PIT_PRIORITY_URGENT)
        return error_new(PIT_E_INVALID_PARAMETER, "priority: %d is none of PIT_PRIORITY_* (%d to %d)", o->priority,
                         PIT_PRIORITY_BACKGROUND, PIT_PRIORITY_URGENT);
    if (o->fail_fast < PIT_OFF || o->fail_fast > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "fail_fast is PIT_ON, PIT_OFF or 0");
    if (o->idempotent < PIT_OFF || o->idempotent > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "idempotent is PIT_ON, PIT_OFF or 0");
    if (o->on_unserializable < 0 || o->on_unserializable > PIT_UNSERIALIZABLE_ERROR)
        return error_new(PIT_E_INVALID_PARAMETER, "on_unserializable: %d is none of PIT_UNSERIALIZABLE_* (%d to %d)",
                         o->on_unserializable, PIT_UNSERIALIZABLE_MARKER, PIT_UNSERIALIZABLE_ERROR);
    if (o->cancel_max_rung < 0 || o->cancel_max_rung > PIT_RUNG_KILL)
        return error_new(PIT_E_INVALID_PARAMETER, "cancel_max_rung: %d is none of PIT_RUNG_* (%d to %d)", o->cancel_max_rung,
                         PIT_RUNG_DROP, PIT_RUNG_KILL);
    if (o->timeout_ms < 0 && o->timeout_ms != PIT_INFINITE)
        return error_new(PIT_E_INVALID_TIMEOUT,
                         "timeout_ms: %lld; a call needs a positive number of milliseconds, or PIT_INFINITE",
                         (long long)o->timeout_ms);
    return NULL;
}

/* ---- fields ---- */

static pit_error *not_binary(const char *name)
{
    pit_error *e = error_new(PIT_E_INVALID_PARAMETER, "binary_parameters is a map of names to bytes");
    if (name != NULL)
        error_detail_take(e, "key", pit_str(name));
    return error_detail_take(e, "reason", pit_str("not_binary"));
}

pit_error *call_check_binary(const pit_value *m)
{
    const pit_value *key, *item;
    size_t i = 0;
    if (pit_value_kind(m) != PIT_KIND_MAP)
        return not_binary(NULL);
    while (pit_value_next(m, &i, &key, &item))
        if (pit_value_kind(key) != PIT_KIND_STR || pit_value_kind(item) != PIT_KIND_BYTES)
            return not_binary(pit_value_str(key));
    return NULL;
}

static bool field_end(struct buf *b, size_t at, int tag)
{
    size_t n = b->len - at - FRAME_FIELD_HEAD;
    if (n > FRAME_FIELD_MAX)
        return false;
    frame_put_field_head(b->data + at, tag, n);
    return true;
}

/* One field that holds a value. */
static pit_error *put_value(struct buf *b, int tag, const char *name, const pit_value *v, size_t most)
{
    struct codec_error why;
    size_t at = b->len;
    static const uint8_t head[FRAME_FIELD_HEAD];
    buf_append(b, head, sizeof head);
    int rc = codec_encode(b, v, &why);
    size_t n = b->len - at;
    if (rc == 0 && b->failed)
        rc = PIT_E_ALLOCATION_FAILED;
    if (rc == PIT_E_ALLOCATION_FAILED)
        return error_new(rc, "out of memory while %s was encoded", name);
    if (rc != 0)
        return error_new(rc, "%s cannot be sent: %s", name, why.text);
    if (most != 0 && n - FRAME_FIELD_HEAD > most)
        return metadata_bad("call", "too_large", "takes at most 4096 bytes");
    if (!field_end(b, at, tag))
        return error_suggest(error_new(PIT_E_LIMIT_EXCEEDED, "%s takes %zu bytes, at most %d", name, n, FRAME_FIELD_MAX),
                             "send the data as an argument");
    return NULL;
}

static pit_error *put_options(struct buf *b, const pit_call_options *o)
{
    static const char *const policies[] = {NULL, "marker", "ref", "error"};
    pit_value *map = pit_map();
    if (o->on_unserializable != 0)
        pit_map_set_take(map, "on_unserializable", pit_str(policies[o->on_unserializable]));
    if (o->idempotent == PIT_ON)
        pit_map_set_take(map, "idempotent", pit_bool(1));
    pit_error *e = put_value(b, FIELD_OPTIONS, "the options", map, 0);
    pit_value_free(map);
    return e;
}

static pit_error *make_fields(struct call_plan *plan)
{
    const pit_call_options *o = &plan->options;
    struct buf *b = &plan->fields;
    pit_error *e = NULL;
    if (o->metadata != NULL && (e = metadata_check("call", o->metadata)) == NULL)
        e = put_value(b, FIELD_METADATA, "the metadata", o->metadata, METADATA_BYTES);
    if (e == NULL && o->binary_parameters != NULL && (e = call_check_binary(o->binary_parameters)) == NULL)
        e = put_value(b, FIELD_BINARY, "binary_parameters", o->binary_parameters, 0);
    if (e == NULL && (o->on_unserializable != 0 || o->idempotent == PIT_ON))
        e = put_options(b, o);
    return e;
}

pit_error *call_check_options(const pit_call_options *o)
{
    struct call_plan plan;
    plan.options = *o;
    plan.fields = (struct buf){0};
    pit_error *e = check_options(o);
    if (e == NULL)
        e = make_fields(&plan);
    call_plan_finish(&plan);
    if (e == NULL && o->canceller != NULL)
        e = canceller_check(o->canceller);
    return e;
}

/* ---- limits ---- */

/* The pool's, and over them the call's. */
static pit_error *make_limits(struct call_plan *plan)
{
    plan->limits = plan->pool->set.limits;
    pit_error *e = limits_read(plan->options.limits, "the call", &plan->limits);
    plan->limited = limits_any(&plan->limits);
    return e != NULL ? e : profile_check_limits(&plan->pool->set, &plan->limits, "the call");
}

/* ---- deadlines ---- */

static uint64_t after(uint64_t now_ns, int64_t ms)
{
    uint64_t ns;
    if (ms < 0 || __builtin_mul_overflow((uint64_t)ms, MS, &ns) || __builtin_add_overflow(now_ns, ns, &ns))
        return UINT64_MAX;
    return ns;
}

static bool is_near(int64_t ms)
{
    return ms >= 0 && ms < EXACT_BELOW_MS;
}

/* When does the call begin? Reading the clock is a twentieth of a hot call: where neither a near deadline nor a subscriber needs the exact
 * moment, that of the last tick will do for a thread that rides the call; it looks again while it waits. Deadlines count from the value returned: no earlier than now, so that none comes early. */
static uint64_t enter(struct call *c, const struct pool *p, const pit_call_options *o)
{
    if (!c->waited_for || is_near(c->timeout_ms) || is_near(p->set.queue_timeout_ms) || c->observed || o->deadline_ns != 0)
        return c->entered_ns = pool_now(p);
    c->coarse = true;
    c->entered_ns = p->env->os->coarse_ns();
    return c->entered_ns + OS_TICK_NS;
}

static void set_deadlines(struct call *c, struct pool *p, const pit_call_options *o, uint64_t now_ns)
{
    c->timeout_ms = o->timeout_ms != 0    ? o->timeout_ms
                    : o->deadline_ns != 0 ? PIT_INFINITE
                                          : pool_timeout_of(p, c->command, c->stream != NULL);
    if (now_ns != 0)
        c->entered_ns = now_ns;
    else
        now_ns = enter(c, p, o);
    c->deadline_ns = after(now_ns, c->timeout_ms);
    if (o->deadline_ns != 0 && o->deadline_ns < c->deadline_ns) {
        c->deadline_ns = o->deadline_ns;
        c->timeout_ms = o->deadline_ns > now_ns ? (int64_t)((o->deadline_ns - now_ns + MS / 2) / MS) : 0;
    }
    c->queue_deadline_ns = after(now_ns, p->set.queue_timeout_ms);
    if (c->queue_deadline_ns > c->deadline_ns)
        c->queue_deadline_ns = c->deadline_ns;
}

/* Events may name the call before it has a worker: then it gets its correlation id now. The thread of a blocking call tells of it when it has a
 * lane, or is about to wait for one (keep_id in scheduler.c): most carry no id, and the worker makes the same one as the events. */
static void observe(struct call *c, struct host *h)
{
    c->observed = telemetry_wants_calls(h->telemetry);
    if (!c->observed || c->correlation_id != NULL || c->waited_for)
        return;
    call_put_id(c->id, h->call_prefix, __atomic_add_fetch(&h->call_counter, 1, __ATOMIC_RELAXED));
    c->correlation_id = c->id;
}

/* ---- inside a tool, or an adapter in C ---- */

static void inherit_from(pit_call_options *o, const char *session_id, const char *correlation_id, uint64_t deadline_ns)
{
    if (o->session_id == NULL)
        o->session_id = session_id;
    if (o->correlation_id == NULL)
        o->correlation_id = correlation_id;
    if (deadline_ns != UINT64_MAX && (o->deadline_ns == 0 || deadline_ns < o->deadline_ns))
        o->deadline_ns = deadline_ns;
}

/* What is not said is that of the call which the tool serves; nothing lasts longer than that. */
static pit_error *inherit(const struct host *h, struct call_plan *plan)
{
    pit_call_options *o = &plan->options;
    const struct pit_tool_ctx *t = tool_innermost(h);
    const struct pit_adapter_ctx *a = t == NULL ? inproc_current(h->loop) : NULL; /* a tool runs inside it, if at all */
    if (a != NULL)
        inherit_from(o, a->session_id, a->correlation_id, a->deadline_ns);
    if (t == NULL)
        return NULL;
    inherit_from(o, t->session_id, t->correlation_id, t->deadline_ns);
    plan->depth = (unsigned)t->depth;
    if (t->depth < TOOL_DEPTH_MAX)
        return NULL;
    pit_error *e = error_new(PIT_E_NESTING_TOO_DEEP, "the call is the %dth inside another: at most %d may be", t->depth + 1,
                             TOOL_DEPTH_MAX);
    return error_detail_take(e, "depth", pit_int(TOOL_DEPTH_MAX));
}

pit_error *call_plan_waits(const struct call_plan *plan)
{
    if (!plan->held)
        return NULL;
    pit_error *e =
        error_new(PIT_E_WOULD_DEADLOCK, "the only worker of pool %s is busy with the call of the tool that this is called in",
                  plan->pool->set.name);
    error_pool(e, plan->pool->set.name);
    return error_suggest(e, "give the pool another worker, or call one of another pool: only pit_call() of a tool that does "
                            "not stream goes back to "
                            "the worker that waits");
}

/* ---- beginning ---- */

char *call_keep_texts(struct call *c)
{
    const char *texts[] = {c->command, c->session_id, c->correlation_id == c->id ? NULL : c->correlation_id};
    size_t n = 0;
    for (int i = 0; i < 3; i++)
        n += texts[i] != NULL ? strlen(texts[i]) + 1 : 0;
    char *block = mem_alloc(n), *to = block;
    if (block == NULL)
        return NULL;
    c->command = mem_put_str(&to, texts[0]);
    c->session_id = mem_put_str(&to, texts[1]);
    if (texts[2] != NULL)
        c->correlation_id = mem_put_str(&to, texts[2]);
    return block;
}

pit_error *call_plan_make(pit *p, const pit_call_options *given, struct call_plan *ret)
{
    static const pit_call_options none = PIT_CALL_OPTIONS_INIT;
    pit_error *e = NULL;
    int rc = given != NULL ? options_copy(&ret->options, sizeof ret->options, given) : 0;
    if (given == NULL || rc != 0)
        ret->options = none;
    ret->pool = NULL;
    ret->now_ns = 0;
    ret->asked_ms = 0;
    ret->limited = false;
    ret->depth = 0;
    ret->under = NULL;
    ret->held = false;
    ret->fields = (struct buf){0};
    if (given != NULL)
        e = rc != 0 ? options_refused(rc, "the call", "PIT_CALL_OPTIONS_INIT") : check_options(&ret->options);
    bool inside = __atomic_load_n(&p->host->tools_running, __ATOMIC_RELAXED) != 0; /* some thread */
    if (e == NULL)
        ret->pool = host_find(p->host, ret->options.pool, &e);
    if (e == NULL && inside)
        e = inherit(p->host, ret);
    if (e == NULL && inside)
        ret->under = tool_under(p->host, ret->pool);
    if (e == NULL && inside)
        ret->held = tool_holds_all(p->host, ret->pool);
    if (e == NULL && given != NULL)
        e = make_fields(ret);
    if (e == NULL && (ret->options.limits != NULL || ret->pool->set.limited))
        e = make_limits(ret);
    if (e == NULL && ret->options.canceller != NULL)
        e = canceller_check(ret->options.canceller);
    return e;
}

pit_error *call_plan_refuse(const struct call_plan *plan, size_t n, pit_error *e)
{
    if (plan->pool != NULL)
        pool_count_refusals(plan->pool, n, pit_error_code(e));
    return e;
}

void call_plan_finish(struct call_plan *plan)
{
    buf_finish(&plan->fields);
}

void call_stream_plan(struct call_plan *plan, struct call *c, struct stream *s, bool inbox)
{
    stream_init(s, plan->pool, c, inbox);
    stream_put_field(s, &plan->fields);
}

pit_error *call_begin(pit *p, const struct call_plan *plan, struct call *c, const char *command, const struct call_args *args)
{
    const pit_call_options *o = &plan->options;
    struct pool *pool = plan->pool;
    c->command = command;
    c->session_id = o->session_id;
    c->correlation_id = o->correlation_id;
    c->more_fields = &plan->fields;
    c->priority = o->priority != 0 ? o->priority : PIT_PRIORITY_NORMAL;
    c->fail_fast = o->fail_fast == PIT_ON;
    c->idempotent = o->idempotent;
    c->max_rung = o->cancel_max_rung;
    c->depth = plan->depth;
    if (plan->limited) {
        c->limited = true;
        c->limits = plan->limits;
        c->limit_passed = LIMITS;
    }
    observe(c, p->host);
    set_deadlines(c, pool, o, plan->now_ns);
    if (plan->asked_ms != 0)
        c->timeout_ms = plan->asked_ms;
    pit_error *e = call_encode(c, args, pool->set.max_frame);
    if (e == NULL && pool->set.idempotent_arg && c->idempotent == 0 && call_says_idempotent(c, args))
        c->idempotent = PIT_ON;
    if (c->observed)
        c->serialize_ns = pool_now(pool) - c->entered_ns;
    if (e == NULL && c->deadline_ns <= c->entered_ns) {
        e = error_new(PIT_E_DEADLINE_EXCEEDED, "the deadline of the call of %s had passed before it began", command);
        error_detail_take(e, "phase", pit_str("entry"));
    }
    if (e != NULL) {
        error_pool(e, pool->set.name);
        error_correlation(e, c->observed ? pool_correlation(pool, c) : c->correlation_id);
        pool_count_refusals(pool, 1, pit_error_code(e));
        return e;
    }
    if (c->waited_for && c->observed)
        c->untold = CALL_BEGUN; /* told when its frame is out, or before it waits in the queue */
    else if (c->observed)
        report_start(pool, c);
    return NULL;
}
