/* See pool_internal.h. The dossiers of a host on disk (crash/store.h).
 *
 * Failure: what cannot be written is lost: one warning and one event for each time that a folder stops taking them. No call notices. */
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "crash/store.h"
#include "pool/pool_internal.h"

enum { CLOSE_MS = 2000, LATER_MS = 20 /* when the successor is there: until then every CPU is for it and for the callers */ };

/* On the writing thread. */
static void on_lost(void *user, const struct crash_loss *l)
{
    struct host *h = user;
    const double numbers[] = {(double)l->count};
    const char *texts[] = {l->id, l->dir, l->reason};
    log_line(&h->log, PIT_LOG_WARNING, "%llu dossier%s (%s) could not be kept in %s: %s", (unsigned long long)l->count,
             l->count == 1 ? "" : "s, the last one", l->id, l->dir, l->reason);
    telemetry_emit(h->telemetry, EVENT_WORKER_DOSSIER_LOST, NULL, numbers, texts);
}

/* On the loop. */
static void on_waiting(void *user)
{
    struct host *h = user;
    if (!loop_timer_armed(&h->crashes_timer))
        loop_timer_set(h->loop, &h->crashes_timer, host_deadline(h, LATER_MS));
}

static const struct crash_store_events events = {on_waiting, on_lost};

static void on_timer(struct loop_timer *t)
{
    crash_store_write(LIST_ENTRY(t, struct host, crashes_timer)->crashes);
}

pit_error *host_crashes_open(struct host *h)
{
    struct buf b = {0};
    h->crashes_timer.fn = on_timer;
    h->crashes = crash_store_create(h->os, &events, h);
    if (h->set.data_dir != NULL)
        buf_printf(&b, "%s/crashes", h->set.data_dir);
    h->crashes_dir = b.len != 0 ? buf_take_str(&b) : NULL;
    buf_finish(&b);
    if (h->crashes == NULL || (h->set.data_dir != NULL && h->crashes_dir == NULL))
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while the host was opened");
    h->env.crashes = h->crashes;
    h->env.crashes_dir = h->crashes_dir;
    h->env.crashes_found = h->set.data_from == NULL;
    return NULL;
}

void host_try_crashes(struct host *h, const struct pool *p)
{
    const struct dossier_rules *r = &p->set.dossier;
    const char *dir = r->dir != NULL ? r->dir : h->crashes_dir;
    if (r->enabled && r->max_bytes != 0)
        crash_store_try(h->crashes, (struct crash_place){dir, r->max_bytes}, h->run_id);
}

void host_crashes_close(struct host *h)
{
    crash_store_close(h->crashes, host_deadline(h, CLOSE_MS));
    mem_free(h->crashes_dir);
    h->crashes = NULL;
    h->crashes_dir = NULL;
}

void host_keep_dossier(struct pool *p, const struct worker *w)
{
    if (w->dossier != NULL)
        crash_store_put(p->host->crashes, dossier_place(w), w->dossier);
}
