/* See metadata.h. */
#include "api/metadata.h"

pit_error *metadata_bad(const char *of, const char *reason, const char *text)
{
    pit_error *e = error_new(PIT_E_INVALID_METADATA, "the metadata of a %s %s", of, text);
    return error_detail_take(e, "reason", pit_str(reason));
}

pit_error *metadata_check(const char *of, const pit_value *m)
{
    const pit_value *key, *item;
    size_t i = 0;
    if (pit_value_error(m) == PIT_E_DUPLICATE_KEY)
        return metadata_bad(of, "duplicate_keys", "has a key twice");
    if (pit_value_kind(m) != PIT_KIND_MAP)
        return metadata_bad(of, "unsupported_type", "is a map");
    if (pit_value_len(m) > METADATA_ENTRIES)
        return metadata_bad(of, "too_many_entries", "has at most 32 entries");
    while (pit_value_next(m, &i, &key, &item)) {
        int kind = pit_value_kind(item);
        bool scalar = kind == PIT_KIND_NIL || kind == PIT_KIND_BOOL || kind == PIT_KIND_INT || kind == PIT_KIND_FLOAT ||
                      kind == PIT_KIND_STR;
        if (pit_value_kind(key) != PIT_KIND_STR || !scalar)
            return metadata_bad(of, "unsupported_type", "has text as keys, and text, numbers, booleans or nil as values");
    }
    return NULL;
}
