/* Compiled, never run: every macro and type of the public headers, in the common part of C99 and C++17. tools/check_headers compiles it with
 * -Wextra -Wpedantic -Werror in both languages: a user's strictest build must stay silent. */
#include <snakepit/snakepit.h>

#define CODE_NAME(constant, name, category, number, retriable, text) #name,
static const char *const code_names[] = {PIT_CODE_LIST(CODE_NAME)};

static int on_event(const pit_event *ev, void *user)
{
    double ms = 0.0;
    (void)user;
    return pit_event_number(ev, "duration_ms", &ms) && pit_event_text(ev, "command") && pit_event_name(ev) ? 0 : 1;
}

static void on_done(pit_future *f, void *user)
{
    pit_value **ret = (pit_value **)user;
    (void)pit_future_result(f, ret, NULL);
}

int use(void);
int use(void)
{
    pit *p = NULL;
    pit_value *r = NULL;
    pit_error *err = NULL;
    pit_future *f = NULL;
    pit_worker_list *workers = NULL;
    uint64_t id = 0;
    int64_t number = 0;
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pit_call_options call = PIT_CALL_OPTIONS_INIT;
    pit_stats stats = PIT_STATS_INIT;
    const pit_pool_options *pools[1];

    pools[0] = &pool;
    o.pools = pools;
    o.n_pools = 1;
    o.require_ready = PIT_OFF;
    o.drive = PIT_DRIVE_HOST;
    call.timeout_ms = PIT_INFINITE;
    (void)pit_open(&o, &p, &err);
    (void)pit_telemetry_attach(p, "snakepit.*", on_event, NULL, &id, &err);
    (void)pit_callf(p, "f", &call, &r, &err, "{s:I,s:[ff]}", "x", number, "y", 1.0, 2.0);
    (void)pit_submit(p, "f", r, &call, &f, &err);
    (void)pit_future_on_done(f, on_done, &r);
    (void)pit_get_stats(p, NULL, &stats);
    (void)pit_list_workers(p, NULL, &workers, &err);
    pit_worker_list_free(workers);
    pit_future_free(f);
    pit_value_free(r);
    pit_error_free(err);
    return pit_close(p) == PIT_OK && code_names[0] != NULL && PIT_E_WORKER_CRASH < 0;
}
