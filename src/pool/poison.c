/* See poison.h.
 *
 * Failure: without memory for the table, or for what is remembered of a death, calls are not refused, or say less of why. */
#include "pool/poison.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "fault/poison.h"
#include "pool/poison_facts.h"
#include "pool/pool_internal.h"
#include "worker/call_digest.h"

_Static_assert((int)POISON_DIGEST == (int)SHA256_BYTES, "the digest is SHA-256");
enum { COMMAND_TEXT = 64, HEX = 2 * SHA256_BYTES + 1 };

struct poison_store {
    struct poison_table table;
    struct memory {
        pit_value *deaths[POISON_CRASHES]; /* of an entry: the latest, oldest first; NULL at the end */
        char command[COMMAND_TEXT];
        bool untold;
    } of[POISON_ENTRIES];
};

static void forget(struct memory *m)
{
    for (unsigned i = 0; i < POISON_CRASHES; i++)
        pit_value_free(m->deaths[i]);
    *m = (struct memory){0};
}

static void put_hex(char to[HEX], const uint8_t digest[SHA256_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SHA256_BYTES; i++) {
        to[2 * i] = digits[digest[i] >> 4];
        to[2 * i + 1] = digits[digest[i] & 15];
    }
    to[HEX - 1] = '\0';
}

/* ---- deaths ---- */

/* Has this call ended its worker? Not when that came from outside, nobody knows, or it was at other calls too. A worker without a report of
 * the signal (its handler did not run, or there is no page) has died of a fault of its own, as its class says. */
static bool has_killed(const struct lane *l, const struct call *c)
{
    const struct worker *w = l->worker;
    return w->at_work == 1 && l->died_at == c->sequence && !w->sent && w->exit_class != EXIT_KILLED &&
           w->exit_class != EXIT_SIGNAL && w->exit_class != EXIT_UNKNOWN && w->exit_class != EXIT_NORMAL;
}

/* Of so many deaths, which are as many as it takes. */
static void remember(struct memory *m, unsigned most, pit_value *facts)
{
    unsigned n = 0;
    while (n < most && m->deaths[n] != NULL)
        n++;
    if (n == most) {
        pit_value_free(m->deaths[0]);
        memmove(m->deaths, m->deaths + 1, (most - 1) * sizeof *m->deaths);
        n--;
    }
    m->deaths[n] = facts;
}

/* The same calls that wait end now. */
static void sweep(struct pool *p, struct list *waiting)
{
    LIST_EACH_SAFE(node, next, waiting)
    {
        struct call *c = LIST_ENTRY(node, struct call, node);
        pit_error *e = poison_refuse(p, c);
        if (e == NULL)
            continue;
        sched_forget(p, c);
        if (c->waited_for) {
            sched_finish(p, c, outcome_failed(e));
            sched_wake(p, c);
        } else {
            poison_drop(p, c, e);
        }
    }
}

static void prune(struct pool *p)
{
    struct poison_store *s = p->poison.store;
    uint64_t freed = poison_prune(&s->table, &p->set.poison, pool_now(p));
    for (unsigned i = 0; freed != 0; i++, freed >>= 1)
        if ((freed & 1) != 0)
            forget(&s->of[i]);
    p->poison.bad = s->table.bad != 0;
}

bool poison_death(struct pool *p, const struct lane *l, const struct call *c, const pit_error *e)
{
    struct poison_store *s = p->poison.store;
    uint8_t digest[SHA256_BYTES];
    size_t n;
    bool is_new;
    if (!p->set.poison.on || !has_killed(l, c))
        return false;
    if (s == NULL)
        s = p->poison.store = mem_zalloc(sizeof *s);
    if (s == NULL)
        return false;
    prune(p);
    call_digest(c, &p->env->digest_key, digest);
    const uint8_t *content = call_content(c, &n);
    const uint64_t before = s->table.bad;
    unsigned place = poison_note(&s->table, &p->set.poison, pool_now(p), content, n, digest, &is_new);
    if (is_new)
        forget(&s->of[place]);
    snprintf(s->of[place].command, COMMAND_TEXT, "%s", c->command);
    remember(&s->of[place], p->set.poison.crashes, poison_facts(l->worker->id, e));
    p->poison.bad = s->table.bad != 0;
    bool bad = (s->table.bad >> place & 1) != 0, known = !is_new && (before >> place & 1) != 0;
    if (!bad || known)
        return bad;
    s->of[place].untold = true;
    loop_post(p->env->loop, &p->poison.work);
    for (int i = 0; i <= PIT_PRIORITY_URGENT; i++)
        sweep(p, &p->queue.lists[i]);
    sweep(p, &p->barrier.waiting);
    return true;
}

/* ---- refusals ---- */

static pit_error *refusal(struct pool *p, unsigned place, struct call *c)
{
    const struct memory *m = &p->poison.store->of[place];
    const struct poison_entry *entry = &p->poison.store->table.entries[place];
    char hex[HEX];
    put_hex(hex, entry->digest);
    pit_error *e =
        error_new(PIT_E_POISON_CALL, "the call of %s with these arguments has killed %u workers and is not run again",
                  c->command, entry->n_deaths);
    error_pool(e, p->set.name);
    error_correlation(e, pool_correlation(p, c));
    error_detail_take(e, "command", pit_str(c->command));
    error_detail_take(e, "digest", pit_str(hex));
    pit_value *deaths = pit_list();
    for (unsigned i = 0; i < POISON_CRASHES && m->deaths[i] != NULL; i++)
        pit_list_append_take(deaths, pit_value_ref(m->deaths[i]));
    error_detail_take(e, "crashes", deaths);
    repro_put(&p->config.repro, c, e);
    return error_suggest(e, "what do its workers die of? `crashes` in the details tells; pit_poison_clear allows it again");
}

static bool is_over(struct pool *p, const struct poison_entry *e)
{
    return pool_now(p) - e->deaths[e->n_deaths - 1] > p->set.poison.ttl_ns;
}

pit_error *poison_refuse(struct pool *p, struct call *c)
{
    const struct poison_table *t = &p->poison.store->table;
    uint8_t digest[SHA256_BYTES];
    bool digested = false;
    size_t n;
    const uint8_t *content = call_content(c, &n);
    for (int i = -1; content != NULL && (i = poison_candidate(t, (unsigned)(i + 1), content, n)) >= 0;) {
        if (!digested)
            call_digest(c, &p->env->digest_key, digest);
        digested = true;
        if (memcmp(digest, t->entries[i].digest, sizeof digest) != 0)
            continue;
        if (is_over(p, &t->entries[i])) {
            prune(p);
            return NULL;
        }
        p->poison.refused++;
        return refusal(p, (unsigned)i, c);
    }
    return NULL;
}

void poison_drop(struct pool *p, struct call *c, pit_error *e)
{
    async_complete(p, c, outcome_failed(e), &p->poison.done);
    loop_post(p->env->loop, &p->poison.work);
}

void poison_clear(struct pool *p)
{
    pool_lock(p);
    struct poison_store *s = p->poison.store;
    p->poison.store = NULL;
    p->poison.bad = false;
    pool_unlock(p);
    for (unsigned i = 0; s != NULL && i < POISON_ENTRIES; i++)
        forget(&s->of[i]);
    mem_free(s);
}

/* ---- telling: loop ---- */

static bool take_untold(struct pool *p, char command[COMMAND_TEXT], char hex[HEX], double *ret_crashes)
{
    bool found = false;
    pool_lock(p);
    struct poison_store *s = p->poison.store;
    for (unsigned i = 0; s != NULL && i < POISON_ENTRIES && !found; i++) {
        if (!s->of[i].untold)
            continue;
        found = true;
        s->of[i].untold = false;
        *ret_crashes = s->table.entries[i].n_deaths;
        memcpy(command, s->of[i].command, COMMAND_TEXT);
        put_hex(hex, s->table.entries[i].digest);
    }
    pool_unlock(p);
    return found;
}

static void on_work(struct loop_work *w)
{
    struct pool *p = LIST_ENTRY(w, struct pool, poison.work);
    struct list done, *node;
    char command[COMMAND_TEXT], hex[HEX];
    double crashes;
    list_init(&done);
    pool_lock(p);
    while ((node = list_pop_front(&p->poison.done)) != NULL)
        list_push_back(&done, node);
    pool_unlock(p);
    async_deliver(p, &done);
    while (take_untold(p, command, hex, &crashes)) {
        struct event_common common = {.pool = p->set.name};
        const char *texts[] = {command, hex};
        log_line(p->env->log, PIT_LOG_WARNING,
                 "pool %s: a call of %s has killed %.0f workers and is refused from now on (%.16s)", p->set.name, command,
                 crashes, hex);
        telemetry_emit(p->env->telemetry, EVENT_CALL_POISONED, &common, &crashes, texts);
    }
}

void poison_init(struct pool *p)
{
    list_init(&p->poison.done);
    p->poison.work.fn = on_work;
}

void poison_finish(struct pool *p)
{
    poison_clear(p);
}
