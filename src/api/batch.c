/* snakepit/call.h, pit_call_many: validate, enter, translate. The batch itself is in pool/batch.c. */
#include <snakepit/call.h>
#include <string.h>

#include "api/api.h"
#include "api/begin.h"
#include "api/canceller.h"
#include "base/alloc.h"
#include "pool/batch.h"
#include "pool/pool_internal.h"

/* The id of a worker, shared by the results that name it. */
struct worker_name {
    struct worker_name *next; /* while the batch runs */
    uint32_t prefix;          /* tells workers apart */
    uint32_t refs;            /* atomic once the batch has ended: results may be freed by several threads */
    char text[WORKER_ID];
};

struct many {
    struct batch batch;
    struct canceller_entry entry;
    pit *pit;
    struct call_plan plan;
    const pit_call_item *items;
    pit_call_result *results;
    struct worker_name *names;
    const char *checked; /* the command that was found good last: mostly the next one too */
};

static const char *worker_name(struct many *m, const struct call *c)
{
    struct worker_name *n = m->names;
    while (n != NULL && n->prefix != c->prefix)
        n = n->next;
    if (n == NULL) {
        n = mem_alloc(sizeof *n);
        if (n == NULL)
            return NULL;
        *n = (struct worker_name){.next = m->names, .prefix = c->prefix};
        memcpy(n->text, c->worker_id, sizeof n->text);
        m->names = n;
    }
    n->refs++;
    return n->text;
}

static void name_unref(const char *text)
{
    if (text == NULL)
        return;
    struct worker_name *n = LIST_ENTRY((char *)text, struct worker_name, text);
    if (__atomic_sub_fetch(&n->refs, 1, __ATOMIC_ACQ_REL) == 0)
        mem_free(n);
}

/* The arguments of a large batch were made long ago, as a cache sees it. */
static void fetch_ahead(const struct many *m, size_t i)
{
    enum { FAR = 8, NEAR = 4 };
    if (i + FAR >= m->batch.source->n)
        return;
    codec_fetch(m->items[i + FAR].args);
    codec_fetch_items(m->items[i + NEAR].args);
}

static pit_error *begin_item(void *user, size_t i, struct call *c)
{
    struct many *m = user;
    fetch_ahead(m, i);
    struct call_args args = {.value = m->items[i].args};
    pit_error *e =
        m->items[i].command == NULL || m->items[i].command != m->checked ? call_check_command(m->items[i].command) : NULL;
    if (e != NULL)
        return call_plan_refuse(&m->plan, 1, e);
    if (m->items[i].reserved[0] != NULL || m->items[i].reserved[1] != NULL)
        return error_new(PIT_E_INVALID_PARAMETER, "reserved of an item of a batch is not NULL");
    m->checked = m->items[i].command;
    m->plan.now_ns = m->batch.now_ns;
    c->of_batch = true;
    e = call_begin(m->pit, &m->plan, c, m->items[i].command, &args);
    c->queue_deadline_ns = c->deadline_ns; /* a batch waits as long as it may */
    return e;
}

static void end_item(void *user, size_t i, struct call *c)
{
    struct many *m = user;
    pit_call_result *r = &m->results[i];
    if (c->observed && c->command != NULL)
        report_call(m->plan.pool, c);
    r->rc = c->outcome.rc;
    r->value = c->outcome.value;
    r->error = c->outcome.error;
    c->outcome = (struct outcome){0};
    if (c->sent_ns != 0)
        r->worker = worker_name(m, c);
}

static void cancel_many(struct canceller_entry *e, const char *reason, struct canceller_rest *rest)
{
    (void)rest;
    batch_cancel(&LIST_ENTRY(e, struct many, entry)->batch, reason);
}

/* Everything ends with the same error, which is taken. */
static int refuse_all(pit_call_result *results, size_t n, pit_error *e, pit_error **reterr)
{
    for (size_t i = 0; i < n; i++)
        results[i] = (pit_call_result){.rc = pit_error_code(e), .error = error_ref(e)};
    return error_give(reterr, e);
}

static pit_error *run(struct many *m, size_t n)
{
    const pit_call_options *o = &m->plan.options;
    const char *reason;
    struct batch_source source = {.n = n, .user = m, .begin = begin_item, .end = end_item};
    uint64_t deadline = o->timeout_ms > 0 ? host_deadline(m->pit->host, o->timeout_ms) : UINT64_MAX;
    bool earlier = o->deadline_ns != 0 && o->deadline_ns < deadline;
    if (earlier)
        deadline = o->deadline_ns;
    m->plan.asked_ms = earlier ? 0 : o->timeout_ms;
    if (deadline != UINT64_MAX) { /* every call has the batch's */
        m->plan.options.deadline_ns = deadline;
        m->plan.options.timeout_ms = 0;
    }
    m->batch =
        (struct batch){.pool = m->plan.pool, .source = &source, .deadline_ns = deadline, .fail_fast = o->fail_fast == PIT_ON};
    canceller_join(o->canceller, &m->entry, cancel_many);
    if (canceller_fired(o->canceller, &reason))
        batch_cancel(&m->batch, reason);
    int rc = batch_run(&m->batch);
    canceller_leave(&m->entry);
    return rc == 0 ? NULL : error_new(rc, "out of memory");
}

int pit_call_many(pit *p, const pit_call_item *items, size_t n, const pit_call_options *o, pit_call_result *ret_results,
                  pit_error **reterr)
{
    if (n != 0 && (items == NULL || ret_results == NULL))
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "items or ret_results is NULL");
    if (n != 0)
        memset(ret_results, 0, n * sizeof *ret_results);
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return refuse_all(ret_results, n, api_refusal(rc), reterr);
    struct many m = {.pit = p, .items = items, .results = ret_results};
    pit_error *e = call_plan_make(p, o, &m.plan);
    if (e == NULL)
        e = call_plan_waits(&m.plan);
    if (e != NULL)
        call_plan_refuse(&m.plan, n, e);
    else if (n != 0)
        e = run(&m, n);
    call_plan_finish(&m.plan);
    rc = e != NULL ? refuse_all(ret_results, n, e, reterr) : error_give(reterr, NULL);
    api_leave(p);
    return rc;
}

void pit_call_results_free(pit_call_result *results, size_t n)
{
    enum { AHEAD = 8 };
    for (size_t i = 0; results != NULL && i < n; i++) {
        if (i + AHEAD < n)
            codec_fetch(results[i + AHEAD].value);
        pit_value_free(results[i].value);
        pit_error_free(results[i].error);
        name_unref(results[i].worker);
        results[i] = (pit_call_result){0};
    }
}
