/* See inproc.h. This file: the adapter's home, and the beginning and the end of a thread. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "ring/segment.h"
#include "worker/inproc_private.h"

/* Of the host whose adapter this thread runs: its loop; and the call that it runs. */
static _Thread_local const struct loop *serving;
static _Thread_local const struct pit_adapter_ctx *current;

bool inproc_serves(const struct loop *l)
{
    return serving == l;
}

const struct pit_adapter_ctx *inproc_current(const struct loop *l)
{
    return serving == l ? current : NULL;
}

void inproc_set_current(const struct pit_adapter_ctx *c)
{
    current = c;
}

/* ---- the home ---- */

struct adapter_home *adapter_home_create(const struct os_ops *os, const pit_adapter *adapter, void *user, const char *pool)
{
    size_t n = strlen(pool) + 1;
    struct adapter_home *h = mem_zalloc(sizeof *h + n);
    if (h == NULL)
        return NULL;
    h->adapter = *adapter;
    h->user = user;
    h->os = os;
    h->users = 2;
    memcpy(h->pool, pool, n);
    return h;
}

const char *adapter_home_pool(const struct adapter_home *h)
{
    return h->pool;
}

pit_error *adapter_home_init(struct adapter_home *h)
{
    struct pit_adapter_ctx c = {.home = h, .deadline_ns = UINT64_MAX};
    int rc = h->adapter.init != NULL ? h->adapter.init(&c, h->user) : 0;
    h->inited = rc == 0;
    if (rc == 0) {
        pit_error_free(c.failure);
        return NULL;
    }
    const char *why = c.failure != NULL ? pit_error_message(c.failure) : rc < 0 ? pit_strerror(rc) : "it does not say why";
    pit_error *e = error_new(PIT_E_ADAPTER_INIT_FAILED, "the C adapter of pool %s could not be initialised: %s", h->pool, why);
    error_pool(e, h->pool);
    return c.failure != NULL ? error_cause_take(e, c.failure) : e;
}

static void enter_home(struct adapter_home *h)
{
    __atomic_add_fetch(&h->users, 1, __ATOMIC_RELAXED);
}

/* Who waits for the others may free the home as soon as the count has moved: it is woken by an address that may be nobody's then. */
void adapter_home_leave(struct adapter_home *h)
{
    const struct os_ops *os = h->os;
    uint32_t *word = &h->users;
    if (__atomic_sub_fetch(word, 1, __ATOMIC_ACQ_REL) != 0) {
        os->futex_wake(word, INT_MAX);
        return;
    }
    if (h->inited && h->adapter.terminate != NULL)
        h->adapter.terminate(h->user);
    mem_free(h);
}

unsigned adapter_home_close(struct adapter_home *h, uint64_t deadline_ns)
{
    uint32_t n;
    while ((n = __atomic_load_n(&h->users, __ATOMIC_ACQUIRE)) != 1 && h->os->now_ns() < deadline_ns)
        h->os->futex_wait(&h->users, n, deadline_ns);
    adapter_home_leave(h);
    return n - 1;
}

/* ---- the body ---- */

static void unref(struct inproc *b)
{
    if (__atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (b->lane != NULL)
        b->lane->ops->destroy(b->lane);
    if (b->control != NULL)
        b->control->ops->destroy(b->control);
    if (b->control_fd >= 0)
        b->os->close(b->control_fd);
    channel_frame_finish(&b->in);
    channel_frame_finish(&b->side);
    mem_free(b->memory);
    mem_free(b);
}

void inproc_release(struct inproc *b)
{
    if (b == NULL)
        return;
    pthread_t thread = b->thread;
    bool join = b->started && !b->detached;
    unref(b);
    if (join)
        pthread_join(thread, NULL);
}

int inproc_open(struct worker *w)
{
    const struct worker_config *config = w->config;
    struct inproc *b = mem_zalloc(sizeof *b);
    if (b == NULL)
        return -ENOMEM;
    b->refs = 1;
    b->os = w->env->os;
    b->home = config->home;
    b->control_fd = -1;
    channel_frame_init(&b->in);
    channel_frame_init(&b->side);
    w->inproc = b; /* worker_free() frees what there is */
    int rc = w->env->os->random(w->secret, sizeof w->secret);
    if (rc != 0)
        return rc;
    w->segment_bytes = segment_bytes(config->lanes, config->ring_bytes);
    b->memory = mem_zalloc(w->segment_bytes + SEGMENT_LINE);
    if (b->memory == NULL)
        return -ENOMEM;
    b->segment = (void *)(((uintptr_t)b->memory + SEGMENT_LINE - 1) & ~(uintptr_t)(SEGMENT_LINE - 1));
    w->segment = b->segment;
    segment_init(w->segment, config->lanes, config->ring_bytes, w->secret);
    return 0;
}

/* ---- its thread ---- */

static void *run(void *arg)
{
    struct inproc *b = arg;
    struct adapter_home *home = b->home;
    int runs = INPROC_RUNS;
    serving = b->loop;
    b->exit_status = inproc_serve(b);
    serving = NULL;
    if (__atomic_compare_exchange_n(&b->state, &runs, INPROC_ENDED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        adapter_home_leave(home);
        loop_post(b->loop, &b->ended); /* it is joined: so b, the loop and what they need are there until this returns */
        unref(b);
    } else { /* nobody joins it: who waits, waits for its leaving, and then nothing of it is left */
        unref(b);
        adapter_home_leave(home);
    }
    return NULL;
}

static void on_ended(struct loop_work *work)
{
    struct inproc *b = LIST_ENTRY(work, struct inproc, ended);
    struct guard_exit how = {0};
    if (!b->detached)
        how = (struct guard_exit){.code = CLD_EXITED, .status = b->exit_status};
    b->child->exited(b->child, how); /* comes last: b may be freed by it */
}

static int make_channels(struct inproc *b, const struct worker *w)
{
    b->control = channel_socket_create(b->os, b->control_fd, b->max_frame);
    b->lane = channel_ring_create_worker(b->os, b->segment, 0, w->config->ring_bytes, b->max_frame, b->control_fd);
    b->status = channel_ring_status(b->segment, 0, w->config->ring_bytes);
    return b->control != NULL && b->lane != NULL ? 0 : PIT_E_ALLOCATION_FAILED;
}

int inproc_start(struct worker *w)
{
    struct inproc *b = w->inproc;
    b->control_fd = w->child_fds[0];
    w->child_fds[0] = -1;
    b->max_frame = w->config->max_frame;
    b->spin_ns = w->config->spin_ns;
    b->prefix = w->prefix;
    b->loop = w->env->loop;
    b->child = &w->child;
    b->ended.fn = on_ended;
    memcpy(b->id, w->id, sizeof b->id);
    int rc = make_channels(b, w);
    if (rc != 0)
        return rc;
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    enter_home(b->home);
    b->started = b->os->thread_start(&b->thread, run, b) == 0;
    if (b->started)
        return 0;
    adapter_home_leave(b->home); /* not the last: the pool is there */
    unref(b);
    return PIT_E_SYSTEM_ERROR;
}

void inproc_signal(struct worker *w, int sig)
{
    struct inproc *b = w->inproc;
    int runs = INPROC_RUNS;
    if (!b->started)
        return;
    __atomic_store_n(&b->ending, true, __ATOMIC_SEQ_CST);
    if (sig != SIGKILL) {
        b->lane->ops->rouse(b->lane);
        return;
    }
    if (!__atomic_compare_exchange_n(&b->state, &runs, INPROC_LEFT, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return;
    b->detached = true;
    pthread_detach(b->thread);
    b->lane->ops->interrupt(b->lane);
    b->os->shutdown(b->control_fd);
    loop_post(b->loop, &b->ended);
}

bool inproc_is_over(const struct inproc *b)
{
    return b->broken || __atomic_load_n(&b->state, __ATOMIC_ACQUIRE) == INPROC_LEFT;
}

const char *inproc_worker_id(const struct inproc *b)
{
    return b->id;
}
