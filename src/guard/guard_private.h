/* What the files of the guard client share. Private to guard_client*.c. */
#ifndef PIT_GUARD_PRIVATE_H
#define PIT_GUARD_PRIVATE_H

#include <snakepit/codes.h>

#include "base/list.h"
#include "guard/guard_client.h"
#include "guard/guard_msg.h"

enum { GUARD_SPAWN_FDS = 5 };
enum { CLIENT_LATER = 1 };

/* Requests that wait for each other: those to exec, or those to one template, which may hang with none of the others suffering by it. */
struct guard_window {
    struct list node;   /* in windows */
    struct list queued; /* not yet with the guard */
    int asked_n;
};

/* A process, from the request to the end. */
struct guard_proc {
    struct list node;            /* in a window's queued, in asked or in running */
    struct guard_window *window; /* where its request counts; NULL: the template that it was of has ended */
    struct guard_window forks;   /* of a template: what it is asked for; in windows while it runs */
    uint64_t token;              /* the caller's */
    uint64_t serial;             /* ours: between us and the guard */
    uint32_t mask;
    uint64_t of;                     /* the serial of the template that shall make it */
    int fds[GUARD_SPAWN_FDS], n_fds; /* copies, while queued */
    pid_t pid;
    uint64_t start; /* with pid, names the process for ever; 0: not known */
    bool disowned;  /* the caller was told that it did not start */
    char worker_id[GUARD_TEXT];
};

struct guard_client {
    const struct os_ops *os;
    struct loop *loop;
    struct guard_callbacks cb;
    void *user;
    pid_t pid;
    struct loop_source control, death; /* the socket; the pidfd */
    bool lost;
    bool greeting; /* guard_begin: it has not said HELLO yet */
    struct loop_timer hello_timer;
    int start_error; /* why it is killed before it did; 0: it is not */
    const char *start_call;
    struct loop_timer give_up;
    const char *give_up_why;
    uint64_t serial;
    struct list windows, asked, running;
    struct guard_used used; /* of the process whose end is being told */
    struct guard_window execs;
    int asked_n;       /* in all windows */
    char *run_entry;   /* "SNAKEPIT_RUN_ID=..." */
    int swept;         /* when it was lost: how many processes were alive, */
    uint64_t swept_ns; /* and how long their end took */
};

void guard_on_control(struct loop_source *s, uint32_t events);
void guard_on_death(struct loop_source *s, uint32_t events);
/* Takes up to `most` messages. 1: there may be more; 0: no more for now; -1: the guard is gone or talks nonsense. */
int guard_receive_all(struct guard_client *g, int most);
/* Kills it, waits for its end, reaps it. */
void guard_end(struct guard_client *g, uint64_t wait_ns);
/* Whether it has ended by itself, having ended everything else. A host that ignores SIGCHLD, or waits for anybody, has reaped it
 * before us: then nobody knows. */
bool guard_reap(struct guard_client *g);
void guard_free(struct guard_client *g);
void guard_abandon(struct guard_client *g); /* one that is greeting: as if it had failed, and nothing is told */
void guard_lose(struct guard_client *g, const char *why);
void guard_free_proc(struct guard_client *g, struct guard_proc *p);
void guard_open_window(struct guard_client *g, struct guard_window *w);

#endif
