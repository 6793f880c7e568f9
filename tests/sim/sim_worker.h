/* Between the two files of the simulated worker. */
#ifndef TESTS_SIM_WORKER_H
#define TESTS_SIM_WORKER_H

#include "base/buf.h"
#include "ring/segment.h"
#include "sim.h"
#include "wire/frame.h"

enum phase { W_BOOT = 1, W_HELLO, W_SERVES, W_LEAVES };
enum birth { BIRTH_GOOD, BIRTH_EXITS, BIRTH_HANGS, BIRTH_FAILS, BIRTH_LIES };
/* What becomes of the call that it has. CRASH_...: when it ends. */
enum fate { FATE_ANSWERS, FATE_RAISES, FATE_HANGS, FATE_CRASH_BEFORE, FATE_CRASH_STARTED, FATE_CRASH_FINISHED, FATE_LIES };

struct worker_part {
    struct proc *proc;
    enum phase phase;
    enum birth birth;
    bool deaf;     /* to STOP and SIGTERM */
    bool obeys;    /* the cooperative flag */
    bool swallows; /* what is raised inside the running code */
    bool heart;    /* it answers pings */
    bool babbles;  /* rubbish, without end */
    bool ring;
    struct channel *control, *lane; /* the same without rings */
    struct segment_header *segment;
    struct lane_status *status; /* NULL: it keeps no marks */
    uint64_t head_seen;         /* of the request ring, when there was not yet a whole frame */
    bool busy, timed;
    uint64_t sequence, until_ns, began_ns;
    unsigned tag;
    enum fate fate;
    struct buf out; /* what is being sent on the lane */
    size_t out_done;
    uint64_t retry_ns;
};

/* sim_worker_call.c */
bool job_may_go_on(const struct worker_part *w);
void job_go_on(struct worker_part *w);                        /* its end has come */
void job_begin(struct worker_part *w, const struct frame *f); /* a CALL frame */
bool job_flagged(const struct worker_part *w);                /* by the host, to end */
void job_raise(struct worker_part *w);                        /* Cancelled, inside its running code */
bool job_push_out(struct worker_part *w);                     /* true: all is out */
bool job_may_read(const struct worker_part *w);
void job_read(struct worker_part *w);

#endif
