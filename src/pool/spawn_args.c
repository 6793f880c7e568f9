/* See spawn_args.h. Precedence of the environment: built-in < the host's < option `env` of the host < `env` of the pool < what must be. */
#include "pool/spawn_args.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/env.h"
#include "base/units.h"

char **spawn_argv(const struct host *h, const struct pool_settings *s, const char *executable)
{
    int ok;
    if (s->command != NULL)
        return mem_strv_dup((const char *const *)s->command, &ok);
    size_t extra = 0, n = 0;
    while (s->adapter_args != NULL && s->adapter_args[extra] != NULL)
        extra++;
    const char **argv = mem_array(extra + 10, sizeof *argv);
    if (argv == NULL)
        return NULL;
    argv[n++] = executable;
    argv[n++] = "-m";
    argv[n++] = "snakepit_bridge.worker";
    argv[n++] = "--adapter";
    argv[n++] = s->adapter;
    for (size_t i = 0; i < extra; i++)
        argv[n++] = s->adapter_args[i];
    argv[n++] = "--snakepit-run-id";
    argv[n++] = h->run_id;
    if (h->set.instance_name != NULL) {
        argv[n++] = "--snakepit-instance-name";
        argv[n++] = h->set.instance_name;
    }
    char **copy = mem_strv_dup(argv, &ok);
    mem_free(argv);
    return copy;
}

static const char *const defaults[] = {"PYTHONUNBUFFERED=1", "PYTHONNOUSERSITE=1", "GRPC_POLL_STRATEGY=poll",
                                       "GRPC_VERBOSITY=ERROR"};

/* One thread of each numeric library for each call that a worker runs at a time: there are as many workers as CPUs. */
static const char *const thread_limits[] = {"OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                                            "VECLIB_MAXIMUM_THREADS"};

static void put_defaults(struct env *e, const struct pool_settings *s)
{
    enum { ITEM = 64 };
    char item[ITEM];
    for (size_t n = 0; n < sizeof defaults / sizeof defaults[0]; n++)
        env_default(e, defaults[n]);
    for (size_t n = 0; n < sizeof thread_limits / sizeof thread_limits[0]; n++) {
        snprintf(item, sizeof item, "%s=%u", thread_limits[n], (unsigned)s->lanes);
        env_default(e, item);
    }
}

static void put_python_path(struct env *e, const struct host *h, const struct pool_settings *s)
{
    struct buf b = {0};
    const char *inherited = env_get(e, "PYTHONPATH");
    buf_puts(&b, "PYTHONPATH=");
    buf_puts(&b, h->set.package_path != NULL ? h->set.package_path : "");
    for (size_t i = 0; s->python_path != NULL && s->python_path[i] != NULL; i++)
        buf_printf(&b, "%s%s", b.len > strlen("PYTHONPATH=") ? ":" : "", s->python_path[i]);
    if (inherited != NULL && *inherited != '\0')
        buf_printf(&b, "%s%s", b.len > strlen("PYTHONPATH=") ? ":" : "", inherited);
    char *item = buf_take_str(&b);
    buf_finish(&b);
    if (item != NULL)
        env_put(e, item);
    else
        e->failed = true;
    mem_free(item);
}

/* For people and for workers in other languages: ours are told by WELCOME. */
static void put_heartbeat(struct env *e, const struct pool_settings *s)
{
    const struct heartbeat_rules *r = &s->heartbeat.policy;
    env_putf(e,
             "SNAKEPIT_HEARTBEAT_CONFIG={\"enabled\":%s,\"ping_interval_ms\":%llu,\"timeout_ms\":%llu,"
             "\"max_missed_heartbeats\":%u,\"initial_delay_ms\":%llu,\"dependent\":%s,\"kill_busy\":%s}",
             s->heartbeat.enabled ? "true" : "false", (unsigned long long)(r->interval_ns / MS),
             (unsigned long long)(r->timeout_ns / MS), r->max_missed, (unsigned long long)(s->heartbeat.delay_ns / MS),
             r->dependent ? "true" : "false", s->heartbeat.kill_busy ? "true" : "false");
}

char **spawn_env(const struct host *h, const struct pool_settings *s, const struct interpreter *i)
{
    static const char *const levels[] = {"error", "debug", "info", "warning", "error", "none"};
    struct env e = {0};
    env_put_all(&e, (const char *const *)h->set.environ);
    env_put_all(&e, (const char *const *)s->env);
    put_defaults(&e, s);
    if (i != NULL) {
        put_python_path(&e, h, s);
        env_putf(&e, "SNAKEPIT_PYTHON=%s", i->executable);
        env_putf(&e, "SNAKEPIT_PYTHON_VERSION=%s", i->version);
        env_putf(&e, "SNAKEPIT_PYTHON_PLATFORM=%s", i->platform);
        if (i->hash[0] != '\0')
            env_putf(&e, "SNAKEPIT_PYTHON_RUNTIME_HASH=%s", i->hash);
    }
    put_heartbeat(&e, s);
    env_put(&e, "SNAKEPIT_FDS=3,4");
    env_put(&e, "SNAKEPIT_PROCESS_GROUP=1");
    env_put(&e, s->keeps_descendants ? "SNAKEPIT_DESCENDANTS=keep" : "SNAKEPIT_DESCENDANTS=kill");
    env_putf(&e, "SNAKEPIT_RUN_ID=%s", h->run_id);
    env_putf(&e, "SNAKEPIT_LOG_LEVEL=%s", levels[h->log.level >= 0 && h->log.level <= PIT_LOG_NONE ? h->log.level : 0]);
    return env_take(&e);
}
