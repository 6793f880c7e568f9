/* See zygote.h. This file: what a template is started with, making and freeing, what helps when there is none. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/env.h"
#include "guard/guard_msg.h"
#include "worker/worker_internal.h"
#include "worker/zygote.h"

static const struct {
    const char *name, *remedy;
} reasons[] = {
#define ZYGOTE_REASON_ROW(constant, name, state, meaning, remedy) {#name, remedy},
    ZYGOTE_REASON_LIST(ZYGOTE_REASON_ROW)
#undef ZYGOTE_REASON_ROW
};

const char *zygote_reason_name(enum zygote_reason reason)
{
    return reasons[reason].name;
}

const char *zygote_remedy(const char *reason)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (strcmp(reasons[i].name, reason) == 0)
            return reasons[i].remedy;
    return NULL;
}

static bool same_list(char *const *a, char *const *b)
{
    size_t i = 0;
    if (a == NULL || b == NULL)
        return (a == NULL || a[0] == NULL) && (b == NULL || b[0] == NULL);
    while (a[i] != NULL && b[i] != NULL && strcmp(a[i], b[i]) == 0)
        i++;
    return a[i] == NULL && b[i] == NULL;
}

bool zygote_matches(const struct zygote *z, const struct zygote_key *k)
{
    bool same_cwd = z->cwd == NULL || k->cwd == NULL ? z->cwd == k->cwd : strcmp(z->cwd, k->cwd) == 0;
    return same_cwd && z->canary_timeout_ms == k->canary_timeout_ms && same_list(z->preload, k->preload) &&
           same_list(z->worker_argv, k->argv) && same_list(z->worker_env, k->env);
}

/* python -m snakepit_bridge.worker --template ... */
static char **template_argv(char *const *argv)
{
    enum { BEFORE = 3 };
    size_t n = 0;
    int ok = 0;
    while (argv[n] != NULL)
        n++;
    const char **with = n >= BEFORE ? mem_array(n + 2, sizeof *with) : NULL;
    if (with == NULL)
        return NULL;
    for (size_t i = 0, to = 0; i < n; i++) {
        if (i == BEFORE)
            with[to++] = "--template";
        with[to++] = argv[i];
    }
    char **copy = mem_strv_dup(with, &ok);
    mem_free(with);
    return copy;
}

/* One thread for each library that would start some: what they are allowed in a worker, the worker is told after the fork. */
static const char *const limits[] = {"OPENBLAS_NUM_THREADS=1",   "OMP_NUM_THREADS=1",
                                     "MKL_NUM_THREADS=1",        "NUMEXPR_NUM_THREADS=1",
                                     "VECLIB_MAXIMUM_THREADS=1", "JE_ARROW_MALLOC_CONF=background_thread:false",
                                     "ORT_DISABLE_TELEMETRY=1"};

static char **template_env(char *const *env, const char *id)
{
    char room[sizeof GUARD_ENV_ROOM + GUARD_ROOM_BYTES];
    struct env e = {0};
    memset(room, '.', sizeof room);
    memcpy(room, GUARD_ENV_ROOM "=", sizeof GUARD_ENV_ROOM);
    room[sizeof room - 1] = '\0';
    env_put(&e, room); /* first */
    for (size_t i = 0; env[i] != NULL; i++)
        if (strncmp(env[i], GUARD_ENV_ROOM "=", sizeof GUARD_ENV_ROOM) != 0)
            env_put(&e, env[i]);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        env_put(&e, limits[i]);
    env_putf(&e, "%s=%s", GUARD_ENV_WORKER, id);
    return env_take(&e);
}

static bool copy_key(struct zygote *z, const struct zygote_key *k)
{
    int ok[3];
    z->worker_argv = mem_strv_dup((const char *const *)k->argv, &ok[0]);
    z->worker_env = mem_strv_dup((const char *const *)k->env, &ok[1]);
    z->preload = mem_strv_dup((const char *const *)k->preload, &ok[2]);
    z->cwd = mem_strdup(k->cwd);
    z->argv = template_argv(k->argv);
    z->child_env = template_env(k->env, z->id);
    z->canary_timeout_ms = k->canary_timeout_ms;
    z->ready_timeout_ms = k->ready_timeout_ms;
    z->backs_off = k->backs_off;
    return ok[0] && ok[1] && ok[2] && (k->cwd == NULL || z->cwd != NULL) && z->argv != NULL && z->child_env != NULL;
}

struct zygote *zygote_create(const struct worker_env *env, const struct zygote_key *key, const char *pool, unsigned number)
{
    struct zygote *z = mem_zalloc(sizeof *z);
    if (z == NULL)
        return NULL;
    z->env = env;
    z->state = ZYGOTE_IDLE;
    z->control_fd = -1;
    zygote_init_hooks(z);
    snprintf(z->id, sizeof z->id, "template:%u", number);
    snprintf(z->pool, sizeof z->pool, "%s", pool);
    if (copy_key(z, key))
        return z;
    zygote_free(z);
    return NULL;
}

void zygote_free(struct zygote *z)
{
    zygote_close(z);
    capture_finish(&z->out);
    capture_finish(&z->err);
    mem_free_strv(z->argv);
    mem_free_strv(z->child_env);
    mem_free_strv(z->worker_argv);
    mem_free_strv(z->worker_env);
    mem_free_strv(z->preload);
    mem_free(z->cwd);
    mem_free(z);
}
