/* snakepit/runtime.h: validate, enter, translate. */
#include <snakepit/runtime.h>
#include <string.h>

#include "api/api.h"
#ifdef PIT_FAULTS
#include <stdlib.h>

#include "api/faults.h"
#endif
#include "base/alloc.h"
#include "pool/tool_run.h"

const char *pit_version(void)
{
    return SNAKEPIT_VERSION;
}

uint64_t pit_now_ns(void)
{
    return os_linux.now_ns();
}

int pit_set_allocator(const pit_allocator *a)
{
    return mem_set_allocator(a);
}

void pit_free(void *block)
{
    mem_free(block);
}

/* ---- entering ---- */

int api_enter(pit *p)
{
    if (p == NULL)
        return PIT_E_INVALID_REQUEST;
    if (*p->canary == 0)
        return PIT_E_FORKED;
    uint32_t before = __atomic_fetch_add(&p->users, 1, __ATOMIC_SEQ_CST);
    if ((before & PIT_CLOSING) == 0)
        return 0;
    api_leave(p);
    return PIT_E_SHUTTING_DOWN;
}

void api_hold(pit *p)
{
    __atomic_add_fetch(&p->users, 1, __ATOMIC_SEQ_CST);
}

/* The subtraction is the last touch: when the count is zero, pit_close frees p. */
void api_leave(pit *p)
{
    const struct os_ops *os = p->os;
    if (__atomic_sub_fetch(&p->users, 1, __ATOMIC_SEQ_CST) == PIT_CLOSING)
        os->futex_wake(&p->users, 1);
}

int api_enter_blocking(pit *p)
{
    int rc = api_enter(p);
    if (rc != 0 || host_may_block(p->host))
        return rc;
    api_leave(p);
    return PIT_E_WRONG_THREAD;
}

pit_error *api_refusal(int rc)
{
    switch (rc) {
    case PIT_E_WRONG_THREAD:
        return error_new(rc, "a function that blocks was called from a callback");
    case PIT_E_INVALID_REQUEST:
        return error_new(rc, "the handle is NULL");
    default:
        return error_new(rc, "%s", pit_strerror(rc));
    }
}

int api_refused(pit_error **reterr, int rc)
{
    return error_give(reterr, api_refusal(rc));
}

int options_copy_other(void *to, size_t known, const void *from)
{
    size_t size;
    memcpy(&size, from, sizeof size);
    if (size < sizeof size)
        return PIT_E_INVALID_PARAMETER;
    for (size_t i = known; i < size; i++)
        if (((const unsigned char *)from)[i] != 0)
            return PIT_E_UNSUPPORTED_OPTION;
    memset(to, 0, known);
    memcpy(to, from, size < known ? size : known);
    return 0;
}

pit_error *options_refused(int rc, const char *of, const char *init)
{
    if (rc == PIT_E_INVALID_PARAMETER)
        return error_new(rc, "the options of %s have no size: begin with %s", of, init);
    return error_new(rc, "the options of %s: %s", of, pit_strerror(rc));
}

/* ---- opening ---- */

static pit_error *add_pool(pit *p, const pit_pool_options *o)
{
    struct pool_settings s = {0};
    struct pool *pool;
    pit_error *e = pool_settings_read(p->os, o, &s);
    return e != NULL ? e : host_add_pool(p->host, &s, &pool);
}

static pit_error *add_pools(pit *p, const pit_options *o)
{
    pit_error *e = NULL;
    if (o->adapter != NULL && o->n_pools != 0)
        return error_new(PIT_E_CONFIG_CONFLICT, "`adapter` is the short form of one pool: it cannot stand beside `pools`");
    if (o->adapter != NULL) {
        pit_pool_options q = PIT_POOL_OPTIONS_INIT;
        q.name = "default";
        q.adapter = o->adapter;
        q.adapter_args = o->adapter_args;
        q.workers = o->workers;
        q.cwd = o->cwd;
        return add_pool(p, &q);
    }
    for (size_t i = 0; i < o->n_pools && e == NULL; i++) {
        pit_pool_options q;
        int rc = o->pools[i] != NULL ? options_copy(&q, sizeof q, o->pools[i]) : PIT_E_INVALID_PARAMETER;
        if (rc != 0)
            return error_new(rc, "pool %zu of the options: %s", i, pit_strerror(rc));
        q.size = sizeof q;
        if (q.cwd == NULL)
            q.cwd = o->cwd;
        e = add_pool(p, &q);
    }
    return e;
}

static pit_error *open_host(pit *p, const pit_options *o)
{
    struct host_settings set = {0};
    struct log log = {.fn = o->log, .user = o->log_user, .level = o->log_level != 0 ? o->log_level : PIT_LOG_ERROR};
    pit_error *e = host_settings_read(p->os, o, &set);
    if (e != NULL)
        return e;
    p->canary = p->os->fork_canary();
    if (p->canary == NULL) {
        host_settings_free(&set);
        return error_new(PIT_E_SYSTEM_ERROR, "no memory could be mapped");
    }
    return host_create(p->os, &set, &log, &p->host);
}

static void free_pit(pit *p)
{
    if (p->canary != NULL)
        p->os->fork_canary_free(p->canary);
    mem_free(p);
}

int api_open_os(const struct os_ops *os, const pit_options *options, pit **ret, pit_error **reterr)
{
    pit_options o = PIT_OPTIONS_INIT;
    int rc = options != NULL ? options_copy(&o, sizeof o, options) : 0;
    if (rc != 0)
        return error_give(reterr, options_refused(rc, "pit_open", "PIT_OPTIONS_INIT"));
    pit *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return error_set(reterr, PIT_E_ALLOCATION_FAILED, "out of memory");
    p->os = os;
    pit_error *e = open_host(p, &o);
    if (e != NULL) {
        free_pit(p);
        return error_give(reterr, e);
    }
    e = add_pools(p, &o);
    if (e == NULL && o.require_ready != PIT_OFF)
        e = host_await(p->host, NULL, false, UINT64_MAX, PIT_E_NO_WORKERS_STARTED);
    if (e != NULL) {
        host_shutdown(p->host);
        host_destroy(p->host);
        free_pit(p);
        return error_give(reterr, e);
    }
    *ret = p;
    return error_give(reterr, NULL);
}

int pit_open(const pit_options *o, pit **ret, pit_error **reterr)
{
#ifdef PIT_FAULTS
    const char *plan = getenv("SNAKEPIT_FAULTS");
    if (plan != NULL)
        return faults_open(plan, o, ret, reterr);
#endif
    return api_open_os(&os_linux, o, ret, reterr);
}

/* ---- closing ---- */

int pit_shutdown(pit *p)
{
    if (p == NULL)
        return 0;
    int rc = api_enter_blocking(p);
    if (rc == 0 && (tool_innermost(p->host) != NULL ||
                    inproc_serves(p->host->loop))) { /* it would wait for the call that this tool serves */
        api_leave(p);
        rc = PIT_E_WRONG_THREAD;
    }
    if (rc != 0)
        return rc;
    host_shutdown(p->host);
    api_leave(p);
    return 0;
}

int pit_cleanup(pit *p, pit_error **reterr)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    rc = host_cleanup(p->host, host_deadline(p->host, p->host->set.cleanup_timeout_ms));
    api_leave(p);
    return error_give(reterr, rc != 0 ? error_new(rc, "%s", pit_strerror(rc)) : NULL);
}

int pit_close(pit *p)
{
    if (p == NULL)
        return 0;
    if (*p->canary == 0) /* a forked child: another thread may have been in the middle of anything, so all of it is leaked */
        return 0;
    int rc = pit_shutdown(p);
    if (rc != 0)
        return rc;
    uint32_t users = __atomic_or_fetch(&p->users, PIT_CLOSING, __ATOMIC_SEQ_CST);
    for (; users != PIT_CLOSING; users = __atomic_load_n(&p->users, __ATOMIC_SEQ_CST))
        p->os->futex_wait(&p->users, users, UINT64_MAX);
    rc = host_destroy(p->host);
    free_pit(p);
    return rc;
}

/* ---- driving ---- */

int pit_fd(pit *p)
{
    if (api_enter(p) != 0)
        return -1;
    int fd = p->host->set.drive == PIT_DRIVE_HOST ? loop_fd(p->host->loop) : -1;
    api_leave(p);
    return fd;
}

int pit_timeout(pit *p)
{
    if (api_enter(p) != 0)
        return -1;
    int ms = -1;
    uint64_t due = p->host->set.drive == PIT_DRIVE_HOST ? loop_next_due(p->host->loop) : UINT64_MAX, now = p->os->now_ns();
    if (due != UINT64_MAX)
        ms = due <= now ? 0 : due - now > UINT64_C(3600000000000) ? 3600000 : (int)((due - now + 999999) / 1000000);
    api_leave(p);
    return ms;
}

int pit_dispatch(pit *p)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return rc;
    if (p->host->set.drive == PIT_DRIVE_HOST)
        host_dispatch(p->host);
    else
        rc = PIT_E_INVALID_REQUEST;
    api_leave(p);
    return rc;
}
