/* A host tool that runs: what it knows, and how its result becomes an outcome. Which thread runs it, and for which worker, is inner.c's and the API's.
 *
 * A thread may run a tool inside a call inside a tool: what they know is chained, innermost first, by `outer`; each lives on that thread's stack, or in
 * its job. So a call that is made inside a tool finds what it inherits, and the lane whose worker waits for it. */
#ifndef PIT_POOL_TOOL_RUN_H
#define PIT_POOL_TOOL_RUN_H

#include "pool/host.h"
#include "pool/tools.h"
#include "telemetry/event.h"

enum { TOOL_DEPTH_MAX = 16 /* calls inside each other */, TOOL_CHAIN_MAX = 64 /* tools inside each other on one thread */ };

struct pit_tool_ctx {
    struct pit_tool_ctx *outer; /* of this thread */
    struct host *host;
    struct tool *tool;                                   /* borrowed from who runs it */
    struct pool *pool;                                   /* whose worker calls; NULL: none does */
    struct lane *lane;                                   /* on which it waits; NULL: none does, or the tool runs on the loop */
    bool rides;                                          /* this thread rides that lane */
    bool apart;                                          /* the worker does not wait for it: its calls take other lanes */
    struct tool_stream *stream;                          /* of its job; NULL: it does not stream */
    uint64_t id;                                         /* the worker's number of the tool call */
    uint64_t sequence;                                   /* of the call there that has called the tool */
    int depth;                                           /* 1: that call is no tool's */
    int chain;                                           /* 1: it is the thread's outermost */
    const char *session_id, *correlation_id, *worker_id; /* borrowed; NULL: there is none */
    uint64_t deadline_ns;
    const pit_value *binary_parameters; /* borrowed */
    size_t parameters_bytes;
    uint64_t began_ns; /* of observed ones; 0: nobody has heard of its beginning */
    /* owned, until tool_let_go(): */
    pit_value *parameters, *result; /* NULL: they are somebody else's */
    pit_value *binary;              /* what it gives beside its result */
    pit_error *failure;             /* what it has failed with */
};

/* Runs it on this thread. c is filled in but for what the tool leaves there. The outcome's value or error is owned. No lock. */
struct outcome tool_run(struct pit_tool_ctx *c, const pit_value *args);
/* Tells how it ended. result_bytes: of what goes to the worker. */
void tool_ran(const struct pit_tool_ctx *c, const pit_error *e, size_t result_bytes);
/* Frees what it has left in c: the worker need not wait for that. */
void tool_let_go(struct pit_tool_ctx *c);

/* ---- events ---- */

/* Of a tool, of the host or of a worker. */
struct tool_told {
    const char *name, *side; /* "host", "worker" */
    uint64_t took_ns;
    size_t parameters_bytes, result_bytes;
};

bool tool_is_observed(const struct telemetry *t); /* does anybody hear of it? Else the clock need not be read */
void tool_tell_start(struct telemetry *t, const struct event_common *common, const struct tool_told *x);
/* e NULL: it has returned; wanted: to somebody who still waited for it. */
void tool_tell_end(struct telemetry *t, const struct event_common *common, const struct tool_told *x, const pit_error *e,
                   bool wanted);

/* ---- who runs ---- */

/* What this thread runs for this host; NULL: nothing. */
struct pit_tool_ctx *tool_innermost(const struct host *h);
/* The innermost tool of this thread that a worker of this pool waits for: a call into the pool goes there by the same lane. NULL: none; or it is one that
 * streams, for which no worker waits. */
struct pit_tool_ctx *tool_under(const struct host *h, const struct pool *p);
/* Does a worker wait for a tool of this thread, so that who waits here for anything else of the pool waits for himself? */
bool tool_holds_all(const struct host *h, const struct pool *p);
/* The error of a name that nothing stands under: as a host's tool (of_host), or as any tool. */
pit_error *tool_missing(struct host *h, const char *session, const char *name, bool of_host);

#endif
