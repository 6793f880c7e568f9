/* snakepit/tool.h: calling a tool from here, and what a tool may ask of what it runs for. */
#include <snakepit/tool.h>
#include <string.h>

#include "api/api.h"
#include "api/begin.h"
#include "base/alloc.h"
#include "pool/inner.h"
#include "pool/pool_internal.h"
#include "pool/tool_run.h"
#include "pool/worker_tools.h"

/* ---- calling ---- */

/* What a tool that is called from here is told. In a tool, it is called for the same call. */
static void fill(pit *p, struct pit_tool_ctx *c, const pit_call_options *o, const char *session)
{
    const struct pit_tool_ctx *outer = tool_innermost(p->host);
    c->host = p->host;
    c->deadline_ns = o->deadline_ns != 0 ? o->deadline_ns : UINT64_MAX;
    c->session_id = session;
    c->correlation_id = o->correlation_id;
    c->binary_parameters = o->binary_parameters;
    uint64_t due = o->timeout_ms > 0 ? host_deadline(p->host, o->timeout_ms) : UINT64_MAX;
    if (due < c->deadline_ns)
        c->deadline_ns = due;
    if (outer == NULL)
        return;
    c->depth = outer->depth;
    if (c->correlation_id == NULL)
        c->correlation_id = outer->correlation_id;
    if (outer->deadline_ns < c->deadline_ns)
        c->deadline_ns = outer->deadline_ns;
}

static int run_here(pit *p, struct tool *t, const char *session, const pit_value *args, const pit_call_options *o,
                    pit_value **ret, pit_error **reterr)
{
    struct pit_tool_ctx c = {.tool = t};
    pit_value *nothing = args == NULL ? pit_map() : NULL;
    fill(p, &c, o, session);
    if (c.deadline_ns <= p->os->now_ns()) {
        pit_value_free(nothing);
        return error_give(reterr,
                          error_detail_take(error_new(PIT_E_DEADLINE_EXCEEDED,
                                                      "the deadline of the call of %s had passed before it began", t->name),
                                            "phase", pit_str("entry")));
    }
    struct outcome done = tool_run(&c, args != NULL ? args : nothing);
    if (done.error != NULL)
        error_correlation(done.error, c.correlation_id);
    tool_ran(&c, done.error, 0);
    pit_value_free(nothing);
    if (done.rc == 0 && ret != NULL)
        *ret = done.value != NULL ? done.value : pit_nil();
    else
        pit_value_free(done.value);
    return error_give(reterr, done.error);
}

static pit_error *ambiguous(const char *name, pit_value *pools)
{
    pit_error *e = error_new(PIT_E_AMBIGUOUS_TOOL, "several pools have a tool %.64s", name);
    error_detail_take(e, "tool", pit_str(name));
    error_detail_take(e, "pools", pools);
    return error_suggest(e, "name the pool by the option `pool` of the call");
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
        return tool_missing(p->host, session, name, false);
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

static int call_tool(pit *p, const char *session, const char *name, const pit_value *args, pit_call_options *o, pit_value **ret,
                     pit_error **reterr)
{
    const struct pit_tool_ctx *outer = tool_innermost(p->host);
    pit_error *e = call_check_command(name);
    if (e == NULL)
        e = settle_session(&session, o);
    if (e == NULL && o->timeout_ms < 0 && o->timeout_ms != PIT_INFINITE)
        e = error_new(PIT_E_INVALID_TIMEOUT, "timeout_ms: %lld", (long long)o->timeout_ms);
    if (e == NULL && o->binary_parameters != NULL)
        e = call_check_binary(o->binary_parameters);
    if (e != NULL)
        return error_give(reterr, e);
    if (session == NULL && outer != NULL)
        session = outer->session_id;
    struct tool *t = o->pool == NULL ? tools_find(&p->host->tools, session, name) : NULL;
    if (t != NULL) {
        int rc = run_here(p, t, session, args, o, ret, reterr);
        tool_unref(t);
        return rc;
    }
    if (o->pool == NULL && (e = find_pool(p, session, name, &o->pool)) != NULL)
        return error_give(reterr, e);
    o->session_id = session;
    return pit_call(p, name, args, o, ret, reterr);
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
    for (; c != NULL; c = c->outer)
        if (c->lane != NULL && inner_given_up(c->pool, c->lane, c->sequence))
            return true;
    return false;
}
