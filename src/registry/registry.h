/* The registry: what a host leaves on disk about the processes that it has started, so that another host can end them when it has died
 * together with its guard. One append-only file for each host, named after its run id.
 *
 * Invariants
 *  1. A row is reserved before its process is asked for, and stays until the process has really ended. The file goes with the last row, at close.
 *  2. A file is acted upon only when its host is shown to be gone (pid and start time within this boot and this PID namespace), and only by
 *     hosts of the same instance. Of a living host nothing is touched.
 *  3. A process is killed only if pid, start time and boot id are those of its row, and its environment carries the run id: a number that
 *     another process has now, or a row that somebody made up, hurts nobody. Whatever is killed by its environment is held by a pidfd.
 *  4. The file must survive its host, not the machine: nothing is synced; another boot id means that all of it is history.
 *
 * Failure: a write that fails stops the writing, never the host (registry_error); registry_tend makes a new file when it can. A damaged file
 * is read as far as it is good and put aside as RUN.corrupt.UNIXTIME.
 *
 * Threads: registry_sweep any, one at a time; the rest the loop's, or the opener's before it runs. Every function but open accepts NULL. */
#ifndef PIT_REGISTRY_REGISTRY_H
#define PIT_REGISTRY_REGISTRY_H

#include "os/os.h"
#include "registry/record.h"

struct registry;

/* A host that had died, and what became of its processes. */
struct registry_found {
    const char *run_id;
    pid_t host;
    unsigned orphans;   /* were alive, and have been killed; their descendants included */
    unsigned survivors; /* of them, still alive when waiting ended */
    unsigned rows;      /* of a damaged file: those that could be read */
    uint64_t duration_ns;
    bool damaged;
};

/* Opens the folder FOLDER/registry, made where it is missing. instance: whose orphans this host may end; token: "" or what must be equal, too.
 * 0 or -errno and the call. */
int registry_open(const struct os_ops *os, const char *folder, const char *instance, const char *token, struct registry **ret,
                  const char **ret_call);
/* above: where a control group snakepit-RUN of what this host starts will be ("": nowhere); it is ended with its host. Before registry_begin. */
void registry_set_group(struct registry *r, const char *above);
/* Makes this host's own file. 0, -EEXIST: another host has this run id; or -errno. */
int registry_begin(struct registry *r, const char *run_id);
/* Ends what dead hosts have left; `found` is called for each host of which there was something to tell. Stops early once *stop. Blocks. */
void registry_sweep(const struct registry *r, void (*found)(void *user, const struct registry_found *f), void *user,
                    const bool *stop);

/* The rows of this host. token: the caller's name for the process. */
void registry_reserve(struct registry *r, uint64_t token, const char *worker);
void registry_active(struct registry *r, uint64_t token, pid_t pid);
void registry_ending(struct registry *r, uint64_t token);
/* It has ended, or never began. seen: somebody has reaped it; else the row stays until /proc says so. */
void registry_gone(struct registry *r, uint64_t token, bool seen);
/* Now and then: forgets rows whose processes have ended since, makes a file anew that has grown or could not be written. The number of its
 * rows if it had been lost and is whole again, else -1. */
int registry_tend(struct registry *r);
int registry_error(const struct registry *r); /* 0, or the errno for which nothing is written */
/* Removes the file, unless a process of it lives on. Frees. */
void registry_close(struct registry *r);

#endif
