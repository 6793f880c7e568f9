/* Public options to settings: checks, defaults, copies. The environment is read here and nowhere below. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/env.h"
#include "base/units.h"

enum { MAX_WORKERS = 150, RING_BYTES = 64 * 1024, RING_MIN = 4096, RING_MAX = 64 * 1024 * 1024, MAX_POOL_WORKERS = 4096 };

/* X(name, timeout_ms, stream_timeout_ms, queue_timeout_ms) */
#define TIMEOUT_PROFILE_LIST(X)                                                                                                \
    X(balanced, 300000, 900000, 10000)                                                                                         \
    X(production, 300000, 900000, 10000)                                                                                       \
    X(production_strict, 60000, 300000, 5000)                                                                                  \
    X(development, 900000, 3600000, 60000)                                                                                     \
    X(ml_inference, 900000, 3600000, 60000) X(batch, 3600000, PIT_INFINITE, 300000)

static const struct profile {
    const char *name;
    int64_t timeout_ms, stream_timeout_ms, queue_timeout_ms;
} profiles[] = {
#define TIMEOUT_PROFILE_ROW(name, timeout, stream, queue) {#name, timeout, stream, queue},
    TIMEOUT_PROFILE_LIST(TIMEOUT_PROFILE_ROW)
#undef TIMEOUT_PROFILE_ROW
};
enum { PROFILES = sizeof profiles / sizeof profiles[0] };

static pit_error *no_memory(void)
{
    return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while the options were read");
}

static const char *option_or_env(const char *option, const char *name)
{
    if (option != NULL)
        return option;
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* ---- host ---- */

/* Only what is safe in an argument list and a file name is kept. */
static char *sanitised(const char *name)
{
    char *copy = mem_strdup(name), *to = copy;
    for (char *from = copy; copy != NULL && *from != '\0'; from++)
        if ((*from >= 'a' && *from <= 'z') || (*from >= 'A' && *from <= 'Z') || (*from >= '0' && *from <= '9') ||
            *from == '_' || *from == '-')
            *to++ = *from;
    if (copy != NULL)
        *to = '\0';
    return copy;
}

static bool is_unset(const char *name)
{
    return name == NULL || *name == '\0' || strcmp(name, "nil") == 0 || strcmp(name, "null") == 0 || strcmp(name, "none") == 0;
}

/* Hosts of one user that run in one folder are one instance, unless they have a name. */
static char *default_instance(const struct os_ops *os)
{
    const char *user = getenv("USER");
    char cwd[PATH_MAX];
    if (is_unset(user))
        user = getenv("LOGNAME");
    struct buf b = {0};
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a: tells folders of one name apart */
    const char *folder = os->real_path(".", cwd) == 0 ? cwd : "";
    for (const char *c = folder; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT32_C(16777619);
    const char *last = strrchr(folder, '/');
    buf_printf(&b, "%.32s-%.48s-%08x", is_unset(user) ? "user" : user, last != NULL ? last + 1 : "", hash);
    char *raw = buf_take_str(&b), *name = raw != NULL ? sanitised(raw) : NULL;
    buf_finish(&b);
    mem_free(raw);
    return name;
}

static bool read_registry(const struct os_ops *os, const pit_options *o, struct host_settings *s)
{
    const char *token = option_or_env(o->instance_token, "SNAKEPIT_INSTANCE_TOKEN");
    bool ok = data_dir_find(os, o->data_dir, &s->data_dir, &s->data_from);
    s->instance = s->instance_name != NULL ? mem_strdup(s->instance_name) : default_instance(os);
    s->instance_token = is_unset(token) ? NULL : sanitised(token);
    return ok && s->instance != NULL && (is_unset(token) || s->instance_token != NULL);
}

static pit_error *check_env(const char *const *env, const char *of)
{
    for (; env != NULL && *env != NULL; env++) {
        const char *equals = strchr(*env, '=');
        if (equals == NULL || equals == *env)
            return error_suggest(error_new(PIT_E_INVALID_PARAMETER, "env of %s: '%.64s' is no NAME=value", of, *env),
                                 "\"NAME=\" makes a variable empty; one that is not named is inherited");
    }
    return NULL;
}

static pit_error *check_host(const pit_options *o)
{
    if (o->drive < 0 || o->drive > PIT_DRIVE_HOST)
        return error_new(PIT_E_INVALID_PARAMETER, "drive: %d is neither PIT_DRIVE_THREAD nor PIT_DRIVE_HOST", o->drive);
    if (o->log_level < 0 || o->log_level > PIT_LOG_NONE)
        return error_new(PIT_E_INVALID_PARAMETER, "log_level: %d is no PIT_LOG_ level", o->log_level);
    if (o->generate_repro < PIT_OFF || o->generate_repro > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "generate_repro is PIT_ON, PIT_OFF or 0");
    if (o->cgroup < PIT_OFF || o->cgroup > 0)
        return error_new(PIT_E_INVALID_PARAMETER, "cgroup is PIT_OFF or 0");
    if (o->max_workers < 0)
        return error_new(PIT_E_INVALID_PARAMETER, "max_workers: %d is negative", o->max_workers);
    if (o->tool_threads < 0 || o->tool_threads > TOOL_THREADS_MAX)
        return error_new(PIT_E_INVALID_PARAMETER, "tool_threads: %lld is not between 1 and %d", (long long)o->tool_threads,
                         TOOL_THREADS_MAX);
    if (o->require_ready < PIT_OFF || o->require_ready > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "require_ready is PIT_ON, PIT_OFF or 0");
    if (o->n_pools != 0 && o->pools == NULL)
        return error_new(PIT_E_INVALID_PARAMETER, "n_pools is %zu, but pools is NULL", o->n_pools);
    return check_env(o->env, "pit_options");
}

static pit_error *read_host_durations(const pit_options *o, struct host_settings *s)
{
    enum { ANY = DURATION_ZERO | DURATION_ENDLESS };
    const struct duration_option rows[] = {
        {"shutdown_timeout_ms", o->shutdown_timeout_ms, 15000, &s->shutdown_timeout_ms, ANY, false, 0},
        {"drain_timeout_ms", o->drain_timeout_ms, 30000, &s->drain_timeout_ms, ANY, false, 0},
        {"cleanup_on_stop_timeout_ms", o->cleanup_on_stop_timeout_ms, 3000, &s->cleanup_timeout_ms, ANY, false, 0},
        {"registry_sweep_interval_ms", o->registry_sweep_interval_ms, 30000, &s->registry_sweep_interval_ms, DURATION_ENDLESS,
         true, 0},
    };
    return durations_read(NULL, rows, sizeof rows / sizeof rows[0]);
}

pit_error *host_settings_read(const struct os_ops *os, const pit_options *o, struct host_settings *ret)
{
    struct host_settings s = {.drive = o->drive != 0 ? o->drive : PIT_DRIVE_THREAD,
                              .generate_repro = o->generate_repro != PIT_OFF,
                              .no_group = o->cgroup == PIT_OFF,
                              .tool_threads = o->tool_threads != 0 ? (int)o->tool_threads : 4,
                              .max_workers = o->max_workers != 0 ? o->max_workers : MAX_WORKERS};
    pit_error *e = check_host(o);
    if (e == NULL)
        e = read_host_durations(o, &s);
    if (e == NULL)
        e = recorder_settings_read(o->recorder, &s.recorder);
    if (e != NULL)
        return e;
    const char *python = option_or_env(o->python, "SNAKEPIT_PYTHON"), *path = getenv("PATH"), *venv = getenv("VIRTUAL_ENV");
    const char *instance = option_or_env(o->instance_name, "SNAKEPIT_INSTANCE_NAME");
    struct env env = {0};
    env_put_all(&env, (const char *const *)environ);
    env_put_all(&env, o->env);
    s.environ = env_take(&env);
    s.guard_path = locate_guard(os, option_or_env(o->guard_path, "SNAKEPIT_GUARD"));
    const char *package = option_or_env(o->python_package_path, "SNAKEPIT_PYTHON_PACKAGE");
    s.package_path = locate_package(os, package);
    if (package != NULL && s.package_path == NULL)
        e = no_memory();
    if (package != NULL)
        s.package_from = o->python_package_path != NULL ? "the option python_package_path" : "SNAKEPIT_PYTHON_PACKAGE";
    s.python = mem_strdup(python);
    s.path = mem_strdup(path != NULL ? path : "/usr/local/bin:/usr/bin:/bin");
    s.virtual_env = mem_strdup(venv);
    s.instance_name = is_unset(instance) ? NULL : sanitised(instance);
    if (!read_registry(os, o, &s) || s.environ == NULL || s.path == NULL || (python != NULL && s.python == NULL) ||
        (venv != NULL && s.virtual_env == NULL) || (!is_unset(instance) && s.instance_name == NULL))
        e = no_memory();
    else if (e == NULL && s.guard_path == NULL)
        e = error_suggest(error_new(PIT_E_GUARD_UNAVAILABLE, "the program snakepit-guard was not found"),
                          "install it beside the library, or set the option guard_path or SNAKEPIT_GUARD");
    if (e != NULL)
        host_settings_free(&s);
    else
        *ret = s;
    return e;
}

/* ---- pools ---- */

static bool name_is_good(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (i == 0 || (c != '_' && c != '.' && c != '-')))
            return false;
    }
    return n >= 1 && n <= 64;
}

/* A path of a .py file is made absolute, since the workers may have another working directory; *ret owned. */
static pit_error *read_adapter(const struct os_ops *os, const char *adapter, char **ret)
{
    const char *suffix = strstr(adapter, ".py");
    while (suffix != NULL && suffix[3] != '\0' && suffix[3] != ':')
        suffix = strstr(suffix + 1, ".py");
    if (suffix == NULL) {
        *ret = mem_strdup(adapter);
        return *ret == NULL ? no_memory() : NULL;
    }
    char *file = mem_strndup(adapter, (size_t)(suffix - adapter) + 3), path[PATH_MAX];
    if (file == NULL)
        return no_memory();
    int rc = os->real_path(file, path);
    mem_free(file);
    if (rc != 0) {
        pit_error *e = error_new(PIT_E_ADAPTER_INVALID, "the adapter %.*s cannot be read: %s", (int)(suffix - adapter) + 3,
                                 adapter, strerror(-rc));
        return error_suggest(e, "give the path of a .py file, relative to the working directory of the program");
    }
    struct buf b = {0};
    buf_printf(&b, "%s%s", path, suffix + 3);
    *ret = buf_take_str(&b);
    buf_finish(&b);
    return *ret == NULL ? no_memory() : NULL;
}

static const struct profile *find_profile(const char *name)
{
    for (int i = 0; i < PROFILES; i++)
        if (name == NULL || strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}

static pit_error *unknown_profile(const char *name)
{
    const char *names[PROFILES];
    for (int i = 0; i < PROFILES; i++)
        names[i] = profiles[i].name;
    pit_error *e = error_new(PIT_E_INVALID_TIMEOUT_PROFILE, "there is no timeout profile %s", name);
    const char *near = error_nearest(name, names, PROFILES);
    return near != NULL ? error_suggest(e, "did you mean %s?", near) : e;
}

static pit_error *read_durations(const pit_pool_options *o, struct pool_settings *s)
{
    const struct profile *profile = find_profile(o->timeout_profile);
    int64_t spin_us, window_ms, idle_ms;
    if (profile == NULL)
        return unknown_profile(o->timeout_profile);
    enum { ANY = DURATION_ZERO | DURATION_ENDLESS };
    const struct duration_option rows[] = {
        {"timeout_ms", o->timeout_ms, profile->timeout_ms, &s->timeout_ms, DURATION_ENDLESS, false, 0},
        {"stream_timeout_ms", o->stream_timeout_ms, profile->stream_timeout_ms, &s->stream.timeout_ms, DURATION_ENDLESS, false,
         0},
        {"stream_idle_timeout_ms", o->stream_idle_timeout_ms, PIT_INFINITE, &idle_ms, DURATION_ENDLESS, false, INT64_MAX / MS},
        {"queue_timeout_ms", o->queue_timeout_ms, profile->queue_timeout_ms, &s->queue_timeout_ms, ANY, false, 0},
        {"cancel_grace_ms", o->cancel_grace_ms, 200, &s->cancel_grace_ms, DURATION_ZERO, false, 0},
        {"startup_batch_delay_ms", o->startup_batch_delay_ms, -1, &s->startup_batch_delay_ms, DURATION_ZERO, false, 0},
        {"worker_ready_timeout_ms", o->worker_ready_timeout_ms, 30000, &s->worker_ready_timeout_ms, ANY, false, 0},
        {"graceful_shutdown_timeout_ms", o->graceful_shutdown_timeout_ms, 6000, &s->graceful_ms, DURATION_ZERO, false, 0},
        {"spin_us", o->spin_us, 50, &spin_us, DURATION_ZERO, false, 0},
        {"restart_window_ms", o->restart_window_ms, 5000, &window_ms, 0, false, 0},
        {"lifecycle_check_interval_ms", o->lifecycle_check_interval_ms, 60000, &s->lifecycle_check_interval_ms, 0, true, 0},
        {"drain_timeout_ms", o->drain_timeout_ms, 30000, &s->drain_timeout_ms, ANY, false, 0},
        {"canary_timeout_ms", o->canary_timeout_ms, 2000, &s->canary_timeout_ms, 0, false, 0},
    };
    pit_error *e = durations_read(o->name, rows, sizeof rows / sizeof rows[0]);
    if (e != NULL)
        return e;
    s->spin_ns = (uint64_t)spin_us * 1000;
    s->stream.idle_ns = idle_ms < 0 ? UINT64_MAX : (uint64_t)idle_ms * MS;
    s->restart.window_ns = (uint64_t)window_ms * 1000000;
    return NULL;
}

static pit_error *read_numbers(const struct os_ops *os, const pit_pool_options *o, struct pool_settings *s)
{
    if (o->workers < 0 || o->workers > MAX_POOL_WORKERS)
        return error_new(PIT_E_INVALID_POOL_SIZE, "pool %s: %d workers; it needs 1 to %d", o->name, o->workers,
                         MAX_POOL_WORKERS);
    if (o->max_queue_size < PIT_NONE || o->startup_batch_size < 0)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: max_queue_size and startup_batch_size are not negative", o->name);
    if (o->descendants < 0 || o->descendants > PIT_DESCENDANTS_KEEP)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: descendants: %d is no PIT_DESCENDANTS_", o->name, o->descendants);
    if (o->channel < 0 || o->channel > PIT_CHANNEL_SOCKET)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: channel: %d is no PIT_CHANNEL_", o->name, o->channel);
    if (o->max_restarts < 0 || o->max_restarts > RESTART_MOST)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: max_restarts is 1 to %d", o->name, RESTART_MOST);
    if (o->restart_backoff < PIT_OFF || o->restart_backoff > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: restart_backoff is PIT_ON, PIT_OFF or 0", o->name);
    if (o->spare_workers < 0 || o->spare_workers > MAX_POOL_WORKERS)
        return error_new(PIT_E_INVALID_POOL_SIZE, "pool %s: %d spare_workers; it may have 0 to %d", o->name, o->spare_workers,
                         MAX_POOL_WORKERS);
    if (o->start_mode < 0 || o->start_mode > PIT_START_ZYGOTE)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: start_mode is PIT_START_ZYGOTE, PIT_START_EXEC or 0", o->name);
    if (o->cancel_max_rung < 0 || o->cancel_max_rung > PIT_RUNG_KILL)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: cancel_max_rung: %d is none of PIT_RUNG_* (%d to %d)", o->name,
                         o->cancel_max_rung, PIT_RUNG_DROP, PIT_RUNG_KILL);
    size_t ring = o->ring_bytes != 0 ? o->ring_bytes : RING_BYTES;
    if (ring < RING_MIN || ring > RING_MAX || (ring & (ring - 1)) != 0)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: ring_bytes is a power of two from %d to %d", o->name, RING_MIN,
                         RING_MAX);
    size_t frame = o->max_frame_bytes != 0 ? o->max_frame_bytes : FRAME_MAX_DEFAULT;
    if (frame < 4096 || frame > INT32_MAX)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: max_frame_bytes is 4096 to %d", o->name, INT32_MAX);
    s->workers = o->workers != 0 ? o->workers : 2 * usable_cpus(os);
    s->max_queue_size = o->max_queue_size == PIT_NONE ? 0 : o->max_queue_size != 0 ? o->max_queue_size : 1000;
    s->startup_batch_size = o->startup_batch_size != 0 ? o->startup_batch_size : 10;
    s->keeps_descendants = o->descendants == PIT_DESCENDANTS_KEEP;
    s->channel = o->channel;
    s->restart.on = o->restart_backoff != PIT_OFF;
    s->restart.max_restarts = o->max_restarts != 0 ? (unsigned)o->max_restarts : 10;
    s->cancel_max_rung = o->cancel_max_rung != 0 ? o->cancel_max_rung : PIT_RUNG_KILL;
    s->ring_bytes = (uint32_t)ring;
    s->max_frame = frame;
    s->start_mode = o->start_mode;
    s->spare_workers = o->spare_workers;
    return NULL;
}

static pit_error *read_recycling(const pit_pool_options *o, struct pool_settings *s)
{
    struct recycle_rules *r = &s->recycle;
    if (o->worker_ttl != NULL && !recycle_parse_ttl(o->worker_ttl, &r->ttl_ns))
        return error_suggest(
            error_new(PIT_E_INVALID_WORKER_TTL, "pool %s: worker_ttl is '%.64s'", o->name, o->worker_ttl),
            "seconds, or a number with one of the units s, m, h, d: \"90\", \"15m\", \"1d\"; \"infinity\" for no limit");
    if (o->worker_max_requests < 0)
        return error_new(PIT_E_INVALID_WORKER_MAX_REQUESTS, "pool %s: worker_max_requests is %lld", o->name,
                         (long long)o->worker_max_requests);
    bool jitter_ok = o->recycle_jitter == PIT_NONE || (o->recycle_jitter >= 0 && o->recycle_jitter <= 1);
    if (!jitter_ok || o->recycle_max_parallel < 0)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: recycle_jitter is 0 to 1, recycle_max_parallel at least 1",
                         o->name);
    if (o->memory_threshold_mb < 0 || o->memory_threshold_mb > INT64_MAX >> 20)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: memory_threshold_mb is %lld", o->name,
                         (long long)o->memory_threshold_mb);
    if (o->leak_forecast < PIT_OFF || o->leak_forecast > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: leak_forecast is PIT_ON, PIT_OFF or 0", o->name);
    r->memory_bytes = (uint64_t)o->memory_threshold_mb << 20;
    r->forecast = o->leak_forecast != PIT_OFF;
    r->max_requests = (uint64_t)o->worker_max_requests;
    r->jitter = o->recycle_jitter == PIT_NONE ? 0 : o->recycle_jitter > 0 ? o->recycle_jitter : 0.1;
    s->recycle_max_parallel = o->recycle_max_parallel != 0 ? o->recycle_max_parallel : 1;
    return NULL;
}

static pit_error *read_streams(const pit_pool_options *o, struct pool_settings *s)
{
    enum { CHUNKS = 100, CHUNKS_MOST = 1 << 20 };
    const int64_t bytes = INT64_C(8) << 20, bytes_most = INT64_C(1) << 40;
    if (o->stream_window < 0 || o->stream_window > CHUNKS_MOST)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: stream_window is %d; it is 1 to %d chunks", o->name,
                         o->stream_window, CHUNKS_MOST);
    if (o->stream_window_bytes < 0 || o->stream_window_bytes > bytes_most)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: stream_window_bytes is %lld; it is 1 to %lld", o->name,
                         (long long)o->stream_window_bytes, (long long)bytes_most);
    s->stream.window = o->stream_window != 0 ? (uint64_t)o->stream_window : CHUNKS;
    s->stream.window_bytes = (uint64_t)(o->stream_window_bytes != 0 ? o->stream_window_bytes : bytes);
    return NULL;
}

static pit_error *read_texts(const struct os_ops *os, const pit_pool_options *o, struct pool_settings *s)
{
    int ok[5];
    s->name = mem_strdup(o->name);
    s->python = mem_strdup(o->python);
    s->cwd = mem_strdup(o->cwd);
    s->command = mem_strv_dup(o->command, &ok[0]);
    s->adapter_args = mem_strv_dup(o->adapter_args, &ok[1]);
    s->env = mem_strv_dup(o->env, &ok[2]);
    s->python_path = mem_strv_dup(o->python_path, &ok[3]);
    s->preload = mem_strv_dup(o->preload, &ok[4]);
    if (s->name == NULL || (o->python != NULL && s->python == NULL) || (o->cwd != NULL && s->cwd == NULL) || !ok[0] || !ok[1] ||
        !ok[2] || !ok[3] || !ok[4])
        return no_memory();
    return o->adapter != NULL ? read_adapter(os, o->adapter, &s->adapter) : NULL;
}

/* Kept by reference: what has been given is immutable from now on. */
static pit_error *read_command_timeouts(const pit_pool_options *o, struct pool_settings *s)
{
    const pit_value *map = o->command_timeouts, *key, *item;
    size_t i = 0;
    if (map != NULL && pit_value_kind(map) != PIT_KIND_MAP)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: command_timeouts is a map of commands to milliseconds", o->name);
    while (pit_value_next(map, &i, &key, &item)) {
        int64_t ms = 0;
        const char *command = pit_value_str(key);
        if (command == NULL)
            return error_new(PIT_E_INVALID_PARAMETER, "pool %s: a key of command_timeouts is no text", o->name);
        if (!pit_value_get_int(item, &ms) || (ms <= 0 && ms != PIT_INFINITE))
            return error_new(PIT_E_INVALID_TIMEOUT,
                             "pool %s: command_timeouts of '%.64s' is no positive number of milliseconds, nor PIT_INFINITE",
                             o->name, command);
    }
    s->command_timeouts = map != NULL ? pit_value_ref(map) : NULL;
    return NULL;
}

pit_error *pool_settings_read(const struct os_ops *os, const pit_pool_options *given, struct pool_settings *ret)
{
    pit_pool_options o;
    struct pool_settings s = {0};
    int rc = options_copy(&o, sizeof o, given);
    if (rc != 0)
        return options_refused(rc, "a pool", "PIT_POOL_OPTIONS_INIT");
    if (o.name == NULL)
        return error_new(PIT_E_MISSING_KEY, "a pool needs a name");
    if (!name_is_good(o.name))
        return error_new(PIT_E_INVALID_POOL_NAME, "%s", pit_strerror(PIT_E_INVALID_POOL_NAME));
    if (o.c_adapter == NULL && (o.adapter == NULL) == (o.command == NULL || o.command[0] == NULL))
        return error_new(o.adapter == NULL ? PIT_E_MISSING_KEY : PIT_E_CONFIG_CONFLICT,
                         "pool %s needs an adapter or a command, not both", o.name);
    if (o.adapter != NULL && o.adapter[0] == '\0')
        return error_new(PIT_E_ADAPTER_INVALID, "pool %s: the adapter's name is empty", o.name);
    pit_error *e = adapter_settings_read(&o, &s);
    if (e == NULL)
        e = check_env(o.env, o.name);
    if (e == NULL)
        e = read_numbers(os, &o, &s);
    if (e == NULL)
        e = profile_settings_read(&o, &s);
    if (e == NULL)
        e = read_durations(&o, &s);
    if (e == NULL)
        e = heartbeat_settings_read(o.heartbeat, o.name, &s);
    if (e == NULL)
        e = read_recycling(&o, &s);
    if (e == NULL)
        e = limits_read(o.limits, o.name, &s.limits);
    if (e == NULL)
        e = profile_check_limits(&s, &s.limits, o.name);
    s.limited = limits_any(&s.limits);
    if (e == NULL)
        e = health_settings_read(&o, &s);
    if (e == NULL)
        e = dossier_settings_read(os, o.dossier, o.name, &s.dossier);
    if (e == NULL)
        e = fault_settings_read(&o, &s);
    if (e == NULL)
        e = read_streams(&o, &s);
    if (e == NULL)
        e = read_command_timeouts(&o, &s);
    if (e == NULL)
        e = read_texts(os, &o, &s);
    adapter_settings_force(&s);
    if (e != NULL)
        pool_settings_free(&s);
    else
        *ret = s;
    return e;
}
