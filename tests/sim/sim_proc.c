/* Processes of the simulated machine. See sim.h.
 *
 *   ALIVE --signal, exit--> DYING (its memory is taken down) --> ZOMBIE (pidfds readable, files closed) --reaped--> the number is free
 *
 * Numbers are few and used again at once, by our processes or by those of somebody else. What no longer has a parent is reaped by init.
 * A worker has the parent-death signal of its guard. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "ring/segment.h"
#include "sim.h"

enum { FIRST_PID = 100, PIDS = 24 };

static struct proc slots[SIM_PROCS];
static struct proc *there[SIM_PROCS];
static unsigned n_there, n_slots;
static uint64_t last_start;

struct proc *proc_at(unsigned i)
{
    return i < n_there ? there[i] : NULL;
}

struct proc *proc_in_slot(unsigned slot)
{
    return slot < n_slots && slots[slot].refs != 0 ? &slots[slot] : NULL;
}

int proc_fd(const struct proc *p, int which)
{
    return SIM_PROC_FD + (int)(p->slot * PROC_FILES) + which;
}

struct proc *proc_find(pid_t pid)
{
    for (unsigned i = 0; i < n_there; i++)
        if (there[i]->pid == pid && !there[i]->reaped)
            return there[i];
    return NULL;
}

struct proc *proc_ref(struct proc *p)
{
    p->refs++;
    return p;
}

void proc_unref(struct proc *p)
{
    p->refs--;
}

/* Mostly one that was somebody's a moment ago. */
static pid_t free_pid(void)
{
    pid_t pid = FIRST_PID + (pid_t)sim_below(PIDS);
    for (int i = 0; proc_find(pid) != NULL; i++) {
        pid = pid + 1;
        if (i == SIM_PROCS)
            sim_fail("the simulator has no number for a process");
    }
    return pid;
}

struct proc *proc_new(enum proc_kind kind, struct proc *parent)
{
    unsigned i = 0;
    while (i < n_slots && slots[i].refs != 0)
        i++;
    if (i == SIM_PROCS)
        sim_fail("the simulator has no place for a process");
    if (i == n_slots)
        n_slots++;
    struct proc *p = &slots[i];
    *p = (struct proc){.pid = free_pid(),
                       .start = ++last_start,
                       .kind = kind,
                       .state = PROC_ALIVE,
                       .parent = parent,
                       .refs = 1,
                       .due_ns = SIM_NEVER,
                       .slot = i};
    there[n_there++] = p;
    return p;
}

unsigned proc_alive(enum proc_kind kind)
{
    unsigned n = 0;
    for (unsigned i = 0; i < n_there; i++)
        n += there[i]->kind == kind && there[i]->state == PROC_ALIVE; /* not those whose end has begun */
    return n;
}

static void close_files(struct proc *p)
{
    for (int i = 0; i < PROC_FILES; i++) {
        file_unref(p->files[i]);
        p->files[i] = NULL;
    }
}

/* Its end begins: from now on the kernel knows how it will be reported; what it had open closes when its memory has been taken down. */
void proc_exit(struct proc *p, int wait_status)
{
    if (p->state != PROC_ALIVE)
        return;
    SIM_TRACE("  process %d (%s) ends, status %d", (int)p->pid, p->id, wait_status);
    p->state = PROC_DYING;
    p->wait_status = wait_status;
    p->stopped = false;
    p->due_ns = sim.now + (sim_chance(sim.mood.big) ? sim_below(20000) : sim_below(300)) * SIM_US;
    sim.deaths++;
    if (p->kind == PROC_WORKER)
        sim_worker_finish(p);
    if (p->kind == PROC_GUARD) {
        for (unsigned i = 0; i < n_there; i++)
            if (there[i]->parent == p && !there[i]->reaped) {
                there[i]->parent = NULL;
                proc_signal(there[i], SIGKILL, "the death of its guard");
            }
        sim_guard_finish(p);
    }
}

void proc_signal(struct proc *p, int sig, const char *by)
{
    check_kill(p, by);
    if (p->state != PROC_ALIVE || p->reaped)
        return;
    SIM_TRACE("  process %d (%s) gets signal %d by %s", (int)p->pid, p->id, sig, by);
    p->was_stopped = p->was_stopped || sig == SIGSTOP;
    if (sig == SIGSTOP || sig == SIGCONT)
        p->stopped = sig == SIGSTOP;
    else if (sig == SIGKILL || p->kind != PROC_WORKER)
        proc_exit(p, sig);
    else
        sim_worker_take_signal(p, sig);
}

void proc_reap(struct proc *p)
{
    p->reaped = true;
    p->due_ns = SIM_NEVER;
    for (unsigned i = 0; i < n_there; i++)
        if (there[i] == p) {
            there[i] = there[--n_there];
            break;
        }
    p->refs--;
    if (!sim_chance(sim.mood.foreign) || n_there > PIDS / 2)
        return;
    struct proc *other = proc_new(PROC_FOREIGN, NULL);
    other->pid = proc_find(p->pid) == NULL ? p->pid : other->pid;
    memcpy(other->id, "somebody else", 14);
}

bool proc_may_run(struct proc *p)
{
    if (p->state == PROC_DYING)
        return sim.now >= p->due_ns;
    if (p->state == PROC_ZOMBIE)
        return p->parent == NULL && p->kind == PROC_WORKER; /* init will have it */
    if (p->stopped)
        return false;
    return p->kind == PROC_GUARD ? sim_guard_may_run(p) : p->kind == PROC_WORKER && sim_worker_may_run(p);
}

void proc_run(struct proc *p)
{
    SIM_TRACE("process %d (%s)", (int)p->pid, p->id);
    if (p->state == PROC_DYING) {
        p->state = PROC_ZOMBIE;
        p->due_ns = SIM_NEVER;
        close_files(p);
    } else if (p->state == PROC_ZOMBIE) {
        proc_reap(p);
    } else if (p->kind == PROC_GUARD) {
        sim_guard_run(p);
    } else {
        sim_worker_run(p);
    }
}

void proc_clear(void)
{
    while (n_there > 0) {
        struct proc *p = there[--n_there];
        if (p->state == PROC_ALIVE && p->kind != PROC_FOREIGN)
            sim_fail("process %d (%s) lives at the end", (int)p->pid, p->id);
        close_files(p);
    }
    n_slots = 0;
    last_start = 0;
}
