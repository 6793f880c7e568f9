/* Was a worker that got SIGKILL from somebody else ended by the kernel, for want of memory? Pure: counters of such ends go in, a verdict comes out.
 *
 * Two counters: of the control group in which all workers live, where there is one that counts; and of what is around it: the group that the host is in
 * (a container, a service), else the whole machine. One that has risen since the worker was started, by more ends than have been explained by others,
 * is the answer. The group's proves it, for only the host's own processes are in it; the other may mean any process there, so it only makes it likely.
 *
 * Invariants
 *  1. One end of the kernel's explains the death of one worker, or one template. (That of a worker's own child is told by nobody: it explains the next
 *     SIGKILL of a worker that lived then.)
 *  2. Where the group counts, what is around it is not asked: a group that has lost nobody was not meant. */
#ifndef PIT_FAULT_OOM_H
#define PIT_FAULT_OOM_H

#include <stdint.h>

struct oom_counts {
    int64_t group, around; /* negative: not known */
};

enum oom_verdict { OOM_NO, OOM_SUSPECTED, OOM_PROVED };

/* told: what deaths so far have explained; it begins as the counters are, and is kept here. before: when the process was started. */
enum oom_verdict oom_judge(struct oom_counts *told, const struct oom_counts *before, const struct oom_counts *now);

#endif
