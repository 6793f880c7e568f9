/* A worker whose body is a thread of this process: of a pool with a C adapter (snakepit/plugin.h).
 *
 * It is a worker like any other: it speaks docs/wire.md through rings and a control socket (a socketpair), so that queue, deadlines, streams, events and
 * the rest need not know. What is different is what stands in this file: it begins as a thread, ends as one, and cannot be killed.
 *
 *   RUNS --its function has returned, and it was told to end--> ENDED  (the loop is told, joins it)
 *   RUNS --the host will not wait any longer--> LEFT  (the loop is told at once; the thread ends by itself, whenever that is)
 *
 * Invariants
 *  1. The body (struct inproc: rings, channels, socket) has two references, the worker's and the thread's, and goes with the last: a thread that was left
 *     to itself touches nothing of host, pool and worker any more.
 *  2. The state leaves RUNS once. Who has moved it posts `ended`; so the worker's child->exited comes once.
 *  3. The home (the adapter and its user pointer) counts the pool, who opens it, and each thread that may still be in a callback; who leaves it last calls
 *     `terminate`.
 *
 * Failure modes: no memory, no descriptor or no thread: the start fails. Memory that runs out in the middle of a message to the thread ends it like a
 * process that exits, with its call; the pool starts another. */
#ifndef PIT_WORKER_INPROC_H
#define PIT_WORKER_INPROC_H

#include <snakepit/plugin.h>

#include "os/loop.h"
#include "os/os.h"
#include "wire/error.h"

struct worker;
struct inproc;
struct inproc_stream;
struct adapter_home;

/* ---- the adapter of a pool ---- */

/* Copies adapter. The pool is in it, and who opens it, who leaves it by adapter_home_leave. NULL: no memory. */
struct adapter_home *adapter_home_create(const struct os_ops *os, const pit_adapter *adapter, void *user, const char *pool);
/* Calls init, on this thread, without a lock. NULL, or an error (owned). Once. */
pit_error *adapter_home_init(struct adapter_home *h);
/* Waits until no thread is in the adapter, or the deadline; then the pool leaves it, for ever. How many threads are left; none: terminate has
 * been called, on this thread. Without a lock. */
unsigned adapter_home_close(struct adapter_home *h, uint64_t deadline_ns);
void adapter_home_leave(struct adapter_home *h);
/* Does this thread run an adapter of the host with that loop? And for which call; NULL: none. */
bool inproc_serves(const struct loop *l);
const struct pit_adapter_ctx *inproc_current(const struct loop *l);

/* ---- one worker: loop thread ---- */

/* Makes the body of w, and the memory for its rings. 0 or -errno. */
int inproc_open(struct worker *w);
/* Starts its thread, which takes the control socket's other end. 0 or a PIT_E_*. */
int inproc_start(struct worker *w);
/* SIGTERM: what it runs sees that it is to end; SIGKILL: it is left to itself, and as good as gone. */
void inproc_signal(struct worker *w, int sig);
/* The worker's reference. Any thread. */
void inproc_release(struct inproc *b);

/* ---- what an adapter's function is given ---- */

enum { INPROC_TEXT = 257 /* a session or correlation id, or a command, with its NUL */ };

struct pit_adapter_ctx {
    struct inproc *body;       /* NULL: in init */
    struct adapter_home *home; /* borrowed */
    void *data;
    uint64_t id, deadline_ns; /* of the call; id 0: there is none */
    const char *session_id, *correlation_id, *trace_parent;
    const pit_value *metadata, *binary_parameters;
    pit_error *failure;           /* owned */
    struct inproc_stream *stream; /* NULL: it is no stream */
};

const char *adapter_home_pool(const struct adapter_home *h);
const char *inproc_worker_id(const struct inproc *b);
bool inproc_cancelled(const struct pit_adapter_ctx *c);
int inproc_send(struct pit_adapter_ctx *c, const pit_value *chunk, uint64_t deadline_ns);
int inproc_receive(struct pit_adapter_ctx *c, uint64_t deadline_ns, pit_value **ret);
/* A deadline from a duration that is a function's argument. */
uint64_t inproc_deadline(const struct pit_adapter_ctx *c, int64_t timeout_ms);

#endif
