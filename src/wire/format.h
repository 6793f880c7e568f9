/* The format language of pit_pack() as events: one parser, two listeners (one makes values, one makes bytes).
 *
 * The parser checks the grammar, the depth, and where keys and items stand; what a listener refuses ends it. */
#ifndef PIT_WIRE_FORMAT_H
#define PIT_WIRE_FORMAT_H

#include <stdarg.h>

#include "wire/codec.h"

/* A scalar to be packed. kind: NIL, BOOL, INT, FLOAT, STR, BYTES, or NONE for a `value` that is there already. */
struct format_item {
    int kind;
    bool key;         /* of the map that is open */
    bool is_unsigned; /* INT: in u */
    union {
        bool truth;
        int64_t i;
        uint64_t u;
        double f;
        const void *data;
        const pit_value *value; /* borrowed; not NULL */
    };
    size_t n;
};

/* Each function returns 0 or the PIT_E_* that ends it; it may set *why to a better text than the code's. */
struct format_ops {
    int (*item)(void *user, const struct format_item *item, const char **why);
    int (*open)(void *user, int kind, bool key, const char **why);        /* LIST, TUPLE, MAP */
    int (*close)(void *user, uint32_t count, bool key, const char **why); /* count: items, of a map keys and items */
};

int format_walk(const char *format, va_list ap, const struct format_ops *ops, void *user, struct codec_error *err);

#endif
