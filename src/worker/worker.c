/* See worker.h. This file: the state, the references and the end of a worker. */
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "base/sm.h"
#include "worker/inproc.h"
#include "worker/worker_internal.h"

/* How long a dead worker's status, and the end of one that has closed its socket, may take on a machine under load (a core dump, gigabytes
 * to tear down); a lost guard does not take that long to be noticed. */
enum { CONTROL_TURNS = 64, CONTROL_BYTES = 256 * 1024 /* frames, and their bytes, in one turn of the loop */, LAST_TURNS = 64 };
enum { GUARD_ANSWER_MS = 3000 /* to what it answers at once */, EOF_WAIT_MS = 250, STDERR_TAIL = 64 * 1024 };
static const char went_on[] = "it closed its control socket but went on running, and was killed";
static const char guard_silent[] = "it died, and the guard did not tell within a second how: is snakepit-guard stopped?";

#define TO_END SM_TO(PIT_WORKER_STOPPING) | SM_TO(PIT_WORKER_GONE)
static const struct sm_state states[] = {
    {NULL, 0},
    {"starting", SM_TO(PIT_WORKER_READY) | TO_END},
    {"ready", SM_TO(PIT_WORKER_BUSY) | SM_TO(PIT_WORKER_DRAINING) | TO_END},
    {"busy", SM_TO(PIT_WORKER_READY) | SM_TO(PIT_WORKER_DRAINING) | TO_END},
    {"draining", SM_TO(PIT_WORKER_READY) | SM_TO(PIT_WORKER_BUSY) | TO_END},
    {"stopping", SM_TO(PIT_WORKER_GONE)},
    {"gone", 0},
};
static const struct sm_table table = {"worker", states, PIT_WORKER_GONE + 1};

struct event_common worker_common(const struct worker *w)
{
    return (struct event_common){.pool = w->config->pool, .worker_id = w->id, .generation = w->generation};
}

bool worker_move(struct worker *w, int state)
{
    int from = w->state;
    if (!sm_move(&table, &w->state, state))
        return false;
    if (state == PIT_WORKER_DRAINING || state == PIT_WORKER_STOPPING) /* not what each call does */
        recorder_note(w, state == PIT_WORKER_DRAINING ? RECORDER_DRAINING : RECORDER_STOPPING, 0, 0);
    if (telemetry_wants(w->env->telemetry, EVENT_WORKER_STATE_CHANGED)) {
        struct state_note note = {.generation = w->generation, .from = sm_name(&table, from), .to = sm_name(&table, state)};
        memcpy(note.worker_id, w->id, sizeof note.worker_id);
        poollock_note(w->config->lock, &note);
    }
    return true;
}

int worker_state(struct worker *w)
{
    poollock_acquire(w->config->lock);
    int state = w->state;
    poollock_release(w->config->lock);
    return state;
}

uint64_t worker_deadline(const struct worker *w, int64_t ms)
{
    return ms < 0 ? UINT64_MAX : w->env->os->now_ns() + (uint64_t)ms * MS;
}

struct worker *worker_ref(struct worker *w)
{
    w->refs++;
    return w;
}

bool worker_unref(struct worker *w)
{
    return --w->refs == 0;
}

void worker_free(struct worker *w)
{
    for (uint32_t i = 0; w->lanes != NULL && i < w->config->lanes; i++) {
        if (w->lanes[i].channel != NULL && w->lanes[i].channel != w->control)
            w->lanes[i].channel->ops->destroy(w->lanes[i].channel);
        buf_finish(&w->lanes[i].unsent);
        buf_finish(&w->lanes[i].held);
        buf_finish(&w->lanes[i].asked);
    }
    if (w->control != NULL)
        w->control->ops->destroy(w->control);
    if (w->segment != NULL && w->inproc == NULL)
        w->env->os->segment_unmap(w->segment, w->segment_bytes);
    if (w->control_fd >= 0)
        w->env->os->close(w->control_fd);
    inproc_release(w->inproc);
    capture_finish(&w->out);
    capture_finish(&w->err);
    pit_error_free(w->failure);
    pit_value_free(w->dossier);
    mem_free(w->past);
    pit_value_free(w->last_look);
    pit_value_free(w->health.report);
    pit_value_free(w->timeouts);
    pit_value_free(w->tools);
    pit_value_free(w->repeatable);
    mem_free(w->lanes);
    mem_free(w);
}

const char *worker_fault(int code)
{
    switch (code) {
    case PIT_E_PROTOCOL_ERROR:
        return "it sent something that breaks the protocol, and was killed";
    case PIT_E_LIMIT_EXCEEDED:
        return "it sent a message longer than max_frame_bytes, and was killed";
    case PIT_E_ALLOCATION_FAILED:
        return "there was no memory for what it sent, and it was killed";
    default:
        return pit_strerror(code);
    }
}

/* ---- the end ---- */

static void close_pidfd(struct worker *w)
{
    if (w->pidfd < 0)
        return;
    loop_remove(w->env->loop, &w->pidfd_source);
    w->env->os->close(w->pidfd);
    w->pidfd = -1;
}

void worker_close_control(struct worker *w)
{
    poollock_acquire(w->config->lock); /* a caller that takes or gives back the lane modifies the source under it */
    bool was_open = w->control_open;
    w->control_open = false;
    poollock_release(w->config->lock);
    if (was_open)
        loop_remove(w->env->loop, &w->control_source);
}

void worker_signal_group(struct worker *w, int sig)
{
    if (w->inproc != NULL)
        inproc_signal(w, sig);
    if (w->pid <= 0 || w->exited)
        return;
    recorder_note(w, RECORDER_SIGNALLED, 0, (uint64_t)sig);
    if (w->pidfd >= 0)
        w->env->os->pidfd_kill(w->pidfd, sig);
    if (w->env->guard != NULL)
        guard_kill(w->env->guard, w->pid, sig);
}

/* lock */
static void close_idle_lanes(struct worker *w)
{
    for (uint32_t i = 0; w->lanes != NULL && i < w->config->lanes; i++) {
        struct lane *l = &w->lanes[i];
        if (l->owner != LANE_IDLE)
            continue;
        list_remove(&l->node);
        lane_move(l, LANE_CLOSED);
    }
}

void worker_signal(struct worker *w, int sig)
{
    if (w->pidfd >= 0 && !w->exited)
        w->env->os->pidfd_kill(w->pidfd, sig);
}

void worker_fail(struct worker *w, int code, const char *text, pit_error *failure)
{
    if (w->failure == NULL)
        w->failure = failure;
    else
        pit_error_free(failure);
    poollock_acquire(w->config->lock);
    bool first = !w->dead;
    w->dead = true;
    close_idle_lanes(w); /* at once: in between a caller could take one */
    if (first && code != 0) {
        w->end_code = code;
        w->end_text = text;
    }
    poollock_release(w->config->lock);
    loop_timer_stop(w->env->loop, &w->ready_timer);
    if (first)
        w->events->dead(w);
}

static bool read_control(struct worker *w, uint32_t events);

void worker_finish(struct worker *w)
{
    if (worker_state(w) == PIT_WORKER_GONE)
        return;
    worker_fail(w, 0, NULL, NULL);
    for (int i = 0; i < LAST_TURNS && worker_state(w) == PIT_WORKER_STARTING && read_control(w, 0); i++)
        continue; /* its last word may be why it did not start */
    capture_drain(&w->out);
    capture_drain(&w->err);
    loop_timer_stop(w->env->loop, &w->stop_timer);
    loop_timer_stop(w->env->loop, &w->status_timer);
    loop_timer_stop(w->env->loop, &w->more_timer);
    w->exit_class = worker_exit_class(w->env, w->how, w->expected, &w->oom_before);
    dossier_make(w);
    poollock_acquire(w->config->lock);
    if (w->end_text == went_on && w->how.code != 0 && exit_signal(w->how) != SIGKILL)
        w->end_text = NULL; /* it was ending by itself, slowly */
    for (uint32_t i = 0; w->lanes != NULL && i < w->config->lanes; i++)
        w->at_work += (w->lanes[i].died_at = lane_last_begun(&w->lanes[i])) != 0;
    worker_move(w, PIT_WORKER_GONE);
    poollock_release(w->config->lock);
    w->events->gone(w);
}

void worker_let_go(struct worker *w)
{
    capture_close(&w->out);
    capture_close(&w->err);
    worker_close_control(w);
    close_pidfd(w);
}

int worker_ending(const struct worker *w)
{
    struct os_proc p;
    return w->pid > 0 && w->env->os->proc_info(w->pid, &p) == 0 ? p.wait_status : 0;
}

/* How it ends, from the kernel, which knows that before it takes the memory down and long before the guard can reap. The process still
 * has its number when the pidfd takes a signal after the look: so what was seen was it. */
static bool take_status(struct worker *w)
{
    if (w->pidfd < 0 || w->exited)
        return false;
    poollock_acquire(w->config->lock);
    int status = w->seen_status;
    poollock_release(w->config->lock);
    if (status == 0)
        status = worker_ending(w);
    if (status == 0 || w->env->os->pidfd_kill(w->pidfd, 0) != 0)
        return false;
    struct guard_exit how = exit_from_wait(status);
    /* the kernel kills workers as part of their guard's end, a moment before it tells of that: then it is the guard's end that counts */
    if (exit_signal(how) == SIGKILL && !w->expected && (w->env->guard == NULL || guard_is_ending(w->env->guard)))
        return false;
    w->how = how;
    return true;
}

static void on_status_missing(struct loop_timer *t)
{
    struct worker *w = LIST_ENTRY(t, struct worker, status_timer);
    bool ended = w->pidfd < 0;
    if (ended && worker_awaits_guard(w))
        return;
    poollock_acquire(w->config->lock);
    if (w->end_code == 0) { /* it was dead to us already, without a reason to tell */
        w->end_code = PIT_E_WORKER_CRASH;
        w->end_text = ended ? guard_silent : went_on;
    }
    poollock_release(w->config->lock);
    if (ended)
        worker_finish(w);
    else
        worker_kill(w, PIT_E_WORKER_CRASH, NULL);
}

/* The process has ended; where the kernel does not tell us how, the guard will, in a moment. */
static void on_pidfd(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct worker *w = LIST_ENTRY(s, struct worker, pidfd_source);
    if (take_status(w)) {
        worker_finish(w);
        return;
    }
    close_pidfd(w);
    loop_timer_set(w->env->loop, &w->status_timer, worker_deadline(w, STATUS_WAIT_MS));
    worker_fail(w, 0, NULL, NULL);
}

static void on_exited(struct guard_child *c, struct guard_exit how)
{
    struct worker *w = LIST_ENTRY(c, struct worker, child);
    w->exited = true;
    registry_gone(w->env->registry, (uint64_t)(uintptr_t)c, how.code != 0);
    bool known = worker_state(w) == PIT_WORKER_GONE; /* then callers read what was known first */
    if (!known)
        w->how = how;
    if (w->env->guard != NULL)
        w->used = guard_used(w->env->guard);
    worker_finish(w);
    if (known)
        dossier_complete(w);
    poollock_acquire(w->config->lock);
    list_remove(&w->node);
    bool last = worker_unref(w);
    poollock_release(w->config->lock);
    if (last)
        worker_free(w);
}

void worker_guard_lost(struct worker *w)
{
    worker_signal_group(w, SIGKILL);
    if (w->exited || !w->spawned)
        return;
    worker_fail(w, PIT_E_GUARD_LOST, "the guard process died", NULL);
    poollock_acquire(w->config->lock);
    if (w->end_code == 0) { /* its end was seen before the guard's */
        w->end_code = PIT_E_GUARD_LOST;
        w->end_text = "the guard process died";
    }
    poollock_release(w->config->lock);
    on_exited(&w->child, (struct guard_exit){0});
}

void worker_describe_end(struct worker *w, pit_error *e)
{
    char *tail = mem_alloc(STDERR_TAIL);
    size_t n = tail != NULL ? capture_tail(&w->err, tail, STDERR_TAIL) : 0;
    exit_describe(e, w->exit_class, w->how, (struct exit_printed){tail, n, capture_is_cut(&w->err, n)});
    bool stacks = dossier_put(w, e);
    if (!stacks)
        exit_suggest(e, w->exit_class);
    if (!dossier_suggest(w, e) && stacks)
        error_suggest(e, "pit_error_dossier() has the stacks of all threads, in Python and in C (-o json on the command line)");
    mem_free(tail);
}

const char *worker_exit_text(const struct worker *w, char text[EXIT_TEXT_SIZE])
{
    if (!w->sent) /* by far the most */
        return exit_text(w->exit_class, w->how, text);
    if (w->sender != 0)
        snprintf(text, EXIT_TEXT_SIZE, "%.48s, sent by process %u", exit_class_text(w->exit_class), (unsigned)w->sender);
    else
        snprintf(text, EXIT_TEXT_SIZE, "%.48s, sent by another process", exit_class_text(w->exit_class));
    return text;
}

pit_error *worker_end_error(struct worker *w, const struct call *c)
{
    int code = w->end_code != 0 ? w->end_code : PIT_E_WORKER_CRASH;
    char text[EXIT_TEXT_SIZE];
    pit_error *e = w->end_text != NULL ? error_new(code, "worker %s: %s", w->id, w->end_text)
                                       : error_new(code, "worker %s %s", w->id, worker_exit_text(w, text));
    error_worker(e, w->id);
    error_pool(e, w->config->pool);
    if (c != NULL)
        error_detail_take(e, "command", pit_str(c->command));
    worker_describe_end(w, e);
    exit_suggest_step(e, code);
    if (c != NULL)
        repro_put(&w->config->repro, c, e);
    return e;
}

uint64_t worker_calls(const struct worker *w)
{
    uint64_t n = 0;
    for (uint32_t i = 0; w->lanes != NULL && i < w->config->lanes; i++)
        n += w->lanes[i].finished;
    return n;
}

/* ---- what the loop tells ---- */

void worker_lost(struct worker *w)
{
    worker_close_control(w);
    if (w->inproc != NULL) { /* its thread keeps the socket to its end: it is this end that has failed */
        worker_kill(w, PIT_E_WORKER_LOST, "its control socket failed");
        return;
    }
    if (w->pid == 0) /* who should have forked it let go of its socket before the guard could say so: it is not lost yet */
        return;
    if (!w->dead && take_status(w)) {
        worker_finish(w);
        return;
    }
    if (w->pidfd >= 0)
        loop_timer_set(w->env->loop, &w->status_timer, worker_deadline(w, EOF_WAIT_MS));
    worker_fail(w, 0, NULL, NULL);
}

/* Without rings the lane's owner reads the same socket: the lock is held so that nobody takes the lane meanwhile. */
static int receive(struct worker *w, struct channel_frame *in, bool *ret_mine)
{
    *ret_mine = true;
    if (w->lanes == NULL || w->is_ring)
        return w->control->ops->recv(w->control, in);
    poollock_acquire(w->config->lock);
    *ret_mine = w->lanes[0].owner == LANE_IDLE || w->lanes[0].owner == LANE_CLOSED;
    int rc = *ret_mine ? w->control->ops->recv(w->control, in) : CHANNEL_AGAIN;
    poollock_release(w->config->lock);
    return rc;
}

/* Frames that are no answers: everything before READY, log lines later. A worker on the socket whose lane is in use is read by the
 * lane's owner. true: that was enough for one turn, and there may be more. */
static bool read_control(struct worker *w, uint32_t events)
{
    struct channel_frame in;
    size_t bytes = 0;
    bool more = true;
    channel_frame_init(&in);
    for (int turns = 0; more && turns < CONTROL_TURNS && bytes < CONTROL_BYTES && w->control_open; turns++) {
        bool mine;
        int rc = receive(w, &in, &mine);
        if (rc == CHANNEL_AGAIN) {
            if (!mine && (events & (EPOLLHUP | EPOLLERR)) != 0)
                worker_lost(w);
            more = false;
            break;
        }
        struct frame f;
        bytes += in.n;
        if (rc == 0)
            rc = frame_parse(in.data, in.n, &f);
        if (rc == 0)
            rc = handshake_frame(w, &f);
        if (rc == PIT_E_WORKER_LOST)
            worker_lost(w);
        else if (rc != 0)
            worker_kill(w, rc, worker_fault(rc));
        more = rc == 0;
    }
    channel_frame_finish(&in);
    return more && w->control_open;
}

/* What is left may stand in the channel's buffer, of which the descriptor tells nothing. */
static void attend_control(struct worker *w, uint32_t events)
{
    if (read_control(w, events))
        loop_timer_set(w->env->loop, &w->more_timer, w->env->os->now_ns());
}

static void on_control(struct loop_source *s, uint32_t events)
{
    attend_control(LIST_ENTRY(s, struct worker, control_source), events);
}

static void on_more(struct loop_timer *t)
{
    attend_control(LIST_ENTRY(t, struct worker, more_timer), 0);
}

void worker_attend(struct worker *w)
{
    if (w->control_open)
        attend_control(w, 0);
}

/* Who hangs: somebody that the guard waits for, which it will tell, or the guard itself, and every start with it? */
static void not_spawned(struct worker *w)
{
    if (w->overdue) {
        guard_give_up(w->env->guard, "it does not answer");
        return;
    }
    w->overdue = true;
    loop_timer_set(w->env->loop, &w->ready_timer, worker_deadline(w, GUARD_ANSWER_MS));
    guard_cancel(w->env->guard, (uint64_t)(uintptr_t)&w->child); /* comes last: w may be freed by it */
}

static void on_ready_timeout(struct loop_timer *t)
{
    struct worker *w = LIST_ENTRY(t, struct worker, ready_timer);
    if (w->pid == 0 && w->env->guard != NULL) { /* it has not even been spawned */
        not_spawned(w);
        return;
    }
    pit_error *e = error_new(PIT_E_START_TIMEOUT, "worker %s was not ready after %lld ms, and was killed", w->id,
                             (long long)w->config->ready_timeout_ms);
    error_detail_take(e, "timeout_ms", pit_int(w->config->ready_timeout_ms));
    error_suggest(e, "a slow import? raise worker_ready_timeout_ms");
    w->failure = w->failure != NULL ? (pit_error_free(e), w->failure) : e;
    worker_kill(w, PIT_E_START_TIMEOUT, "it was not ready in time");
}

void worker_output_dropped(struct worker *w, uint64_t dropped, const char *stream)
{
    if (!telemetry_wants(w->env->telemetry, EVENT_WORKER_OUTPUT_DROPPED))
        return;
    struct event_common common = worker_common(w);
    const double numbers[] = {(double)dropped};
    const char *texts[] = {stream};
    telemetry_emit(w->env->telemetry, EVENT_WORKER_OUTPUT_DROPPED, &common, numbers, texts);
}

static void on_out_dropped(struct capture *c)
{
    worker_output_dropped(LIST_ENTRY(c, struct worker, out), c->dropped, "stdout");
}

static void on_err_dropped(struct capture *c)
{
    worker_output_dropped(LIST_ENTRY(c, struct worker, err), c->dropped, "stderr");
}

static void spawn_failed(struct worker *w, int error, const char *call)
{
    if (error == GUARD_GONE) {
        worker_fail(w, PIT_E_GUARD_LOST, "the guard process died", NULL);
        on_exited(&w->child, (struct guard_exit){0});
        return;
    }
    if (w->dead) { /* we have ended its start, and said why */
        on_exited(&w->child, (struct guard_exit){0});
        return;
    }
    const char *cwd = w->config->cwd;
    const char *what = strcmp(call, "chdir") == 0 && cwd != NULL ? cwd : w->config->argv[0]; /* what the call was about */
    bool program = error == ENOENT || error == EACCES || error == ENOEXEC;
    pit_error *e = error_new(program              ? PIT_E_START_FAILED
                             : error == ETIMEDOUT ? PIT_E_START_TIMEOUT
                                                  : PIT_E_SYSTEM_ERROR,
                             "worker %s could not be started: %s: %s%s%s", w->id, call, strerror(error),
                             what[0] != '\0' ? ": " : "", what);
    error_detail_take(e, "errno", pit_int(error));
    error_detail_take(e, "call", pit_str(call));
    if (error == EAGAIN)
        error_suggest(e, "the limit on processes is reached: see ulimit -u and the cgroup's pids.max");
    worker_fail(w, PIT_E_START_FAILED, "it could not be started", e);
    on_exited(&w->child, (struct guard_exit){0});
}

void worker_runs(struct worker *w)
{
    w->runs = true;
    if (telemetry_wants(w->env->telemetry, EVENT_POOL_WORKER_SPAWNED)) {
        struct event_common common = worker_common(w);
        char pid_text[16];
        snprintf(pid_text, sizeof pid_text, "%d", (int)w->pid);
        const double numbers[] = {(double)(w->env->os->now_ns() - w->started_ns) / 1e6};
        const char *texts[] = {worker_start_mode(w), pid_text};
        telemetry_emit(w->env->telemetry, EVENT_POOL_WORKER_SPAWNED, &common, numbers, texts);
    }
    handshake_announce(w);
}

static void on_spawned(struct guard_child *c, int error, const char *call, pid_t pid, int pidfd)
{
    struct worker *w = LIST_ENTRY(c, struct worker, child);
    if (error != 0) {
        if (!worker_exec_instead(w, error, call))
            spawn_failed(w, error, call);
        return;
    }
    poollock_acquire(w->config->lock);
    w->pid = pid;
    poollock_release(w->config->lock);
    registry_active(w->env->registry, (uint64_t)(uintptr_t)c, pid);
    recorder_note(w, RECORDER_SPAWNED, 0, (uint64_t)pid);
    w->pidfd = pidfd;
    w->pidfd_source = (struct loop_source){.fd = pidfd, .events = EPOLLIN, .fn = on_pidfd};
    int rc = pidfd >= 0 ? loop_add(w->env->loop, &w->pidfd_source) : -EMFILE;
    if (rc < 0) {
        if (pidfd >= 0)
            w->env->os->close(pidfd);
        w->pidfd = -1;
        worker_kill(w, PIT_E_SYSTEM_ERROR, "its pidfd could not be watched");
        loop_timer_set(w->env->loop, &w->status_timer, worker_deadline(w, STATUS_WAIT_MS)); /* the guard may be silent */
    } else if (w->dead) {
        worker_signal_group(w, SIGKILL); /* it was given up while it was being started */
    } else if (!w->control_open) {
        worker_lost(w);
    }
    worker_runs(w);
}

void worker_init_hooks(struct worker *w)
{
    w->child = (struct guard_child){on_spawned, on_exited};
    w->control_source = (struct loop_source){.fd = -1, .events = EPOLLIN, .fn = on_control};
    w->ready_timer.fn = on_ready_timeout;
    worker_init_stop(w);
    w->status_timer.fn = on_status_missing;
    w->more_timer.fn = on_more;
    w->out.on_drop = on_out_dropped;
    w->err.on_drop = on_err_dropped;
}
