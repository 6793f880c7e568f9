/* How what a stream gives is told to a callback: shared by the blocking form and that of the loop. Whoever tells is one thread at a time. */
#ifndef PIT_API_STREAM_TELL_H
#define PIT_API_STREAM_TELL_H

#include <snakepit/stream.h>

#include "pool/stream.h"

struct teller {
    pit_stream_fn fn;
    void *user;
    uint64_t told; /* chunks */
    bool final;    /* the last one was marked */
    bool over;     /* nothing more is told */
};

/* Tells of a chunk (taken). true: the callback wants more; else *ret is how the stream ends, and nothing more is told. */
bool tell_chunk(struct teller *t, struct stream_chunk *k, struct outcome *ret);
/* Tells of the outcome; before a good end of what the producer has not marked as the last chunk, and what the callback says to that may replace it. */
void tell_outcome(struct teller *t, struct outcome *o);

#endif
