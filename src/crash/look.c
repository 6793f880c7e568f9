/* See look.h.
 *
 * Invariants
 *  1. Every count is cut to the room there is, every place checked, every text bounded by the array that it stands in.
 *  2. A thread is described by what the kernel says of it; the worker's word adds to that, and counts alone only where the kernel's is missing.
 *  3. The summary names the thread that serves a lane, else the main one. */
#include "crash/look.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "crash/crash.h"
#include "wire/error.h"

enum { STACK_MOST = 12 };

/* ---- names of system calls ---- */

/* X(name): those that a thread may stay in. */
#define LOOK_CALL_LIST(X)                                                                                                      \
    X(read)                                                                                                                    \
    X(write)                                                                                                                   \
    X(readv)                                                                                                                   \
    X(writev)                                                                                                                  \
    X(pread64)                                                                                                                 \
    X(pwrite64)                                                                                                                \
    X(preadv)                                                                                                                  \
    X(pwritev)                                                                                                                 \
    X(openat)                                                                                                                  \
    X(close)                                                                                                                   \
    X(fsync)                                                                                                                   \
    X(fdatasync)                                                                                                               \
    X(flock)                                                                                                                   \
    X(fcntl)                                                                                                                   \
    X(ioctl)                                                                                                                   \
    X(futex)                                                                                                                   \
    X(restart_syscall)                                                                                                         \
    X(nanosleep)                                                                                                               \
    X(clock_nanosleep)                                                                                                         \
    X(ppoll)                                                                                                                   \
    X(pselect6)                                                                                                                \
    X(epoll_pwait)                                                                                                             \
    X(wait4)                                                                                                                   \
    X(waitid)                                                                                                                  \
    X(accept)                                                                                                                  \
    X(accept4)                                                                                                                 \
    X(connect)                                                                                                                 \
    X(recvfrom)                                                                                                                \
    X(recvmsg)                                                                                                                 \
    X(sendto)                                                                                                                  \
    X(sendmsg)                                                                                                                 \
    X(sendfile)                                                                                                                \
    X(splice)                                                                                                                  \
    X(rt_sigtimedwait)                                                                                                         \
    X(rt_sigsuspend)                                                                                                           \
    X(sched_yield)                                                                                                             \
    X(mmap)                                                                                                                    \
    X(munmap)                                                                                                                  \
    X(mprotect)                                                                                                                \
    X(madvise)                                                                                                                 \
    X(semop)                                                                                                                   \
    X(semtimedop)                                                                                                              \
    X(msgrcv)                                                                                                                  \
    X(statfs)                                                                                                                  \
    X(getdents64)                                                                                                              \
    X(unlinkat)                                                                                                                \
    X(renameat2)                                                                                                               \
    X(io_getevents)

static const char *call_name(int number)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
#define LOOK_CALL_ROW(name) {SYS_##name, #name},
        LOOK_CALL_LIST(LOOK_CALL_ROW)
#undef LOOK_CALL_ROW
#ifdef SYS_poll
            {SYS_poll, "poll"},
#endif
#ifdef SYS_select
        {SYS_select, "select"},
#endif
#ifdef SYS_pause
        {SYS_pause, "pause"},
#endif
#ifdef SYS_open
        {SYS_open, "open"},
#endif
#ifdef SYS_epoll_wait
        {SYS_epoll_wait, "epoll_wait"},
#endif
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == number)
            return names[i].name;
    return NULL;
}

/* ---- threads ---- */

static const struct look_thread *find_told(const struct look_page *page, pid_t tid)
{
    uint32_t n = page == NULL ? 0 : page->threads_n < LOOK_THREADS ? page->threads_n : LOOK_THREADS;
    for (uint32_t i = 0; i < n; i++)
        if (page->threads[i].tid == (uint32_t)tid)
            return &page->threads[i];
    return NULL;
}

static const char *state_name(char state)
{
    switch (state) {
    case 'R':
        return "running";
    case 'S':
    case 'I':
        return "sleeping";
    case 'D':
        return "uninterruptible";
    case 'T':
    case 't':
        return "stopped";
    default:
        return "ended";
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Of a frame; NULL: not known. */
static pit_value *read_place(const struct look_page *page, uint16_t at)
{
    const struct crash_places places = {page->modules, page->modules_n, page->names, sizeof page->names};
    return at != 0 && at <= CRASH_FRAMES ? crash_read_frame(&places, &page->frames[at - 1]) : NULL;
}

static void put_call(pit_value *thread, int number)
{
    char text[24];
    const char *name = call_name(number);
    snprintf(text, sizeof text, "%d", number);
    pit_map_set_take(thread, "syscall", pit_str(name != NULL ? name : text));
}

/* Where it is: the library that has called the C library, else where the instruction lies. */
static void put_places(const struct look_page *page, const struct look_thread *t, pit_value *thread)
{
    pit_value *at = read_place(page, t->at), *caller = read_place(page, t->caller);
    const pit_value *in = caller != NULL ? caller : at;
    const char *module = pit_value_str(pit_value_get(in, "module"));
    const char *symbol = pit_value_str(pit_value_get(in, "symbol"));
    if (module != NULL)
        pit_map_set_take(thread, "in", pit_str(base_name(module)));
    if (symbol != NULL)
        pit_map_set_take(thread, "function", pit_str(symbol));
    if (at != NULL)
        pit_map_set_take(thread, "at", at);
    if (caller != NULL)
        pit_map_set_take(thread, "caller", caller);
}

static void put_told(const struct look_page *page, const struct look_thread *t, pit_value *thread)
{
    if (t->lane >= 0)
        pit_map_set_take(thread, "lane", pit_int(t->lane));
    if (pit_value_get(thread, "syscall") == NULL && t->where == LOOK_CALLS)
        put_call(thread, t->call);
    put_places(page, t, thread);
}

static pit_value *read_thread(const struct look_facts *f, const struct os_thread *seen)
{
    const struct look_thread *told = find_told(f->page, seen->tid);
    pit_value *thread = pit_map();
    pit_map_set_take(thread, "tid", pit_int(seen->tid));
    pit_map_set_take(thread, "name", crash_words(seen->name, strnlen(seen->name, sizeof seen->name)));
    pit_map_set_take(thread, "main", pit_bool(seen->tid == f->pid));
    pit_map_set_take(thread, "state", pit_str(state_name(seen->state)));
    if (seen->waits[0] != '\0')
        pit_map_set_take(thread, "kernel", crash_words(seen->waits, strnlen(seen->waits, sizeof seen->waits)));
    if (seen->doing == OS_CALLS)
        put_call(thread, seen->call);
    if (told != NULL)
        put_told(f->page, told, thread);
    return thread;
}

/* Ours: they only look. */
static bool is_ours(const struct os_thread *t)
{
    static const char name[] = "snakepit-";
    return strncmp(t->name, name, sizeof name - 1) == 0;
}

/* As the worker says. */
static pit_value *read_told(const struct look_facts *f, const struct look_thread *told)
{
    pit_value *thread = pit_map();
    pit_map_set_take(thread, "tid", pit_uint(told->tid));
    pit_map_set_take(thread, "main", pit_bool(told->tid == (uint32_t)f->pid));
    if (told->where != LOOK_UNSEEN)
        pit_map_set_take(thread, "state", pit_str(told->where == LOOK_RUNS ? "running" : "sleeping"));
    put_told(f->page, told, thread);
    return thread;
}

static pit_value *read_threads(const struct look_facts *f)
{
    pit_value *list = pit_list();
    uint32_t n = f->page == NULL || f->threads_n > 0 ? 0
                 : f->page->threads_n < LOOK_THREADS ? f->page->threads_n
                                                     : LOOK_THREADS;
    for (uint32_t i = 0; i < n; i++)
        pit_list_append_take(list, read_told(f, &f->page->threads[i]));
    for (int i = 0; i < f->threads_n; i++)
        if (!is_ours(&f->threads[i]))
            pit_list_append_take(list, read_thread(f, &f->threads[i]));
    return list;
}

/* ---- Python ---- */

static const struct look_thread *find_python(const struct look_page *page, const char *id)
{
    uint32_t n = page->threads_n < LOOK_THREADS ? page->threads_n : LOOK_THREADS;
    char text[24];
    for (uint32_t i = 0; id != NULL && i < n; i++) {
        snprintf(text, sizeof text, "0x%016" PRIx64, page->threads[i].python);
        if (page->threads[i].python != 0 && strcmp(text, id) == 0)
            return &page->threads[i];
    }
    return NULL;
}

static pit_value *read_python_thread(const struct look_facts *f, const pit_value *stack)
{
    const pit_value *id = pit_value_get(stack, "thread");
    const struct look_thread *told = find_python(f->page, pit_value_str(id));
    pit_value *thread = pit_map();
    pit_map_set_take(thread, "thread", pit_value_ref(id));
    if (told != NULL) {
        pit_map_set_take(thread, "tid", pit_uint(told->tid));
        pit_map_set_take(thread, "main", pit_bool(told->tid == (uint32_t)f->pid));
    }
    if (told != NULL && told->lane >= 0)
        pit_map_set_take(thread, "lane", pit_int(told->lane));
    pit_map_set_take(thread, "frames", pit_value_ref(pit_value_get(stack, "frames")));
    return thread;
}

static pit_value *read_python(const struct look_facts *f)
{
    size_t n = f->page->python_n < sizeof f->page->python ? f->page->python_n : sizeof f->page->python;
    pit_value *stacks = crash_read_stacks(f->page->python, n), *list = pit_list();
    const pit_value *stack;
    for (size_t i = 0; pit_value_next(stacks, &i, NULL, &stack);)
        if (pit_value_len(pit_value_get(stack, "frames")) != 0) /* else it runs no Python, as the one that asks for the GIL */
            pit_list_append_take(list, read_python_thread(f, stack));
    pit_value_free(stacks);
    return list;
}

/* ---- the summary ---- */

/* Which thread a call runs on: the one that serves the lane, or the first lane; else the main one. */
static const pit_value *find_subject(const struct look_facts *f, const pit_value *list)
{
    const pit_value *thread, *subject = NULL;
    int64_t lane, lowest = INT64_MAX;
    bool is_main = false;
    for (size_t i = 0; pit_value_next(list, &i, NULL, &thread);) {
        if (pit_value_get_int(pit_value_get(thread, "lane"), &lane) && (f->of_lane ? lane == f->lane : lane < lowest)) {
            lowest = lane;
            subject = thread;
        }
    }
    for (size_t i = 0; subject == NULL && pit_value_next(list, &i, NULL, &thread);)
        if (pit_value_get_bool(pit_value_get(thread, "main"), &is_main) && is_main)
            subject = thread;
    return subject;
}

/* The innermost frame that is of the user's own code, else the innermost. */
static const pit_value *own_frame(const pit_value *frames)
{
    const pit_value *frame;
    for (size_t i = 0; pit_value_next(frames, &i, NULL, &frame);)
        if (!crash_is_library(pit_value_str_or(pit_value_get(frame, "file"), "<")))
            return frame;
    return pit_value_at(frames, 0);
}

static void say_frame(struct buf *b, const pit_value *frame)
{
    int64_t line = 0;
    pit_value_get_int(pit_value_get(frame, "line"), &line);
    buf_printf(b, "%s, line %" PRId64 ", in %s", base_name(pit_value_str_or(pit_value_get(frame, "file"), "?")), line,
               pit_value_str_or(pit_value_get(frame, "function"), "?"));
}

static void say_python(struct buf *b, const char *before, const pit_value *frames)
{
    const pit_value *frame = own_frame(frames);
    if (frame == NULL)
        return;
    buf_puts(b, before);
    say_frame(b, frame);
}

/* "waits in libgomp.so.1 (futex)"; false: it runs, or that is not known. */
static bool say_native(struct buf *b, const pit_value *thread)
{
    const char *state = pit_value_str_or(pit_value_get(thread, "state"), "");
    const char *call = pit_value_str(pit_value_get(thread, "syscall")), *in = pit_value_str(pit_value_get(thread, "in"));
    bool sleeps = strcmp(state, "sleeping") == 0 || strcmp(state, "uninterruptible") == 0 || strcmp(state, "stopped") == 0;
    if (!sleeps || (in == NULL && call == NULL))
        return false;
    buf_printf(b, "waits in %s", in != NULL ? in : "the kernel");
    if (call != NULL)
        buf_printf(b, " (%s)", call);
    return true;
}

/* For people: "model.py, line 9, in predict" */
static pit_value *read_stack(const pit_value *frames)
{
    pit_value *list = pit_list();
    for (size_t i = 0; i < pit_value_len(frames) && i < STACK_MOST; i++) {
        struct buf b = {0};
        const char *file = pit_value_str_or(pit_value_get(pit_value_at(frames, i), "file"), "");
        if (i > 0 && strstr(file, "/snakepit_bridge/") != NULL) /* who has called it is always the same */
            break;
        say_frame(&b, pit_value_at(frames, i));
        pit_list_append_take(list, b.failed ? pit_nil() : pit_strn((const char *)b.data, b.len));
        buf_finish(&b);
    }
    return list;
}

static void put_summary(const struct look_facts *f, pit_value *map)
{
    struct buf b = {0};
    const pit_value *python = find_subject(f, pit_value_get(map, "python"));
    const pit_value *thread = find_subject(f, pit_value_get(map, "threads"));
    bool held = f->page != NULL && f->page->python_how == LOOK_PYTHON_HELD, native = false;
    if (look_is_stopped(f))
        buf_puts(&b, "stopped by a signal or a debugger");
    else if (say_native(&b, thread))
        native = true;
    else
        buf_puts(&b, held ? "runs, and keeps the GIL" : "runs");
    say_python(&b, native ? ", called from " : ", in ", pit_value_get(python, "frames"));
    if (!b.failed)
        pit_map_set_take(map, "summary", pit_strn((const char *)b.data, b.len));
    buf_finish(&b);
    if (python != NULL)
        pit_map_set_take(map, "stack", read_stack(pit_value_get(python, "frames")));
}

/* ---- all ---- */

static void miss(pit_value *missing, const char *what, const char *why)
{
    char text[256];
    snprintf(text, sizeof text, "%s%s", what, why);
    pit_list_append_take(missing, pit_str(text));
}

bool look_is_stopped(const struct look_facts *f)
{
    for (int i = 0; i < f->threads_n; i++)
        if (f->threads[i].tid == f->pid)
            return f->threads[i].state == 'T' || f->threads[i].state == 't';
    return f->stopped;
}

static void put_state(const struct look_facts *f, pit_value *map)
{
    const char *state = f->stopped ? "stopped" : "unknown";
    for (int i = 0; i < f->threads_n; i++)
        if (f->threads[i].tid == f->pid)
            state = state_name(f->threads[i].state);
    pit_map_set_take(map, "state", pit_str(state));
    pit_map_set_take(map, "waited_us", pit_uint(f->waited_ns / 1000));
}

static void put_missing(const struct look_facts *f, bool has_python, pit_value *map)
{
    pit_value *missing = pit_list();
    uint32_t failed = f->page != NULL ? f->page->failed : 0;
    if (f->page == NULL)
        miss(missing, "python: ", f->no_answer);
    else if (!has_python)
        miss(missing, "python: the GIL did not come in time, and without it the stacks could not be read", "");
    else if ((failed & LOOK_FAILED_PYTHON) != 0)
        miss(missing, "python: not all stacks could be read, or had room", "");
    if (f->threads_n < 0)
        miss(missing, "threads: the kernel does not tell", "");
    else if (!f->threads_all || (failed & LOOK_FAILED_THREADS) != 0)
        miss(missing, "threads: there are more", "");
    if ((failed & LOOK_FAILED_NATIVE) != 0)
        miss(missing, "threads: where they are could not be found out in time", "");
    if ((failed & LOOK_FAILED_SYMBOLS) != 0)
        miss(missing, "threads: names could not be looked up to the end", "");
    pit_map_set_take(map, "partial", pit_bool(pit_value_len(missing) != 0));
    pit_map_set_take(map, "missing", missing);
}

void look_into_error(const pit_value *map, pit_error *e)
{
    static const char *const keys[][2] = {{"hung_at", "summary"}, {"stack", "stack"}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const pit_value *v = pit_value_get(map, keys[i][1]);
        if (v != NULL)
            error_detail_take(e, keys[i][0], pit_value_ref(v));
    }
}

void look_read(const struct look_facts *f, pit_value *map)
{
    bool has_python = f->page != NULL && f->page->python_how != LOOK_PYTHON_NONE && f->page->python_n != 0;
    put_state(f, map);
    if (has_python) {
        pit_map_set_take(map, "gil", pit_str(f->page->python_how == LOOK_PYTHON_SAFE ? "taken" : "held"));
        pit_map_set_take(map, "python", read_python(f));
    }
    pit_map_set_take(map, "threads", read_threads(f));
    put_summary(f, map);
    put_missing(f, has_python, map);
}
