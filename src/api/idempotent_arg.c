/* The argument `idempotent` of a call, where a pool says that it counts (idempotent_arg). Arguments that were packed are decoded for it. */
#include "api/begin.h"
#include "wire/value.h"
#include "worker/call_digest.h"

static bool is_true(const pit_value *args)
{
    bool yes = false;
    const pit_value *keywords = pit_value_kind(args) == PIT_KIND_ARGS ? value_item(args, 1) : args;
    return pit_value_get_bool(pit_value_get(keywords, "idempotent"), &yes) && yes;
}

bool call_says_idempotent(const struct call *c, const struct call_args *args)
{
    size_t n, used;
    pit_value *v = NULL;
    if (!args->packed)
        return is_true(args->value);
    const uint8_t *content = call_content(c, &n);
    if (content == NULL || codec_decode(content, n, NULL, &v, &used, NULL) != 0) /* the command */
        return false;
    pit_value_free(v);
    v = NULL;
    bool yes = codec_decode(content + used, n - used, NULL, &v, NULL, NULL) == 0 && is_true(v);
    pit_value_free(v);
    return yes;
}
