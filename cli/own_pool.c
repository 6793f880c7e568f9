/* A pool that lives as long as one command.
 *
 * Invariants:
 *  1. The library is driven by this thread (PIT_DRIVE_HOST): one poll() sees its descriptor and the signals, so that Ctrl-C ends a
 *     call in whatever state the pool is, also while its worker still starts.
 *  2. The deadline is the call's own, absolute: the start of the pool, the wait for a worker and the call use it up together. The pool
 *     has no queue time-out of its own.
 *  3. One failed start ends the wait at once, with the cause.
 * Failure modes: own_pool_close() always ends the workers; should the program itself be killed, the guard does. */
#include "cli.h"

#include <errno.h>
#include <poll.h>

/* Waited for at the end: a call that was given up and is on its way out (the ladder: 700 ms up to the kill); then the end of the workers. */
enum { LADDER_MS = 2000, STOP_GRACE_MS = 2000 };

static void log_line(int level, const char *text, void *user)
{
    static const char *const names[] = {"", "debug", "info", "warning", "error"};

    (void)user;
    flockfile(stderr); /* the thread that calls and the loop both tell */
    fprintf(stderr, "%s: ", level >= PIT_LOG_DEBUG && level <= PIT_LOG_ERROR ? names[level] : "log");
    print_text(stderr, text);
    fputc('\n', stderr);
    funlockfile(stderr);
}

/* Without --verbose: what the library has to say of its surroundings while it opens (no place for its registry, say). Later warnings are
 * about the call, whose error tells more. */
static void warning_of_opening(int level, const char *text, void *user)
{
    const struct own_pool *pool = user;

    if (pool->p == NULL)
        log_line(level, text, NULL);
}

/* The error of a crash then has no line on how to look at it: why not. */
static int loss_line(const pit_event *ev, void *user)
{
    const char *dir = pit_event_text(ev, "dir"), *reason = pit_event_text(ev, "reason");
    char text[4400];

    (void)snprintf(text, sizeof text, "what is known of the crash could not be kept in %s: %s", dir != NULL ? dir : "?",
                   reason != NULL ? reason : "?");
    log_line(PIT_LOG_WARNING, text, user);
    return 0;
}

/* Every event with its time since the opening: what happened when, for who looks for the milliseconds or for what went wrong. */
static int event_line(const pit_event *ev, void *user)
{
    const struct own_pool *pool = user;
    uint64_t at = pit_event_timestamp_ns(ev);
    char *text = pit_event_json(ev);

    flockfile(stderr);
    fprintf(stderr, "%9.1f ms  ", at > pool->opened_ns ? (double)(at - pool->opened_ns) / 1e6 : 0.0);
    print_text(stderr, text != NULL ? text : pit_event_name(ev));
    fputc('\n', stderr);
    funlockfile(stderr);
    pit_free(text);
    return 0;
}

int own_pool_open(struct own_pool *pool, const struct own_pool_options *o, struct interrupt *in, pit_error **reterr)
{
    pit_pool_options po = PIT_POOL_OPTIONS_INIT;
    pit_options options = PIT_OPTIONS_INIT;
    const pit_pool_options *const pools[] = {&po};

    po.name = o->name != NULL ? o->name : "default";
    po.adapter = o->adapter;
    po.command = o->command;
    po.workers = o->workers > 0 ? o->workers : 1;
    po.python = o->python;
    po.env = o->env;
    po.start_mode = o->start_mode != 0 ? o->start_mode : PIT_START_EXEC;
    po.queue_timeout_ms = PIT_INFINITE;
    po.graceful_shutdown_timeout_ms = STOP_GRACE_MS;
    options.pools = pools;
    options.n_pools = 1;
    options.drive = PIT_DRIVE_HOST;
    options.require_ready = PIT_OFF;
    options.drain_timeout_ms = LADDER_MS;
    if (o->verbose) {
        options.log = log_line;
        options.log_level = PIT_LOG_DEBUG;
    } else if (o->log != NULL) {
        options.log = o->log;
        options.log_user = o->log_user;
        options.log_level = PIT_LOG_INFO;
    } else {
        options.log = warning_of_opening;
        options.log_user = pool;
        options.log_level = PIT_LOG_WARNING;
    }
    pool->p = NULL;
    pool->in = in;
    pool->opened_ns = pit_now_ns();
    int rc = pit_open(&options, &pool->p, reterr);
    if (rc == 0 && o->verbose)
        rc = pit_telemetry_attach(pool->p, "*", event_line, pool, NULL, reterr);
    else if (rc == 0 && o->tell_losses)
        rc = pit_telemetry_attach(pool->p, "snakepit.worker.dossier_lost", loss_line, NULL, NULL, reterr);
    return rc;
}

/* Lets the library work until it has something new to say or a signal came. */
static int turn(struct own_pool *pool, uint64_t deadline_ns)
{
    struct pollfd fds[2] = {{pit_fd(pool->p), POLLIN, 0}, {pool->in->fd, POLLIN, 0}};
    int timeout = pit_timeout(pool->p);

    if (deadline_ns != 0) {
        uint64_t now = pit_now_ns();
        uint64_t left_ms = now >= deadline_ns ? 0 : (deadline_ns - now + 999999) / 1000000;
        if (timeout < 0 || (uint64_t)timeout > left_ms)
            timeout = left_ms > 3600000 ? 3600000 : (int)left_ms;
    }
    if (poll(fds, 2, timeout) < 0 && errno != EINTR)
        return PIT_E_SYSTEM_ERROR;
    if (interrupt_check(pool->in) != 0)
        return PIT_E_CANCELLED;
    return pit_dispatch(pool->p);
}

/* 0: a worker is ready; PIT_E_NOT_READY: not yet; else why there will be none. */
static int look_ready(struct own_pool *pool, pit_error **reterr)
{
    int rc = pit_await_ready(pool->p, NULL, 0, reterr);

    if (rc == PIT_E_NOT_READY && reterr != NULL) {
        pit_error_free(*reterr);
        *reterr = NULL;
    }
    return rc;
}

int own_pool_await(struct own_pool *pool, uint64_t deadline_ns, pit_error **reterr)
{
    int rc = look_ready(pool, reterr);

    while (rc == PIT_E_NOT_READY) {
        int turned = turn(pool, deadline_ns);
        if (turned != 0)
            return turned;
        rc = look_ready(pool, reterr);
        if (rc == PIT_E_NOT_READY && deadline_ns != 0 && pit_now_ns() >= deadline_ns)
            return PIT_E_START_TIMEOUT;
    }
    return rc;
}

/* Without a deadline of its own a call has the one that its tool declares, and a pool knows that once a worker is ready. */
static int await_if_asked(struct own_pool *pool, const pit_call_options *o, pit_error **reterr)
{
    return o->deadline_ns == 0 && o->timeout_ms == 0 ? own_pool_await(pool, 0, reterr) : 0;
}

/* Works until the future (taken; NULL if rc is not 0) has its outcome. */
static int carry(struct own_pool *pool, pit_future *future, int rc, pit_value **ret, pit_error **reterr)
{
    bool ready = false;

    while (rc == 0 && (rc = pit_future_result(future, ret, reterr)) == PIT_E_PENDING) {
        if (reterr != NULL) {
            pit_error_free(*reterr);
            *reterr = NULL;
        }
        rc = ready ? 0 : look_ready(pool, reterr);
        ready = rc == 0;
        if (rc == PIT_E_NOT_READY || rc == 0)
            rc = turn(pool, 0); /* the library watches the call's deadline itself */
        if (rc == PIT_E_CANCELLED)
            (void)pit_future_cancel(future, interrupt_name(pool->in->signal));
    }
    pit_future_free(future);
    return rc;
}

int own_pool_call(struct own_pool *pool, const char *command, const pit_value *args, const pit_call_options *o, pit_value **ret,
                  pit_error **reterr)
{
    pit_future *future = NULL;
    int rc = await_if_asked(pool, o, reterr);

    if (rc == 0)
        rc = pit_submit(pool->p, command, args, o, &future, reterr);
    return carry(pool, future, rc, ret, reterr);
}

int own_pool_stream(struct own_pool *pool, const char *command, const pit_value *args, const pit_call_options *o,
                    pit_stream_fn fn, void *user, pit_error **reterr)
{
    pit_future *future = NULL;
    int rc = await_if_asked(pool, o, reterr);

    if (rc == 0)
        rc = pit_submit_stream(pool->p, command, args, o, fn, user, &future, reterr);
    return carry(pool, future, rc, NULL, reterr);
}

int own_pool_close(struct own_pool *pool)
{
    int rc = pit_close(pool->p);

    pool->p = NULL;
    return rc;
}
