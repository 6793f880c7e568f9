/* Between the files of inproc. Thread: that of the body, unless a comment says otherwise. */
#ifndef PIT_WORKER_INPROC_PRIVATE_H
#define PIT_WORKER_INPROC_PRIVATE_H

#include <pthread.h>

#include "channel/channel.h"
#include "wire/frame.h"
#include "worker/inproc.h"
#include "worker/worker.h"

struct adapter_home {
    pit_adapter adapter;
    void *user;
    const struct os_ops *os;
    uint32_t users; /* atomic, a futex word: the pool, who opens it, and the threads that are in the adapter */
    bool inited;    /* before there is a thread */
    char pool[];
};

enum inproc_state { INPROC_RUNS, INPROC_ENDED, INPROC_LEFT };

struct inproc {
    unsigned refs; /* atomic */
    int state;     /* atomic */
    bool ending;   /* atomic: what runs here shall end */
    /* fixed before the thread starts */
    struct adapter_home *home;
    const struct os_ops *os;
    void *memory, *segment;
    size_t max_frame;
    uint64_t spin_ns;
    uint32_t prefix;
    int control_fd;
    struct channel *lane, *control;
    struct lane_status *status;
    char id[WORKER_ID];
    /* of who has the worker's reference */
    pthread_t thread;
    bool started, detached;
    struct loop *loop;         /* valid until it is told */
    struct guard_child *child; /* the same */
    struct loop_work ended;
    /* of the thread; exit_status is read once that has ended */
    int exit_status;
    bool broken; /* nothing can come or go here any more */
    bool waited; /* in a wait: whatever it was woken for, the control socket may have it */
    void *data;
    struct channel_frame in, side; /* of the lane; what comes in a stream, and by the control socket */
};

void inproc_set_current(const struct pit_adapter_ctx *c);
/* Its thread's whole life but for the end: handshake, calls. What exit() would be given. */
int inproc_serve(struct inproc *b);
/* Sends a whole frame on the lane, or as much as the host will read. */
void inproc_put(struct inproc *b, const uint8_t *frame, size_t n);
/* The host has let go of it, or the channel is broken: whatever waits, shall not. */
bool inproc_is_over(const struct inproc *b);
/* Encodes v behind a header; 0 or the PIT_E_* why it is no frame that may be sent. b: fresh. */
int inproc_encode(const struct inproc *b, struct buf *out, int kind, uint64_t id, uint64_t stamp, const pit_value *v);

/* ---- streams ---- */

struct inproc_stream {
    uint64_t chunks; /* what the host has granted */
    int64_t bytes;
    struct list inbox; /* values that were sent and not read */
    bool inbox_over;
    uint64_t window, window_bytes;  /* of the inbox */
    uint64_t due_chunks, due_bytes; /* read, and not granted again */
};

/* false: f is no STREAM_CALL that can be served. */
bool inproc_stream_open(struct inproc_stream *s, const struct frame *f);
void inproc_stream_close(struct inproc_stream *s);

#endif
