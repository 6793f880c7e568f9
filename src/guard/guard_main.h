/* The parts of the program snakepit-guard. Private to guard_main*.c: not part of the library.
 *
 * One thread, no allocation after start, no state but `struct guard`. */
#ifndef PIT_GUARD_MAIN_H
#define PIT_GUARD_MAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "guard/guard_msg.h"

#ifdef GUARD_FAULTS
enum { TABLE = 16 }; /* so that a test can fill it */
#else
enum { TABLE = GUARD_MAX_CHILDREN };
#endif

struct child {
    bool used;
    bool alive;       /* forked and not reaped: its pid is pinned, and ours */
    bool failed;      /* its start failed: its end is not reported */
    bool spawned_due; /* SPAWNED has to be sent */
    bool exited_due;  /* EXITED has to be sent, after SPAWNED */
    pid_t pid;
    uint64_t token, serial;
    bool is_template;         /* its group is not signalled: a worker that it has just made is in it until its setsid */
    int fork_socket;          /* of a template that can be asked; -1 */
    uint64_t of;              /* not 0: the serial of the template that has been asked to fork it, and has not answered */
    uint64_t due_ms, most_ms; /* then: when it has to, and when it has to however busy the machine is */
    int report;               /* read end of the pipe that closes at exec, or tells why there is none; -1 */
    int pidfd;                /* until SPAWNED is out; -1 */
    int error;                /* of the start, and the call that failed */
    char call[24];
    int code, status;
    struct guard_used used_by;
    char worker_id[GUARD_TEXT];
};

struct guard {
    pid_t pid;
    int control, host, signals; /* -1: gone */
    bool ending;                /* kill everything, then go */
    bool blocked;               /* the socket is full: wait until it takes more */
    bool retry;                 /* a call failed for the moment: look again soon */
    bool childless;             /* waitid says that there is nobody */
    bool blind;                 /* /proc cannot be read */
    uint64_t serial;
    int starting;             /* children whose report is awaited */
    int forking;              /* children whose template is still to answer */
    bool left_alone;          /* somebody who has ended was not reaped, since it may be one of these */
    int high;                 /* slots from here on were never used */
    uint64_t rescan_until_ms; /* a descendant may be between two environments until then */
    bool rescan;
    bool keeps;    /* of some worker the descendants are to be kept */
    int strangers; /* children that the last look found and that are not kept */
    struct child
        children[TABLE + 1]; /* the last one is for refusals: with the table full, the host's other messages are still read */
};

/* What a failing child writes into its report pipe. */
struct child_failure {
    int error;
    char call[24];
};

struct spawn_fds {
    int request, control, segment, out, err; /* -1: none */
};

/* guard_main.c: the descriptors that came with a message; count */
int guard_take_fds(struct msghdr *h, int *fds, int room);

/* guard_main_child.c: after the fork, in the child. Does not return. */
_Noreturn void child_run(pid_t guard, uint64_t serial, int report, const struct spawn_fds *fds);
/* Closes every descriptor from `from` on. */
void close_from(int from);

/* guard_main_table.c: the children */
struct child *table_add(struct guard *g);
struct child *table_find(struct guard *g, pid_t pid);
void table_start_failed(struct child *c, const char *call, int error);
void table_start(struct guard *g, const struct guard_msg *m, const struct spawn_fds *fds);
void table_cancel(struct guard *g, uint64_t token);
void table_read_report(struct guard *g, struct child *c);
void table_send_due(struct guard *g);

/* guard_main_fork.c: children that a template makes */
int fork_open_socket(struct guard *g, struct child *c); /* the template's end, or -1 with errno */
void fork_ask(struct guard *g, const struct guard_msg *m, const int *fds, int n_fds);
void fork_read(struct guard *g, struct child *t); /* the answers that are there */
void fork_template_gone(struct guard *g, struct child *t);
void fork_cancel(struct guard *g, const struct child *c); /* that is awaited: its template hangs */
void fork_expire(struct guard *g);
int fork_wait_ms(const struct guard *g); /* until the next one is due; -1: none */

/* guard_main_kill.c: ends */
void reap_all(struct guard *g);
void kill_all(struct guard *g);
void kill_group(struct guard *g, pid_t pid, int sig);
void kill_child(const struct child *c, int sig); /* that is not reaped, with its group */
uint64_t clock_ms(void);
char proc_state(pid_t pid, int *ret_parent); /* as in /proc/PID/stat; 0: there is none, or it cannot be read */

/* A system call that the fault table reaches: in the test binary the k-th of its name fails. */
#ifdef GUARD_FAULTS
bool fault_hits(const char *what);
void fault_parse(int argc, char **argv);
#define GUARD_SYS(what, call) (fault_hits(what) ? -1 : (call))
#else
#define GUARD_SYS(what, call) (call)
#endif

#endif
