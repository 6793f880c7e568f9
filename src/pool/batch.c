/* See batch.h. The runner encodes ahead, hands over what there is room for, and sleeps until half of what is under way has come back: each
 * waking costs as much as some calls. The loop's thread receives.
 *
 * Invariants
 *  1. A member is idle, ready, under way, or in `ended`. Only the runner moves it, but for the step into `ended`, which is the loop's.
 *  2. At most one call of a batch stands in the pool's queue, and only while none is with a worker.
 *  3. The loop touches nothing of a batch after it has set `told` to 0, and the runner does not leave before that.
 *
 * Failure: PIT_E_ALLOCATION_FAILED before anything has begun; afterwards each call has an outcome of its own. */
#include "pool/batch.h"

#include <string.h>

#include "base/alloc.h"
#include "pool/pool_internal.h"
#include "pool/tool_wait.h"

enum { CANCELLING = 1, CANCELLED }; /* the reason is being written; it stands */
enum { MEMBERS_MAX = 1024, MEMBERS_PER_LANE = 128 /* more do not fit into a core's cache */, READY_MAX = 64 };
#define SHORT_WAIT_NS (MS / 20)

struct member {
    struct member *next;
    struct batch *batch;
    size_t index;
    bool under_way;
    struct call call;
};

static const struct os_ops *os_of(const struct batch *b)
{
    return b->pool->env->os;
}

/* ---- from other threads ---- */

static void rouse(struct batch *b)
{
    if (__atomic_exchange_n(&b->word, 1, __ATOMIC_SEQ_CST) == 0)
        os_of(b)->futex_wake(&b->word, 1);
}

/* c and those behind it. */
static void members_done(struct call *c)
{
    struct member *first = LIST_ENTRY(c, struct member, call), *last = NULL;
    struct batch *b = first->batch;
    bool urgent = false;
    uint32_t more = 0;
    for (struct call *next = c; next != NULL; next = next->done_next, more++) {
        struct member *m = LIST_ENTRY(next, struct member, call);
        urgent = urgent || next->window <= 1;
        if (last != NULL)
            last->next = m;
        last = m;
    }
    __atomic_store_n(&b->told, 1, __ATOMIC_SEQ_CST);
    last->next = __atomic_load_n(&b->ended, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&b->ended, &last->next, first, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    uint32_t n = __atomic_add_fetch(&b->count, more, __ATOMIC_SEQ_CST);
    if (urgent || n >= __atomic_load_n(&b->wake_at, __ATOMIC_SEQ_CST))
        rouse(b);
    __atomic_store_n(&b->told, 0, __ATOMIC_SEQ_CST);
}

void batch_cancel(struct batch *b, const char *reason)
{
    uint32_t no = 0;
    if (!__atomic_compare_exchange_n(&b->cancelled, &no, CANCELLING, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
    b->reason = reason;
    __atomic_store_n(&b->cancelled, CANCELLED, __ATOMIC_SEQ_CST);
    rouse(b);
}

/* ---- members ---- */

static void retire(struct batch *b, struct member *m)
{
    m->under_way = false;
    b->source->end(b->source->user, m->index, &m->call);
    call_clear(&m->call);
    b->finished++;
    m->next = b->idle;
    b->idle = m;
}

static void retire_with(struct batch *b, struct member *m, pit_error *e)
{
    outcome_free(&m->call.outcome);
    m->call.outcome = (struct outcome){.rc = pit_error_code(e), .error = error_pool(e, b->pool->set.name)};
    retire(b, m);
}

/* It never came to the pool. */
static void refuse(struct batch *b, struct member *m, pit_error *e)
{
    pool_count_refusals(b->pool, 1, pit_error_code(e));
    retire_with(b, m, e);
}

/* Takes what has ended: how many. */
static size_t collect(struct batch *b)
{
    size_t n = 0;
    __atomic_store_n(&b->count, 0, __ATOMIC_SEQ_CST);
    struct member *m = __atomic_exchange_n(&b->ended, NULL, __ATOMIC_SEQ_CST);
    while (m != NULL) {
        struct member *next = m->next;
        b->in_flight--;
        if (b->stuck && m->call.outcome.rc == PIT_E_CANCELLED)
            retire_with(b, m, tool_wait_error(b->pool));
        else
            retire(b, m);
        m = next;
        n++;
    }
    return n;
}

/* Encodes calls while there are members for them. */
static void prepare(struct batch *b)
{
    b->now_ns = pool_now(b->pool); /* one reading for all of them: they wait for each other anyway */
    while (b->n_ready < READY_MAX && b->next < b->source->n && b->idle != NULL) {
        struct member *m = b->idle;
        b->idle = m->next;
        memset(&m->call, 0, offsetof(struct call, small));
        m->index = b->next++;
        m->call.done = members_done;
        m->call.made_by = b;
        pit_error *e = b->source->begin(b->source->user, m->index, &m->call);
        if (e != NULL) {
            retire_with(b, m, e);
            continue;
        }
        b->ready[b->n_ready++] = m;
        if (m->call.deadline_ns < b->expiry_ns)
            b->expiry_ns = m->call.deadline_ns;
    }
}

/* Hands over what there is room for: how many calls that were. */
static unsigned hand_over(struct batch *b)
{
    struct call *calls[READY_MAX];
    pit_error *e = NULL;
    if (b->n_ready == 0)
        return 0;
    for (unsigned i = 0; i < b->n_ready; i++) {
        calls[i] = &b->ready[i]->call;
        b->ready[i]->under_way = true; /* it may end before pool_offer returns */
    }
    unsigned n = pool_offer(b->pool, calls, b->n_ready, b->in_flight == 0 && !b->fail_fast, &e);
    for (unsigned i = n; i < b->n_ready; i++)
        b->ready[i]->under_way = false;
    b->in_flight += n;
    b->n_ready -= n;
    memmove(b->ready, b->ready + n, b->n_ready * sizeof *b->ready);
    if (e == NULL && n == 0 && b->in_flight == 0 && b->fail_fast)
        e = sched_none_free(b->pool);
    for (; e != NULL && b->n_ready > 0; n++)
        refuse(b, b->ready[--b->n_ready], error_ref(e));
    pit_error_free(e);
    return n;
}

/* ---- ending early ---- */

static pit_error *early_end(const struct batch *b, bool cancelled)
{
    if (b->stuck)
        return tool_wait_error(b->pool);
    if (!cancelled)
        return error_new(PIT_E_DEADLINE_EXCEEDED, "the deadline of the batch came before this call had begun");
    return error_new(PIT_E_CANCELLED, "the batch was cancelled before this call had begun%s%s", b->reason != NULL ? ": " : "",
                     b->reason != NULL ? b->reason : "");
}

/* What has not been handed over never runs. */
static void drop_rest(struct batch *b, bool cancelled)
{
    while (b->n_ready > 0)
        refuse(b, b->ready[--b->n_ready], early_end(b, cancelled));
    while (b->next < b->source->n) {
        struct member *m = b->idle; /* there is one: the member that was ready last, or none is under way */
        if (m == NULL)
            return;
        b->idle = m->next;
        memset(&m->call, 0, offsetof(struct call, small));
        m->index = b->next++;
        refuse(b, m, early_end(b, cancelled));
    }
}

static void cancel_running(struct batch *b)
{
    for (size_t i = 0; i < b->n_members; i++)
        if (b->members[i].under_way)
            pool_cancel(b->pool, &b->members[i].call, b->reason);
}

/* Ends what is under way and over its time. */
static void expire_running(struct batch *b)
{
    uint64_t now = pool_now(b->pool);
    b->expiry_ns = UINT64_MAX;
    for (size_t i = 0; i < b->n_members; i++) {
        struct member *m = &b->members[i];
        if (m->under_way && m->call.deadline_ns <= now)
            pool_expire(b->pool, &m->call);
        else if (m->under_way && m->call.deadline_ns < b->expiry_ns)
            b->expiry_ns = m->call.deadline_ns;
    }
}

/* ---- running ---- */

/* lock: has nothing come back of what is under way? */
static bool nothing_came(void *arg)
{
    const struct batch *b = arg;
    bool nothing = __atomic_load_n(&b->count, __ATOMIC_SEQ_CST) == 0 && __atomic_load_n(&b->cancelled, __ATOMIC_SEQ_CST) == 0;
    for (size_t i = 0; nothing && i < b->n_members; i++)
        nothing = !b->members[i].under_way || b->members[i].call.state != CALL_DONE;
    return nothing;
}

/* Until half of what is under way has come back, or is due; nothing under way: a moment, the queue is full of others' calls. */
static void rest(struct batch *b)
{
    uint64_t until = b->expiry_ns;
    struct tool_wait w = {.lane = NULL};
    if (b->in_flight != 0 && !b->stuck && !tool_wait_begin(b->pool->host, b->pool, &w, nothing_came, b)) {
        b->stuck = true;
        return;
    }
    if (b->in_flight == 0) {
        until = pool_now(b->pool) + MS;
        until = until < b->deadline_ns ? until : b->deadline_ns;
    }
    uint32_t half = b->in_flight > 2 ? (uint32_t)b->in_flight / 2 : 1;
    __atomic_store_n(&b->wake_at, half, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&b->count, __ATOMIC_SEQ_CST) < half && !host_wait(b->pool->host, &b->word, 0, until) &&
        b->in_flight != 0)
        expire_running(b);
    tool_wait_end(b->pool, &w);
    __atomic_store_n(&b->wake_at, UINT32_MAX, __ATOMIC_SEQ_CST);
    __atomic_store_n(&b->word, 0, __ATOMIC_SEQ_CST);
}

static void run(struct batch *b)
{
    bool stopped = false, over = false;
    while (b->finished < b->source->n) {
        bool cancelled = b->stuck || __atomic_load_n(&b->cancelled, __ATOMIC_SEQ_CST) == CANCELLED;
        over = over || (b->deadline_ns != UINT64_MAX && pool_now(b->pool) >= b->deadline_ns);
        size_t n = collect(b);
        if (cancelled || over) {
            drop_rest(b, cancelled);
            if (cancelled && !stopped)
                cancel_running(b);
            stopped = stopped || cancelled;
        } else {
            prepare(b);
            if (b->now_ns >= b->expiry_ns)
                expire_running(b);
            n += hand_over(b);
        }
        if (n == 0 && b->finished < b->source->n)
            rest(b);
    }
    while (__atomic_load_n(&b->told, __ATOMIC_SEQ_CST) != 0)
        os_of(b)->futex_wait(&b->told, 1, pool_now(b->pool) + SHORT_WAIT_NS);
}

int batch_run(struct batch *b)
{
    const struct pool *p = b->pool;
    size_t most = (size_t)p->set.workers * p->set.lanes * MEMBERS_PER_LANE;
    most = most < MEMBERS_MAX ? most : MEMBERS_MAX;
    b->n_members = b->source->n < most ? b->source->n : most;
    b->members = mem_array(b->n_members, sizeof *b->members);
    b->ready = mem_array(READY_MAX, sizeof *b->ready);
    b->expiry_ns = UINT64_MAX;
    int rc = b->members != NULL && b->ready != NULL ? 0 : PIT_E_ALLOCATION_FAILED;
    for (size_t i = 0; rc == 0 && i < b->n_members; i++) {
        b->members[i].batch = b;
        b->members[i].next = b->idle;
        b->idle = &b->members[i];
    }
    if (rc == 0)
        run(b);
    mem_free(b->members);
    mem_free(b->ready);
    return rc;
}
