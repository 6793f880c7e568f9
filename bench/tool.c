/* tool.*: calls of the host's tools by Python code in the middle of a call, and calls that those tools make in turn. */
#include "host.h"

#include <string.h>

/* Tool calls of one call, of which so none of its cost is seen; calls inside each other; further levels that are counted together. */
enum { ASKS = 1000, DEEPEST = 16, LEVELS = 7, PAIRS = 1000 };

/* A tool: {"x": n} to {"x": n + 1}, as `inc` of the workers. */
static int inc(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    int64_t x = 0;
    (void)user;
    if (!pit_value_get_int(pit_value_get(args, "x"), &x))
        return pit_tool_fail(c, "x is no number");
    *ret = pit_pack("{s:i}", "x", (int)x + 1);
    return 0;
}

/* A tool: goes on in the worker, so many levels further. */
static int descend(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    const struct call_target *t = user;
    pit_error *err = NULL;
    int rc = pit_call(t->p, "descend", args, t->o, ret, &err);
    return rc == 0 ? 0 : pit_tool_fail_take(c, err);
}

static int ask_once(void *target, uint32_t n)
{
    struct call_target *t = target;
    pit_error *err = NULL;
    int rc = pit_callf(t->p, "ask", t->o, NULL, &err, "{s:i,s:i}", "first", (int)n, "n", ASKS);
    return rc == 0 ? 0 : (host_fail(t->ret, "calls of a tool", rc, err), -1);
}

static int tool_roundtrip(struct bench *b, struct call_target *t)
{
    int status = measure_loop(b, ask_once, t, 0, t->ret);
    if (status == BENCH_OK)
        result_divide(t->ret, ASKS);
    return status;
}

/* A call with so many calls inside each other, itself counted; *ret_ns is what it took. */
static int descend_once(struct call_target *t, int calls, uint64_t *ret_ns)
{
    pit_value *answer = NULL;
    pit_error *err = NULL;
    int64_t levels = 0;
    uint64_t start = clock_now();
    int rc = pit_callf(t->p, "descend", t->o, &answer, &err, "{s:i}", "calls", calls);
    *ret_ns = clock_now() - start;
    if (rc != 0)
        return host_fail(t->ret, "calls inside each other", rc, err);
    bool right = pit_value_get_int(answer, &levels) && levels == calls;
    pit_value_free(answer);
    return right ? BENCH_OK : result_fail(t->ret, "%d calls inside each other have a wrong answer", calls);
}

/* What one further level costs, from `calls` inside each other on: one with them and one with LEVELS more are a sample. */
static int tool_levels(struct bench *b, struct call_target *t, int calls)
{
    int status = BENCH_OK;
    for (int i = -PAIRS / 10; i < PAIRS && status == BENCH_OK; i++) {
        uint64_t few = 0, many = 0;
        status = descend_once(t, calls, &few);
        if (status == BENCH_OK)
            status = descend_once(t, calls + LEVELS, &many);
        if (i <= 0)
            b->samples.n = 0; /* to warm up */
        samples_add(&b->samples, many > few ? many - few : 0);
    }
    if (status == BENCH_OK) {
        samples_reduce(&b->samples, 0, t->ret);
        result_divide(t->ret, LEVELS);
    }
    return status;
}

static int measure(struct bench *b, struct call_target *t, int kind)
{
    if (kind == TOOL_ROUNDTRIP)
        return tool_roundtrip(b, t);
    return tool_levels(b, t, kind == TOOL_FIRST_LEVELS ? 1 : DEEPEST - LEVELS);
}

int run_tool(struct bench *b, int kind, struct result *ret)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = host_pool_name(POOL_TOOL);
    pit *p = host_pool(b, POOL_TOOL, ret);
    if (p == NULL || host_place(b, p, o.pool, PLACE_TWO, ret) != BENCH_OK)
        return ret->status;
    struct call_target target = {p, &o, ret};
    const pit_tool_item tools[] = {{.name = "inc", .fn = inc}, {.name = "descend", .fn = descend, .user = &target}};
    pit_error *err = NULL;
    int rc = pit_tool_register_many(p, NULL, tools, 2, NULL, &err);
    int status = rc == 0 ? measure(b, &target, kind) : host_fail(ret, "the tools", rc, err);
    for (int i = 0; i < 2; i++)
        (void)pit_tool_unregister(p, NULL, tools[i].name);
    return status;
}
