/* One lane in the worker: the consumer of its request ring, the producer of its reply ring. */
#ifndef SNAKEPIT_BRIDGE_SNAKEPIT_LANE_H
#define SNAKEPIT_BRIDGE_SNAKEPIT_LANE_H

#include "_snakepit.h"
#include "ring/recorder.h"
#include "ring/ring.h"
#include "wire/frame.h"

#define COMMANDS 32        /* remembered commands */
#define COMMAND_LONGEST 64 /* bytes of a name that is remembered */
#define FAST_ARGUMENTS 16  /* calls with more go the general way */
#define CONTROL_BYTES 4096
#define LEVELS 32 /* of nested calls; the host stops long before */

struct command {
    PyObject *fn;
    size_t n;
    unsigned recorded; /* its name, as the flight recorder has it */
    unsigned takes;    /* of a stream: TAKES_... */
    uint8_t name[COMMAND_LONGEST];
};

struct command_table {
    unsigned n, last, next_victim;
    struct command known[COMMANDS];
};

/* The call that runs, as far as its context wants to know. */
struct running {
    unsigned depth;
    struct running *outer; /* the call that waits for a tool meanwhile, if this one is nested in it */
    uint64_t id, stamp;
    uint8_t *fields; /* PyMem_RawMalloc */
    size_t fields_n, fields_cap;
    bool active;    /* a synchronous call runs on the lane's thread */
    bool live;      /* code of the call may run: what it asks of the host is answered */
    bool asked;     /* its context was made, and left for copies of the thread's */
    bool times_cut; /* a time among its arguments lost its nanoseconds */
    int policy;     /* for what of its result nothing converts */
    /* what it has asked of the host: _snakepit_tools.c */
    PyObject *context; /* as make_context has made it */
    bool asking;       /* one has asked, and the answer has not come */
    bool abandoned;    /* nobody waits for it any more */
    uint64_t ask_id;
    int answer_kind;            /* FRAME_TOOL_RESULT ..., 0: none yet, -1: what could not be decoded */
    PyObject *answer;           /* its value, or the exception */
    struct tool_stream *tools;  /* that stream to it */
    struct late_close *closing; /* of them: the host is still to be told */
};

/* A call that stands in the way of an answer: it was written before the host knew that this one asks. */
struct aside {
    struct aside *next;
    size_t n;
    uint8_t frame[];
};

/* A frame that comes in fragments. */
struct incoming {
    uint8_t *block; /* PyMem_RawMalloc; kept for the next one */
    size_t cap, got;
    bool looked;     /* for long bytes: there are none, or `bytes` */
    PyObject *bytes; /* long bytes of it that go to where they will stay; until lane_release */
    size_t at;       /* where they would stand in the block, which is not touched there */
};

/* clang-format off */
struct lane {
    PyObject_HEAD
    struct state *st;
    PyObject *commands, *on_control;
    uint8_t *map;
    size_t map_n;
    struct lane_status *status;
    struct ring_reader in;
    struct ring_writer out;
    uint64_t spin_ns, prefix;
    size_t max_frame;
    int control_fd;
    bool listens;  /* it reads what comes there */
    bool threaded; /* one of several: the control socket is the main thread's, and Cancelled comes by throw() */
    bool serving;
    bool forked; /* this is the child of a call that forked: it must not answer */
    bool eof;
    bool stopped;
    uint32_t is_batch;       /* status->written_ahead as last seen */
    uint64_t attention;      /* status->attention as last seen */
    const void **farewell;   /* where the kernel looks for this thread's pending robust futex; NULL: nowhere */
    const void *farewell_at; /* what stands there while the lane is served */
    uint64_t polled_ns;      /* the coarse clock a moment before the frame came; 0: not read */
    unsigned quiet;          /* answers that the host can see but has not been woken for */
    uint64_t quiet_since;
    size_t control_n;
    uint8_t control[CONTROL_BYTES]; /* read without the GIL, not yet handed on */
    struct incoming incoming;
    struct running running;
    struct recorder_lane recorder;
    struct recorder_header *record; /* NULL: there is no recorder */
    unsigned named;                 /* of the call's command, as struct command has it */
    int outcome;                    /* of the call: RECORDER_OK ... */
    uint64_t cancel_seen;           /* atomic: the last call that was found to be cancelled */
    uint64_t raised; /* the last call into which Cancelled was raised */
    /* of a lane that is one of several: _snakepit_threads.c */
    uint32_t stop_asked; /* atomic: by stop() */
    uint32_t judging;    /* atomic: throw() looks at the call that runs, or the call ends */
    unsigned long python_id;
    pthread_t thread;
    /* while a call runs that talks with the host: _snakepit_inner.c */
    struct stream *stream; /* of the innermost call that has one */
    struct aside *aside, **aside_end;
    uint64_t last_ask;
    unsigned askers[LEVELS]; /* threads that ask for the call of this depth, or wait for their turn */
    uint32_t reading;      /* atomic: a thread reads, or waits for, what comes */
    uint32_t recall;       /* atomic: it shall come back */
    uint32_t news;         /* futex: something has come, or is free again */
    unsigned waiting;      /* threads that wait for news */
    unsigned held;         /* atomic: the lane's thread is where no exception may come up */
    bool writing, broken;
    unsigned long writer; /* the thread that does */
    struct text_cache texts;
    PyObject *last_names; /* of the last call with named arguments */
    unsigned index, takes; /* takes: of the command that was found last, as struct command has it */
    struct command_table calls, streams;
};
/* clang-format on */

/* ---- _snakepit_lane_ring.c: rings, sleeping, the control socket ---- */

struct segment_view { /* a mapped segment, and one lane in it */
    uint8_t *map, *lane;
    size_t map_n;
    uint32_t ring_bytes;
};
/* Maps the segment and finds lane `index`. 0, or -1 with an exception. */
int segment_open(int fd, unsigned index, struct segment_view *ret);
void segment_close(struct segment_view *v);

/* Maps the segment and takes up lane `index`. 0, or -1 with an exception. */
int lane_attach(struct lane *l, int segment_fd, unsigned index);
/* The next frame, valid until lane_release: 1, 0 when serving is over (l->stopped or l->eof say why), -1 with an exception. With the GIL. */
int lane_next(struct lane *l, const uint8_t **ret, size_t *ret_n);
/* The frame is not needed any more. */
void lane_release(struct lane *l);
/* Sends a frame that stands in memory of its own. 0, 1 when the host has gone, -1 with an exception. */
int lane_send(struct lane *l, const uint8_t *frame, size_t n);
/* The same for one part of a frame; more: another one follows. */
int lane_send_part(struct lane *l, const uint8_t *part, size_t n, bool more);
/* Lets the host see what ring_commit has added, and wakes it, at the latest when the next call is waited for. */
void lane_publish(struct lane *l);
/* What is published next is not for later: the host is woken for it. */
static inline void lane_hurry(struct lane *l)
{
    l->quiet = UINT32_MAX;
}
/* From here on the death of the calling thread rings the host's bell; until lane_forget_farewell, by the same thread or in its fork. */
void lane_prepare_farewell(struct lane *l);
void lane_forget_farewell(struct lane *l);
static inline void lane_renew_farewell(struct lane *l)
{
    if (l->farewell != NULL && *l->farewell == NULL)
        *l->farewell = l->farewell_at;
}
uint64_t lane_now_ns(void);
/* Has this moment (of lane_now_ns) passed? Cheap while it is some milliseconds away. Once for a frame. */
bool lane_is_past(struct lane *l, uint64_t stamp);

/* ---- _snakepit_recorder.c: the flight recorder ---- */

void recorder_attach(struct lane *l, unsigned index);
/* Something that is no call. Any thread. */
void recorder_note(struct lane *l, enum recorder_kind kind, unsigned extra, uint64_t id);
/* A place for the name of a command; 0: there is none. */
unsigned recorder_name(struct lane *l, const uint8_t *name, size_t n);
static inline uint64_t recorder_now(const struct lane *l)
{
    return l->recorder.ticks ? cpu_ticks() : lane_now_ns();
}

/* ---- _snakepit_incoming.c: frames in fragments ---- */

/* Takes up what has come of it. RING_OK: all of it, *ret has *ret_n bytes; or a code of ring_read. */
int incoming_read(struct lane *l, const uint8_t **ret, size_t *ret_n);
void incoming_finish(struct incoming *in);

/* ---- _snakepit_heart.c ---- */

PyObject *heart_start(PyObject *module, PyObject *args);

/* ---- _snakepit_threads.c: what a lane has to do because it has others beside it ---- */

PyObject *lane_throw(PyObject *self, PyObject *args);
PyObject *lane_stop(PyObject *self, PyObject *unused);
PyObject *lane_send_control(PyObject *self, PyObject *frame);
/* From here on the calls of the lane are the calling thread's. */
void lane_bind_thread(struct lane *l);
/* Waits stop when stop() was called: for struct ring_waiter. */
bool lane_told_to_stop(void *user);
/* The call has ended: what was thrown at it reaches no other. Keeps the exception that is being raised. */
void lane_end_throws(struct lane *l);
/* One zero byte on the control socket, between two frames. */
void lane_ring_socket(struct lane *l);

/* ---- _snakepit_inner.c: what comes while a call runs ---- */

/* Shall whoever waits for that stop waiting? */
bool inner_look(struct lane *l);
/* Serves the first of the calls that were put aside, as lane_serve_call. */
int inner_serve_aside(struct lane *l);

/* ---- _snakepit_tools.c ---- */

PyObject *lane_ask(PyObject *self, PyObject *const *args, Py_ssize_t n);
PyObject *lane_list_tools(PyObject *self, PyObject *id);
/* The call ends: nobody asks for it any more. Keeps the exception that is being raised. */
void tools_end(struct lane *l);

/* ---- _snakepit_context.c ---- */

/* Gives SessionContext what it has in C. 0, or -1 with an exception. */
int context_add(PyObject *module);

/* ---- _snakepit_stream.c ---- */

extern PyType_Spec stream_spec, tool_stream_spec;
/* Serves one STREAM_CALL, as lane_serve_call. */
int lane_serve_stream(struct lane *l, const struct frame *f);

/* ---- _snakepit_call.c ---- */

/* Serves one CALL. 0, 1 when the host has gone, -1 with an exception that ends the lane. */
int lane_serve_call(struct lane *l, const struct frame *f);

#endif
