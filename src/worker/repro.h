/* The line that makes the same call again, for an error: `snakepit call COMMAND 'ARGUMENTS' --adapter ...`.
 *
 * Its arguments are without secrets (base/redact.h) and one word of a shell; where they are long, the line reads them from a file that the reader has to
 * fill. Bounded work: what is longer than REPRO_PAYLOAD is not even decoded. Failure: without memory there is no line. */
#ifndef PIT_WORKER_REPRO_H
#define PIT_WORKER_REPRO_H

#include "worker/call.h"

enum { REPRO_PAYLOAD = 4096, REPRO_JSON = 2048 };

struct repro_rules { /* borrowed */
    bool enabled;
    const char *adapter; /* NULL: its workers are another program, which the command line cannot start: no line */
    const char *python;  /* of the pool; NULL: as the host finds it */
};

/* Adds `repro` to the details. Any thread. */
void repro_put(const struct repro_rules *r, const struct call *c, pit_error *e);

#endif
