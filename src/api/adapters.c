/* snakepit/plugin.h: the adapters that come with the library, for tests. They use what any adapter has. */
#include <snakepit/error.h>
#include <snakepit/plugin.h>
#include <snakepit/runtime.h>
#include <string.h>

#include "os/os.h"
#include "wire/error.h"

enum { LOOK_NS = 1000000 };

/* ---- mock ---- */

static int echo(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret, void *user)
{
    (void)c, (void)command, (void)user;
    *ret = pit_value_ref(args);
    return 0;
}

static bool has_positions(const pit_value *args)
{
    int kind = pit_value_kind(args);
    return kind == PIT_KIND_LIST || kind == PIT_KIND_TUPLE;
}

static int echo_stream(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret_final, void *user)
{
    (void)command, (void)user;
    const pit_value *item;
    uint64_t n = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && has_positions(args) && pit_value_next(args, &i, NULL, &item); n += rc == 0)
        rc = pit_adapter_send(c, item, PIT_INFINITE);
    pit_value *came = NULL;
    while (rc == 0 && (rc = pit_adapter_receive(c, PIT_INFINITE, &came)) == 0) {
        rc = pit_adapter_send(c, came, PIT_INFINITE);
        n += rc == 0;
        pit_value_free(came);
    }
    *ret_final = pit_uint(n);
    return rc == PIT_E_END ? 0 : rc;
}

const pit_adapter *pit_adapter_mock(void)
{
    static const pit_adapter mock = {.size = sizeof mock, .execute = echo, .execute_stream = echo_stream};
    return &mock;
}

/* ---- failing ---- */

static int fail(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret, void *user)
{
    (void)args, (void)ret, (void)user;
    int code = error_code_from_name(command, strlen(command));
    return pit_adapter_fail(c, code < 0 ? code : PIT_E_RUNTIME_ERROR, "%s fails, as everything here does", command);
}

const pit_adapter *pit_adapter_failing(void)
{
    static const pit_adapter failing = {.size = sizeof failing, .execute = fail, .execute_stream = fail};
    return &failing;
}

/* ---- probe ---- */

static pit_value *or_nil(const char *text)
{
    return text != NULL ? pit_str(text) : pit_nil();
}

static pit_value *remaining(const pit_adapter_ctx *c)
{
    uint64_t at = pit_adapter_deadline_ns(c), now = pit_now_ns();
    return at == UINT64_MAX ? pit_nil() : pit_float(at > now ? (double)(at - now) / 1e6 : 0);
}

static void wait_for_end(const pit_adapter_ctx *c)
{
    const uint32_t never = 0;
    while (!pit_adapter_cancelled(c))
        os_linux.futex_wait(&never, 0, pit_now_ns() + LOOK_NS);
}

static int probe(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret, void *user)
{
    (void)user;
    if (strcmp(command, "wait") == 0)
        wait_for_end(c);
    pit_value *map = pit_map();
    pit_map_set_take(map, "command", pit_str(command));
    pit_map_set_take(map, "args", pit_value_ref(args));
    pit_map_set_take(map, "pool", or_nil(pit_adapter_pool(c)));
    pit_map_set_take(map, "worker_id", or_nil(pit_adapter_worker_id(c)));
    pit_map_set_take(map, "session_id", or_nil(pit_adapter_session_id(c)));
    pit_map_set_take(map, "correlation_id", or_nil(pit_adapter_correlation_id(c)));
    pit_map_set_take(map, "trace_parent", or_nil(pit_adapter_trace_parent(c)));
    pit_map_set_take(map, "metadata", pit_adapter_metadata(c) != NULL ? pit_value_ref(pit_adapter_metadata(c)) : pit_nil());
    pit_map_set_take(map, "binary_parameters",
                     pit_adapter_binary_parameters(c) != NULL ? pit_value_ref(pit_adapter_binary_parameters(c)) : pit_nil());
    pit_map_set_take(map, "remaining_ms", remaining(c));
    pit_map_set_take(map, "cancelled", pit_bool(pit_adapter_cancelled(c)));
    *ret = map;
    return 0;
}

static int probe_stream(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret_final, void *user)
{
    pit_value *seen = NULL;
    int rc = probe(c, command, args, &seen, user);
    if (rc == 0)
        rc = pit_adapter_send(c, seen, PIT_INFINITE);
    pit_value_free(seen);
    *ret_final = pit_nil();
    return rc;
}

static int tell(pit_adapter_ctx *c, pit_value **ret, void *user)
{
    (void)user;
    *ret = pit_pack("{s:s,s:s}", "pool", pit_adapter_pool(c), "worker_id", pit_adapter_worker_id(c));
    return 0;
}

const pit_adapter *pit_adapter_probe(void)
{
    static const pit_adapter adapter = {
        .size = sizeof adapter, .execute = probe, .execute_stream = probe_stream, .collect_telemetry = tell};
    return &adapter;
}
