/* snakepit/runtime.h: what a worker of any host of this user is doing, asked by its own memory: its host does not have to help.
 *
 * The process is known by number and start time, looked at before and after: what is told is that process's. */
#include <errno.h>
#include <inttypes.h>
#include <snakepit/runtime.h>
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "crash/crash.h"
#include "registry/live.h"
#include "worker/look.h"

enum { NAMES_MOST = 64 };
#define LIMIT_NS UINT64_C(500000000)

struct search {
    const struct os_ops *os;
    const char *id;
    int host_pid; /* 0: any */
    bool any;     /* a host lives */
    unsigned found;
    struct live_worker worker;
    struct registry_host host;
    pit_value *names; /* of the workers that there are */
};

static bool is_worker(const char *id)
{
    const char *slot = strrchr(id, '/');
    return slot != NULL && strchr(slot, '.') != NULL;
}

static bool search_host(void *user, const struct live_host *h)
{
    struct search *s = user;
    if (s->host_pid != 0 && s->host_pid != h->host->pid)
        return true;
    s->any = true;
    for (size_t i = 0; i < h->n; i++) {
        const struct live_worker *w = &h->workers[i];
        if (is_worker(w->id) && pit_value_len(s->names) < NAMES_MOST)
            pit_list_append_take(s->names, crash_words(w->id, strlen(w->id)));
        if (strcmp(w->id, s->id) != 0)
            continue;
        if (s->found++ == 0) {
            s->worker = *w;
            s->host = *h->host;
        }
    }
    return true;
}

/* ---- errors ---- */

static pit_error *not_found(const struct search *s)
{
    const char *names[NAMES_MOST];
    size_t n = pit_value_len(s->names);
    for (size_t i = 0; i < n; i++)
        names[i] = pit_value_str_or(pit_value_at(s->names, i), "");
    pit_error *e = error_new(PIT_E_WORKER_NOT_FOUND, "there is no worker %.96s", s->id);
    const char *near = error_nearest(s->id, names, n);
    error_detail_take(e, "workers", pit_value_ref(s->names));
    return near != NULL ? error_suggest(e, "did you mean %.96s?", near)
                        : error_suggest(e, "a worker that was replaced has got another generation");
}

static pit_error *refused(const struct search *s)
{
    if (!s->any)
        return error_new(PIT_E_NOT_FOUND, s->host_pid != 0
                                              ? "no host of this user with that process id lives that keeps a registry"
                                              : "no host of this user lives that keeps a registry");
    if (s->found == 0)
        return error_worker(not_found(s), s->id);
    return error_suggest(error_new(PIT_E_INVALID_PARAMETER, "%u hosts have a worker %.96s", s->found, s->id),
                         "name the host's process id, too");
}

static pit_error *out_of_memory(void)
{
    return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while a worker was looked at");
}

/* ---- looking ---- */

static bool lives(const struct os_ops *os, const struct live_worker *w)
{
    struct os_proc p;
    return os->proc_info(w->pid, &p) == 0 && p.start == w->start && p.state != 'Z' && p.state != 'X';
}

static pit_value *describe_host(const struct registry_host *h)
{
    pit_value *host = pit_map();
    pit_map_set_take(host, "pid", pit_int(h->pid));
    pit_map_set_take(host, "run_id", crash_words(h->run, strnlen(h->run, sizeof h->run)));
    pit_map_set_take(host, "instance", crash_words(h->instance, strnlen(h->instance, sizeof h->instance)));
    return host;
}

static pit_error *look_at_it(const struct search *s, pit_value **ret)
{
    const struct os_ops *os = s->os;
    struct look_target t = {.pid = s->worker.pid, .no_page = "its memory may not be reached"};
    void *segment = NULL;
    size_t n = 0;
    int rc = 0;
    bool joined = os->segment_join(s->worker.pid, "snakepit", &segment, &n) == 0;
    if (joined && !look_find_page(segment, n, &t))
        t.no_page = "the worker has no memory for answers";
    bool there = lives(os, &s->worker); /* what was joined is that process's */
    pit_value *map = there ? look_take(os, &t, LIMIT_NS, &rc) : NULL;
    there = there && rc != -ESRCH && lives(os, &s->worker);
    if (joined)
        os->segment_unmap(segment, n);
    if (map != NULL) {
        pit_map_set_take(map, "worker_id", crash_words(s->worker.id, strlen(s->worker.id)));
        pit_map_set_take(map, "pid", pit_int(s->worker.pid));
        pit_map_set_take(map, "host", describe_host(&s->host));
    }
    if (there && map != NULL && pit_value_error(map) == 0) {
        *ret = map;
        return NULL;
    }
    pit_value_free(map);
    return there ? out_of_memory()
                 : error_worker(error_new(PIT_E_STALE_WORKER, "worker %.96s ended while it was looked at", s->id), s->id);
}

static pit_error *look_outside(struct search *s, const char *data_dir, pit_value **ret)
{
    const char *from;
    char *folder = NULL;
    if (!data_dir_find(s->os, data_dir, &folder, &from))
        return out_of_memory();
    int rc = folder != NULL ? registry_live(s->os, folder, search_host, s) : 0;
    pit_error *e = NULL;
    if (rc != 0)
        e = error_detail_take(error_new(PIT_E_SYSTEM_ERROR, "the registry in %s cannot be read: %s", folder, strerror(-rc)),
                              "errno", pit_int(-rc));
    mem_free(folder);
    if (e == NULL)
        e = s->found == 1 ? look_at_it(s, ret) : refused(s);
    return e;
}

int pit_look(const pit_look_options *given, const char *worker_id, pit_value **ret, pit_error **reterr)
{
    pit_look_options o = PIT_LOOK_OPTIONS_INIT;
    int rc = given != NULL ? options_copy(&o, sizeof o, given) : 0;
    pit_error *e = rc != 0 ? options_refused(rc, "a look at a worker", "PIT_LOOK_OPTIONS_INIT") : NULL;
    if (e == NULL && (ret == NULL || worker_id == NULL || o.pid < 0))
        e = error_new(PIT_E_INVALID_PARAMETER, ret == NULL         ? "there is no place for the result"
                                               : worker_id == NULL ? "the worker's id is NULL"
                                                                   : "pid is negative");
    if (e == NULL) {
        struct search s = {.os = &os_linux, .id = worker_id, .host_pid = o.pid, .names = pit_list()};
        e = look_outside(&s, o.data_dir, ret);
        pit_value_free(s.names);
    }
    rc = e != NULL ? pit_error_code(e) : 0;
    if (reterr != NULL)
        *reterr = e;
    else
        pit_error_free(e);
    return rc;
}
