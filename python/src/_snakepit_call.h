/* Inside a call: what calls for an answer, calls for a stream and calls of the host's tools have in common. */
#ifndef SNAKEPIT_BRIDGE_SNAKEPIT_CALL_H
#define SNAKEPIT_BRIDGE_SNAKEPIT_CALL_H

#include "_snakepit_lane.h"

#define GIVEN 2 /* arguments that are given by the lane, not by the caller */

/* Arguments on their way into a function; the general form is args and kwargs, the quick one the vector. */
struct arguments {
    PyObject *room[1 + FAST_ARGUMENTS + GIVEN]; /* the first belongs to the callee (PY_VECTORCALL_ARGUMENTS_OFFSET) */
    Py_ssize_t n;                               /* in the vector, named ones included */
    PyObject *names;                            /* of the last ones; may be NULL */
    PyObject *args, *kwargs;                    /* general form if args is set */
};

/* What a call holds, and lets go when its answer is out: the host need not wait for that. */
struct held {
    PyObject *fn, *result;
    struct arguments a;
};

/* ---- _snakepit_arguments.c ---- */

/* The arguments that stand at r->p. 0, or -1 with an exception; arguments_drop in either case. */
int arguments_decode(struct lane *l, struct reader *r, struct arguments *a);
void arguments_drop(struct arguments *a);
/* Adds a named argument; TypeError when the caller has given one of that name. Takes its own reference. */
int arguments_give(struct arguments *a, PyObject *name, PyObject *value);

/* ---- _snakepit_call.c ---- */

/* 1: the host has taken it back. */
int call_claim(struct lane *l, uint64_t id);
/* Everything up to the function and its arguments; the frame leaves the ring on the way. 0, or -1 with an exception. */
int call_prepare(struct lane *l, const struct frame *f, struct held *h, struct command_table *table);
/* Calls the function: what it gives, NULL with an exception. call_leave when no code of the call will run any more. */
PyObject *call_enter(struct lane *l, PyObject *fn, struct arguments *a);
void call_leave(struct lane *l);
/* Runs on the event loop what an async function has given: commands.method(result, context[, with]). Steals result. */
PyObject *call_in_loop(struct lane *l, const char *method, PyObject *result, PyObject *with);
/* Marks the call as finished, answers with h->result or the exception that is being raised, and lets all of it go. As lane_serve_call. */
int call_answer(struct lane *l, struct held *h, uint64_t id, uint64_t took);
void call_let_go(struct held *h);
/* The exception that is being raised, which is not any more. NULL only without memory. */
PyObject *exception_take(void);
/* Where a frame is made: its header is left free. w->policy and w->may_leave are the caller's to set. */
int frame_start(struct lane *l, struct writer *w);
int frame_send(struct lane *l, struct writer *w, int kind, unsigned flags, uint64_t id, uint64_t stamp);

static inline struct reader frame_reader(struct lane *l, const struct frame *f)
{
    const struct incoming *in = &l->incoming;
    return (struct reader){.st = l->st,
                           .cache = &l->texts,
                           .p = f->payload,
                           .end = f->payload + f->payload_n,
                           .long_bytes = in->bytes,
                           .long_at = in->bytes != NULL ? in->block + in->at : NULL};
}

static inline bool call_is_cancelled(const struct lane *l, uint64_t id)
{
    return __builtin_expect(__atomic_load_n(&l->status->cancel, __ATOMIC_ACQUIRE) == id, 0);
}

#endif
