/* See start_mode.h. Failure modes: a template that cannot be had, is not safe or is lost: starts are execs; with PIT_START_ZYGOTE a pool that has no worker
 * yet fails with what the template said. */
#include "pool/start_mode.h"

#include <string.h>

#include "base/alloc.h"
#include "pool/pool_internal.h"

enum {
    FEW = 2 /* slots that do not wait for a template */,
    FEW_DELAY_MS = 1000,
    LEAST_HOLD_MS = 500,
    BATCH_DELAY_MS = 500,
    UNUSED_MS = 60000
};

static bool must_fork(const struct pool *p)
{
    return p->set.start_mode == PIT_START_ZYGOTE && p->set.adapter != NULL;
}

/* ---- which template ---- */

static struct zygote_key key_of(const struct pool *p)
{
    return (struct zygote_key){.argv = p->config.argv,
                               .env = p->config.env,
                               .cwd = p->config.cwd,
                               .preload = p->set.preload,
                               .canary_timeout_ms = p->set.canary_timeout_ms,
                               .ready_timeout_ms = p->set.worker_ready_timeout_ms,
                               .backs_off = p->set.restart.on};
}

static void on_changed(struct zygote *z);

static void on_unused(struct loop_timer *t)
{
    zygote_end(LIST_ENTRY(t, struct zygote, unused_timer));
}

static void free_ended(struct host *h)
{
    LIST_EACH_SAFE(node, next, &h->zygotes)
    {
        struct zygote *z = LIST_ENTRY(node, struct zygote, node);
        if (z->state != ZYGOTE_ENDED || z->running || z->users != 0)
            continue;
        list_remove(&z->node);
        zygote_free(z);
    }
}

static struct zygote *find(struct host *h, const struct zygote_key *key)
{
    LIST_EACH(node, &h->zygotes)
    {
        struct zygote *z = LIST_ENTRY(node, struct zygote, node);
        if (z->state != ZYGOTE_ENDED && zygote_matches(z, key))
            return z;
    }
    return NULL;
}

/* NULL: out of memory; the pool does without. */
static struct zygote *find_or_make(struct pool *p)
{
    struct host *h = p->host;
    struct zygote_key key = key_of(p);
    free_ended(h);
    struct zygote *z = find(h, &key);
    if (z == NULL) {
        z = zygote_create(p->env, &key, p->set.name, ++h->zygote_count);
        if (z == NULL)
            return NULL;
        z->owner = h;
        z->changed = on_changed;
        z->unused_timer.fn = on_unused;
        list_push_back(&h->zygotes, &z->node);
    }
    loop_timer_stop(h->loop, &z->unused_timer);
    z->users++;
    return z;
}

/* ---- what a pool does with it ---- */

static void copy(char *to, size_t size, const char *from)
{
    worker_clean(to, size, from, strlen(from));
}

/* What the statistics tell: whoever reads them is on no thread of ours. A template that is being made has told nothing yet. */
static void note(struct pool *p)
{
    const struct zygote *z = p->zygote;
    if (z != NULL && (z->state == ZYGOTE_IDLE || z->state == ZYGOTE_STARTING))
        return;
    pool_lock(p);
    p->unforked = z != NULL && (z->state == ZYGOTE_UNSAFE || z->state == ZYGOTE_LOST);
    if (p->unforked) {
        copy(p->unforked_reason, sizeof p->unforked_reason, z->facts.reason);
        copy(p->unforked_library, sizeof p->unforked_library, z->facts.library);
        copy(p->unforked_module, sizeof p->unforked_module, z->facts.module);
    }
    pool_unlock(p);
}

static pit_error *refusal(const struct pool *p)
{
    const struct zygote_facts *f = p->zygote != NULL ? &p->zygote->facts : NULL;
    const char *reason = f != NULL ? f->reason : zygote_reason_name(ZYGOTE_REASON_MEMORY), *remedy = zygote_remedy(reason);
    const char *text = f != NULL ? f->text : "out of memory";
    pit_error *e = error_new(PIT_E_START_FAILED, "pool %s: its workers cannot be forked from a template (%s): %s", p->set.name,
                             reason, text);
    error_detail_take(e, "reason", pit_str(reason));
    error_detail_take(e, "library", pit_str(f != NULL ? f->library : ""));
    error_detail_take(e, "module", pit_str(f != NULL ? f->module : ""));
    error_detail_take(e, "text", pit_str(text));
    error_pool(e, p->set.name);
    if (remedy != NULL)
        error_suggest(e, "%s", remedy);
    return error_suggest(e, "without start_mode they are started by exec where that is so");
}

/* start_mode says that there is no other way. A pool that has workers goes on with them. */
static void refuse(struct pool *p)
{
    if (pool_ready_workers(p) != 0) {
        log_line(p->env->log, PIT_LOG_ERROR, "pool %s: workers that end are not replaced: start_mode is zygote, and %s",
                 p->set.name, p->zygote != NULL ? p->zygote->facts.text : "there is no memory");
        return;
    }
    pool_fail(p, refusal(p));
}

static void begin(struct pool *p)
{
    if (p->zygote == NULL)
        p->zygote = find_or_make(p);
    note(p);
    if (p->zygote != NULL && p->zygote->state == ZYGOTE_IDLE)
        zygote_start(p->zygote);
}

static void release(struct pool *p)
{
    p->held = false;
    loop_timer_stop(p->env->loop, &p->zygote_timer);
    life_start_rest(p);
}

/* The pool has waited long enough, or has lived long enough. */
static void on_zygote_timer(struct loop_timer *t)
{
    struct pool *p = LIST_ENTRY(t, struct pool, zygote_timer);
    if (pool_is_ending(p))
        return;
    if (p->held)
        release(p);
    begin(p);
}

static void changed(struct pool *p)
{
    const struct zygote *z = p->zygote;
    if (pool_is_ending(p) || z->state == ZYGOTE_STARTING || z->state == ZYGOTE_ENDED)
        return;
    if (p->held && (!must_fork(p) || zygote_can_fork(z)))
        release(p);
    if (!must_fork(p))
        return;
    if (zygote_can_fork(z))
        pool_guard_back(p);
    else if (z->state != ZYGOTE_READY && (z->state == ZYGOTE_UNSAFE || p->state == POOL_STARTING))
        refuse(p);
}

static void on_changed(struct zygote *z)
{
    struct host *h = z->owner;
    LIST_EACH(node, &h->pools)
    {
        struct pool *p = LIST_ENTRY(node, struct pool, node);
        if (p->zygote != z)
            continue;
        note(p);
        changed(p);
    }
}

void start_mode_init(struct pool *p)
{
    p->zygote_timer.fn = on_zygote_timer;
}

void start_mode_open(struct pool *p)
{
    if (p->set.adapter == NULL || p->set.start_mode == PIT_START_EXEC)
        return;
    struct zygote_key key = key_of(p);
    bool warm = find(p->host, &key) != NULL;
    if (!warm && !must_fork(p) && p->n_slots <= FEW) {
        loop_timer_set(p->env->loop, &p->zygote_timer, pool_now(p) + FEW_DELAY_MS * MS);
        return;
    }
    begin(p);
    if (must_fork(p) && (p->zygote == NULL || p->zygote->state == ZYGOTE_UNSAFE || p->zygote->state == ZYGOTE_LOST))
        refuse(p);
}

void start_mode_close(struct pool *p)
{
    struct zygote *z = p->zygote;
    loop_timer_stop(p->env->loop, &p->zygote_timer);
    p->zygote = NULL;
    note(p);
    if (z != NULL && --z->users == 0)
        loop_timer_set(p->env->loop, &z->unused_timer, pool_now(p) + UNUSED_MS * MS);
}

int start_mode_batch(struct pool *p)
{
    bool awaited = p->zygote != NULL && p->zygote->state == ZYGOTE_STARTING && !p->held_enough;
    if (pool_has_adapter(p) || zygote_can_fork(p->zygote))
        return p->n_slots; /* a thread is made in no time; the guard takes them as fast as it can */
    if (must_fork(p)) {
        p->held = true;
        return 0;
    }
    if (!awaited || p->n_slots <= FEW)
        return p->set.startup_batch_size;
    p->held = p->started != 0;
    return p->held ? 0 : 1;
}

int64_t start_mode_batch_delay_ms(const struct pool *p)
{
    if (p->set.startup_batch_delay_ms >= 0)
        return p->set.startup_batch_delay_ms;
    bool at_once = zygote_can_fork(p->zygote) || (p->zygote != NULL && p->zygote->state == ZYGOTE_STARTING && p->started == 1);
    return at_once ? 0 : BATCH_DELAY_MS;
}

bool start_mode_may_start(const struct pool *p)
{
    return !must_fork(p) || zygote_can_fork(p->zygote);
}

void start_mode_choose(struct pool *p, struct worker *w)
{
    w->must_fork = must_fork(p);
    w->zygote = zygote_can_fork(p->zygote) ? p->zygote : NULL;
}

void start_mode_first(struct pool *p, bool ready)
{
    if (!p->held || p->held_enough || must_fork(p))
        return;
    p->held_enough = true;
    uint64_t now = pool_now(p), took = now - p->opened_ns;
    if (!ready) /* the others shall say so too, or do better */
        release(p);
    else
        loop_timer_set(p->env->loop, &p->zygote_timer, now + (took > LEAST_HOLD_MS * MS ? took : LEAST_HOLD_MS * MS));
}

pit_value *start_mode_describe(const struct pool *p)
{
    const struct zygote *z = p->zygote;
    if (z == NULL)
        return pit_pack("{s:s}", "state", p->set.start_mode == PIT_START_EXEC || p->set.adapter == NULL ? "off" : "idle");
    const struct zygote_facts *f = &z->facts;
    const char *remedy = zygote_remedy(f->reason);
    return pit_pack("{s:s,s:s,s:i,s:U,s:I,s:I,s:I,s:f,s:s,s:s,s:s,s:s,s:s}", "state", zygote_state_name(z->state), "id", z->id,
                    "pid", (int)z->pid, "forks", z->forks, "threads", f->threads, "modules", f->modules, "rss_bytes",
                    f->rss_bytes, "prepare_ms", f->prepare_ms, "reason", f->reason, "library", f->library, "module", f->module,
                    "text", f->text, "remedy", remedy != NULL ? remedy : "");
}

/* ---- the templates of a host ---- */

void zygotes_guard_lost(struct host *h)
{
    LIST_EACH(node, &h->zygotes)
    zygote_guard_lost(LIST_ENTRY(node, struct zygote, node));
}

/* Those that were lost have their timer. */
void zygotes_guard_back(struct host *h)
{
    LIST_EACH(node, &h->zygotes)
    {
        struct zygote *z = LIST_ENTRY(node, struct zygote, node);
        if (z->users != 0 && !loop_timer_armed(&z->again_timer))
            zygote_start(z);
    }
}

void zygotes_end(struct host *h)
{
    LIST_EACH(node, &h->zygotes)
    zygote_end(LIST_ENTRY(node, struct zygote, node));
}

void zygotes_free(struct host *h)
{
    LIST_EACH_SAFE(node, next, &h->zygotes)
    {
        struct zygote *z = LIST_ENTRY(node, struct zygote, node);
        list_remove(&z->node);
        zygote_free(z);
    }
}
