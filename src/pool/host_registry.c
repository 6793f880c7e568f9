/* See host.h. This file: the host's registry on disk, and the sweep after dead hosts.
 *
 * The opener sweeps before anything is started, so what a killed predecessor has left is gone when pit_open returns. Later a thread does, from
 * time to time: a sweep reads files and /proc and waits for deaths, none of which the loop may do.
 *
 * Failure: a place that was named and cannot be used is an error of pit_open; the usual place (a home that is read-only, or none at all) only
 * costs the registry, which is said once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pool/pool_internal.h"
#include "registry/registry.h"

enum { RUN_IDS = 16 /* tries for one that no other host of this second has */ };

static void tell_found(void *user, const struct registry_found *f)
{
    struct host *h = user;
    char survivors[16];
    snprintf(survivors, sizeof survivors, "%u", f->survivors);
    const char *texts[] = {f->run_id, survivors};
    double duration_ms = (double)f->duration_ns / 1e6;
    if (f->orphans > 0) {
        log_line(&h->log, PIT_LOG_WARNING, "host %d (run %s) had died and left %u processes: killed, %u of them still alive",
                 (int)f->host, f->run_id, f->orphans, f->survivors);
        telemetry_emit(h->telemetry, EVENT_CLEANUP_ORPHANS_FOUND, NULL, (const double[]){f->orphans, duration_ms}, texts);
    }
    if (f->damaged) {
        log_line(&h->log, PIT_LOG_WARNING, "the registry file of run %s was damaged after %u rows, and has been put aside",
                 f->run_id, f->rows);
        telemetry_emit(h->telemetry, EVENT_CLEANUP_REGISTRY_REBUILT, NULL, (const double[]){f->rows, duration_ms}, texts);
    }
}

static void *sweep_thread(void *arg)
{
    struct host *h = arg;
    registry_sweep(h->registry, tell_found, h, &h->sweep_stop);
    __atomic_store_n(&h->sweep_over, true, __ATOMIC_RELEASE);
    return NULL;
}

/* A file that cannot be written is said once; that it is whole again, too. */
static void tend(struct host *h)
{
    int error = registry_error(h->registry);
    uint64_t began = h->os->now_ns();
    if (error != 0 && !h->registry_told)
        log_line(&h->log, PIT_LOG_WARNING, "the registry in %s cannot be written (%s): orphans of this host would not be found",
                 h->set.data_dir, strerror(error));
    h->registry_told = error != 0;
    int rows = registry_tend(h->registry);
    if (rows < 0)
        return;
    h->registry_told = false;
    log_line(&h->log, PIT_LOG_WARNING, "the registry in %s is whole again", h->set.data_dir);
    const double numbers[] = {rows, (double)(h->os->now_ns() - began) / 1e6};
    const char *texts[] = {h->run_id, "0"};
    telemetry_emit(h->telemetry, EVENT_CLEANUP_REGISTRY_REBUILT, NULL, numbers, texts);
}

static void join_sweeper(struct host *h)
{
    if (h->sweeping)
        pthread_join(h->sweeper, NULL);
    h->sweeping = h->sweep_over = false;
}

static void set_timer(struct host *h)
{
    if (h->set.registry_sweep_interval_ms != PIT_INFINITE)
        loop_timer_set(h->loop, &h->registry_timer, host_deadline(h, h->set.registry_sweep_interval_ms));
}

static void on_registry_timer(struct loop_timer *t)
{
    struct host *h = LIST_ENTRY(t, struct host, registry_timer);
    tend(h);
    if (h->sweeping && __atomic_load_n(&h->sweep_over, __ATOMIC_ACQUIRE))
        join_sweeper(h);
    if (!h->sweeping)
        h->sweeping = h->os->thread_start(&h->sweeper, sweep_thread, h) == 0;
    set_timer(h);
}

/* 0, or -errno and the call. */
static int open_and_sweep(struct host *h, const char *above, const char **ret_call)
{
    int rc = registry_open(h->os, h->set.data_dir, h->set.instance, h->set.instance_token, &h->registry, ret_call);
    if (rc != 0)
        return rc;
    registry_sweep(h->registry, tell_found, h, NULL);
    registry_set_group(h->registry, above);
    *ret_call = "write";
    rc = registry_begin(h->registry, h->run_id);
    for (int i = 0; rc == -EEXIST && i < RUN_IDS; i++) {
        host_make_run_id(h);
        rc = registry_begin(h->registry, h->run_id);
    }
    if (rc == 0)
        return 0;
    registry_close(h->registry);
    h->registry = NULL;
    return rc;
}

static pit_error *refused(const struct host *h, int error, const char *call)
{
    pit_error *e = error_new(PIT_E_SYSTEM_ERROR, "%s is %s, which cannot hold the registry: %s: %s", h->set.data_from,
                             h->set.data_dir, call, strerror(error));
    error_detail_take(e, "errno", pit_int(error));
    error_detail_take(e, "call", pit_str(call));
    if (error == EPERM)
        return error_suggest(e, "the folder must belong to this user, and nobody else may write it");
    return error_suggest(e, "name a folder that this user may write, or leave it unset");
}

pit_error *host_registry_open(struct host *h, const char *above)
{
    const char *call = "";
    h->registry_timer.fn = on_registry_timer;
    if (h->set.data_dir == NULL) {
        log_line(&h->log, PIT_LOG_WARNING, "no registry is kept: neither HOME nor SNAKEPIT_DATA_DIR names a place");
        return NULL;
    }
    int rc = open_and_sweep(h, above, &call);
    if (rc == -ENOMEM)
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while the registry was opened");
    if (rc != 0 && h->set.data_from != NULL)
        return refused(h, -rc, call);
    if (rc != 0) {
        log_line(&h->log, PIT_LOG_WARNING, "no registry is kept in %s: %s: %s", h->set.data_dir, call, strerror(-rc));
        return NULL;
    }
    log_line(&h->log, PIT_LOG_INFO, "the registry is kept in %s", h->set.data_dir);
    h->env.registry = h->registry;
    set_timer(h);
    return NULL;
}

void host_registry_close(struct host *h)
{
    __atomic_store_n(&h->sweep_stop, true, __ATOMIC_RELEASE);
    join_sweeper(h);
    registry_close(h->registry);
    h->registry = h->env.registry = NULL;
}
