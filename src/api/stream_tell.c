/* See stream_tell.h. */
#include "api/stream_tell.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "wire/error.h"

enum { MESSAGE = 512 };

/* An event on its way to the callback, and what that has to say. */
struct telling {
    pit_stream_event event;
    bool failed;
    char message[MESSAGE];
};

int pit_stream_event_fail(pit_stream_event *ev, const char *format, ...)
{
    if (ev == NULL)
        return PIT_STREAM_FAIL;
    struct telling *t = LIST_ENTRY(ev, struct telling, event);
    va_list ap;
    va_start(ap, format);
    vsnprintf(t->message, sizeof t->message, format != NULL ? format : "", ap);
    va_end(ap);
    t->failed = true;
    return PIT_STREAM_FAIL;
}

static struct outcome verdict(const struct telling *t, int rc)
{
    if (rc == PIT_STREAM_HALT)
        return (struct outcome){.value = pit_nil()};
    pit_error *e;
    if (rc == PIT_STREAM_FAIL)
        e = error_new(PIT_E_CALLBACK_FAILED, "%s", t->failed ? t->message : "the callback of the stream failed");
    else
        e = error_suggest(error_new(PIT_E_CALLBACK_FAILED, "the callback of the stream returned %d", rc),
                          "return 0, PIT_STREAM_HALT, or what pit_stream_event_fail() gives");
    return outcome_failed(error_detail_take(e, "chunk", pit_uint(t->event.index)));
}

/* true: go on. */
static bool tell(struct teller *t, struct telling *what, struct outcome *ret)
{
    what->event.size = sizeof what->event;
    int rc = t->fn(&what->event, t->user);
    if (rc == 0)
        return true;
    *ret = verdict(what, rc);
    t->over = true;
    return false;
}

bool tell_chunk(struct teller *t, struct stream_chunk *k, struct outcome *ret)
{
    struct telling what;
    what.event = (pit_stream_event){
        .kind = PIT_STREAM_CHUNK, .is_final = k->final, .index = k->index, .value = k->value, .metadata = k->metadata};
    what.failed = false;
    t->told++;
    t->final = k->final;
    bool more = tell(t, &what, ret);
    stream_chunk_free(k);
    return more;
}

/* The reader is told which chunk is the last one, also where the producer did not know. true: the callback wants to hear of the end. */
static bool tell_synthetic(struct teller *t, struct outcome *o)
{
    pit_value *v = pit_map();
    pit_map_set_take(v, "synthetic_final", pit_bool(1));
    pit_map_set_take(v, "chunks_sent", pit_uint(t->told));
    struct telling what;
    what.event = (pit_stream_event){.kind = PIT_STREAM_CHUNK, .is_final = 1, .index = t->told, .value = v};
    what.failed = false;
    struct outcome end = {0};
    bool more = tell(t, &what, &end);
    if (!more && end.rc != 0) {
        outcome_free(o);
        *o = end;
    } else {
        outcome_free(&end);
    }
    pit_value_free(v);
    return more;
}

void tell_outcome(struct teller *t, struct outcome *o)
{
    if (t->over || (o->rc == 0 && !t->final && !tell_synthetic(t, o)))
        return;
    struct telling what;
    what.event = (pit_stream_event){
        .kind = o->rc == 0 ? PIT_STREAM_END : PIT_STREAM_ERROR, .index = t->told, .value = o->value, .error = o->error};
    what.failed = false;
    struct outcome ignored = {0};
    tell(t, &what, &ignored);
    outcome_free(&ignored);
    t->over = true;
}
