/* See worker.h. This file: making the descriptors and the shared segment of a worker, and asking the guard to spawn it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "worker/inproc.h"
#include "worker/look.h"
#include "worker/worker_internal.h"
#include "worker/zygote.h"

struct worker *worker_create(const struct worker_env *env, const struct worker_config *config,
                             const struct worker_events *events, void *pool, int slot, uint64_t generation)
{
    struct worker *w = mem_zalloc(sizeof *w);
    if (w == NULL)
        return NULL;
    w->env = env;
    w->config = config;
    w->events = events;
    w->pool = pool;
    w->slot = slot;
    w->generation = generation;
    w->started_ns = env->os->now_ns();
    w->state = PIT_WORKER_STARTING;
    w->refs = 1;
    w->pidfd = w->control_fd = w->segment_fd = -1;
    for (int i = 0; i < 3; i++)
        w->child_fds[i] = -1;
    snprintf(w->id, sizeof w->id, "%s/%d.%llu", config->pool, slot, (unsigned long long)generation);
    worker_init_hooks(w);
    return w;
}

static void close_fd(struct worker *w, int *fd)
{
    if (*fd >= 0)
        w->env->os->close(*fd);
    *fd = -1;
}

static int open_segment(struct worker *w)
{
    const struct os_ops *os = w->env->os;
    size_t lanes_bytes = segment_bytes(w->config->lanes, w->config->ring_bytes);
    size_t look_at = lanes_bytes + dossier_segment_bytes(&w->config->dossier), recorder_at = look_at + LOOK_PAGE_BYTES, ready;
    w->segment_bytes = recorder_at + recorder_segment_bytes(&w->env->recorder, w->config->lanes, &ready);
    int rc = os->random(w->secret, sizeof w->secret);
    if (rc == 0)
        rc = os->segment_create("snakepit", w->segment_bytes, recorder_at + ready, &w->segment, &w->segment_fd);
    if (rc != 0)
        return rc;
    segment_init(w->segment, w->config->lanes, w->config->ring_bytes, w->secret);
    dossier_offer_page(&w->config->dossier, w->segment, lanes_bytes);
    look_offer_page(w->segment, look_at);
    recorder_offer(w, recorder_at);
    recorder_inherit(w, w->inherits != NULL ? *w->inherits : NULL);
    return 0;
}

int worker_open_pair(const struct os_ops *os, int ret_fds[2])
{
    int fds[2];
    int rc = os->socketpair(fds);
    if (rc != 0)
        return rc;
    rc = os->refuse_fds(fds[0]); /* a socket that lingers, say, would be closed by our loop, for minutes */
    if (rc != 0) {
        os->close(fds[0]);
        os->close(fds[1]);
        return rc;
    }
    memcpy(ret_fds, fds, sizeof fds);
    return 0;
}

static int open_control(struct worker *w)
{
    int fds[2];
    int rc = worker_open_pair(w->env->os, fds);
    if (rc != 0)
        return rc;
    w->control_fd = fds[0];
    w->child_fds[0] = fds[1];
    w->control = channel_socket_create(w->env->os, w->control_fd, w->config->max_frame);
    if (w->control == NULL)
        return -ENOMEM;
    w->control_source.fd = w->control_fd;
    rc = loop_add(w->env->loop, &w->control_source);
    w->control_open = rc == 0;
    return rc;
}

static int open_all(struct worker *w, const char **what)
{
    *what = "shared memory";
    int rc = w->config->home != NULL ? inproc_open(w) : open_segment(w);
    if (rc == 0) {
        *what = "control socket";
        rc = open_control(w);
    }
    if (w->inproc != NULL) /* it has this process's output */
        return rc;
    if (rc == 0) {
        *what = "output pipes";
        rc = capture_open(&w->out, w->env->os, w->env->loop, &w->child_fds[1]);
    }
    return rc == 0 ? capture_open(&w->err, w->env->os, w->env->loop, &w->child_fds[2]) : rc;
}

static char **env_with_id(const struct worker *w, char *id, size_t n)
{
    size_t count = 0;
    while (w->config->env[count] != NULL)
        count++;
    char **env = mem_array(count + 2, sizeof *env);
    if (env == NULL)
        return NULL;
    static const char name[] = "SNAKEPIT_WORKER_ID=";
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) /* the host may be a worker itself */
        if (strncmp(w->config->env[i], name, sizeof name - 1) != 0)
            env[kept++] = w->config->env[i];
    snprintf(id, n, "%s%s", name, w->id);
    env[kept] = id;
    return env;
}

/* No template forks it: an exec starts it. Who lists the workers reads that. */
static void by_exec(struct worker *w)
{
    poollock_acquire(w->config->lock);
    w->zygote = NULL;
    poollock_release(w->config->lock);
}

static int ask_guard(struct worker *w)
{
    char id[sizeof w->id + 32];
    char **env = env_with_id(w, id, sizeof id);
    if (env == NULL)
        return PIT_E_ALLOCATION_FAILED;
    struct guard_spawn request = {
        .token = (uint64_t)(uintptr_t)&w->child,
        .argv = (const char *const *)w->config->argv,
        .env = (const char *const *)env,
        .cwd = w->config->cwd,
        .worker_id = w->id,
        .fd_control = w->child_fds[0],
        .fd_segment = w->segment_fd,
        .fd_stdout = w->child_fds[1],
        .fd_stderr = w->child_fds[2],
        .of = w->zygote != NULL ? zygote_token(w->zygote) : 0,
        .keeps = w->config->keeps_descendants,
    };
    registry_reserve(w->env->registry, request.token, w->id);
    int rc = w->env->guard != NULL ? guard_spawn(w->env->guard, &request) : PIT_E_GUARD_UNAVAILABLE;
    if (rc == PIT_E_WORKER_NOT_FOUND && !w->must_fork) { /* its template has just ended */
        by_exec(w);
        request.of = 0;
        rc = guard_spawn(w->env->guard, &request);
    }
    if (rc == 0 && w->zygote != NULL)
        w->zygote->forks++;
    if (rc != 0)
        registry_gone(w->env->registry, request.token, true);
    mem_free(env);
    return rc;
}

const char *worker_start_mode(const struct worker *w)
{
    return w->config->home != NULL ? "thread" : w->zygote != NULL ? "zygote" : "exec";
}

static pit_error *no_resources(const struct worker *w, int error, const char *what)
{
    if (error == -ENOMEM)
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while worker %s was started", w->id);
    pit_error *e = error_new(PIT_E_SYSTEM_ERROR, "worker %s could not be started: %s: %s", w->id, what, strerror(-error));
    error_detail_take(e, "errno", pit_int(-error));
    error_detail_take(e, "call", pit_str(what));
    if (error == -EMFILE || error == -ENFILE)
        error_suggest(
            e, "the limit on open files (RLIMIT_NOFILE) is reached: a worker takes 4 descriptors; raise it with ulimit -n");
    return e;
}

static void close_child_fds(struct worker *w)
{
    for (int i = 0; i < 3; i++)
        close_fd(w, &w->child_fds[i]);
    close_fd(w, &w->segment_fd);
}

/* Somebody that nobody knows may hold the other ends. */
static void drop_channels(struct worker *w)
{
    worker_close_control(w);
    if (w->control != NULL)
        w->control->ops->destroy(w->control);
    w->control = NULL;
    close_fd(w, &w->control_fd);
    if (w->segment != NULL)
        w->env->os->segment_unmap(w->segment, w->segment_bytes);
    w->segment = NULL;
    capture_finish(&w->out);
    capture_finish(&w->err);
    poollock_acquire(w->config->lock); /* who lists the workers reads what they dropped */
    w->out = w->err = (struct capture){0};
    poollock_release(w->config->lock);
    worker_init_hooks(w);
}

static void set_ready_timer(struct worker *w)
{
    if (w->config->ready_timeout_ms != PIT_INFINITE)
        loop_timer_set(w->env->loop, &w->ready_timer, worker_deadline(w, w->config->ready_timeout_ms));
}

bool worker_exec_instead(struct worker *w, int error, const char *call)
{
    const char *what = NULL;
    if (w->zygote == NULL || w->must_fork || w->dead || w->hello || error == GUARD_GONE)
        return false;
    log_line(w->env->log, PIT_LOG_WARNING, "worker %s could not be forked (%s: %s): it is started by exec", w->id, call,
             strerror(error));
    by_exec(w);
    if (w->overdue)
        set_ready_timer(w);
    w->overdue = false;
    registry_gone(w->env->registry, (uint64_t)(uintptr_t)&w->child, true);
    drop_channels(w);
    bool ok = open_all(w, &what) == 0 && ask_guard(w) == 0;
    close_child_fds(w);
    return ok;
}

void worker_start(struct worker *w, uint32_t prefix)
{
    const char *what = NULL;
    w->prefix = prefix;
    pit_error *e = NULL;
    int rc = open_all(w, &what);
    if (rc != 0) {
        e = no_resources(w, rc, what);
    } else {
        poollock_acquire(w->config->lock);
        worker_ref(w); /* the guard's: until its exit is told */
        poollock_release(w->config->lock);
        w->spawned = true;
        rc = w->inproc != NULL ? inproc_start(w) : ask_guard(w);
        w->oom_before = oom_before(w->env->oom, w->env->os); /* while it is being started */
        if (rc != 0) {
            w->spawned = false;
            e = error_new(rc, "worker %s could not be started: %s", w->id, pit_strerror(rc));
            poollock_acquire(w->config->lock);
            worker_unref(w);
            poollock_release(w->config->lock);
        }
    }
    close_child_fds(w);
    if (e != NULL) {
        worker_fail(w, pit_error_code(e), "it could not be started", e);
        worker_finish(w);
        return;
    }
    set_ready_timer(w);
    if (w->inproc != NULL)
        worker_runs(w);
}
