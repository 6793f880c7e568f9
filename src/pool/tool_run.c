/* See tool_run.h. */
#include "pool/tool_run.h"

#include "pool/pool_internal.h"
#include "pool/worker_tools.h"

static _Thread_local struct pit_tool_ctx *innermost;

struct pit_tool_ctx *tool_innermost(const struct host *h)
{
    struct pit_tool_ctx *c = innermost;
    while (c != NULL && c->host != h)
        c = c->outer;
    return c;
}

struct pit_tool_ctx *tool_under(const struct host *h, const struct pool *p)
{
    struct pit_tool_ctx *c = innermost;
    while (c != NULL && (c->host != h || c->pool != p || c->lane == NULL))
        c = c->outer;
    return c;
}

bool tool_holds_all(const struct host *h, const struct pool *p)
{
    return p->n_slots == 1 && p->set.lanes == 1 && tool_under(h, p) != NULL;
}

static struct event_common common_of(const struct pit_tool_ctx *c)
{
    return (struct event_common){.pool = c->pool != NULL ? c->pool->set.name : NULL,
                                 .worker_id = c->worker_id,
                                 .session_id = c->session_id,
                                 .correlation_id = c->correlation_id,
                                 .call_id = c->sequence};
}

/* Does anybody hear of it? Else the clock need not be read. */
static bool is_observed(const struct telemetry *t)
{
    return telemetry_wants(t, EVENT_TOOL_EXECUTION_START) || telemetry_wants(t, EVENT_TOOL_EXECUTION_STOP) ||
           telemetry_wants(t, EVENT_TOOL_EXECUTION_EXCEPTION);
}

static void tell_start(const struct pit_tool_ctx *c)
{
    struct telemetry *t = c->host->telemetry;
    if (!telemetry_wants(t, EVENT_TOOL_EXECUTION_START))
        return;
    struct event_common common = common_of(c);
    telemetry_emit(t, EVENT_TOOL_EXECUTION_START, &common, (const double[]){(double)c->parameters_bytes},
                   (const char *const[]){c->tool->name, "host"});
}

void tool_ran(const struct pit_tool_ctx *c, const pit_error *e, size_t result_bytes)
{
    struct telemetry *t = c->host->telemetry;
    enum event_id id = e == NULL ? EVENT_TOOL_EXECUTION_STOP : EVENT_TOOL_EXECUTION_EXCEPTION;
    if (!telemetry_wants(t, id) || c->began_ns == 0)
        return;
    struct event_common common = common_of(c);
    const double numbers[] = {(double)(c->host->os->now_ns() - c->began_ns) / 1e6, (double)c->parameters_bytes,
                              (double)result_bytes};
    const char *texts[] = {c->tool->name, "host", e == NULL ? "true" : pit_error_name(e)};
    telemetry_emit(t, id, &common, numbers, texts);
}

void tool_let_go(struct pit_tool_ctx *c)
{
    pit_value_free(c->parameters);
    pit_value_free(c->result);
    pit_value_free(c->binary);
    pit_error_free(c->failure);
    c->parameters = c->result = c->binary = NULL;
    c->failure = NULL;
}

/* What it has failed with, in the words that every failure has. */
static pit_error *failed(struct pit_tool_ctx *c, int rc)
{
    const pit_error *why = c->failure;
    const char *text = why != NULL ? pit_error_message(why) : rc < 0 ? pit_strerror(rc) : "it returned an unknown status";
    int code = why != NULL ? pit_error_code(why) : rc;
    pit_error *e = error_new(PIT_E_TOOL_EXECUTION_FAILED, "Tool execution failed: %s", text);
    error_detail_take(e, "tool", pit_str(c->tool->name));
    if (code < 0 && code != PIT_E_TOOL_EXECUTION_FAILED)
        error_detail_take(e, "code", pit_str(pit_error_code_name(code)));
    else if (code >= 0)
        error_detail_take(e, "status", pit_int(code));
    return e;
}

static pit_error *came_late(const struct pit_tool_ctx *c)
{
    pit_error *e = error_new(PIT_E_DEADLINE_EXCEEDED, "the tool %s returned after its time (%lld ms)", c->tool->name,
                             (long long)c->tool->timeout_ms);
    error_detail_take(e, "phase", pit_str("tool"));
    return error_detail_take(e, "tool", pit_str(c->tool->name));
}

static int run(struct pit_tool_ctx *c, const pit_value *args, pit_value **ret)
{
    c->outer = innermost;
    c->chain = c->outer != NULL ? c->outer->chain + 1 : 1;
    if (c->chain > TOOL_CHAIN_MAX)
        return PIT_E_NESTING_TOO_DEEP;
    innermost = c;
    __atomic_add_fetch(&c->host->tools_running, 1, __ATOMIC_RELAXED);
    int rc = c->tool->fn(c, args, ret, c->tool->user);
    __atomic_sub_fetch(&c->host->tools_running, 1, __ATOMIC_RELAXED);
    innermost = c->outer;
    return rc != 0 ? rc : pit_value_error(*ret);
}

struct outcome tool_run(struct pit_tool_ctx *c, const pit_value *args)
{
    pit_value *value = NULL;
    bool limited = c->tool->timeout_ms > 0;
    uint64_t now = limited || is_observed(c->host->telemetry) ? c->host->os->now_ns() : 0, own_ns = UINT64_MAX;
    if (limited && !__builtin_mul_overflow((uint64_t)c->tool->timeout_ms, MS, &own_ns) &&
        __builtin_add_overflow(now, own_ns, &own_ns))
        own_ns = UINT64_MAX;
    if (own_ns < c->deadline_ns)
        c->deadline_ns = own_ns;
    c->began_ns = now;
    tell_start(c);
    int rc = run(c, args, &value);
    pit_error *e = NULL;
    if (rc != 0)
        e = failed(c, rc);
    else if (own_ns != UINT64_MAX && c->host->os->now_ns() > own_ns)
        e = came_late(c);
    if (e == NULL)
        return (struct outcome){.value = value};
    pit_value_free(value);
    return outcome_failed(e);
}

pit_error *tool_missing(struct host *h, const char *session, const char *name, bool of_host)
{
    struct pool *first;
    if (of_host && worker_tools_find(h, name, &first, NULL) != 0) {
        pit_error *e = error_new(PIT_E_NOT_A_HOST_TOOL, "%.64s is a tool of the workers of pool %s, not of the host", name,
                                 first->set.name);
        return error_detail_take(e, "tool", pit_str(name));
    }
    pit_error *e = error_new(PIT_E_TOOL_NOT_FOUND, "there is no tool %.64s%s%s", name, session != NULL ? " in session " : "",
                             session != NULL ? session : "");
    error_detail_take(e, "tool", pit_str(name));
    return error_detail_take(e, "session_id", session != NULL ? pit_str(session) : pit_nil());
}
