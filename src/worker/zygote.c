/* See zygote.h. This file: its start, what it says, its end. */
#include "worker/zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "base/redact.h"
#include "base/sm.h"
#include "wire/codec.h"
#include "wire/mp.h"
#include "worker/worker_internal.h"

enum {
    CONTROL_TURNS = 64,
    MAX_FRAME = 1 << 20,
    HEALTHY_MS = 60000,
    FIRST_DELAY_MS = 100,
    LOST_MOST_MS = 5000,
    FAILED_MOST_MS = 60000,
    EOF_WAIT_MS = 250,
    STDERR_TAIL = 2048
};

static const struct sm_state states[] = {{NULL, 0},
#define ZYGOTE_STATE_ROW(constant, name, edges) {#name, edges},
                                         ZYGOTE_STATE_LIST(ZYGOTE_STATE_ROW)
#undef ZYGOTE_STATE_ROW
};
static const struct sm_table table = {"zygote", states, ZYGOTE_STATE_COUNT};

const char *zygote_state_name(int state)
{
    return sm_name(&table, state);
}

static double since_ms(const struct zygote *z, uint64_t from_ns)
{
    return (double)(z->env->os->now_ns() - from_ns) / 1e6;
}

static void report(const struct zygote *z)
{
    struct event_common common = {.pool = z->pool, .worker_id = z->id};
    const struct zygote_facts *f = &z->facts;
    if (z->state == ZYGOTE_READY) {
        const double numbers[] = {since_ms(z, z->started_ns), (double)f->threads, (double)f->modules, (double)f->rss_bytes};
        telemetry_emit(z->env->telemetry, EVENT_ZYGOTE_READY, &common, numbers, NULL);
        log_line(z->env->log, PIT_LOG_INFO, "template %s (pid %d) is ready", z->id, (int)z->pid);
    } else if (z->state == ZYGOTE_UNSAFE) {
        const double numbers[] = {since_ms(z, z->started_ns)};
        const char *texts[] = {f->reason, f->library, f->module}, *remedy = zygote_remedy(f->reason);
        telemetry_emit(z->env->telemetry, EVENT_ZYGOTE_UNSAFE, &common, numbers, texts);
        log_line(z->env->log, PIT_LOG_WARNING, "pool %s: workers cannot be forked from a template (%s): %s%s%s", z->pool,
                 f->reason, f->text, remedy != NULL ? "; " : "", remedy != NULL ? remedy : "");
    } else if (z->state == ZYGOTE_LOST) {
        const double numbers[] = {since_ms(z, z->started_ns)};
        const char *texts[] = {f->reason};
        telemetry_emit(z->env->telemetry, EVENT_ZYGOTE_LOST, &common, numbers, texts);
        log_line(z->env->log, PIT_LOG_WARNING, "template %s is lost (%s): %s", z->id, f->reason, f->text);
    }
}

static bool zygote_move(struct zygote *z, int state)
{
    if (!sm_move(&table, &z->state, state))
        return false;
    report(z);
    z->changed(z);
    return true;
}

bool zygote_can_fork(const struct zygote *z)
{
    return z != NULL && z->state == ZYGOTE_READY && z->pid > 0;
}

/* Into a log line, an event, a value and a terminal: one line, printable, whole characters. */
static void copy_text(char *to, size_t room, const char *from)
{
    int most = (int)room - 1;
    snprintf(to, room, "%.*s", most, from);
    size_t n = strlen(to), len;
    for (size_t i = 0; i < n; i += len) {
        const uint8_t *at = (const uint8_t *)to + i;
        len = at[0] < 0x80 ? 1 : mp_utf8_sequence(at, n - i);
        bool control = at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && len == 2 && at[1] < 0xa0);
        if (len == 0)
            to[i] = '?';
        else if (control)
            memset(to + i, ' ', len);
        len += len == 0;
    }
}

/* ---- the end ---- */

void zygote_close(struct zygote *z)
{
    loop_timer_stop(z->env->loop, &z->ready_timer);
    if (z->control_open)
        loop_remove(z->env->loop, &z->control_source);
    z->control_open = false;
    if (z->control != NULL)
        z->control->ops->destroy(z->control);
    z->control = NULL;
    if (z->control_fd >= 0)
        z->env->os->close(z->control_fd);
    z->control_fd = -1;
    capture_close(&z->out);
    capture_close(&z->err);
}

static void say_why(struct zygote *z, enum zygote_reason reason, const char *text)
{
    if (z->facts.reason[0] != '\0')
        return;
    copy_text(z->facts.reason, sizeof z->facts.reason, zygote_reason_name(reason));
    copy_text(z->facts.text, sizeof z->facts.text, text);
}

static void kill_it(struct zygote *z)
{
    if (z->running && z->pid > 0 && z->env->guard != NULL)
        guard_kill(z->env->guard, z->pid, SIGKILL);
}

/* It is not there, and will be made anew: the first time nearly at once, then more and more slowly. */
static void lose(struct zygote *z)
{
    if (z->ready_ns != 0 && z->env->os->now_ns() - z->ready_ns >= HEALTHY_MS * MS)
        z->losses = 0;
    bool was_ready = z->ready_ns != 0;
    unsigned doublings = !z->backs_off ? 0 : z->losses < 10 ? z->losses : 10;
    uint64_t delay = (uint64_t)FIRST_DELAY_MS << doublings, most = was_ready ? LOST_MOST_MS : FAILED_MOST_MS;
    z->losses++;
    z->ready_ns = 0;
    if (!zygote_move(z, ZYGOTE_LOST))
        return;
    loop_timer_set(z->env->loop, &z->again_timer, z->env->os->now_ns() + (delay < most ? delay : most) * MS);
}

/* Nothing of it is used any more; its end is awaited. */
static void give_up(struct zygote *z, enum zygote_reason reason, const char *text)
{
    say_why(z, reason, text);
    kill_it(z);
    zygote_close(z);
    lose(z);
    if (z->running && z->pid == 0 && z->env->guard != NULL)
        guard_cancel(z->env->guard, zygote_token(z));
}

static void on_failed(struct zygote *z, const struct frame *f);

/* Why it ends may still stand in its socket: the guard's word can be the first to be read. */
static void hear_last_words(struct zygote *z)
{
    struct channel_frame in;
    struct frame f;
    channel_frame_init(&in);
    for (int turns = 0; turns < CONTROL_TURNS && z->state == ZYGOTE_STARTING && z->control != NULL &&
                        z->control->ops->recv(z->control, &in) == 0;
         turns++)
        if (frame_parse(in.data, in.n, &f) == 0 && f.kind == FRAME_FAILED)
            on_failed(z, &f);
    channel_frame_finish(&in);
}

/* The last line that it wrote, which of a traceback says most, without secrets: ": LINE"; "" for none. */
static void last_line(const struct zygote *z, char *ret, size_t size)
{
    char tail[STDERR_TAIL];
    struct buf clean = {0};
    size_t n = capture_tail(&z->err, tail, sizeof tail);
    redact_end(&clean, tail, n, capture_is_cut(&z->err, n));
    const char *line = (const char *)clean.data;
    for (n = clean.failed ? 0 : clean.len; n > 0 && (line[n - 1] == '\n' || line[n - 1] == ' ');)
        n--;
    const char *before = n > 0 ? memrchr(line, '\n', n) : NULL;
    size_t from = before != NULL ? (size_t)(before + 1 - line) : 0;
    snprintf(ret, size, "%s%.*s", n != 0 ? ": " : "", (int)(n - from), n != 0 ? line + from : "");
    buf_finish(&clean);
}

static void on_exited(struct guard_child *c, struct guard_exit how)
{
    struct zygote *z = LIST_ENTRY(c, struct zygote, child);
    char what[EXIT_TEXT_SIZE], line[STDERR_TAIL + 3], text[sizeof what + sizeof line + 8];
    z->running = false;
    z->pid = 0;
    registry_gone(z->env->registry, zygote_token(z), how.code != 0);
    hear_last_words(z);
    capture_drain(&z->err);
    last_line(z, line, sizeof line);
    zygote_close(z);
    if (z->state == ZYGOTE_STARTING || z->state == ZYGOTE_READY) {
        enum exit_class class = worker_exit_class(z->env, how, false, &z->oom_before);
        snprintf(text, sizeof text, "it %s%s", exit_text(class, how, what), line);
        say_why(z, ZYGOTE_REASON_DIED, text);
        lose(z);
    } else {
        z->changed(z); /* whoever waits for its end */
    }
}

void zygote_guard_lost(struct zygote *z)
{
    if (!z->running)
        return;
    z->running = false;
    z->pid = 0;
    registry_gone(z->env->registry, zygote_token(z), false);
    zygote_close(z);
    if (z->state == ZYGOTE_STARTING || z->state == ZYGOTE_READY) {
        say_why(z, ZYGOTE_REASON_GUARD_LOST, "the guard process died");
        lose(z);
    }
}

void zygote_end(struct zygote *z)
{
    loop_timer_stop(z->env->loop, &z->again_timer);
    loop_timer_stop(z->env->loop, &z->unused_timer);
    kill_it(z);
    zygote_close(z);
    zygote_move(z, ZYGOTE_ENDED);
}

/* ---- what it says ---- */

static int64_t number(const pit_value *map, const char *key)
{
    int64_t n = 0;
    return pit_value_get_int(pit_value_get(map, key), &n) && n > 0 ? n : 0;
}

static int send_welcome(struct zygote *z)
{
    struct buf b = {0};
    buf_reserve(&b, 512);
    b.len = FRAME_HEADER;
    pit_value *preload = pit_list();
    for (size_t i = 0; z->preload != NULL && z->preload[i] != NULL; i++)
        pit_list_append_take(preload, pit_str(z->preload[i]));
    pit_value *v =
        pit_pack("{s:i,s:b,s:s,s:s,s:s,s:i,s:i,s:v,s:I,s:U}", "protocol", PROTOCOL_MAX, "template", 1, "worker_id", z->id,
                 "pool", z->pool, "run_id", z->env->run_id, "max_frame_bytes", MAX_FRAME, "max_depth", CODEC_MAX_DEPTH,
                 "preload", preload, "canary_timeout_ms", z->canary_timeout_ms, "now_ns", z->env->os->now_ns());
    int rc = codec_encode(&b, v, NULL);
    pit_value_free(v);
    pit_value_free(preload);
    size_t done = 0;
    if (rc == 0) {
        frame_put_header(b.data, FRAME_WELCOME, 0, 0, 0, b.len);
        rc = z->control->ops->send(z->control, b.data, b.len, &done);
    }
    buf_finish(&b);
    return rc == CHANNEL_AGAIN ? PIT_E_PROTOCOL_ERROR : rc;
}

static int on_hello(struct zygote *z, const pit_value *hello)
{
    int64_t min = 0, max = 0;
    if (z->hello || !pit_value_get_int(pit_value_get(hello, "protocol_min"), &min) ||
        !pit_value_get_int(pit_value_get(hello, "protocol_max"), &max) || min > PROTOCOL_MAX || max < PROTOCOL_MIN)
        return PIT_E_PROTOCOL_ERROR;
    z->hello = true;
    return send_welcome(z);
}

static int on_ready(struct zygote *z, const pit_value *ready)
{
    bool safe = false;
    struct zygote_facts *f = &z->facts;
    if (!pit_value_get_bool(pit_value_get(ready, "safe"), &safe) || !z->hello || (z->state == ZYGOTE_READY && safe))
        return PIT_E_PROTOCOL_ERROR;
    f->threads = number(ready, "threads");
    f->modules = number(ready, "modules");
    f->rss_bytes = number(ready, "rss_bytes");
    pit_value_get_number(pit_value_get(ready, "prepare_ms"), &f->prepare_ms);
    copy_text(f->reason, sizeof f->reason, pit_value_str_or(pit_value_get(ready, "reason"), ""));
    copy_text(f->library, sizeof f->library, pit_value_str_or(pit_value_get(ready, "library"), ""));
    copy_text(f->module, sizeof f->module, pit_value_str_or(pit_value_get(ready, "module"), ""));
    copy_text(f->text, sizeof f->text, pit_value_str_or(pit_value_get(ready, "text"), ""));
    loop_timer_stop(z->env->loop, &z->ready_timer);
    if (safe) {
        z->ready_ns = z->env->os->now_ns();
        zygote_move(z, ZYGOTE_READY);
    } else {
        zygote_move(z, ZYGOTE_UNSAFE);
    }
    return 0;
}

/* What it imports cannot be imported: the workers will say the same, each for itself. */
static void on_failed(struct zygote *z, const struct frame *f)
{
    pit_error *e = error_from_worker(f->payload, f->payload_n, PIT_E_START_FAILED);
    char text[ZYGOTE_TEXT];
    copy_text(text, sizeof text, pit_error_message(e));
    pit_error_free(e);
    give_up(z, ZYGOTE_REASON_IMPORT, text);
}

static int on_frame(struct zygote *z, const struct frame *f)
{
    if (f->kind == FRAME_LOG)
        return 0; /* what it is asked for, it says in READY */
    if (f->kind == FRAME_FAILED && z->state == ZYGOTE_STARTING) {
        on_failed(z, f);
        return 0;
    }
    if (f->kind != FRAME_HELLO && f->kind != FRAME_READY)
        return PIT_E_PROTOCOL_ERROR;
    pit_value *v = worker_decode_map(f);
    int rc = PIT_E_PROTOCOL_ERROR;
    if (v != NULL)
        rc = f->kind == FRAME_HELLO ? on_hello(z, v) : on_ready(z, v);
    pit_value_free(v);
    return rc;
}

static void on_control(struct loop_source *s, uint32_t events)
{
    struct zygote *z = LIST_ENTRY(s, struct zygote, control_source);
    (void)events;
    struct channel_frame in;
    channel_frame_init(&in);
    for (int turns = 0; turns < CONTROL_TURNS && z->control_open; turns++) {
        struct frame f;
        int rc = z->control->ops->recv(z->control, &in);
        if (rc == CHANNEL_AGAIN)
            break;
        if (rc == 0)
            rc = frame_parse(in.data, in.n, &f);
        if (rc == 0)
            rc = on_frame(z, &f);
        if (rc == PIT_E_WORKER_LOST && z->control_open) { /* it ends: the guard tells how. Or it does not, and is of no use */
            loop_remove(z->env->loop, &z->control_source);
            z->control_open = false;
            loop_timer_set(z->env->loop, &z->ready_timer, z->env->os->now_ns() + EOF_WAIT_MS * MS);
        } else if (rc != 0 && z->control_open) {
            give_up(z, ZYGOTE_REASON_PROTOCOL, worker_fault(rc));
        }
    }
    channel_frame_finish(&in);
}

/* ---- the start ---- */

static void on_spawned(struct guard_child *c, int error, const char *call, pid_t pid, int pidfd)
{
    struct zygote *z = LIST_ENTRY(c, struct zygote, child);
    char text[128];
    if (pidfd >= 0)
        z->env->os->close(pidfd); /* its end is no emergency: the guard's word is enough */
    z->pid = pid;
    if (error == 0) {
        registry_active(z->env->registry, zygote_token(z), pid);
        if (z->state == ZYGOTE_READY) /* it was faster than the guard's word */
            z->changed(z);
        else if (z->state != ZYGOTE_STARTING)
            kill_it(z);
        return;
    }
    z->running = false;
    registry_gone(z->env->registry, zygote_token(z), true);
    snprintf(text, sizeof text, "%s: %s", call, strerror(error));
    if (z->state == ZYGOTE_STARTING)
        give_up(z, ZYGOTE_REASON_SPAWN, text);
}

static void on_ready_timeout(struct loop_timer *t)
{
    struct zygote *z = LIST_ENTRY(t, struct zygote, ready_timer);
    if (z->control_open)
        give_up(z, ZYGOTE_REASON_TIMEOUT, "it was not ready within worker_ready_timeout_ms");
    else
        give_up(z, ZYGOTE_REASON_PROTOCOL, "its socket has ended, but it went on running");
}

static int open_channel(struct zygote *z, int *child_fd)
{
    int fds[2];
    int rc = worker_open_pair(z->env->os, fds);
    if (rc != 0)
        return rc;
    z->control_fd = fds[0];
    *child_fd = fds[1];
    z->control = channel_socket_create(z->env->os, fds[0], MAX_FRAME);
    if (z->control == NULL)
        return -ENOMEM;
    z->control_source = (struct loop_source){.fd = fds[0], .events = EPOLLIN, .fn = on_control};
    rc = loop_add(z->env->loop, &z->control_source);
    z->control_open = rc == 0;
    return rc;
}

static int open_capture(struct zygote *z, struct capture *c, int *child_fd)
{
    capture_finish(c); /* of the template before */
    *c = (struct capture){0};
    return capture_open(c, z->env->os, z->env->loop, child_fd);
}

static int spawn(struct zygote *z)
{
    int fds[3] = {-1, -1, -1};
    int rc = open_channel(z, &fds[0]);
    if (rc == 0)
        rc = open_capture(z, &z->out, &fds[1]);
    if (rc == 0)
        rc = open_capture(z, &z->err, &fds[2]);
    if (rc == 0) {
        struct guard_spawn request = {.token = zygote_token(z),
                                      .argv = (const char *const *)z->argv,
                                      .env = (const char *const *)z->child_env,
                                      .cwd = z->cwd,
                                      .worker_id = z->id,
                                      .fd_control = fds[0],
                                      .fd_segment = -1,
                                      .fd_stdout = fds[1],
                                      .fd_stderr = fds[2],
                                      .is_template = true};
        registry_reserve(z->env->registry, request.token, z->id);
        rc = guard_spawn(z->env->guard, &request) == 0 ? 0 : -ECHILD;
        z->oom_before = oom_before(z->env->oom, z->env->os);
        z->running = rc == 0;
        if (rc != 0)
            registry_gone(z->env->registry, request.token, true);
    }
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            z->env->os->close(fds[i]);
    return rc;
}

void zygote_start(struct zygote *z)
{
    if ((z->state != ZYGOTE_IDLE && z->state != ZYGOTE_LOST) || z->env->guard == NULL)
        return;
    loop_timer_stop(z->env->loop, &z->again_timer);
    if (z->running) { /* the last one is still dying */
        loop_timer_set(z->env->loop, &z->again_timer, z->env->os->now_ns() + FIRST_DELAY_MS * MS);
        return;
    }
    z->facts = (struct zygote_facts){0};
    z->hello = false;
    z->started_ns = z->env->os->now_ns();
    zygote_move(z, ZYGOTE_STARTING);
    int rc = spawn(z);
    if (rc != 0)
        give_up(z, ZYGOTE_REASON_SPAWN, strerror(-rc));
    else if (z->ready_timeout_ms != PIT_INFINITE)
        loop_timer_set(z->env->loop, &z->ready_timer, z->started_ns + (uint64_t)z->ready_timeout_ms * MS);
}

static void on_again(struct loop_timer *t)
{
    zygote_start(LIST_ENTRY(t, struct zygote, again_timer));
}

void zygote_init_hooks(struct zygote *z)
{
    z->child = (struct guard_child){on_spawned, on_exited};
    z->ready_timer.fn = on_ready_timeout;
    z->again_timer.fn = on_again;
}
