/* What host and guard say to each other: fixed-size messages over a stream socket, descriptors beside them.
 *
 * Both ends are built from one tree, so the layout is the machine's; the version in HELLO tells a guard of another release. A message
 * is far smaller than a socket buffer: the kernel takes it whole or not at all.
 *
 *   guard -> host   HELLO    number = GUARD_PROTOCOL, pid; or error and text = the call that failed: then the guard ends
 *   host -> guard   SPAWN    token, number = GUARD_HAS_* mask, text = worker id; descriptors: request, control, then those of the mask
 *   host -> guard   FORK     as SPAWN, and of = the token of a template, which is to make the process
 *   guard -> host   SPAWNED  token, pid, one descriptor: the pidfd; or error and text = the call that failed
 *   guard -> host   EXITED   token, pid, code, status (as waitid says them), used; after the SPAWNED of the same token
 *   host -> guard   KILL     pid, number = signal: to the whole group of a process that the guard still has
 *   host -> guard   CANCEL   token, of a SPAWN or FORK: where it is still not done, SPAWNED comes with ETIMEDOUT, and who hangs is killed
 *   host -> guard   QUIT     the guard kills what it has, waits for all of it, and ends
 *
 * End of file, or the death of the host, means QUIT too.
 *
 * A template (a process that was spawned with GUARD_IS_TEMPLATE) finds a socket to the guard where others find their segment: one message a
 * packet, answered in order.
 *   guard -> template   FORK     token, pid = the guard's, number and descriptors as in SPAWN, text = worker id
 *   template -> guard   FORKED   the token, and the pid of the guard's new child; or error (never 0) and text = the step that failed: then
 *                                there is no child. No descriptors: they are refused */
#ifndef PIT_GUARD_MSG_H
#define PIT_GUARD_MSG_H

#include <stdint.h>

#define GUARD_PROTOCOL 5
#define GUARD_FD_CONTROL 3 /* where the guard finds its socket, */
#define GUARD_FD_HOST 4    /* and a pidfd of its host */
#define GUARD_TEXT 192     /* a worker id with its NUL */
#define GUARD_MAX_CHILDREN 1024
#define GUARD_MAX_STARTING 32 /* forked and not yet exec'd */
#define GUARD_MAX_TEMPLATES 16
#define GUARD_FORK_MS 5000       /* a template that takes longer is stopped, or stuck: it is killed; */
#define GUARD_FORK_MOST_MS 30000 /* one that would run if the machine let it has so long */

/* In the environment of every worker, and so of its descendants: which incarnation of the worker they belong to. */
#define GUARD_ENV_WORKER "SNAKEPIT_WORKER_ID"
#define GUARD_ENV_SERIAL "SNAKEPIT_GUARD_SERIAL"
#define GUARD_ENV_RUN "SNAKEPIT_RUN_ID"
#define GUARD_ENV_KEEP                                                                                                         \
    "SNAKEPIT_DESCENDANTS" /* "keep": they are to outlive their worker. Believed where a GUARD_KEEPS was asked for */
/* The first entry of a template's environment: what a process that it forks writes its own two entries over, for the kernel shows that block for it
 * too, and the first entry of a name counts. */
#define GUARD_ENV_ROOM "SNAKEPIT_ROOM"
#define GUARD_ROOM_BYTES 320 /* of its value: holds the two entries with their NULs */

enum guard_kind {
    GUARD_HELLO = 1,
    GUARD_SPAWN,
    GUARD_SPAWNED,
    GUARD_EXITED,
    GUARD_KILL,
    GUARD_QUIT,
    GUARD_FORK,
    GUARD_FORKED,
    GUARD_CANCEL
};
enum { GUARD_HAS_SEGMENT = 1, GUARD_HAS_STDOUT = 2, GUARD_HAS_STDERR = 4, GUARD_IS_TEMPLATE = 8, GUARD_KEEPS = 16 };

/* What a process used of the machine, with those that it had waited for, as its parent is told. */
struct guard_used {
    uint64_t peak_bytes; /* of memory; 0: nothing is known */
    uint64_t major_faults;
    uint32_t user_ms, system_ms;
};

struct guard_msg {
    uint32_t kind;
    int32_t pid;
    uint64_t token;
    int32_t error, code, status;
    uint32_t number;
    uint64_t of;
    struct guard_used used;
    char text[GUARD_TEXT];
};

/* The content of the memfd of a SPAWN, sealed. After it: argv, environment and, if has_cwd, the folder: NUL-terminated strings. */
#define GUARD_REQUEST_MAGIC UINT32_C(0x51524753)
struct guard_request {
    uint32_t magic;
    uint32_t argc, envc, has_cwd;
    uint64_t bytes; /* of the strings */
};

#endif
