/* Inside the extension: the module's state, the codec, and what the lane needs of them.
 *
 * Everything is per module instance (interpreter): no static object, no global state. What is rare (errors, big integers, exceptions as
 * values) is done by functions of snakepit_bridge._codec and ._errors, so that both codecs behave alike by construction. */
#ifndef SNAKEPIT_BRIDGE_SNAKEPIT_H
#define SNAKEPIT_BRIDGE_SNAKEPIT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

/* X(name, module): functions and classes of the package that the extension uses; each a member of struct state. */
#define HELPER_LIST(X)                                                                                                         \
    X(CodecError, "snakepit_bridge._errors")                                                                                   \
    X(RemoteException, "snakepit_bridge._errors")                                                                              \
    X(SnakepitError, "snakepit_bridge._errors")                                                                                \
    X(exception_fields, "snakepit_bridge._errors")                                                                             \
    X(exception_from_fields, "snakepit_bridge._codec")                                                                         \
    X(bigint_to_bytes, "snakepit_bridge._codec")                                                                               \
    X(bigint_from_bytes, "snakepit_bridge._codec")                                                                             \
    X(unserializable, "snakepit_bridge._codec")                                                                                \
    X(bad_text, "snakepit_bridge._codec")                                                                                      \
    X(bad_bytes, "snakepit_bridge._codec")                                                                                     \
    X(bad_key, "snakepit_bridge._codec")                                                                                       \
    X(repeated_key, "snakepit_bridge._codec")                                                                                  \
    X(too_deep, "snakepit_bridge._codec")                                                                                      \
    X(too_long, "snakepit_bridge._codec")                                                                                      \
    X(too_large, "snakepit_bridge._codec")                                                                                     \
    X(truncated, "snakepit_bridge._codec")                                                                                     \
    X(malformed, "snakepit_bridge._codec")                                                                                     \
    X(ProtocolError, "snakepit_bridge._wire")                                                                                  \
    X(failure_payload, "snakepit_bridge._commands")                                                                            \
    X(SessionContext, "snakepit_bridge.context")

struct state {
#define HELPER_MEMBER(name, module) PyObject *name;
    HELPER_LIST(HELPER_MEMBER)
#undef HELPER_MEMBER
    PyObject *lane_type;
};

/* Short texts that come again and again (keys, names of arguments) are made once. Owned by one thread. */
#define TEXT_CACHE 128
#define TEXT_CACHE_LONGEST 32
struct text_cache {
    PyObject *texts[TEXT_CACHE];
};

struct reader {
    struct state *st;
    struct text_cache *cache; /* may be NULL */
    const uint8_t *p, *end;
};

/* Where an encoding goes: first into the block it was given, which is not its own; when that is full, into one of its own. */
struct writer {
    struct state *st;
    uint8_t *base, *p, *end;
    bool heap;  /* base is PyMem_RawMalloc's */
    size_t max; /* 0: none; more than that is limit_exceeded */
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

/* Appends the encoding of obj. 0, or -1 with an exception (and a part of it written). */
int value_encode(struct writer *w, PyObject *obj, int depth);
/* Room for n more bytes at w->p. */
int writer_grow(struct writer *w, size_t n);
void writer_finish(struct writer *w);

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
