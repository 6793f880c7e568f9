/* See poison_facts.h. */
#include "pool/poison_facts.h"

#include <string.h>

#include "crash/crash.h"

enum { NODE_BYTES = 24 /* of a value in memory, without its text */ };

/* About what it takes in memory, counted up to a little above `most`. */
static size_t bytes_of(const pit_value *v, size_t most)
{
    const pit_value *key, *item;
    const char *text = pit_value_str(v);
    size_t n = NODE_BYTES + (text != NULL ? strlen(text) : 0);
    int kind = pit_value_kind(v);
    if (kind == PIT_KIND_LIST || kind == PIT_KIND_MAP)
        for (size_t i = 0; n <= most && pit_value_next(v, &i, &key, &item);)
            n += bytes_of(item, most - n) + (kind == PIT_KIND_MAP ? bytes_of(key, most - n) : 0);
    return n;
}

/* The same worker's dossier on disk has the rest. */
static pit_value *dossier_of(const pit_value *whole)
{
    static const char *const keys[] = {"id",     "time",      "worker_id", "pool",      "pid",        "exit_class",
                                       "reason", "exit_code", "signal",    "python_at", "library_at", "native_at"};
    if (bytes_of(whole, POISON_DOSSIER_BYTES) <= POISON_DOSSIER_BYTES)
        return pit_value_ref(whole);
    pit_value *map = pit_map(), *missing = pit_list();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const pit_value *v = pit_value_get(whole, keys[i]);
        if (v != NULL && bytes_of(v, POISON_STDERR_BYTES) <= POISON_STDERR_BYTES)
            pit_map_set_take(map, keys[i], pit_value_ref(v));
    }
    pit_list_append_take(missing, pit_str("all else: the dossier is too large to be remembered with the call"));
    pit_map_set_take(map, "partial", pit_bool(true));
    pit_map_set_take(map, "missing", missing);
    return map;
}

static pit_value *end_of(const pit_value *words)
{
    const char *text = pit_value_str_or(words, "");
    size_t n = strlen(text);
    if (n <= POISON_STDERR_BYTES)
        return pit_value_ref(words);
    const char *from = text + n - POISON_STDERR_BYTES;
    while (((unsigned char)*from & 0xc0) == 0x80) /* the rest of a character */
        from++;
    return crash_words(from, strlen(from));
}

pit_value *poison_facts(const char *worker_id, const pit_error *e)
{
    static const char *const keys[] = {"exit_class", "exit_code", "signal"};
    pit_value *map = pit_map();
    pit_map_set_take(map, "worker", pit_str(worker_id));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const pit_value *v = pit_value_get(pit_error_details(e), keys[i]);
        if (v != NULL)
            pit_map_set_take(map, keys[i], pit_value_ref(v));
    }
    const pit_value *words = pit_value_get(pit_error_details(e), "stderr");
    if (words != NULL)
        pit_map_set_take(map, "stderr", end_of(words));
    if (pit_error_dossier(e) != NULL)
        pit_map_set_take(map, "dossier", dossier_of(pit_error_dossier(e)));
    return map;
}
