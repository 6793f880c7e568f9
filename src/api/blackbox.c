/* The flight recorders of all workers of this user, from outside: nobody of them, and none of their hosts, has to help, or to live well. */
#include <errno.h>
#include <snakepit/runtime.h>
#include <stddef.h>
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "crash/crash.h"
#include "crash/recorder.h"
#include "registry/live.h"
#include "ring/segment.h"
#include "wire/value.h"

enum { LAST = 100, LAST_MOST = 100000 };

struct box {
    const struct os_ops *os;
    const pit_blackbox_options *o;
    pit_value *hosts;
    struct recorder_event *events; /* 3 * last */
    size_t last;
    uint64_t wall_ns; /* what CLOCK_REALTIME is ahead */
};

/* The recorder in a segment that is open. */
struct opened {
    const struct os_ops *os;
    int fd;
    uint64_t at, n;
    struct recorder_header header;
};

static bool read_opened(void *user, size_t at, void *to, size_t n)
{
    const struct opened *s = user;
    return at <= s->n && n <= s->n - at && s->os->read_at(s->fd, to, n, s->at + at) == (ssize_t)n;
}

/* NULL, or why there is nothing to read. */
static const char *open_recorder(const struct os_ops *os, pid_t pid, struct opened *ret)
{
    struct segment_header h;
    uint64_t bytes = 0;
    *ret = (struct opened){.os = os, .fd = os->segment_of(pid, "snakepit", &bytes)};
    if (ret->fd < 0)
        return ret->fd == -ENOENT   ? "it has no shared memory"
               : ret->fd == -EACCES ? "its memory may not be read"
               : ret->fd == -EPERM  ? "its memory is not sealed"
                                    : "it has ended, or cannot be looked at";
    if (os->read_at(ret->fd, &h, sizeof h, 0) != (ssize_t)sizeof h || h.magic != SEGMENT_MAGIC || h.recorder_offset == 0 ||
        h.recorder_offset > bytes)
        return "its recorder is off";
    ret->at = h.recorder_offset;
    ret->n = bytes - ret->at;
    if (!read_opened(ret, 0, &ret->header, sizeof ret->header) || !recorder_is_sound(&ret->header, ret->n))
        return "its recorder has no layout that this program knows";
    return NULL;
}

static void put_past(const struct box *b, const struct opened *s, pit_value *worker)
{
    struct recorder_event events[RECORDER_PAST];
    struct recorder_past past;
    if (!read_opened((void *)(uintptr_t)s, RECORDER_PAST_AT, &past, sizeof past) || past.n == 0)
        return;
    size_t n = recorder_past_read(&past, events);
    char time[64];
    pit_value *before = pit_map();
    pit_map_set_take(before, "generation", pit_uint(past.generation));
    pit_map_set_take(before, "pid", pit_uint(past.pid));
    pit_map_set_take(before, "ended", pit_str(recorder_time(past.ended_ns + b->wall_ns, time)));
    pit_map_set_take(before, "exit_class", crash_words(past.how, strnlen(past.how, sizeof past.how)));
    pit_map_set_take(before, "events", recorder_values(events, n, b->wall_ns, past.prefix));
    pit_map_set_take(worker, "before", before);
}

static void put_events(const struct box *b, struct opened *s, pit_value *worker)
{
    const struct recorder_header *h = &s->header;
    bool ticks = h->clock == RECORDER_TICKS;
    uint64_t now = b->os->now_ns();
    const struct recorder_source source = {.read = read_opened,
                                           .user = s,
                                           .lanes = h->lanes,
                                           .lane_records = h->lane_records,
                                           .clock = h->clock,
                                           .base_at = h->base_at,
                                           .base_ns = h->base_ns,
                                           .now_at = ticks ? cpu_ticks() : now,
                                           .now_ns = now};
    size_t n = recorder_read(&source, b->events, b->events + 2 * b->last, b->last);
    pit_map_set_take(worker, "events", recorder_values(b->events, n, b->wall_ns, h->prefix));
    put_past(b, s, worker);
}

static const char *state_of(const struct os_ops *os, pid_t pid, uint64_t start)
{
    struct os_proc p;
    if (os->proc_info(pid, &p) != 0 || p.start != start)
        return "gone";
    return p.state == 'T' || p.state == 't' ? "stopped" : "alive";
}

static pit_value *read_worker(const struct box *b, const struct live_worker *w)
{
    struct opened s;
    pit_value *worker = pit_map();
    pit_map_set_take(worker, "worker_id", crash_words(w->id, strlen(w->id)));
    pit_map_set_take(worker, "pid", pit_int(w->pid));
    const char *wrong = open_recorder(b->os, w->pid, &s);
    const char *state = state_of(b->os, w->pid, w->start); /* after it: what was opened was that process's */
    if (wrong == NULL && strcmp(state, "gone") == 0)
        wrong = "it has ended meanwhile";
    pit_map_set_take(worker, "state", pit_str(w->ending && strcmp(state, "alive") == 0 ? "ending" : state));
    if (wrong == NULL)
        put_events(b, &s, worker);
    else
        pit_map_set_take(worker, "missing", pit_str(wrong));
    if (s.fd >= 0)
        b->os->close(s.fd);
    return worker;
}

/* A template has no lanes and so no recorder. */
static bool is_worker(const char *id)
{
    const char *slot = strrchr(id, '/');
    return slot != NULL && strchr(slot, '.') != NULL;
}

static bool read_host(void *user, const struct live_host *h)
{
    struct box *b = user;
    const char *instance = h->host->instance;
    if ((b->o->pid != 0 && b->o->pid != h->host->pid) ||
        (b->o->instance_name != NULL && strcmp(b->o->instance_name, instance) != 0))
        return true;
    pit_value *host = pit_map(), *workers = pit_list();
    pit_map_set_take(host, "pid", pit_int(h->host->pid));
    pit_map_set_take(host, "run_id", crash_words(h->host->run, strlen(h->host->run)));
    pit_map_set_take(host, "instance", crash_words(instance, strlen(instance)));
    pit_map_set_take(host, "state", pit_str(state_of(b->os, h->host->pid, h->host->start)));
    for (size_t i = 0; i < h->n; i++)
        if (is_worker(h->workers[i].id))
            pit_list_append_take(workers, read_worker(b, &h->workers[i]));
    pit_map_set_take(host, "workers", workers);
    pit_list_append_take(b->hosts, host);
    return true;
}

static pit_error *read_all(struct box *b, pit_value **ret)
{
    const char *from;
    char *folder = NULL;
    if (!data_dir_find(b->os, b->o->data_dir, &folder, &from))
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while flight recorders were read");
    b->wall_ns = b->os->wall_ns() - b->os->now_ns();
    int rc = folder != NULL ? registry_live(b->os, folder, read_host, b) : 0;
    pit_error *e = NULL;
    if (rc != 0)
        e = error_detail_take(error_new(PIT_E_SYSTEM_ERROR, "the registry in %s cannot be read: %s", folder, strerror(-rc)),
                              "errno", pit_int(-rc));
    mem_free(folder);
    if (e != NULL)
        return e;
    char time[64];
    pit_value *v = pit_map();
    pit_map_set_take(v, "time", pit_str(recorder_time(b->wall_ns + b->os->now_ns(), time)));
    pit_map_set_take(v, "monotonic_ns", pit_uint(b->os->now_ns()));
    pit_map_set_take(v, "hosts", pit_value_ref(b->hosts));
    if (pit_value_error(v) != 0) {
        pit_value_free(v);
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while flight recorders were read");
    }
    *ret = v;
    return NULL;
}

int pit_blackbox_read(const pit_blackbox_options *given, pit_value **ret, pit_error **reterr)
{
    pit_blackbox_options o = PIT_BLACKBOX_OPTIONS_INIT;
    struct box b = {.os = &os_linux, .o = &o};
    int rc = given != NULL ? options_copy(&o, sizeof o, given) : 0;
    pit_error *e = rc != 0 ? options_refused(rc, "a look at flight recorders", "PIT_BLACKBOX_OPTIONS_INIT") : NULL;
    if (e == NULL && (ret == NULL || o.pid < 0 || o.last < 0 || o.last > LAST_MOST))
        e = error_new(PIT_E_INVALID_PARAMETER, ret == NULL ? "there is no place for the result"
                                               : o.pid < 0 ? "pid is negative"
                                                           : "last is a number of events, at most 100000");
    if (e == NULL) {
        b.last = o.last != 0 ? (size_t)o.last : LAST;
        b.events = mem_array(3 * b.last, sizeof *b.events);
        b.hosts = pit_list();
        e = b.events != NULL ? read_all(&b, ret)
                             : error_new(PIT_E_ALLOCATION_FAILED, "out of memory while flight recorders were read");
        pit_value_free(b.hosts);
        mem_free(b.events);
    }
    rc = e != NULL ? pit_error_code(e) : 0;
    if (reterr != NULL)
        *reterr = e;
    else
        pit_error_free(e);
    return rc;
}
