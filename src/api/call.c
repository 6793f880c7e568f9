/* snakepit/call.h, the blocking forms: validate, enter, translate. */
#include <snakepit/call.h>
#include <string.h>

#include "api/api.h"
#include "api/begin.h"
#include "api/canceller.h"
#include "base/alloc.h"
#include "pool/inner.h"
#include "pool/pool_internal.h"

/* On the stack of its caller. */
struct blocking {
    pit *pit;
    struct pool *pool;
    const struct os_ops *os;
    struct canceller_entry entry;
    bool rides; /* of a call that a tool makes: this thread rides its lane */
    struct call call;
};

static void done_blocking(struct call *c)
{
    const struct os_ops *os = LIST_ENTRY(c, struct blocking, call)->os;
    uint32_t *word = &c->delivered;
    __atomic_store_n(word, 1, __ATOMIC_SEQ_CST); /* *c may be gone from here on */
    os->futex_wake(word, 1);
}

/* Its caller is inside. */
static void cancel_blocking(struct canceller_entry *e, const char *reason, struct canceller_rest *rest)
{
    struct blocking *b = LIST_ENTRY(e, struct blocking, entry);
    api_hold(rest->pit = b->pit);
    pool_cancel_begin(b->pool, &b->call, reason, &rest->ending);
}

/* The loop carries the call, this thread waits for it, or drives the loop meanwhile. */
static void carry_by_loop(pit *p, struct blocking *b, pit_canceller *canceller)
{
    const char *reason;
    b->call.done = done_blocking;
    b->call.anywhere = p->host->set.drive == PIT_DRIVE_THREAD && !b->call.observed;
    canceller_join(canceller, &b->entry, cancel_blocking);
    pit_error *e = pool_submit(b->pool, &b->call);
    if (e != NULL) {
        b->call.outcome = outcome_failed(e);
    } else {
        if (canceller_fired(canceller, &reason))
            pool_cancel(b->pool, &b->call, reason);
        host_wait(p->host, &b->call.delivered, 0, UINT64_MAX);
    }
    canceller_leave(&b->entry);
}

/* ---- made by a tool, into the pool whose worker waits for that ---- */

static void cancel_inside(struct canceller_entry *e, const char *reason, struct canceller_rest *rest)
{
    struct blocking *b = LIST_ENTRY(e, struct blocking, entry);
    if (b->rides) {
        inner_cut(b->pool, &b->call, reason != NULL ? reason : "");
        return;
    }
    __atomic_store_n(&b->call.cut, reason != NULL ? reason : "", __ATOMIC_SEQ_CST); /* it may be on its way to its lane */
    cancel_blocking(e, reason, rest);
}

static void carry_inside(struct blocking *b, struct pit_tool_ctx *under, pit_canceller *canceller)
{
    const char *reason;
    b->rides = under->rides;
    canceller_join(canceller, &b->entry, cancel_inside);
    if (canceller_fired(canceller, &reason))
        __atomic_store_n(&b->call.cut, reason != NULL ? reason : "", __ATOMIC_SEQ_CST);
    inner_call(b->pool, &b->call, under);
    canceller_leave(&b->entry);
}

/* The limits of the outermost call are measured while this one runs, too. */
static pit_error *plan_inside(struct call_plan *plan)
{
    plan->limited = false;
    if (plan->options.limits == NULL)
        return NULL;
    return error_new(PIT_E_INVALID_PARAMETER,
                     "limits: a call that goes back to the worker which waits for this tool has none of its own");
}

/* The whole of a blocking call but entering. With a loop thread, no canceller and no limits the calling thread rides the lane itself. */
static int call_blocking(pit *p, const char *command, const struct call_args *args, const pit_call_options *o, pit_value **ret,
                         pit_error **reterr)
{
    struct blocking b;
    struct call *c = &b.call;
    struct call_plan plan;
    memset(c, 0, offsetof(struct call, small));
    pit_error *e = call_check_command(command);
    if (e != NULL)
        return error_give(reterr, e);
    e = call_plan_make(p, o, &plan);
    if (plan.held && plan.under == NULL && e == NULL) /* of a tool that streams: no worker waits for it */
        e = call_plan_waits(&plan);
    if (e == NULL && plan.under != NULL) {
        e = plan_inside(&plan);
        c->waited_for = plan.under->rides;
    } else {
        c->waited_for = e == NULL && p->host->set.drive == PIT_DRIVE_THREAD && plan.options.canceller == NULL && !plan.limited;
    }
    if (e == NULL)
        e = call_begin(p, &plan, c, command, args);
    else
        call_plan_refuse(&plan, 1, e);
    call_plan_finish(&plan);
    if (e != NULL) {
        call_clear(c);
        return error_give(reterr, e);
    }
    b.pit = p;
    b.pool = plan.pool;
    b.os = p->os;
    if (plan.under != NULL)
        carry_inside(&b, plan.under, plan.options.canceller);
    else if (c->waited_for)
        pool_call(b.pool, c);
    else
        carry_by_loop(p, &b, plan.options.canceller);
    if (c->observed)
        report_call(b.pool, c);
    int rc = c->outcome.rc;
    if (rc == 0 && ret != NULL) {
        *ret = c->outcome.value;
        c->outcome.value = NULL;
    }
    if (c->outcome.error != NULL)
        error_correlation(c->outcome.error, pool_correlation(b.pool, c));
    if (reterr != NULL) {
        *reterr = c->outcome.error;
        c->outcome.error = NULL;
    }
    call_clear(c);
    return rc;
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
    char *text;
    rc = pit_value_write_json(result, 0, &text, ret_n, reterr);
    pit_value_free(result);
    if (rc != 0)
        return rc;
    if (ret_json != NULL)
        *ret_json = text;
    else
        mem_free(text);
    return 0;
}
