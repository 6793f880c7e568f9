/* What snakepit-guard does, as the host sees it (guard/guard_msg.h). The real program has tests of its own; this one is right, and slow at
 * any moment. See sim.h.
 *
 * It knows its children as the kernel does, by struct and not by number: so it never signals a process that is not its own. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "sim.h"

enum { CHILDREN = 128 };

struct child {
    struct proc *proc;
    uint64_t token;
};

struct guard {
    bool said_hello, quitting;
    struct child children[CHILDREN];
    unsigned n;
};

static struct guard *of(struct proc *p)
{
    return p->part;
}

void sim_guard_begin(struct proc *p)
{
    p->part = calloc(1, sizeof(struct guard));
    memcpy(p->id, "guard", 6);
}

void sim_guard_finish(struct proc *p)
{
    struct guard *g = of(p);
    for (unsigned i = 0; i < g->n; i++)
        proc_unref(g->children[i].proc);
    free(g);
    p->part = NULL;
}

static struct child *dead_child(struct guard *g)
{
    for (unsigned i = 0; i < g->n; i++)
        if (g->children[i].proc->state == PROC_ZOMBIE)
            return &g->children[i];
    return NULL;
}

bool sim_guard_may_run(struct proc *p)
{
    struct guard *g = of(p);
    return !g->said_hello || dead_child(g) != NULL || (g->quitting && g->n == 0) ||
           (!g->quitting && file_readable(p->files[PROC_CONTROL]));
}

static bool say(struct proc *p, const struct guard_msg *m, struct file *with)
{
    return file_write(p->files[PROC_CONTROL], m, sizeof *m, &with, with != NULL) > 0;
}

static void tell_exit(struct proc *p, struct child *c)
{
    struct guard *g = of(p);
    int status = c->proc->wait_status;
    struct guard_msg m = {.kind = GUARD_EXITED,
                          .token = c->token,
                          .pid = c->proc->pid,
                          .code = WIFEXITED(status) ? CLD_EXITED : CLD_KILLED,
                          .status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)};
    if (!say(p, &m, NULL) && !g->quitting)
        return; /* no room: later */
    proc_reap(c->proc);
    proc_unref(c->proc);
    *c = g->children[--g->n];
}

static void quit(struct guard *g)
{
    g->quitting = true;
    for (unsigned i = 0; i < g->n; i++)
        proc_signal(g->children[i].proc, SIGKILL, "the guard that quits");
}

static void spawn(struct proc *p, const struct guard_msg *in, struct file **with, int n)
{
    struct guard *g = of(p);
    struct guard_msg m = {.kind = GUARD_SPAWNED, .token = in->token};
    bool bad = n < 2 || g->n == CHILDREN || (!sim.quiet && sim_chance(sim.mood.bad_start / 4));
    if (bad) {
        m.error = sim_chance(500) ? EAGAIN : ENOENT;
        memcpy(m.text, m.error == EAGAIN ? "fork" : "exec", 5);
        say(p, &m, NULL);
    } else {
        struct proc *w = proc_new(PROC_WORKER, p);
        int at = 1;
        memcpy(w->id, in->text, sizeof w->id);
        w->files[PROC_CONTROL] = file_ref(with[at++]);
        static const int bits[] = {GUARD_HAS_SEGMENT, GUARD_HAS_STDOUT, GUARD_HAS_STDERR};
        for (int i = 0; i < 3; i++)
            if ((in->number & (unsigned)bits[i]) != 0 && at < n)
                w->files[PROC_SEGMENT + i] = file_ref(with[at++]);
        g->children[g->n++] = (struct child){proc_ref(w), in->token};
        sim_worker_begin(w);
        m.pid = w->pid;
        struct file *pidfd = file_pidfd(w);
        say(p, &m, pidfd);
        file_unref(pidfd);
    }
}

static void listen(struct proc *p)
{
    struct guard *g = of(p);
    struct guard_msg m;
    struct file *with[OS_MAX_FDS];
    int n = OS_MAX_FDS;
    ssize_t rc = file_read(p->files[PROC_CONTROL], &m, sizeof m, with, &n);
    if (rc <= 0) {
        quit(g);
        return;
    }
    if (rc != (ssize_t)sizeof m)
        sim_fail("the guard got a message of %zd bytes", rc);
    if (m.kind == GUARD_SPAWN) {
        spawn(p, &m, with, n);
    } else if (m.kind == GUARD_KILL) {
        for (unsigned i = 0; i < g->n; i++)
            if (g->children[i].proc->pid == m.pid)
                proc_signal(g->children[i].proc, (int)m.number, "the guard");
    } else if (m.kind == GUARD_QUIT) {
        quit(g);
    } else if (m.kind != GUARD_CANCEL) { /* that it is asked for, it has told of already */
        sim_fail("the guard got a message of kind %u", m.kind);
    }
    for (int i = 0; i < n; i++)
        file_unref(with[i]);
}

void sim_guard_run(struct proc *p)
{
    struct guard *g = of(p);
    struct child *dead = dead_child(g);
    if (!g->said_hello) {
        g->said_hello = say(p, &(struct guard_msg){.kind = GUARD_HELLO, .number = GUARD_PROTOCOL, .pid = p->pid}, NULL);
    } else if (dead != NULL && (g->quitting || sim_chance(500) || !file_readable(p->files[PROC_CONTROL]))) {
        tell_exit(p, dead);
    } else if (g->quitting) {
        if (g->n == 0)
            proc_exit(p, 0);
    } else if (file_readable(p->files[PROC_CONTROL])) {
        listen(p);
    }
}
