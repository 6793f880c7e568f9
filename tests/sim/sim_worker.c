/* A worker, as the host sees it: its birth, its control socket, its end. See sim.h; its calls are in sim_worker_call.c.
 *
 * It speaks through the library's own worker ends of the channels, so the bytes are real. It may be stillborn, dumb, deaf, a liar, and it may
 * die between any two of its acts. */
#include "sim_worker.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/codec.h"

static struct worker_part *of(struct proc *p)
{
    return p->part;
}

static enum birth choose_birth(void)
{
    if (sim.quiet || !sim_chance(sim.mood.bad_start))
        return BIRTH_GOOD;
    return (enum birth)(BIRTH_EXITS + sim_below(BIRTH_LIES));
}

void sim_worker_begin(struct proc *p)
{
    struct worker_part *w = calloc(1, sizeof *w);
    p->part = w;
    w->proc = p;
    w->phase = W_BOOT;
    w->birth = choose_birth();
    w->deaf = !sim.quiet && sim_chance(30);
    w->obeys = sim_chance(600);
    w->swallows = sim_chance(300);
    w->segment = p->files[PROC_SEGMENT] != NULL ? file_map(p->files[PROC_SEGMENT]) : NULL;
    p->due_ns = sim.now + (sim_chance(50) ? sim_below(40000) : sim_below(1500)) * SIM_US;
}

/* The kernel takes it down. What it had published stays; a bell that it left as its pending robust futex is rung. */
void sim_worker_finish(struct proc *p)
{
    struct worker_part *w = of(p);
    p->at_work += w->n_jobs;
    if (sim.mood.farewell && w->ring && w->status != NULL) {
        uint8_t *lane = (uint8_t *)(void *)w->status;
        struct ring_shared *reply = (void *)(lane + LANE_REPLY_OFFSET(w->segment->ring_bytes));
        fiber_futex_wake(&reply->data_bell, 1);
    }
    if (w->lane != NULL && w->lane != w->control)
        w->lane->ops->destroy(w->lane);
    if (w->control != NULL)
        w->control->ops->destroy(w->control);
    buf_finish(&w->out);
    while (w->n_kept != 0)
        buf_finish(&w->kept[--w->n_kept]);
    free(w);
    p->part = NULL;
}

void sim_worker_take_signal(struct proc *p, int sig)
{
    struct worker_part *w = of(p);
    if (sig >= SIGRTMIN)
        job_raise(w);
    else if (sig != SIGTERM)
        proc_exit(p, sig);
    else if (!w->deaf && !p->stopped)
        proc_exit(p, SIGTERM);
}

/* ---- birth ---- */

static bool send_frame(struct worker_part *w, int kind, pit_value *payload /* taken */)
{
    struct buf b = {0};
    size_t done = 0;
    buf_reserve(&b, 512);
    b.len = FRAME_HEADER;
    bool ok = codec_encode(&b, payload, NULL) == 0;
    pit_value_free(payload);
    frame_put_header(b.data, kind, 0, 0, 0, b.len);
    ok = ok && w->control->ops->send(w->control, b.data, b.len, &done) == 0;
    buf_finish(&b);
    return ok;
}

static void say_hello(struct worker_part *w)
{
    struct proc *p = w->proc;
    w->control = channel_socket_create(&sim_os, proc_fd(p, PROC_CONTROL), 1 << 20);
    uint8_t secret[SEGMENT_SECRET];
    memcpy(secret, w->segment->secret, sizeof secret);
    if (w->birth == BIRTH_LIES)
        secret[0]++;
    w->ring = !sim.mood.socket;
    bool marks = w->ring || sim_chance(500);
    if (marks)
        w->status = channel_ring_status(w->segment, 0, w->segment->ring_bytes);
    pit_value *hello =
        pit_pack("{s:i,s:i,s:i,s:y,s:[s],s:b}", "protocol_min", PROTOCOL_MIN, "protocol_max", PROTOCOL_MAX, "pid", (int)p->pid,
                 "secret", secret, sizeof secret, "channels", w->ring ? "ring" : "socket", "marks", (int)marks);
    w->phase = send_frame(w, FRAME_HELLO, hello) ? W_HELLO : W_LEAVES;
}

static void be_born(struct worker_part *w)
{
    w->proc->due_ns = SIM_NEVER;
    switch (w->birth) {
    case BIRTH_EXITS:
        file_write(w->proc->files[PROC_ERR], "Traceback", 9, NULL, 0);
        proc_exit(w->proc, sim_chance(500) ? 1 << 8 : SIGSEGV);
        break;
    case BIRTH_HANGS:
        w->phase = W_LEAVES;
        break;
    default:
        say_hello(w);
    }
}

static void on_welcome(struct worker_part *w)
{
    if (w->birth == BIRTH_FAILS) {
        send_frame(w, FRAME_FAILED, pit_pack("{s:s,s:s}", "code", "adapter_invalid", "message", "no such adapter"));
        proc_exit(w->proc, 1 << 8);
        return;
    }
    w->lane = w->control;
    if (w->ring)
        w->lane =
            channel_ring_create_worker(&sim_os, w->segment, 0, w->segment->ring_bytes, 1 << 20, proc_fd(w->proc, PROC_CONTROL));
    w->heart = w->status != NULL && sim_chance(700);
    pit_value *list = pit_list(), *ready = pit_map();
    if (w->heart)
        pit_list_append_take(list, pit_str("heart"));
    if (!w->swallows)
        pit_list_append_take(list, pit_str("cancel_signal"));
    if (!w->ring && sim_chance(500))
        pit_list_append_take(list, pit_str("cancel"));
    pit_map_set_take(ready, "capabilities", list);
    if (send_frame(w, FRAME_READY, ready))
        w->phase = W_SERVES;
}

/* ---- the control socket ---- */

static void on_frame(struct worker_part *w, const struct frame *f, const struct channel_frame *in)
{
    if (f->kind == FRAME_WELCOME && w->phase == W_HELLO) {
        on_welcome(w);
    } else if (f->kind == FRAME_STOP) {
        if (!w->deaf)
            proc_exit(w->proc, 0);
    } else if (f->kind == FRAME_CANCEL) {
        w->told_cancel = f->id;
    } else if (w->phase == W_SERVES && !w->ring) {
        job_frame(w, f, in);
    }
}

static void read_control(struct worker_part *w)
{
    struct channel_frame in;
    struct frame f;
    channel_frame_init(&in);
    int rc = w->control->ops->recv(w->control, &in);
    w->more = rc == 0;
    if (rc == 0 && frame_parse(in.data, in.n, &f) == 0)
        on_frame(w, &f, &in);
    else if (rc != CHANNEL_AGAIN)
        proc_exit(w->proc, 0); /* its host has gone, or does not want it any more */
    channel_frame_finish(&in);
}

/* ---- acts ---- */

static bool control_has_news(struct worker_part *w)
{
    return w->control != NULL && (w->ring || job_listens(w)) && w->out.len == 0 &&
           (w->more || file_readable(w->proc->files[PROC_CONTROL]));
}

/* Asked whether it is alive, and not yet answered: by a thread of its own, whatever else it does. */
static bool is_asked(const struct worker_part *w)
{
    return w->heart &&
           __atomic_load_n(&w->status->ping, __ATOMIC_ACQUIRE) != __atomic_load_n(&w->status->pong, __ATOMIC_RELAXED);
}

static void answer_ping(struct worker_part *w)
{
    w->status->pong_ns = sim.now;
    const struct job *j = top_job(w);
    w->status->ticks += j == NULL || j->fate != FATE_HANGS;
    __atomic_store_n(&w->status->pong, w->status->ping, __ATOMIC_RELEASE);
}

bool sim_worker_may_run(struct proc *p)
{
    struct worker_part *w = of(p);
    if (is_asked(w))
        return true;
    if (w->phase == W_BOOT)
        return sim.now >= p->due_ns;
    if (w->out.len != 0)
        return sim.now >= w->retry_ns;
    if (w->n_jobs != 0 && job_may_go_on(w))
        return true;
    if (w->phase == W_SERVES && w->n_jobs == 0 && w->n_kept != 0)
        return true;
    if (w->phase == W_SERVES && w->ring && job_listens(w) && job_may_read(w))
        return true;
    return (w->phase == W_HELLO || w->phase == W_SERVES) && control_has_news(w);
}

static void act(struct worker_part *w)
{
    bool reads = w->phase == W_SERVES && w->ring && job_listens(w) && job_may_read(w);
    if (w->phase == W_BOOT) {
        be_born(w);
    } else if (is_asked(w)) {
        answer_ping(w);
    } else if (w->out.len != 0) {
        job_push_out(w);
    } else if (w->n_jobs != 0 && job_may_go_on(w)) {
        job_go_on(w);
    } else if (w->phase == W_SERVES && w->n_jobs == 0 && job_begin_kept(w)) {
        return;
    } else if (reads && !(control_has_news(w) && sim_chance(500))) {
        job_read(w);
    } else if (control_has_news(w)) {
        read_control(w);
    }
}

void sim_worker_run(struct proc *p)
{
    act(of(p));
    struct worker_part *w = of(p);
    if (w == NULL || w->phase == W_BOOT) /* it has ended */
        return;
    const struct job *j = top_job(w);
    p->due_ns = w->out.len != 0 ? w->retry_ns : j != NULL && j->state == JOB_WORKS ? j->until_ns : SIM_NEVER;
}

bool sim_worker_works(struct proc *p)
{
    struct worker_part *w = p->kind == PROC_WORKER ? of(p) : NULL;
    struct job *j = w != NULL ? top_job(w) : NULL;
    return p->kind == PROC_WORKER &&
           (p->stopped || w == NULL || w->lied || w->out.len != 0 || (j != NULL && j->state == JOB_WORKS));
}

bool sim_worker_waits(struct proc *p, struct sim_wait *ret)
{
    struct worker_part *w = p->kind == PROC_WORKER ? of(p) : NULL;
    struct job *j = w != NULL ? top_job(w) : NULL;
    if (p->state != PROC_ALIVE || p->stopped || j == NULL || w->lied || j->state == JOB_WORKS || w->out.len != 0)
        return false;
    *ret = (struct sim_wait){.tag = j->tag,
                             .for_credit = j->state == JOB_WANTS_CREDIT,
                             .for_inbox = j->state == JOB_WANTS_INBOX,
                             .asked = j->state == JOB_ASKS ? j->asked : 0,
                             .hears = w->ring && w->obeys};
    return true;
}
