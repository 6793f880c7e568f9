/* See tool_run.h. */
#include "pool/tool_run.h"

#include <string.h>

#include "pool/inner.h"
#include "pool/pool_internal.h"
#include "pool/worker_tools.h"
#include "wire/value.h"

#define FAILED "Tool execution failed: "

static _Thread_local struct pit_tool_ctx *innermost;

struct pit_tool_ctx *tool_innermost(const struct host *h)
{
    struct pit_tool_ctx *c = innermost;
    while (c != NULL && c->host != h)
        c = c->outer;
    return c;
}

/* The innermost tool of a worker of this pool. */
static struct pit_tool_ctx *tool_of(const struct host *h, const struct pool *p)
{
    struct pit_tool_ctx *c = innermost;
    while (c != NULL && (c->host != h || c->pool != p || c->lane == NULL))
        c = c->outer;
    return c;
}

struct pit_tool_ctx *tool_under(const struct host *h, const struct pool *p)
{
    struct pit_tool_ctx *c = tool_of(h, p);
    return c != NULL && !c->apart ? c : NULL;
}

bool tool_holds_all(const struct host *h, const struct pool *p)
{
    return p->n_slots == 1 && p->set.lanes == 1 && tool_of(h, p) != NULL;
}

static struct event_common common_of(const struct pit_tool_ctx *c)
{
    return (struct event_common){.pool = c->pool != NULL ? c->pool->set.name : NULL,
                                 .worker_id = c->worker_id,
                                 .session_id = c->session_id,
                                 .correlation_id = c->correlation_id,
                                 .call_id = c->sequence};
}

bool tool_is_observed(const struct telemetry *t)
{
    return telemetry_wants(t, EVENT_TOOL_EXECUTION_START) || telemetry_wants(t, EVENT_TOOL_EXECUTION_STOP) ||
           telemetry_wants(t, EVENT_TOOL_EXECUTION_EXCEPTION);
}

void tool_tell_start(struct telemetry *t, const struct event_common *common, const struct tool_told *x)
{
    if (telemetry_wants(t, EVENT_TOOL_EXECUTION_START))
        telemetry_emit(t, EVENT_TOOL_EXECUTION_START, common, (const double[]){(double)x->parameters_bytes},
                       (const char *const[]){x->name, x->side});
}

void tool_tell_end(struct telemetry *t, const struct event_common *common, const struct tool_told *x, const pit_error *e,
                   bool wanted)
{
    enum event_id id = e == NULL ? EVENT_TOOL_EXECUTION_STOP : EVENT_TOOL_EXECUTION_EXCEPTION;
    if (!telemetry_wants(t, id))
        return;
    const double numbers[] = {(double)x->took_ns / 1e6, (double)x->parameters_bytes, (double)x->result_bytes};
    const char *texts[] = {x->name, x->side, e != NULL ? pit_error_name(e) : wanted ? "true" : "false"};
    telemetry_emit(t, id, common, numbers, texts);
}

static void tell_start(const struct pit_tool_ctx *c)
{
    struct event_common common = common_of(c);
    struct tool_told x = {.name = c->tool->name, .side = "host", .parameters_bytes = c->parameters_bytes};
    tool_tell_start(c->host->telemetry, &common, &x);
}

/* The call that it served has been given up, or its time is over, or its worker has ended. */
static bool is_unwanted(const struct pit_tool_ctx *c, uint64_t now)
{
    return now >= c->deadline_ns || (c->lane != NULL && inner_given_up(c->pool, c->lane, c->sequence));
}

void tool_ran(const struct pit_tool_ctx *c, const pit_error *e, size_t result_bytes)
{
    if (c->began_ns == 0 || !tool_is_observed(c->host->telemetry))
        return;
    uint64_t now = c->host->os->now_ns();
    struct event_common common = common_of(c);
    struct tool_told x = {c->tool->name, "host", now - c->began_ns, c->parameters_bytes, result_bytes};
    tool_tell_end(c->host->telemetry, &common, &x, e, !is_unwanted(c, now));
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

/* Tools inside each other fail one after the other: once is enough. */
static const char *without_prefix(const char *text)
{
    size_t n = sizeof FAILED - 1;
    return strncmp(text, FAILED, n) == 0 ? text + n : text;
}

/* Does it say more than its message? */
static bool is_telling(const pit_error *e)
{
    return pit_error_code(e) != PIT_E_TOOL_EXECUTION_FAILED || pit_error_worker(e) != NULL || pit_error_cause(e) != NULL ||
           pit_value_len(pit_error_details(e)) != 0;
}

/* What it has failed with, in the words that every failure has. */
static pit_error *failed(struct pit_tool_ctx *c, int rc)
{
    pit_error *why = c->failure;
    int code = why != NULL ? pit_error_code(why) : rc;
    bool known = code < 0 && strcmp(pit_error_code_name(code), "unknown") != 0;
    const char *text = why != NULL ? without_prefix(pit_error_message(why))
                       : known     ? pit_strerror(rc)
                                   : "it returned an unknown status";
    pit_error *e = error_new(PIT_E_TOOL_EXECUTION_FAILED, FAILED "%s", text);
    error_detail_take(e, "tool", pit_str(c->tool->name));
    if (!known)
        error_detail_take(e, "status", pit_int(code));
    else if (code != PIT_E_TOOL_EXECUTION_FAILED)
        error_detail_take(e, "code", pit_str(pit_error_code_name(code)));
    if (why == NULL || !is_telling(why))
        return e;
    c->failure = NULL;
    return error_cause_take(e, why);
}

static pit_error *came_late(const struct pit_tool_ctx *c)
{
    pit_error *e = error_new(PIT_E_DEADLINE_EXCEEDED, "the tool %s returned after its time (%lld ms)", c->tool->name,
                             (long long)c->tool->timeout_ms);
    error_detail_take(e, "phase", pit_str("tool"));
    return error_detail_take(e, "tool", pit_str(c->tool->name));
}

/* Arguments look like a value, and are none: no worker could read them. */
static int refuse_args(struct pit_tool_ctx *c)
{
    pit_error_free(c->failure);
    c->failure = error_new(PIT_E_INVALID_PARAMETER, "pit_args() is the arguments of a call, and no result");
    return PIT_E_INVALID_PARAMETER;
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
    if (rc == 0 && *ret != NULL && (*ret)->kind == PIT_KIND_ARGS)
        return refuse_args(c);
    return rc != 0 ? rc : pit_value_error(*ret);
}

struct outcome tool_run(struct pit_tool_ctx *c, const pit_value *args)
{
    pit_value *value = NULL;
    bool limited = c->tool->timeout_ms > 0;
    uint64_t now = limited || tool_is_observed(c->host->telemetry) ? c->host->os->now_ns() : 0, own_ns = UINT64_MAX;
    if (limited && !__builtin_mul_overflow((uint64_t)c->tool->timeout_ms, MS, &own_ns) &&
        __builtin_add_overflow(now, own_ns, &own_ns))
        own_ns = UINT64_MAX;
    if (own_ns < c->deadline_ns)
        c->deadline_ns = own_ns;
    c->began_ns = now;
    if (now != 0)
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
