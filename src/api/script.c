/* pit_run_as_script: open, wait, run, close, and say how to leave.
 *
 * Invariants
 *  1. The library does not end the process and prints nothing: what is to be done it tells to the program's own function.
 *  2. Every way to the end passes leave(): the host is closed (or not, by stop_mode) before the program's exit function is called.
 *
 * Failure: what kept fn from running is told to `failed`, and the status is 1. */
#include <snakepit/runtime.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/script.h"

struct script {
    pit_script_options o;
    pit *p;
    const struct os_ops *os;
    bool opened, stops;
    int exit_mode, status;
    int64_t shutdown_ms, cleanup_ms, timeout_ms;
    uint64_t began_ns, left_ns, step_ns; /* of all, of the leaving, of its present step */
};

/* ---- telling ---- */

static void tell(struct script *s, enum event_id id, uint64_t since_ns, const char *cleanup_result)
{
    uint64_t now = s->os->now_ns();
    const double numbers[] = {(double)(now - since_ns) / 1e6};
    const char *texts[] = {script_exit_name(s->exit_mode), script_stop_name(s->o.stop_mode), s->opened ? "true" : "false",
                           s->status == 0 ? "0" : "1", cleanup_result};
    telemetry_emit(s->p->host->telemetry, id, NULL, numbers, texts);
    s->step_ns = now;
}

static void fail(struct script *s, pit_error *e)
{
    if (s->o.failed != NULL)
        s->o.failed(e, s->o.callback_user);
    pit_error_free(e);
    s->status = 1;
}

/* ---- options ---- */

static bool good_switch(int value)
{
    return value >= PIT_OFF && value <= PIT_ON;
}

static int read_options(const pit_script_options *given, struct script *s)
{
    pit_script_options o = PIT_SCRIPT_OPTIONS_INIT;
    int rc = given != NULL ? options_copy(&o, sizeof o, given) : 0;
    if (rc != 0)
        return rc;
    if (o.exit_mode < 0 || o.exit_mode > PIT_SCRIPT_EXIT_AUTO || o.stop_mode < 0 || o.stop_mode > PIT_SCRIPT_STOP_NEVER ||
        !good_switch(o.restart) || !good_switch(o.await_pool) || !good_switch(o.halt))
        return PIT_E_INVALID_PARAMETER;
    if (o.stop_mode == 0)
        o.stop_mode = PIT_SCRIPT_STOP_IF_STARTED;
    int64_t shutdown_fallback =
        o.options != NULL && o.options->size >= sizeof(pit_options) ? o.options->shutdown_timeout_ms : 0;
    if (!duration_read(o.timeout_ms, 15000, &s->timeout_ms) || !duration_read(o.cleanup_timeout_ms, 5000, &s->cleanup_ms) ||
        !duration_read(o.shutdown_timeout_ms != 0 ? o.shutdown_timeout_ms : shutdown_fallback, 15000, &s->shutdown_ms))
        return PIT_E_INVALID_TIMEOUT;
    s->o = o;
    return 0;
}

/* A bad variable is named where the program keeps its log, and where there is none because no host could be opened, in that error. */
static void name_bad(const struct script *s, pit_error *e, const char *name, const char *value, const char *allowed)
{
    if (s->p != NULL)
        log_line(&s->p->host->log, PIT_LOG_WARNING, "%s is '%.32s': it is %s", name, value, allowed);
    else if (e != NULL)
        error_suggest(e, "%s is '%.32s': it is %s", name, value, allowed);
}

/* e: why no host could be opened; NULL: there is one. */
static void choose(struct script *s, pit_error *e)
{
    const struct script_sources sources = {s->o.exit_mode, s->o.halt, getenv("SNAKEPIT_SCRIPT_EXIT"),
                                           getenv("SNAKEPIT_SCRIPT_HALT")};
    struct script_choice c = script_choose(&sources, s->opened);
    if (c.bad_exit)
        name_bad(s, e, "SNAKEPIT_SCRIPT_EXIT", sources.env_exit, "none, halt, stop or auto");
    if (c.bad_halt)
        name_bad(s, e, "SNAKEPIT_SCRIPT_HALT", sources.env_halt, "true or false");
    s->exit_mode = c.exit_mode;
    s->stops = script_stops(s->o.stop_mode, s->opened);
}

/* ---- the steps ---- */

static bool is_over(const pit *p)
{
    return __atomic_load_n(&p->host->closing, __ATOMIC_ACQUIRE);
}

/* The host that was given, unless it is over, or another one is wanted. */
static bool uses_given(const struct script *s)
{
    return s->o.host != NULL && s->o.restart != PIT_ON && (s->o.restart == PIT_OFF || !is_over(s->o.host));
}

static pit_error *open_own(struct script *s)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit_error *e = NULL;
    int rc = s->o.options != NULL ? options_copy(&o, sizeof o, s->o.options) : 0;
    if (rc != 0)
        return options_refused(rc, "pit_run_as_script", "PIT_OPTIONS_INIT");
    o.size = sizeof o;
    o.require_ready = PIT_OFF; /* timeout_ms says how long is waited */
    o.shutdown_timeout_ms = s->shutdown_ms == 0 ? PIT_NOW : s->shutdown_ms;
    s->opened = api_open_os(s->os, &o, &s->p, &e) == 0;
    return e;
}

static void run(struct script *s, int (*fn)(pit *p, void *user), void *user)
{
    pit_error *e = NULL;
    if (s->o.await_pool != PIT_OFF && pit_await_ready(s->p, NULL, s->timeout_ms, &e) != 0) {
        fail(s, e);
        return;
    }
    s->status = fn(s->p, user) != 0;
}

/* The host has ended and is about to be freed: the last moment in which anything can be told. */
static void on_ended(void *user, int survivors)
{
    struct script *s = user;
    const char *result = survivors == 0 ? "ok" : "timeout";
    tell(s, EVENT_SCRIPT_SHUTDOWN_CLEANUP, s->step_ns, result);
    tell(s, EVENT_SCRIPT_SHUTDOWN_EXIT, s->left_ns, result);
}

static void close_host(struct script *s)
{
    struct host *h = s->p->host;
    host_set_shutdown_time(h, s->shutdown_ms);
    pit_shutdown(s->p);
    tell(s, EVENT_SCRIPT_SHUTDOWN_STOP, s->step_ns, "pending");
    host_set_shutdown_time(h, s->cleanup_ms); /* of the second step: what is left is ended */
    host_on_ended(h, on_ended, s);
    pit_close(s->p);
    s->p = NULL;
}

static void leave(struct script *s)
{
    s->left_ns = s->os->now_ns();
    tell(s, EVENT_SCRIPT_SHUTDOWN_START, s->began_ns, s->stops ? "pending" : "skipped");
    if (s->stops)
        close_host(s);
    else
        tell(s, EVENT_SCRIPT_SHUTDOWN_EXIT, s->left_ns, "skipped");
}

int pit_run_as_script(int (*fn)(pit *p, void *user), void *user, const pit_script_options *options)
{
    struct script s = {.os = &os_linux};
    int rc = fn != NULL ? read_options(options, &s) : PIT_E_INVALID_PARAMETER;
    if (rc != 0)
        return rc;
    pit_error *e = NULL;
    s.began_ns = s.os->now_ns();
    if (uses_given(&s)) {
        rc = api_enter_blocking(s.o.host);
        if (rc != 0)
            return rc;
        api_leave(s.o.host);
        if (is_over(s.o.host))
            return PIT_E_SHUTTING_DOWN;
        s.p = s.o.host;
    } else {
        e = open_own(&s);
    }
    choose(&s, e);
    if (e != NULL)
        fail(&s, e);
    if (s.p != NULL) {
        run(&s, fn, user);
        leave(&s);
    }
    if (s.exit_mode != PIT_SCRIPT_EXIT_NONE && s.o.exit_fn != NULL)
        s.o.exit_fn(s.exit_mode, s.status, s.o.callback_user);
    return s.status;
}
