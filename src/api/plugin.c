/* snakepit/plugin.h: what an adapter's functions call. */
#include <snakepit/plugin.h>

#include "wire/error.h"
#include "worker/inproc.h"

/* The first failure of a callback is replaced by a later one. */
int pit_adapter_fail(pit_adapter_ctx *c, int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    pit_error_free(c->failure);
    c->failure = error_newv(code < 0 ? code : PIT_E_TOOL_EXECUTION_FAILED, format, ap);
    va_end(ap);
    return pit_error_code(c->failure);
}

int pit_adapter_fail_take(pit_adapter_ctx *c, pit_error *e)
{
    if (e == NULL)
        return pit_adapter_fail(c, PIT_E_TOOL_EXECUTION_FAILED, "%s", pit_strerror(PIT_E_TOOL_EXECUTION_FAILED));
    pit_error_free(c->failure);
    c->failure = e;
    return pit_error_code(e);
}

bool pit_adapter_cancelled(const pit_adapter_ctx *c)
{
    return inproc_cancelled(c);
}

uint64_t pit_adapter_deadline_ns(const pit_adapter_ctx *c)
{
    return c->deadline_ns;
}

const char *pit_adapter_session_id(const pit_adapter_ctx *c)
{
    return c->session_id;
}

const char *pit_adapter_correlation_id(const pit_adapter_ctx *c)
{
    return c->correlation_id;
}

const char *pit_adapter_trace_parent(const pit_adapter_ctx *c)
{
    return c->trace_parent;
}

const char *pit_adapter_worker_id(const pit_adapter_ctx *c)
{
    return c->body != NULL ? inproc_worker_id(c->body) : NULL;
}

const char *pit_adapter_pool(const pit_adapter_ctx *c)
{
    return adapter_home_pool(c->home);
}

const pit_value *pit_adapter_metadata(const pit_adapter_ctx *c)
{
    return c->metadata;
}

const pit_value *pit_adapter_binary_parameters(const pit_adapter_ctx *c)
{
    return c->binary_parameters;
}

void *pit_adapter_data(const pit_adapter_ctx *c)
{
    return c->data;
}

int pit_adapter_send(pit_adapter_ctx *c, const pit_value *chunk, int64_t timeout_ms)
{
    return inproc_send(c, chunk, inproc_deadline(c, timeout_ms));
}

int pit_adapter_receive(pit_adapter_ctx *c, int64_t timeout_ms, pit_value **ret)
{
    return inproc_receive(c, inproc_deadline(c, timeout_ms), ret);
}
