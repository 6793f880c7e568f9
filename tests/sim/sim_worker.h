/* Between the files of the simulated worker. */
#ifndef TESTS_SIM_WORKER_H
#define TESTS_SIM_WORKER_H

#include "base/buf.h"
#include "ring/segment.h"
#include "sim.h"
#include "wire/frame.h"

enum { JOBS = 20 /* inside each other: more than the host may ask for */, KEPT = 16 };

enum phase { W_BOOT = 1, W_HELLO, W_SERVES, W_LEAVES };
enum birth { BIRTH_GOOD, BIRTH_EXITS, BIRTH_HANGS, BIRTH_FAILS, BIRTH_LIES };
/* What becomes of the call that it has. CRASH_...: when it ends. */
enum fate { FATE_ANSWERS, FATE_RAISES, FATE_HANGS, FATE_CRASH_BEFORE, FATE_CRASH_STARTED, FATE_CRASH_FINISHED, FATE_LIES };
enum job_state { JOB_WORKS = 1 /* until its time has come */, JOB_WANTS_CREDIT, JOB_WANTS_INBOX, JOB_ASKS };

/* A producer's side of a stream. */
struct producer {
    unsigned left;   /* chunks that it will still give */
    uint64_t chunks; /* its credit */
    int64_t bytes;
    uint64_t window, window_bytes;
    bool inbox, inbox_over;
    uint64_t in_chunks; /* the host's credit */
    int64_t in_bytes;
    struct {
        unsigned number, bytes;
    } waiting[SIM_WINDOW]; /* in the inbox, oldest first */
    unsigned n_waiting;
    uint64_t taken, taken_bytes; /* out of the inbox, and not granted again */
};

/* A call that it runs. */
struct job {
    uint64_t sequence, until_ns, began_ns, deadline_ns;
    unsigned tag;
    enum fate fate;
    enum job_state state;
    bool timed, stream;
    uint64_t attention;       /* as it was when this last looked at the cooperative flag */
    unsigned tools;           /* that it will still ask for */
    uint64_t asked;           /* the number of the tool call that it waits for */
    struct producer producer; /* of a stream */
};

struct worker_part {
    struct proc *proc;
    enum phase phase;
    enum birth birth;
    bool deaf;     /* to STOP and SIGTERM */
    bool obeys;    /* the cooperative flag */
    bool swallows; /* what is raised inside the running code */
    bool heart;    /* it answers pings */
    bool lied;     /* it has sent what nobody in order does, and will be killed for it */
    bool babbles;  /* and goes on, without end */
    bool ring;
    bool more;                      /* its last look at the control socket found a frame: there may be another one */
    struct channel *control, *lane; /* the same without rings */
    struct segment_header *segment;
    struct lane_status *status; /* NULL: it keeps no marks */
    uint64_t head_seen;         /* of the request ring, when there was not yet a whole frame */
    struct job jobs[JOBS];      /* each inside the one before: it was made by a tool that that has called */
    unsigned n_jobs;
    struct buf kept[KEPT]; /* calls that were met while a tool's answer was waited for */
    unsigned n_kept;
    uint64_t asked;       /* the last number of a tool call */
    uint64_t told_cancel; /* by a frame */
    struct buf out;       /* what is being sent on the lane */
    size_t out_done;
    uint64_t retry_ns;
};

/* The call that runs; NULL: none. */
static inline struct job *top_job(struct worker_part *w)
{
    return w->n_jobs != 0 ? &w->jobs[w->n_jobs - 1] : NULL;
}

/* sim_worker_call.c */
bool job_may_go_on(struct worker_part *w);
void job_go_on(struct worker_part *w);   /* it acts, or its end has come */
bool job_listens(struct worker_part *w); /* it may read its lane: it waits for something, or there is none */
void job_frame(struct worker_part *w, const struct frame *f, const struct channel_frame *in);
void job_raise(struct worker_part *w); /* Cancelled, inside its running code */
void job_end(struct worker_part *w);
bool job_push_out(struct worker_part *w); /* true: all is out */
bool job_may_read(const struct worker_part *w);
void job_read(struct worker_part *w);
bool job_begin_kept(struct worker_part *w); /* false: there is none */
/* Puts a frame out; v (may be NULL) and then more (may be NULL) are the payload, both taken. Its size. */
size_t put_frame(struct worker_part *w, int kind, unsigned flags, uint64_t id, uint64_t stamp, pit_value *v, pit_value *more);

/* sim_worker_stream.c */
void producer_begin(struct job *j, const struct frame *f);
bool producer_go_on(struct worker_part *w, struct job *j); /* true: it has done something */
void producer_frame(struct worker_part *w, const struct frame *f, size_t bytes);
void put_stream_lie(struct worker_part *w, struct job *j);

/* sim_worker_tool.c */
bool tool_ask(struct worker_part *w, struct job *j); /* false: it has asked enough */
void tool_answered(struct worker_part *w, const struct frame *f);
void put_tool_lie(struct worker_part *w, struct job *j);

#endif
