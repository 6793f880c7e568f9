/* The host's tools: functions by name, for all sessions or for one.
 *
 * Invariants
 *  1. A tool is immutable once it has been added, and counted: the registry's reference, and one for each thread that runs it. So it may be taken away
 *     while it runs. Its release function runs once, with the last reference, without a lock.
 *  2. A name stands once in a scope. A session's tool hides that of all sessions.
 *
 * Threads: any. Lock order: any other lock of the library, then this one; nothing is called under it. */
#ifndef PIT_POOL_TOOLS_H
#define PIT_POOL_TOOLS_H

#include <pthread.h>
#include <snakepit/tool.h>
#include <stdint.h>

#include "base/list.h"

enum { TOOL_NAME_MAX = 64, TOOL_BUCKETS = 64 };

struct tool {
    struct list node; /* of its bucket */
    uint32_t refs;    /* atomic */
    pit_tool_fn fn;
    void *user;
    void (*release)(void *user);
    bool exposed, idempotent, replaces, streaming;
    int run_on;                      /* PIT_RUN_ON_* */
    int64_t timeout_ms;              /* 0: none of its own */
    pit_value *metadata, *described; /* owned: maps; metadata may be NULL, described is what pit_tool_list() says */
    struct tool *replaced;           /* while a batch is added: what it stands for */
    const char *scope;               /* NULL: all sessions; in `texts` */
    const char *name;                /* the same */
    char texts[];
};

struct tools {
    pthread_mutex_t lock;
    struct list buckets[TOOL_BUCKETS]; /* lock */
    size_t count;                      /* lock */
};

void tools_init(struct tools *t);
void tools_finish(struct tools *t); /* nobody calls any more */
/* A tool with one reference: the caller's, who fills in the rest. NULL: no memory. */
struct tool *tool_new(const char *scope, const char *name, size_t name_n);
struct tool *tool_ref(struct tool *t);
void tool_unref(struct tool *t); /* NULL: nothing */
/* Adds n tools, with a reference of its own to each, or none: PIT_E_DUPLICATE_TOOL, and *ret_bad is the index. *ret_count: tools there are then. */
int tools_add(struct tools *ts, struct tool *const *items, size_t n, size_t *ret_bad, size_t *ret_count);
/* true: there was one, and now there is none. */
bool tools_remove(struct tools *ts, const char *scope, const char *name, size_t name_n, size_t *ret_count);
/* What the session (NULL: none) sees under the name: a reference; NULL: nothing. */
struct tool *tools_find(struct tools *ts, const char *session, const char *name);
/* All that the session sees, by name, appended to a list: what each is described as. wanted (may be NULL) chooses. 0 or allocation_failed. */
int tools_list(struct tools *ts, const char *session, bool (*wanted)(const struct tool *t, const void *arg), const void *arg,
               pit_value *list);

#endif
