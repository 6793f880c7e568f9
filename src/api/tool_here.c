/* See tool_here.h. What the tool returns after its call has been cancelled, or after its time, is dropped: nobody takes a thread out of a user's function.
 *
 * Invariants
 *  1. A pit_tool_ctx without a pool is the first member of a struct here, on the stack of the thread that runs the tool.
 *  2. The canceller lives as long as the tool runs: its entry holds a reference. */
#include "api/tool_here.h"

#include "api/begin.h"
#include "api/canceller.h"
#include "base/alloc.h"
#include "pool/pool_internal.h"
#include "wire/codec.h"

struct here {
    struct pit_tool_ctx ctx;
    struct canceller_entry entry;
    const char *cut; /* atomic: why it was cancelled */
    char id[CALL_ID];
};

static void on_fire(struct canceller_entry *e, const char *reason, struct canceller_rest *rest)
{
    (void)rest;
    __atomic_store_n(&LIST_ENTRY(e, struct here, entry)->cut, reason != NULL ? reason : "", __ATOMIC_SEQ_CST);
}

bool tool_here_cut(const struct pit_tool_ctx *c)
{
    return __atomic_load_n(&((const struct here *)(const void *)c)->cut, __ATOMIC_SEQ_CST) != NULL;
}

static void earlier(uint64_t *deadline_ns, uint64_t other_ns)
{
    if (other_ns < *deadline_ns)
        *deadline_ns = other_ns;
}

static void new_id(pit *p, char id[CALL_ID])
{
    call_put_id(id, p->host->call_prefix, __atomic_add_fetch(&p->host->call_counter, 1, __ATOMIC_RELAXED));
}

/* What the tool is told. In a tool, it is called for the same call. */
static void fill(pit *p, struct here *h, const char *session, const pit_call_options *o)
{
    struct pit_tool_ctx *c = &h->ctx;
    const struct pit_tool_ctx *outer = tool_innermost(p->host);
    c->host = p->host;
    c->session_id = session;
    c->correlation_id = o->correlation_id;
    c->binary_parameters = o->binary_parameters;
    c->deadline_ns = o->deadline_ns != 0 ? o->deadline_ns : UINT64_MAX;
    if (o->timeout_ms > 0)
        earlier(&c->deadline_ns, host_deadline(p->host, o->timeout_ms));
    if (outer != NULL) {
        c->depth = outer->depth;
        earlier(&c->deadline_ns, outer->deadline_ns);
    }
    if (c->correlation_id == NULL && outer != NULL)
        c->correlation_id = outer->correlation_id;
    if (c->correlation_id == NULL) {
        new_id(p, h->id);
        c->correlation_id = h->id;
    }
}

static pit_error *out_of_time(pit_error *e, const struct tool *t, const pit_call_options *o, const char *phase)
{
    if (o->timeout_ms > 0)
        error_detail_take(e, "timeout_ms", pit_int(o->timeout_ms));
    error_detail_take(e, "command", pit_str(t->name));
    return error_detail_take(e, "phase", pit_str(phase));
}

/* The call, as its options have it. */
static pit_error *check(const pit_call_options *o)
{
    if (o->limits != NULL)
        return error_new(PIT_E_INVALID_PARAMETER, "limits: a tool of the host has none; they are for workers");
    return call_check_options(o);
}

/* What comes of it: how the tool has ended, unless nobody wants that any more. NULL: its value. */
static pit_error *judge(struct here *h, const pit_call_options *o, pit_error *failure)
{
    const char *cut = __atomic_load_n(&h->cut, __ATOMIC_SEQ_CST);
    const struct pit_tool_ctx *c = &h->ctx;
    pit_error *e = NULL;
    if (cut != NULL) {
        e = error_new(PIT_E_CANCELLED, "the call of %s was cancelled%s%s", c->tool->name, *cut != '\0' ? ": " : "", cut);
        error_detail_take(e, "rung", pit_int(PIT_RUNG_FLAG));
    } else if (c->deadline_ns != UINT64_MAX && c->host->os->now_ns() >= c->deadline_ns) {
        if (failure != NULL && pit_error_code(failure) == PIT_E_DEADLINE_EXCEEDED)
            return failure; /* the tool's own time */
        e = error_new(PIT_E_DEADLINE_EXCEEDED, "the tool %s returned after the deadline of its call", c->tool->name);
        out_of_time(e, c->tool, o, "tool");
        error_detail_take(e, "tool", pit_str(c->tool->name));
    } else {
        return failure;
    }
    return failure != NULL ? error_cause_take(e, failure) : e;
}

/* What events tell of a value: how long it is as it would travel. */
static size_t bytes_of(const struct telemetry *t, const pit_value *v)
{
    struct buf b = {0};
    bool good = v != NULL && tool_is_observed(t) && codec_encode(&b, v, NULL) == 0 && !b.failed;
    size_t n = good ? b.len : 0;
    buf_finish(&b);
    return n;
}

static pit_error *run(struct here *h, const pit_value *args, const pit_call_options *o, pit_value **ret)
{
    const char *reason;
    canceller_join(o->canceller, &h->entry, on_fire);
    if (canceller_fired(o->canceller, &reason))
        __atomic_store_n(&h->cut, reason != NULL ? reason : "", __ATOMIC_SEQ_CST);
    h->ctx.parameters_bytes = bytes_of(h->ctx.host->telemetry, args);
    struct outcome done = tool_run(&h->ctx, args);
    pit_error *e = judge(h, o, done.error);
    canceller_leave(&h->entry);
    tool_ran(&h->ctx, e, bytes_of(h->ctx.host->telemetry, done.value));
    tool_let_go(&h->ctx);
    *ret = done.value;
    return e;
}

int tool_here(pit *p, struct tool *t, const char *session, const pit_value *args, const pit_call_options *o, pit_value **ret,
              pit_error **reterr)
{
    struct here h = {.ctx.tool = t};
    pit_error *e = check(o);
    if (e != NULL)
        return error_give(reterr, e);
    pit_value *value = NULL, *nothing = args == NULL ? pit_map() : NULL;
    fill(p, &h, session, o);
    if (h.ctx.deadline_ns <= p->os->now_ns())
        e = out_of_time(
            error_new(PIT_E_DEADLINE_EXCEEDED, "the deadline of the call of %s had passed before it began", t->name), t, o,
            "entry");
    else
        e = run(&h, args != NULL ? args : nothing, o, &value);
    pit_value_free(nothing);
    if (e == NULL && ret != NULL)
        *ret = value != NULL ? value : pit_nil();
    else
        pit_value_free(value);
    if (e != NULL)
        error_correlation(e, h.ctx.correlation_id);
    return error_give(reterr, e);
}

int tool_there(pit *p, const char *name, const pit_value *args, pit_call_options *o, pit_value **ret, pit_error **reterr)
{
    struct telemetry *t = p->host->telemetry;
    const struct pit_tool_ctx *outer = tool_innermost(p->host);
    if (!tool_is_observed(t) || (o->correlation_id != NULL && !call_text_is_good(o->correlation_id, CALL_ID_MAX)))
        return pit_call(p, name, args, o, ret, reterr);
    char id[CALL_ID];
    if (o->correlation_id == NULL && outer != NULL)
        o->correlation_id = outer->correlation_id;
    if (o->correlation_id == NULL) {
        new_id(p, id);
        o->correlation_id = id;
    }
    const struct event_common common = {.pool = o->pool, .session_id = o->session_id, .correlation_id = o->correlation_id};
    struct tool_told told = {.name = name, .side = "worker", .parameters_bytes = bytes_of(t, args)};
    uint64_t began_ns = p->os->now_ns();
    pit_value *value = NULL;
    pit_error *e = NULL;
    tool_tell_start(t, &common, &told);
    int rc = pit_call(p, name, args, o, &value, &e);
    told.took_ns = p->os->now_ns() - began_ns;
    told.result_bytes = bytes_of(t, value);
    tool_tell_end(t, &common, &told, e, true);
    if (rc == 0 && ret != NULL)
        *ret = value;
    else
        pit_value_free(value);
    return error_give(reterr, e);
}
