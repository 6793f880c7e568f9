/* The simulator: the library's own code, from pit_open() to pit_close(), over a machine that is not there. Its threads are fibers, its processes
 * are structs, its clock stands still unless it is told to move, and everything that could happen in more than one order is decided by
 * one generator: a seed is a schedule. docs/internals/simulator.md.
 *
 *   sim_fiber.c      threads: fibers that give way at locks, waits and wake-ups; which of all that could run runs next
 *   sim_file.c       descriptors: sockets, pipes, eventfd, epoll, pidfds
 *   sim_os.c         struct os_ops over those
 *   sim_proc.c       processes, numbers of processes, signals, deaths
 *   sim_guard.c      what snakepit-guard does
 *   sim_worker*.c    what a worker does, well or badly
 *   sim_scenario*.c  who calls what, and what goes wrong meanwhile; streams and their readers; tools of the host
 *   sim_check.c      what must hold after every step
 *
 * One step is one fiber until it gives way, or one act of one process. Thread: one. */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <pthread.h>
#include <snakepit/snakepit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "channel/channel.h"
#include "guard/guard_msg.h"
#include "os/os.h"

#define SIM_US UINT64_C(1000)
#define SIM_MS UINT64_C(1000000)
#define SIM_NEVER UINT64_MAX

enum {
    SIM_FDS = 512,
    SIM_PROCS = 192,
    SIM_CALLS = 64,
    SIM_WINDOW = 8,
    SIM_DEPTH_MAX = 16,
    SIM_PROC_FD = 1 << 20 /* from here on: descriptors of processes */
};

/* ---- chance ---- */
uint64_t sim_random(void);
static inline unsigned sim_below(unsigned n)
{
    return (unsigned)(((sim_random() >> 32) * n) >> 32);
}
static inline bool sim_chance(unsigned permille)
{
    return sim_below(1000) < permille;
}

/* ---- the schedule that runs ---- */
struct proc;
struct file;
struct host;

/* What the seed has decided about this schedule as a whole. */
struct sim_mood {
    unsigned preempt;      /* permille: a fiber gives way where it could */
    unsigned lag;          /* permille of steps after which the machine is busy elsewhere for a while */
    unsigned spurious;     /* permille: a futex wakes for nothing */
    unsigned refuse;       /* permille: a system call that takes a resource fails */
    unsigned slow;         /* permille of calls that take long */
    unsigned hang;         /* permille of calls that never end by themselves */
    unsigned crash;        /* permille of calls that end their worker */
    unsigned lie;          /* permille of calls that the worker answers with rubbish */
    unsigned big;          /* permille of processes whose memory takes long to be taken down */
    unsigned bad_start;    /* permille of starts that end badly */
    unsigned guards;       /* permille of disturbances that meet the guard */
    unsigned foreign;      /* permille: a number that has become free goes to a process of somebody else */
    unsigned streams;      /* permille of calls that are streams */
    unsigned tools;        /* permille of calls that call tools of the host */
    bool deep;             /* tools call back until they may not any more */
    bool socket, farewell; /* workers without rings; the kernel rings the bell of who sleeps on a dying worker */
};

struct sim {
    uint64_t seed, rng, now, steps;
    struct sim_mood mood;
    bool trace, quiet;   /* quiet: nothing goes wrong any more */
    bool driven;         /* PIT_DRIVE_HOST */
    unsigned loop_waits; /* the loop's thread waits for something that is not its next event */
    pit *p;
    struct host *host; /* while it is there */
    /* what was seen */
    uint64_t kills, guard_kills, deaths;
};
extern struct sim sim;

/* Ends the schedule as failed. Does not return. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define SIM_TRACE(...)                                                                                                         \
    do {                                                                                                                       \
        if (sim.trace)                                                                                                         \
            sim_tell(__VA_ARGS__);                                                                                             \
    } while (0)
void sim_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- fibers ---- */
struct fiber;
void fiber_reset(void);
struct fiber *fiber_start(void *(*fn)(void *arg), void *arg, const char *name);
void fiber_yield(void);                                                         /* the rest of the world may run */
void fiber_maybe_yield(void);                                                   /* if the dice say so */
bool fiber_wait_for(bool (*ready)(void *arg), void *arg, uint64_t deadline_ns); /* false: the deadline came first */
int fiber_futex_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns);
int fiber_futex_wake(const uint32_t *word, int n);
bool fiber_locked(void);  /* some fiber holds a mutex: what it guards may be half changed */
void fiber_looks(void);   /* it has looked at epoll */
bool fiber_is_loop(void); /* the one that runs */
void fiber_run_all(void); /* until the first fiber has ended and nothing is left to do */
bool fiber_ended(const struct fiber *f);
void fiber_join(struct fiber *f);
void fiber_is_the_loop(struct fiber *f);
uintptr_t fiber_number(const struct fiber *f); /* as pthread_self() says it */

/* ---- descriptors ---- */
enum file_kind { FILE_SOCKET = 1, FILE_PIPE_READ, FILE_PIPE_WRITE, FILE_EVENT, FILE_EPOLL, FILE_PIDFD, FILE_MEMORY };
void file_reset(void);
struct file *file_ref(struct file *f);
void file_unref(struct file *f); /* NULL ok */
struct file *file_pidfd(struct proc *p);
void file_socketpair(struct file *ret[2]);
void file_pipe(struct file *ret[2]);
struct file *file_event(void);
struct file *file_epoll(void);
struct file *file_memory(size_t n); /* zeroed */
void *file_map(struct file *f);     /* of memory; lives as long as f or the map */
size_t file_size(const struct file *f);
enum file_kind file_kind(const struct file *f);
struct proc *file_proc(const struct file *f);
ssize_t file_write(struct file *f, const void *data, size_t n, struct file *const *with, int n_with);
ssize_t file_read(struct file *f, void *data, size_t n, struct file **ret_with, int *ret_n_with);
void file_shutdown(struct file *f);
bool file_readable(const struct file *f);
bool file_writable(const struct file *f);
int file_epoll_ctl(struct file *ep, int op, struct file *f, uint32_t events, void *data);
int file_epoll_wait(struct file *ep, void *events, int max); /* never waits */
bool file_epoll_ready(const struct file *ep);
unsigned file_count(void); /* that are open anywhere */

/* the host's table */
void fd_reset(void);
int fd_open(struct file *f); /* takes the reference; -EMFILE */
struct file *fd_get(int fd); /* NULL: not open; also of processes (fd >= SIM_PROC_FD) */
void fd_close(int fd);
unsigned fd_count(void);

extern const struct os_ops sim_os;

/* ---- processes ---- */
enum proc_kind { PROC_GUARD = 1, PROC_WORKER, PROC_FOREIGN };
enum proc_state { PROC_ALIVE = 1, PROC_DYING /* its end has begun */, PROC_ZOMBIE };
enum { PROC_FILES = 8, PROC_CONTROL = 0, PROC_SEGMENT, PROC_OUT, PROC_ERR, PROC_HOST };

struct proc {
    pid_t pid;
    uint64_t start;
    enum proc_kind kind;
    enum proc_state state;
    bool stopped, was_stopped;
    unsigned at_work; /* calls that ran in it when it ended */
    int wait_status;  /* from DYING on */
    struct proc *parent;
    bool reaped;     /* its number may be used again; the struct lives while a pidfd of it does */
    unsigned refs;   /* the table, pidfds, the guard's child */
    uint64_t due_ns; /* when it goes on by itself */
    struct file *files[PROC_FILES];
    char id[GUARD_TEXT];
    unsigned slot;
    void *part; /* the guard's or the worker's */
};
void proc_clear(void); /* all of them, at the end of a schedule */
struct proc *proc_new(enum proc_kind kind, struct proc *parent);
struct proc *proc_find(pid_t pid); /* that has this number now; NULL */
struct proc *proc_at(unsigned i);  /* the i-th that is there, reaped or not; NULL: no more */
struct proc *proc_in_slot(unsigned slot);
int proc_fd(const struct proc *p, int which); /* for code of the library that runs as that process */
struct proc *proc_ref(struct proc *p);
void proc_unref(struct proc *p);
void proc_signal(struct proc *p, int sig, const char *by);
void proc_exit(struct proc *p, int wait_status); /* its end begins */
void proc_reap(struct proc *p);                  /* of a zombie */
bool proc_may_run(struct proc *p);
void proc_run(struct proc *p); /* one act */
unsigned proc_alive(enum proc_kind kind);

/* ---- guard and worker ---- */
void sim_guard_begin(struct proc *p);
bool sim_guard_may_run(struct proc *p);
void sim_guard_run(struct proc *p);
void sim_guard_finish(struct proc *p);
void sim_worker_begin(struct proc *p);
bool sim_worker_may_run(struct proc *p);
void sim_worker_run(struct proc *p);
void sim_worker_finish(struct proc *p);
void sim_worker_take_signal(struct proc *p, int sig);
/* What the call that runs in a worker waits for; false: nothing, or the worker does not look. */
struct sim_wait {
    unsigned tag;
    bool for_credit, for_inbox;
    uint64_t asked; /* for the answer to this tool call, unless 0 */
    bool hears;     /* who is told that its call has ended would end */
};
bool sim_worker_waits(struct proc *p, struct sim_wait *ret);
bool sim_worker_works(struct proc *p); /* or is on its way: others may have to wait for it */

/* ---- what is asked, and what must come of it ---- */
enum ask_form {
    ASK_BLOCKING,
    ASK_CANCELLABLE,
    ASK_FUTURE,
    ASK_BATCH,
    ASK_STREAM, /* told of on its caller's thread */
    ASK_TOLD,   /* on the loop */
    ASK_PULL    /* read at its reader's pace */
};
struct ask {
    int form;
    uint64_t made_ns, deadline_ns, cancelled_ns;
    unsigned outside;   /* threads that run code of the program for it: a tool, a callback, its reader between two reads */
    bool by_tool;       /* a tool has made it */
    bool unsure;        /* it ended for its reader, and perhaps otherwise for the pool */
    bool told_given_up; /* its worker was told so, when it asked for a tool */
    bool begun;
    bool again;                        /* it may be run again when its worker has died of it */
    unsigned completions, runs, kills; /* kills: workers that died of it, and not by a kill from outside */
    int rc;
    struct proc *ran_on;
};
extern struct ask asks[SIM_CALLS];
extern unsigned n_asks;
void ask_ran(unsigned tag, struct proc *w); /* a worker begins it */
void ask_completed(struct ask *a, int rc, const pit_value *value, const pit_error *e);
int64_t ask_answer(unsigned tag);
void ask_has_acted(struct ask *a); /* a tool that may not be run again has run for it */

/* ---- streams: sim_scenario_stream.c ---- */
struct live;
void stream_reset(void);
void stream_call(struct live *l);
void flow_begins(unsigned tag);                                    /* a worker begins it */
uint64_t flow_produced(unsigned tag, bool final);                  /* the number of the chunk that it gives */
void flow_granted(unsigned tag, uint64_t credit, uint64_t window); /* what it has then */
void flow_heard(unsigned tag, unsigned number);                    /* a value out of its inbox */
void flow_inbox_ended(unsigned tag);
void flow_check_wait(const struct sim_wait *w); /* nothing can run, and a worker waits */
void flow_check_end(const struct ask *a, int rc);

/* ---- tools of the host: sim_scenario_tool.c ---- */
void tool_reset(void);
void tool_register_some(void);
void tool_change_some(void);
/* A worker asks for a tool: its number, and the name, "" for a list; negative: it does not. */
int errand_begins(unsigned tag, struct proc *w, uint64_t id, char *ret_name, size_t n);
void errand_ends(struct proc *w, uint64_t id, int kind, const pit_value *v, bool dropped);
void errand_check_wait(struct proc *w, uint64_t id);
void tool_check_end(void);

void scenario_begin(void);
bool scenario_may_disturb(void);
void scenario_disturb(void);
void scenario_run(void);
void scenario_tell(void); /* what came of all calls so far */
void scenario_end(void);  /* all has ended: what must be so now */

void check_step(void);  /* after every step */
void check_quiet(void); /* nothing can run unless the clock moves */
void check_kill(struct proc *p, const char *by);

#endif
