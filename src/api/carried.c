/* See carried.h. */
#include "api/carried.h"

#include <string.h>

#include "base/alloc.h"
#include "pool/stream.h"

void carried_init(struct carried *c, pit *p)
{
    memset(&c->call, 0, offsetof(struct call, small));
    memset((char *)c + offsetof(struct carried, pit), 0, sizeof *c - offsetof(struct carried, pit));
    c->refs = 2;
    c->pit = p;
    c->os = p->os;
}

void carried_lock(struct carried *c)
{
    while (__atomic_exchange_n(&c->guard, 1, __ATOMIC_ACQUIRE) != 0)
        c->os->futex_wait(&c->guard, 1, c->os->now_ns() + MS);
}

void carried_unlock(struct carried *c)
{
    __atomic_store_n(&c->guard, 0, __ATOMIC_RELEASE);
}

bool carried_unref(struct carried *c)
{
    if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return false;
    call_clear(&c->call);
    mem_free(c->texts);
    return true;
}

static void tell_end(struct carried *c)
{
    if (c->call.observed)
        report_call(c->pool, &c->call);
    if (c->call.stream != NULL)
        report_stream_closed(c->pool, &c->call);
}

void carried_end(struct carried *c)
{
    canceller_leave(&c->entry);
    tell_end(c);
}

void carried_let_go(struct carried *c)
{
    carried_lock(c);
    c->pit = NULL;
    carried_unlock(c);
}

/* Its end has not been told, for that waits until this has returned: so the handle is there. One that is being closed ends its calls by itself. */
static void carried_fire(struct canceller_entry *e, const char *reason, struct canceller_rest *rest)
{
    struct carried *c = LIST_ENTRY(e, struct carried, entry);
    if (api_enter(c->pit) != 0)
        return;
    rest->pit = c->pit;
    pool_cancel_begin(c->pool, &c->call, reason, &rest->ending);
}

static pit_error *hand_over(struct carried *c, pit_canceller *canceller)
{
    const char *reason;
    canceller_join(canceller, &c->entry, carried_fire);
    if (c->call.stream != NULL)
        report_stream_opened(c->pool, &c->call);
    pit_error *e = pool_submit(c->pool, &c->call);
    if (e != NULL) {
        canceller_leave(&c->entry);
        c->call.outcome = outcome_failed(error_ref(e));
        tell_end(c);
    } else if (canceller_fired(canceller, &reason)) {
        pool_cancel(c->pool, &c->call, reason);
    }
    return e;
}

pit_error *carried_begin(struct carried *c, const char *command, const pit_value *args, const pit_call_options *o,
                         struct stream *s, bool inbox, void (*done)(struct call *c))
{
    struct call_plan plan;
    const struct call_args a = {.value = args};
    pit_error *e = call_check_command(command);
    if (e != NULL)
        return e;
    c->call.done = done;
    e = call_plan_make(c->pit, o, &plan);
    if (e == NULL && s != NULL)
        e = call_plan_waits(&plan);
    if (e == NULL && s != NULL)
        call_stream_plan(&plan, &c->call, s, inbox);
    if (e == NULL && s != NULL && plan.options.canceller != NULL)
        s->rides = false; /* it may be ended from anywhere */
    if (e == NULL)
        e = call_begin(c->pit, &plan, &c->call, command, &a);
    else
        call_plan_refuse(&plan, 1, e);
    call_plan_finish(&plan);
    c->pool = plan.pool;
    if (e == NULL && (c->texts = call_keep_texts(&c->call)) == NULL)
        e = error_new(PIT_E_ALLOCATION_FAILED, "out of memory");
    return e != NULL ? e : hand_over(c, plan.options.canceller);
}
