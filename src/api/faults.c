/* See faults.h. Invariants
 *  1. Only what may fail in life fails: who gives something back, or looks at the clock, is never refused.
 *  2. The clock of the host jumps ahead and never back; what the kernel is told of times is in its own. */
#include "api/faults.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "api/api.h"

static struct inject_plan plan;
static bool is_on;        /* atomic */
static uint64_t ahead_ns; /* atomic: by how much the clock has jumped */
static pit_allocator below;

static bool fault(enum inject_kind kind, uint64_t *ret_ns)
{
    return __atomic_load_n(&is_on, __ATOMIC_ACQUIRE) && inject_now(&plan, kind, ret_ns);
}

static void hold_up(uint64_t ns)
{
    static const uint32_t word;
    uint64_t until = os_linux.now_ns() + ns;
    while (os_linux.now_ns() < until)
        os_linux.futex_wait(&word, 0, until);
}

/* ---- time ---- */

static uint64_t fault_now(void)
{
    return os_linux.now_ns() + __atomic_load_n(&ahead_ns, __ATOMIC_RELAXED);
}

static uint64_t fault_coarse(void)
{
    return os_linux.coarse_ns() + __atomic_load_n(&ahead_ns, __ATOMIC_RELAXED);
}

static uint64_t of_kernel(uint64_t deadline_ns)
{
    uint64_t ahead = __atomic_load_n(&ahead_ns, __ATOMIC_RELAXED);
    return deadline_ns == UINT64_MAX ? deadline_ns : deadline_ns > ahead ? deadline_ns - ahead : 0;
}

static int fault_poll_one(int fd, enum os_wait what, uint64_t deadline_ns)
{
    return os_linux.poll_one(fd, what, of_kernel(deadline_ns));
}

static int fault_futex_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    return os_linux.futex_wait(word, expected, of_kernel(deadline_ns));
}

static int fault_reap_group(pid_t pgid, uint64_t deadline_ns)
{
    return os_linux.reap_group(pgid, of_kernel(deadline_ns));
}

static int fault_epoll_wait(int ep, void *events, int max, uint64_t deadline_ns)
{
    return os_linux.epoll_wait(ep, events, max, of_kernel(deadline_ns));
}

/* ---- bytes ---- */

static ssize_t fault_recv(int fd, void *data, size_t n)
{
    uint64_t ns;
    if (fault(INJECT_SLOW, &ns))
        hold_up(ns);
    ssize_t rc = os_linux.recv(fd, data, n);
    if (rc <= 1 || !fault(INJECT_TORN, NULL))
        return rc;
    os_linux.shutdown(fd);
    return rc / 2;
}

static ssize_t fault_read(int fd, void *data, size_t n)
{
    uint64_t ns;
    if (fault(INJECT_SLOW, &ns))
        hold_up(ns);
    return os_linux.read(fd, data, n);
}

/* ---- what there may be none of ---- */

static int fault_segment_create(const char *name, size_t n, size_t ready, void **ret_map, int *ret_fd)
{
    if (fault(INJECT_ENOMEM, NULL))
        return -ENOMEM;
    return fault(INJECT_FDS, NULL) ? -EMFILE : os_linux.segment_create(name, n, ready, ret_map, ret_fd);
}

static int fault_memfd_sealed(const char *name, const void *data, size_t n)
{
    return fault(INJECT_FDS, NULL) ? -EMFILE : os_linux.memfd_sealed(name, data, n);
}

static int fault_socketpair(int ret_fds[2])
{
    return fault(INJECT_FDS, NULL) ? -EMFILE : os_linux.socketpair(ret_fds);
}

static int fault_pipe(int ret_fds[2])
{
    return fault(INJECT_FDS, NULL) ? -EMFILE : os_linux.pipe(ret_fds);
}

static int fault_dup(int fd)
{
    return fault(INJECT_FDS, NULL) ? -EMFILE : os_linux.dup(fd);
}

static int fault_pidfd_open(pid_t pid)
{
    return fault(INJECT_FDS, NULL) ? -EMFILE : os_linux.pidfd_open(pid);
}

static void *fault_alloc(size_t n, void *user)
{
    return fault(INJECT_ENOMEM, NULL) ? NULL : below.alloc(n, user);
}

static void *fault_realloc(void *block, size_t n, void *user)
{
    return fault(INJECT_ENOMEM, NULL) ? NULL : below.realloc(block, n, user);
}

void faults_allocator(const pit_allocator *under)
{
    below = *under;
    const pit_allocator failing = {sizeof failing, fault_alloc, fault_realloc, under->free, under->user};
    pit_set_allocator(&failing);
}

/* ---- calls ---- */

static void kill_worker(pit *p, const char *id)
{
    pit_worker_list *l = NULL;
    if (id == NULL || pit_list_workers(p, NULL, &l, NULL) != 0)
        return;
    for (size_t i = 0; i < pit_worker_list_len(l); i++) {
        const pit_worker_info *w = pit_worker_list_at(l, i);
        int pidfd = strcmp(w->id, id) == 0 && w->pid > 0 ? os_linux.pidfd_open(w->pid) : -1;
        if (pidfd >= 0)
            os_linux.pidfd_kill(pidfd, SIGKILL);
        os_linux.close(pidfd);
    }
    pit_worker_list_free(l);
}

static int on_dispatched(const pit_event *ev, void *user)
{
    uint64_t ns;
    if (fault(INJECT_KILL, NULL))
        kill_worker(user, pit_event_text(ev, "worker_id"));
    if (fault(INJECT_DELAY, &ns))
        hold_up(ns);
    if (fault(INJECT_CLOCK, &ns))
        __atomic_add_fetch(&ahead_ns, ns, __ATOMIC_RELAXED);
    return 0;
}

int faults_watch(pit *p)
{
    return pit_telemetry_attach(p, "snakepit.pool.call.dispatched", on_dispatched, p, NULL, NULL);
}

/* ---- the plan ---- */

const struct os_ops *faults_os(void)
{
    static struct os_ops table;
    table = os_linux;
    table.now_ns = fault_now;
    table.coarse_ns = fault_coarse;
    table.poll_one = fault_poll_one;
    table.futex_wait = fault_futex_wait;
    table.reap_group = fault_reap_group;
    table.epoll_wait = fault_epoll_wait;
    table.recv = fault_recv;
    table.read = fault_read;
    table.segment_create = fault_segment_create;
    table.memfd_sealed = fault_memfd_sealed;
    table.socketpair = fault_socketpair;
    table.pipe = fault_pipe;
    table.dup = fault_dup;
    table.pidfd_open = fault_pidfd_open;
    return &table;
}

int faults_plan(const char *text, struct inject_error *why)
{
    faults_switch(false);
    return inject_parse(text, &plan, why);
}

void faults_switch(bool on)
{
    __atomic_store_n(&is_on, on, __ATOMIC_RELEASE);
}

uint64_t faults_taken(enum inject_kind kind)
{
    return __atomic_load_n(&plan.rules[kind].taken, __ATOMIC_RELAXED);
}

int faults_open(const char *text, const pit_options *o, pit **ret, pit_error **reterr)
{
    struct inject_error why;
    int rc = faults_plan(text, &why);
    if (rc != 0)
        return error_set(reterr, rc, "SNAKEPIT_FAULTS: %s", why.text);
    rc = api_open_os(faults_os(), o, ret, reterr);
    if (rc == 0)
        rc = faults_watch(*ret);
    if (rc == 0)
        faults_switch(true);
    return rc;
}
