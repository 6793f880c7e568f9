/* An error as the map that ERROR, FAILED and TOOL_ERROR frames carry. Thread: any. */
#include "wire/error.h"

static void put_text(pit_value *map, const char *key, const char *text)
{
    if (text != NULL)
        pit_map_set_take(map, key, pit_str(text));
}

/* An error that the tool has met, as the detail `cause`: what it has as its own cause it mostly has in its details, too. */
static pit_value *cause_map(const pit_error *e)
{
    pit_value *map = pit_map();
    pit_map_set_take(map, "code", pit_str(pit_error_name(e)));
    pit_map_set_take(map, "message", pit_str(pit_error_message(e)));
    if (pit_value_len(pit_error_details(e)) != 0)
        pit_map_set_take(map, "details", pit_value_ref(pit_error_details(e)));
    put_text(map, "pool", pit_error_pool(e));
    put_text(map, "worker_id", pit_error_worker(e));
    put_text(map, "type", pit_error_python_type(e));
    put_text(map, "traceback", pit_error_traceback(e));
    return map;
}

static pit_value *details_of(const pit_error *e)
{
    const pit_error *cause = pit_error_cause(e);
    const pit_value *details = pit_error_details(e), *key, *item;
    if (cause == NULL)
        return pit_value_len(details) != 0 ? pit_value_ref(details) : NULL;
    pit_value *map = pit_map();
    for (size_t i = 0; pit_value_next(details, &i, &key, &item);)
        pit_map_set_take(map, pit_value_str_or(key, ""), pit_value_ref(item));
    pit_map_set_take(map, "cause", cause_map(cause));
    return map;
}

pit_value *error_map(const pit_error *e)
{
    pit_value *details = details_of(e);
    pit_value *map = pit_map();
    pit_map_set_take(map, "code", pit_str(pit_error_name(e)));
    pit_map_set_take(map, "message", pit_str(pit_error_message(e)));
    if (details != NULL)
        pit_map_set_take(map, "details", details);
    if (pit_value_len(pit_error_suggestions(e)) != 0)
        pit_map_set_take(map, "suggestions", pit_value_ref(pit_error_suggestions(e)));
    return map;
}
