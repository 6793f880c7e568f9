/* What comes for a call that runs: its waits, and who may write meanwhile. */
#ifndef SNAKEPIT_BRIDGE_SNAKEPIT_INNER_H
#define SNAKEPIT_BRIDGE_SNAKEPIT_INNER_H

#include "_snakepit_call.h"

/* What has come, and nobody has taken yet. */
struct inbox_item {
    PyObject *value; /* or the exception that decoding it gave */
    size_t bytes;    /* of its frame */
    bool failed;
};

struct inbox {
    struct inbox_item *items;
    size_t first, n, cap;
};

/* The host's side of a call for a stream, as its function sees it: what it sends, and what comes in. It may outlive the call. */
struct stream {
    PyObject_HEAD struct lane *lane; /* NULL: the call has ended */
    struct stream *outer;            /* of a call further out on the lane */
    uint64_t id;
    int64_t chunks, bytes; /* may still be sent */
    int64_t low;           /* fewer than so many chunks: look for credit */
    uint64_t window_chunks, window_bytes;
    uint64_t taken_chunks, taken_bytes; /* out of the inbox, and not yet granted again */
    int policy;
    bool final;       /* the last one has been sent */
    bool ended;       /* nothing more comes for the inbox */
    unsigned waiters; /* threads that wait for something of it */
    struct inbox in;
};

/* A tool of the host that streams to a call, as the call's code reads it. It may outlive the call. */
struct tool_stream {
    PyObject_HEAD struct lane *lane; /* NULL: the call has ended */
    struct tool_stream *next;        /* of the same call */
    uint64_t call, id;               /* id: of the question */
    uint64_t window_chunks, window_bytes;
    uint64_t taken_chunks, taken_bytes; /* and not yet granted again */
    struct inbox in;
    unsigned waiters;
    bool closed;   /* nothing more is wanted */
    bool answered; /* nothing more comes: */
    int kind;      /* FRAME_TOOL_RESULT, FRAME_TOOL_ERROR, -1: what could not be decoded */
    PyObject *name, *answer, *result;
};

/* Waits until something has come, or changed: the caller looks whether it is what he waits for. He is counted in *waiters meanwhile. 0, -1 with an
 * exception: `Cancelled` when the call shall end. Any thread of the call with this id. */
int inner_wait(struct lane *l, uint64_t id, unsigned *waiters);
/* The call with this id: the innermost one, or one that waits for it. NULL: it has ended. */
struct running *inner_level(struct lane *l, uint64_t id);
/* Takes what has come, without waiting. 0, -1 with an exception. */
int inner_poll(struct lane *l);
/* Lets go of what was put aside. */
void inner_finish(struct lane *l);
/* A frame that is no call: for a stream that is open, or for nobody any more. Releases it. 1: taken; 0: it is none of these, and still there; -1. */
int inner_take(struct lane *l, const struct frame *f);
/* No thread waits for this stream any more. With an exception that is being raised, or none: it stays. */
void inner_send_home(struct stream *s);

/* From the one to the other this thread alone writes to the lane. 0, or -1 with an exception: it does already. */
int inner_write_begin(struct lane *l);
void inner_write_end(struct lane *l);

/* Waits for news of the lane; wakes those who do. */
void inner_pause(struct lane *l);
void inner_tell(struct lane *l);
/* The same, and the one who reads comes back, to look at what he waits for: it may have changed without a frame. */
void inner_recall(struct lane *l);
/* May the call of this stream send now? Not while it waits for a tool. */
static inline bool stream_has_turn(const struct stream *s)
{
    return s->lane->running.id == s->id && !s->lane->running.asking;
}

/* The call with this id may send: it is the innermost one, and waits for no tool. */
static inline bool call_has_turn(const struct lane *l, uint64_t id)
{
    return l->running.id == id && !l->running.asking;
}

/* ---- _snakepit_tool_stream.c ---- */

PyObject *lane_ask_stream(PyObject *self, PyObject *const *args, Py_ssize_t n);
/* What comes for its question is for it, until it parts. */
void tool_stream_join(struct tool_stream *s, struct lane *l, struct running *c);
void tool_stream_part(struct tool_stream *s);
/* TOOL_CHUNK, or the answer to the question of a tool that streams. Before its release. 0, -1 with an exception. */
int tool_stream_take(struct lane *l, const struct frame *f);
/* Sends what could not be sent when it was to be: that some are closed. Keeps the exception that is being raised. */
void tool_streams_close_late(struct lane *l);
/* The call ends: of none of its streams anything more comes. */
void tool_streams_end(struct lane *l, struct running *c);

/* ---- _snakepit_tools.c ---- */

/* What a call asks of its host; all of it borrowed. */
struct question {
    int kind;
    PyObject *name, *parameters, *binary; /* parameters and binary may be None */
    PyObject *names, *const *named;       /* in place of the parameters: their names, and the values; names NULL: none */
    uint64_t window_chunks, window_bytes; /* of a tool that streams; 0: it shall not */
};

/* Asks for the call with this id, and waits for the answer: its value, or NULL with an exception. */
PyObject *tools_ask(struct lane *l, uint64_t id, const struct question *q);
/* Asks for the call with this id, and does not wait for the answer: from here on what comes for the question is s's. 0, or -1 with an exception. */
int tools_open(struct lane *l, uint64_t id, const struct question *q, struct tool_stream *s);
PyObject *tools_decode(struct lane *l, const struct frame *f);

/* TOOL_RESULT, TOOL_ERROR or TOOL_LIST. Before its release. */
void tools_take(struct lane *l, const struct frame *f);

/* ---- _snakepit_stream.c ---- */

/* 0, or -1 with an exception: the call has ended. */
int stream_is_open(struct stream *s);
/* Sends one chunk. 0: it is on its way; 1: there is no credit for it (only if not to wait); -1 with an exception. metadata may be NULL. */
int stream_send(struct stream *s, PyObject *value, PyObject *metadata, bool final, bool wait);
/* Sends a frame in the middle of a call, and wakes the host for it. 0, or -1 with an exception. */
int stream_publish(struct lane *l, struct writer *w, int kind, unsigned flags, uint64_t id);

/* ---- _snakepit_inbox.c ---- */

/* A frame for this stream: CREDIT, SEND, SEND_END. Before its release. 0, -1 with an exception. */
int stream_take(struct lane *l, struct stream *s, const struct frame *f);
/* The next value: NULL without an exception at the end, and with `wait` false also when there is none now (*none is set then). */
PyObject *stream_receive(struct stream *s, bool wait, bool *none);
/* A value, or why it cannot be read, as what has come last. 0, -1 with an exception: there is no memory. */
int inbox_put(struct lane *l, struct inbox *in, const struct frame *f);
struct inbox_item inbox_pop(struct inbox *in); /* there is one */
/* What is taken out: its value, or NULL with its exception. Steals. */
PyObject *inbox_open(struct inbox_item item);
void inbox_finish(struct inbox *in);

#endif
