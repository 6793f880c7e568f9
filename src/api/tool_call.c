/* snakepit/tool.h: calling a tool from here, and what a tool may ask of what it runs for. */
#include <snakepit/tool.h>
#include <string.h>

#include "api/api.h"
#include "api/begin.h"
#include "api/tool_here.h"
#include "base/alloc.h"
#include "pool/inner.h"
#include "pool/pool_internal.h"
#include "pool/pool_list.h"
#include "pool/tool_run.h"
#include "pool/worker_tools.h"

/* ---- calling ---- */

static pit_error *ambiguous(const char *name, pit_value *pools)
{
    pit_error *e = error_new(PIT_E_AMBIGUOUS_TOOL, "several pools have a tool %.64s", name);
    error_detail_take(e, "tool", pit_str(name));
    error_detail_take(e, "pools", pools);
    return error_suggest(e, "name the pool by the option `pool` of the call");
}

static void list_pool(struct pool *pool, void *arg)
{
    worker_tools_list(pool, NULL, arg);
}

/* Nobody has it: what there is, and what may have been meant. */
static pit_error *missing(pit *p, const char *session, const char *name)
{
    enum { LISTED = 10 };
    const struct event_common common = {.session_id = session};
    const struct tool_told told = {.name = name, .side = "host"};
    pit_error *e = tool_missing(p->host, session, name, false);
    pit_value *tools = pit_list(), *available = pit_list();
    tools_list(&p->host->tools, session, NULL, NULL, tools);
    host_each_pool(p->host, list_pool, tools);
    size_t n = pit_value_len(tools);
    const char **names = mem_array(n + 1, sizeof *names), *near;
    for (size_t i = 0; names != NULL && i < n; i++) {
        names[i] = pit_value_str(pit_value_get(pit_value_at(tools, i), "name"));
        if (i < LISTED)
            pit_list_append_take(available, pit_str(names[i]));
    }
    error_detail_take(e, "available", available);
    if (names != NULL && (near = error_nearest(name, names, n)) != NULL) {
        error_detail_take(e, "nearest", pit_str(near));
        error_suggest(e, "did you mean '%s'?", near);
    }
    mem_free(names);
    pit_value_free(tools);
    tool_tell_end(p->host->telemetry, &common, &told, e, true);
    return e;
}

/* A host's tool that streams is for Python code: here nobody reads. */
static pit_error *streams(const struct tool *t)
{
    pit_error *e = error_new(PIT_E_STREAMING_REQUIRED, "the tool %s streams to the Python code that reads it", t->name);
    return error_detail_take(e, "tool", pit_str(t->name));
}

/* The pool whose workers have it. */
static pit_error *find_pool(pit *p, const char *session, const char *name, const char **ret)
{
    struct pool *pool = NULL;
    pit_value *names = pit_list();
    unsigned n = worker_tools_find(p->host, name, &pool, names);
    if (n > 1)
        return ambiguous(name, names);
    pit_value_free(names);
    if (n == 0)
        return missing(p, session, name);
    *ret = pool->set.name;
    return NULL;
}

/* The options' session and the one that is named are one, or one of them is not there. */
static pit_error *settle_session(const char **session, pit_call_options *o)
{
    if (*session != NULL && o->session_id != NULL && strcmp(*session, o->session_id) != 0)
        return error_new(PIT_E_INVALID_PARAMETER, "the session of the tool and that of the options are not the same");
    if (*session == NULL)
        *session = o->session_id;
    o->session_id = *session;
    if (*session != NULL && !call_text_is_good(*session, CALL_ID_MAX))
        return error_new(PIT_E_INVALID_SESSION_ID, "%s", pit_strerror(PIT_E_INVALID_SESSION_ID));
    return NULL;
}

static int call_tool(pit *p, const char *session, const char *given, const pit_value *args, pit_call_options *o,
                     pit_value **ret, pit_error **reterr)
{
    const struct pit_tool_ctx *outer = tool_innermost(p->host);
    char name[CALL_COMMAND_MAX + 2] = "";
    size_t n;
    given = tool_name_trim(given, &n);
    memcpy(name, given, n < sizeof name - 1 ? n : sizeof name - 1);
    pit_error *e = call_check_command(name);
    if (e == NULL)
        e = settle_session(&session, o);
    if (e != NULL)
        return error_give(reterr, e);
    if (session == NULL && outer != NULL)
        session = outer->session_id;
    struct tool *t = o->pool == NULL ? tools_find(&p->host->tools, session, name) : NULL;
    if (t != NULL) {
        int rc = t->streaming ? error_give(reterr, streams(t)) : tool_here(p, t, session, args, o, ret, reterr);
        tool_unref(t);
        return rc;
    }
    if (o->pool == NULL && (e = find_pool(p, session, name, &o->pool)) != NULL)
        return error_give(reterr, e);
    o->session_id = session;
    return tool_there(p, name, args, o, ret, reterr);
}

int pit_tool_call(pit *p, const char *session_id, const char *name, const pit_value *args, const pit_call_options *given,
                  pit_value **ret, pit_error **reterr)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    int rc = given != NULL ? options_copy(&o, sizeof o, given) : 0;
    if (rc != 0)
        return error_give(reterr, options_refused(rc, "the call", "PIT_CALL_OPTIONS_INIT"));
    rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    rc = call_tool(p, session_id, name, args, &o, ret, reterr);
    api_leave(p);
    return rc;
}

/* ---- failing ---- */

int pit_tool_fail(pit_tool_ctx *c, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    pit_error *e = error_newv(PIT_E_TOOL_EXECUTION_FAILED, format, ap);
    va_end(ap);
    return pit_tool_fail_take(c, e);
}

int pit_tool_fail_take(pit_tool_ctx *c, pit_error *e)
{
    pit_error_free(c->failure);
    c->failure = e;
    return PIT_E_TOOL_EXECUTION_FAILED;
}

int pit_tool_set_binary(pit_tool_ctx *c, const pit_value *binary)
{
    pit_error *e = binary != NULL ? call_check_binary(binary) : NULL;
    if (e != NULL) {
        pit_error_free(e);
        return PIT_E_INVALID_PARAMETER;
    }
    pit_value_free(c->binary);
    c->binary = binary != NULL ? pit_value_ref(binary) : NULL;
    return 0;
}

int pit_tool_send(pit_tool_ctx *c, const pit_value *chunk, int64_t timeout_ms)
{
    if (timeout_ms < PIT_NOW)
        return PIT_E_INVALID_PARAMETER;
    return c->stream != NULL ? inner_stream_send(c, chunk, timeout_ms) : PIT_E_STREAMING_NOT_SUPPORTED;
}

/* ---- asking ---- */

const char *pit_tool_name(const pit_tool_ctx *c)
{
    return c->tool->name;
}

const char *pit_tool_session_id(const pit_tool_ctx *c)
{
    return c->session_id;
}

const char *pit_tool_correlation_id(const pit_tool_ctx *c)
{
    return c->correlation_id;
}

const char *pit_tool_worker_id(const pit_tool_ctx *c)
{
    return c->worker_id;
}

const char *pit_tool_pool(const pit_tool_ctx *c)
{
    return c->pool != NULL ? c->pool->set.name : NULL;
}

uint64_t pit_tool_deadline_ns(const pit_tool_ctx *c)
{
    return c->deadline_ns;
}

int pit_tool_depth(const pit_tool_ctx *c)
{
    return c->depth;
}

const pit_value *pit_tool_metadata(const pit_tool_ctx *c)
{
    return c->tool->metadata;
}

const pit_value *pit_tool_binary_parameters(const pit_tool_ctx *c)
{
    return c->binary_parameters;
}

bool pit_tool_cancelled(const pit_tool_ctx *c)
{
    if (c->deadline_ns != UINT64_MAX && c->host->os->now_ns() >= c->deadline_ns)
        return true;
    if (c->stream != NULL && inner_stream_closed((pit_tool_ctx *)(uintptr_t)c))
        return true;
    for (; c != NULL; c = c->outer)
        if (c->pool == NULL ? tool_here_cut(c) : c->lane != NULL && inner_given_up(c->pool, c->lane, c->sequence))
            return true;
    return false;
}
