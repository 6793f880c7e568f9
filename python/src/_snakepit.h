/* Inside the extension: the module's state, the codec, and what the lane needs of them.
 *
 * Everything is per module instance (interpreter): no static object, no global state. What is rare (errors, big integers, exceptions as
 * values, times, tensors, whatever has to be converted) is done by functions of the package, so that both codecs behave alike by
 * construction. */
#ifndef SNAKEPIT_BRIDGE_SNAKEPIT_H
#define SNAKEPIT_BRIDGE_SNAKEPIT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* X(name, module): functions, classes and tables of the package that the extension uses; each a member of struct state. */
#define HELPER_LIST(X)                                                                                                         \
    X(Cancelled, "snakepit_bridge._errors")                                                                                    \
    X(CodecError, "snakepit_bridge._errors")                                                                                   \
    X(RemoteException, "snakepit_bridge._errors")                                                                              \
    X(SnakepitError, "snakepit_bridge._errors")                                                                                \
    X(exception_fields, "snakepit_bridge._errors")                                                                             \
    X(exception_from_fields, "snakepit_bridge._kinds")                                                                         \
    X(bigint_to_bytes, "snakepit_bridge._kinds")                                                                               \
    X(bigint_from_bytes, "snakepit_bridge._kinds")                                                                             \
    X(Leaf, "snakepit_bridge._kinds")                                                                                          \
    X(take_extension, "snakepit_bridge._kinds")                                                                                \
    X(take_cut, "snakepit_bridge._kinds")                                                                                      \
    X(check_leaf_key, "snakepit_bridge._kinds")                                                                                \
    X(may_be_key, "snakepit_bridge._kinds")                                                                                    \
    X(REGISTERED, "snakepit_bridge._registry")                                                                                 \
    X(is_registered, "snakepit_bridge._registry")                                                                              \
    X(simplify, "snakepit_bridge._registry")                                                                                   \
    X(tensor_of_view, "snakepit_bridge._registry")                                                                             \
    X(policy_of_options, "snakepit_bridge._registry")                                                                          \
    X(check_distinct, "snakepit_bridge._registry")                                                                             \
    X(unserializable, "snakepit_bridge._refusals")                                                                             \
    X(bad_text, "snakepit_bridge._refusals")                                                                                   \
    X(bad_bytes, "snakepit_bridge._refusals")                                                                                  \
    X(bad_key, "snakepit_bridge._refusals")                                                                                    \
    X(repeated_key, "snakepit_bridge._refusals")                                                                               \
    X(repeated_item, "snakepit_bridge._refusals")                                                                              \
    X(too_deep, "snakepit_bridge._refusals")                                                                                   \
    X(too_long, "snakepit_bridge._refusals")                                                                                   \
    X(too_large, "snakepit_bridge._refusals")                                                                                  \
    X(too_many_entries, "snakepit_bridge._refusals")                                                                           \
    X(truncated, "snakepit_bridge._refusals")                                                                                  \
    X(malformed, "snakepit_bridge._refusals")                                                                                  \
    X(ProtocolError, "snakepit_bridge._wire")                                                                                  \
    X(failure_payload, "snakepit_bridge._commands")                                                                            \
    X(SessionContext, "snakepit_bridge.context")                                                                               \
    X(StreamChunk, "snakepit_bridge._streams")                                                                                 \
    X(streams_nothing, "snakepit_bridge._streams")                                                                             \
    X(stream_name, "snakepit_bridge._streams")                                                                                 \
    X(inbox_name, "snakepit_bridge._streams")                                                                                  \
    X(bind_thread, "snakepit_bridge.context")                                                                                  \
    X(call, "snakepit_bridge._host_tools")                                                                                     \
    X(tool_failure, "snakepit_bridge._host_tools")                                                                             \
    X(with_binary, "snakepit_bridge._host_tools")                                                                              \
    X(handed, "snakepit_bridge.context")                                                                                       \
    X(absorb, "snakepit_bridge._cancel")

/* Short texts that come again and again (keys, names of arguments) are made once. Owned by one thread, or by who holds the GIL. */
#define TEXT_CACHE 128
#define TEXT_CACHE_LONGEST 32
struct text_cache {
    PyObject *texts[TEXT_CACHE];
};

/* The control socket of a worker whose threads share it (_snakepit_threads.c). */
struct control_line {
    pthread_mutex_t lock; /* a frame of a bell is being sent */
    uint32_t wanted;      /* atomic: a bell, which whoever has the lock will ring */
};

struct state {
#define HELPER_MEMBER(name, module) PyObject *name;
    HELPER_LIST(HELPER_MEMBER)
#undef HELPER_MEMBER
    PyObject *lane_type, *stream_type, *tool_stream_type;
    Py_ssize_t context_lane, context_id; /* where a SessionContext has these slots */
    struct text_cache texts;             /* of decode(); a lane has its own */
    struct control_line line;
};

struct reader {
    struct state *st;
    struct text_cache *cache; /* may be NULL */
    const uint8_t *p, *end;
    bool times; /* times came by: their nanoseconds may have been cut (take_cut) */
    /* Bytes that were received into their object already, and where they would stand (nothing does): both NULL without. Borrowed. */
    PyObject *long_bytes;
    const uint8_t *long_at;
};

enum { POLICY_DEFAULT = 0, POLICY_MARKER, POLICY_REF, POLICY_ERROR };

#define LONG_DATA ((size_t)64 << 10) /* bytes and texts from this length on are not copied on their way if that can be helped */

/* Where an encoding goes: first into the block it was given, which is not its own; when that is full, into one of its own. One long text or bytes is
 * left where it is if may_leave: then the encoding is what stands before `left_at`, the data, and the rest. */
struct writer {
    struct state *st;
    uint8_t *base, *p, *end;
    bool heap;      /* base is PyMem_RawMalloc's */
    int policy;     /* for objects that nothing converts: POLICY_* of snakepit_bridge._registry */
    size_t max;     /* 0: none; more than that is limit_exceeded */
    size_t entries; /* of maps and sets so far; a decimal as key counts as more */
    bool odd;       /* a key has come by that the host may take for another one */
    bool may_leave;
    PyObject *left; /* whose data was left out (owned); NULL: none was. The block is the writer's own then */
    const uint8_t *left_data;
    size_t left_n, left_at;
};

/* Raises the CodecError that helper(argument) makes; argument may be NULL. Always returns -1. */
int codec_raise(PyObject *helper, PyObject *argument);
int codec_malformed(struct state *st, const char *why);
/* Adds a step to the path of the CodecError that is being raised, if it is one: key, or the index when key is NULL. */
void codec_step(struct state *st, PyObject *key, Py_ssize_t index);

/* The next value: a new reference, NULL with an exception. depth: containers around it. */
PyObject *value_decode(struct reader *r, int depth);
/* The next `n` items as a tuple, the next n entries as a dict; depth is that of the items. */
PyObject *value_decode_tuple(struct reader *r, uint32_t n, int depth);
PyObject *value_decode_dict(struct reader *r, uint32_t n, int depth);
/* A text of n bytes. */
PyObject *value_decode_text(struct reader *r, const uint8_t *data, size_t n);

/* 0 when this value, which has been decoded, may be a key or an item of a set; else -1 with an exception. */
int key_check(struct state *st, PyObject *key);

/* Appends the encoding of obj. 0, or -1 with an exception (and a part of it written). */
int value_encode(struct writer *w, PyObject *obj, int depth);
/* The same of a key, or of an item of a set. */
int value_encode_key(struct writer *w, PyObject *key, int depth);
/* The same of what has no type of its own here: subclasses, and objects that have to be converted. */
int value_encode_other(struct writer *w, PyObject *obj, int depth);
/* Parts that the above share. */
int put_text(struct writer *w, PyObject *text);
int put_int(struct writer *w, PyObject *n);
int put_float(struct writer *w, PyObject *x);
int put_buffer(struct writer *w, PyObject *object);
int put_mapping(struct writer *w, PyObject *mapping, int depth);
int put_list(struct writer *w, PyObject *list, int depth);
int put_tuple(struct writer *w, PyObject *tuple, int depth);
int put_set(struct writer *w, PyObject *set, int depth);
/* *odd is set if the key is one that the host may take for another one. */
int put_entry(struct writer *w, PyObject *key, PyObject *item, int depth, bool *odd);
int put_items(struct writer *w, PyObject *items, bool list, int depth);
/* The beginning of every container: its depth and length are checked, there is room for its heads. */
int container_enter(struct writer *w, Py_ssize_t n, int depth);
int length_check(struct writer *w, Py_ssize_t n);
/* Counts n more entries of maps and sets. */
int entries_count(struct writer *w, Py_ssize_t n);
/* The keys, or items of a set, of which none may leave as the same value as another. */
int keys_distinct(struct writer *w, PyObject *keys, bool items);
/* Room for n more bytes at w->p. */
int writer_grow(struct writer *w, size_t n);
void writer_finish(struct writer *w);
/* Ends an extension that was begun by mp_open_ext and whose payload begins at the offset `at`. */
int extension_close(struct writer *w, size_t at);

/* Bytes of the encoding, with what was left out. */
static inline size_t writer_size(const struct writer *w)
{
    return (size_t)(w->p - w->base) + w->left_n;
}

static inline int writer_room(struct writer *w, size_t n)
{
    return n <= (size_t)(w->end - w->p) ? 0 : writer_grow(w, n);
}

/* Makes this text the one that is found for its content, if it is short ASCII. */
void text_cache_put(struct text_cache *cache, PyObject *text);
void text_cache_finish(struct text_cache *cache);

extern PyType_Spec lane_spec;
struct state *state_of_type(PyTypeObject *type);

#endif
