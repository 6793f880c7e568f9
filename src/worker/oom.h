/* Whether the kernel has ended a worker for want of memory: the counters that tell, read when a worker is started and when one has got SIGKILL from
 * somebody else: those of the group of what the host starts, and those of the group that the host itself is in, else of the machine. The verdict is fault/oom.h's. Loop thread. Failure: a counter that cannot be read is not known, and explains nothing. */
#ifndef PIT_WORKER_OOM_H
#define PIT_WORKER_OOM_H

#include "fault/oom.h"
#include "os/os.h"

/* Of a host. */
struct oom_watch {
    int group;  /* descriptor of the control group of what it starts; -1: none */
    int around; /* descriptor of the counters of what is around it: os_ops.oom_counter; negative: none */
    struct oom_counts told, last;
    uint64_t last_ns; /* when `last` was read */
};

void oom_init(struct oom_watch *o, const struct os_ops *os);
void oom_finish(struct oom_watch *o, const struct os_ops *os);
/* The counters now, or a moment ago: workers that start together are looked at once. */
struct oom_counts oom_before(struct oom_watch *o, const struct os_ops *os);
enum oom_verdict oom_after(struct oom_watch *o, const struct os_ops *os, const struct oom_counts *before);

#endif
