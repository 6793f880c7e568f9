/* What a pool remembers of a death: the error's details and its dossier, in a bounded number of bytes. Pure. Failure: a failed value. */
#ifndef PIT_POOL_POISON_FACTS_H
#define PIT_POOL_POISON_FACTS_H

#include <snakepit/error.h>
#include <snakepit/value.h>

enum {
    POISON_DOSSIER_BYTES = 64 << 10, /* of a larger dossier only the id, the exit and the places are kept */
    POISON_STDERR_BYTES = 8 << 10    /* the end of it */
};

pit_value *poison_facts(const char *worker_id, const pit_error *e);

#endif
