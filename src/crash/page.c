/* The crash page as values. See crash.h.
 *
 * Invariants
 *  1. Every count is cut to the room there is, every place checked, every text bounded by the array that it stands in.
 *  2. What the page cannot know (that a thread has more frames than it shows) is not made up: `missing` says what is not told. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "crash/crash.h"

enum {
    HEX = 24,
    CODE = 32,
    SYMBOL_MAX = 256,                /* bytes of a name */
    SYMBOLS_MAX = 96 * CRASH_FRAMES, /* of all frames': each may claim the longest that has room in the page */
    THREADS_MAX = 128,               /* that are read of Python's text: faulthandler writes 100 */
    FUNCTIONS_MAX = 256,             /* and frames, of all threads */
};
static const int told_of[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

bool crash_is_told(int sig)
{
    for (size_t i = 0; i < sizeof told_of / sizeof told_of[0]; i++)
        if (told_of[i] == sig)
            return true;
    return false;
}

static pit_value *hex(uint64_t n)
{
    char text[HEX];
    snprintf(text, sizeof text, "0x%" PRIx64, n);
    return pit_str(text);
}

static void put_text(pit_value *map, const char *key, const char *text, size_t room)
{
    size_t n = strnlen(text, room);
    if (n != 0)
        pit_map_set_take(map, key, crash_words(text, n));
}

static void miss(pit_value *missing, const char *what)
{
    pit_list_append_take(missing, pit_str(what));
}

/* ---- the fault ---- */

/* X(signal, constant) */
#define CRASH_CODE_LIST(X)                                                                                                     \
    X(SIGSEGV, SEGV_MAPERR)                                                                                                    \
    X(SIGSEGV, SEGV_ACCERR)                                                                                                    \
    X(SIGBUS, BUS_ADRALN)                                                                                                      \
    X(SIGBUS, BUS_ADRERR)                                                                                                      \
    X(SIGBUS, BUS_OBJERR)                                                                                                      \
    X(SIGFPE, FPE_INTDIV)                                                                                                      \
    X(SIGFPE, FPE_INTOVF)                                                                                                      \
    X(SIGFPE, FPE_FLTDIV)                                                                                                      \
    X(SIGFPE, FPE_FLTOVF)                                                                                                      \
    X(SIGFPE, FPE_FLTUND)                                                                                                      \
    X(SIGFPE, FPE_FLTINV)                                                                                                      \
    X(SIGILL, ILL_ILLOPC)                                                                                                      \
    X(SIGILL, ILL_ILLOPN)                                                                                                      \
    X(SIGILL, ILL_ILLADR)                                                                                                      \
    X(SIGILL, ILL_PRVOPC)

static pit_value *code_of(int sig, int code)
{
    static const struct {
        int sig, code;
        const char *name;
    } names[] = {
#define CRASH_CODE_ROW(signal, constant) {signal, constant, #constant},
        CRASH_CODE_LIST(CRASH_CODE_ROW)
#undef CRASH_CODE_ROW
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].sig == sig && names[i].code == code)
            return pit_str(names[i].name);
    if (code == SI_USER)
        return pit_str("SI_USER");
    if (code == SI_TKILL)
        return pit_str("SI_TKILL");
    return code == SI_KERNEL ? pit_str("SI_KERNEL") : pit_int(code);
}

static pit_value *read_fault(const struct crash_page *p)
{
    const char *name = crash_signal_name(p->signal);
    pit_value *fault = pit_map();
    pit_map_set_take(fault, "signal", name != NULL ? pit_str(name) : pit_int(p->signal));
    pit_map_set_take(fault, "code", code_of(p->signal, p->code));
    if (p->code > 0)
        pit_map_set_take(fault, "address", hex(p->address));
    else
        pit_map_set_take(fault, "sender_pid", pit_int(p->sender));
    pit_map_set_take(fault, "pc", hex(p->pc));
    pit_map_set_take(fault, "thread_id", pit_int(p->tid));
    pit_map_set_take(fault, "main_thread", pit_bool(p->tid == p->pid));
    put_text(fault, "thread", p->thread, sizeof p->thread);
    if (p->ended_ns > p->began_ns)
        pit_map_set_take(fault, "told_us", pit_uint((p->ended_ns - p->began_ns) / 1000));
    return fault;
}

static pit_value *read_usage(const struct crash_page *p)
{
    pit_value *usage = pit_map();
    if (p->peak_bytes != 0) /* the kernel did not tell */
        pit_map_set_take(usage, "peak_memory_bytes", pit_uint(p->peak_bytes));
    pit_map_set_take(usage, "cpu_user_ms", pit_uint(p->user_us / 1000));
    pit_map_set_take(usage, "cpu_system_ms", pit_uint(p->system_us / 1000));
    pit_map_set_take(usage, "major_faults", pit_uint(p->faults));
    return usage;
}

/* ---- the native stack ---- */

static void put_module(pit_value *frame, const struct crash_places *p, const struct crash_frame *f)
{
    uint32_t n = p->modules_n < CRASH_MODULES ? p->modules_n : CRASH_MODULES;
    if (f->module == 0 || f->module > n)
        return;
    const struct crash_module *m = &p->modules[f->module - 1];
    put_text(frame, "module", m->path, sizeof m->path);
    pit_map_set_take(frame, "offset", hex(f->offset));
    uint32_t id_n = m->build_id_n < CRASH_BUILD_ID ? m->build_id_n : CRASH_BUILD_ID;
    char id[2 * CRASH_BUILD_ID + 1];
    for (uint32_t i = 0; i < id_n; i++)
        snprintf(id + 2 * (size_t)i, 3, "%02x", m->build_id[i]);
    if (id_n != 0)
        pit_map_set_take(frame, "build_id", pit_str(id));
}

static size_t symbol_bytes(const struct crash_places *p, const struct crash_frame *f)
{
    if (f->symbol == 0 || f->symbol > p->names_room)
        return 0;
    size_t room = p->names_room - (f->symbol - 1u);
    return strnlen(p->names + (f->symbol - 1u), room < SYMBOL_MAX ? room : SYMBOL_MAX);
}

pit_value *crash_read_frame(const struct crash_places *p, const struct crash_frame *f)
{
    pit_value *frame = pit_map();
    pit_map_set_take(frame, "pc", hex(f->pc));
    put_module(frame, p, f);
    if (f->symbol != 0 && f->symbol <= p->names_room) {
        put_text(frame, "symbol", p->names + (f->symbol - 1), symbol_bytes(p, f));
        pit_map_set_take(frame, "symbol_offset", pit_uint(f->symbol_offset));
    }
    return frame;
}

static pit_value *read_native(const struct crash_page *p, pit_value *missing)
{
    const struct crash_places places = {p->modules, p->modules_n, p->names, sizeof p->names};
    pit_value *list = pit_list();
    size_t left = SYMBOLS_MAX;
    bool cut = false;
    uint32_t n = p->frames_n < CRASH_FRAMES ? p->frames_n : CRASH_FRAMES;
    for (uint32_t i = 0; i < n; i++) {
        struct crash_frame f = p->frames[i];
        size_t used = symbol_bytes(&places, &f);
        cut = cut || used > left;
        if (used > left)
            f.symbol = 0;
        else
            left -= used;
        pit_list_append_take(list, crash_read_frame(&places, &f));
    }
    if (cut)
        miss(missing, "native: not all names had room");
    return list;
}

/* ---- Python's stacks ---- */

struct line {
    const char *text;
    size_t n;
};

static bool begins(struct line l, const char *with)
{
    size_t n = strlen(with);
    return l.n >= n && memcmp(l.text, with, n) == 0;
}

/* Where the last `what` stands in the first n bytes; NULL: nowhere. */
static const char *find_last(const char *text, size_t n, const char *what)
{
    size_t m = strlen(what);
    for (size_t at = n; at >= m; at--)
        if (memcmp(text + at - m, what, m) == 0)
            return text + at - m;
    return NULL;
}

/* '  File "x.py", line 3 in f' */
static pit_value *read_function(struct line l)
{
    static const char file[] = "  File \"", number[] = "\", line ";
    const char *end = l.text + l.n, *from = l.text + sizeof file - 1;
    const char *at = find_last(from, (size_t)(end - from), number);
    if (at == NULL)
        return NULL;
    const char *p = at + sizeof number - 1;
    int64_t line = 0;
    for (; p < end && *p >= '0' && *p <= '9' && line < INT32_MAX; p++)
        line = 10 * line + (*p - '0');
    pit_value *frame = pit_map();
    pit_map_set_take(frame, "file", crash_words(from, (size_t)(at - from)));
    pit_map_set_take(frame, "line", pit_int(line));
    if (end - p > 4 && memcmp(p, " in ", 4) == 0)
        pit_map_set_take(frame, "function", crash_words(p + 4, (size_t)(end - p - 4)));
    return frame;
}

/* 'Thread 0x00007f... (most recent call first):', 'Current thread 0x...' */
static pit_value *begin_thread(struct line l, pit_value **ret_frames)
{
    bool current = begins(l, "Current thread ");
    size_t skip = current ? sizeof "Current thread " - 1 : sizeof "Thread " - 1;
    const char *id = l.text + skip, *end = memchr(id, ' ', l.n - skip);
    pit_value *thread = pit_map();
    pit_map_set_take(thread, "thread", crash_words(id, end != NULL ? (size_t)(end - id) : l.n - skip));
    pit_map_set_take(thread, "crashed", pit_bool(current));
    *ret_frames = pit_list();
    return thread;
}

static void end_thread(pit_value *threads, pit_value *thread, pit_value *frames)
{
    if (thread == NULL)
        return;
    pit_map_set_take(thread, "frames", frames);
    pit_list_append_take(threads, thread);
}

pit_value *crash_read_stacks(const char *text, size_t n)
{
    pit_value *threads = pit_list(), *thread = NULL, *frames = NULL;
    int begun = 0, functions = 0;
    while (n > 0) {
        const char *newline = memchr(text, '\n', n);
        struct line l = {text, newline != NULL ? (size_t)(newline - text) : n};
        if (begins(l, "Thread ") || begins(l, "Current thread ")) {
            if (begun++ == THREADS_MAX)
                break;
            end_thread(threads, thread, frames);
            thread = begin_thread(l, &frames);
        } else if (newline != NULL && thread != NULL && functions < FUNCTIONS_MAX && begins(l, "  File \"")) {
            pit_value *function = read_function(l);
            functions++;
            if (function != NULL)
                pit_list_append_take(frames, function);
        }
        text += l.n + (newline != NULL);
        n -= l.n + (newline != NULL);
    }
    end_thread(threads, thread, frames);
    return threads;
}

/* ---- all ---- */

bool crash_sent_by_another(const struct crash_page *p, int sig, uint32_t *ret_sender)
{
    bool told = (p->state == CRASH_BEGUN || p->state == CRASH_TOLD) && (p->watched >> (sig & 31) & 1) != 0;
    bool known = p->code == SI_USER || p->code == SI_TKILL;
    *ret_sender = 0;
    if (!crash_is_told(sig) || !told || p->signal != sig || p->code > 0 || (known && p->sender == p->pid))
        return false;
    *ret_sender = known ? p->sender : 0;
    return true;
}

/* Py_FatalError() has printed the stacks, and has taken away what would tell them, before it aborts. */
static pit_value *read_printed(struct crash_printed printed)
{
    static const char mark[] = "Current thread 0x";
    const char *at = printed.text != NULL ? find_last(printed.text, printed.n, mark) : NULL;
    return at != NULL ? crash_read_stacks(at, printed.n - (size_t)(at - printed.text)) : NULL;
}

static void put_python(const struct crash_page *p, struct crash_printed printed, pit_value *dossier, pit_value *missing)
{
    size_t n = p->python_n < sizeof p->python ? p->python_n : sizeof p->python;
    pit_value *threads = n != 0 ? crash_read_stacks(p->python, n) : read_printed(printed);
    if (threads != NULL)
        pit_map_set_take(dossier, "python", threads);
    if (threads == NULL)
        miss(missing, "python: the stacks could not be read");
    else if (n != 0 && (p->failed & CRASH_PYTHON) != 0)
        miss(missing, "python: not all stacks could be read");
    if (n == sizeof p->python)
        miss(missing, "python: not all stacks had room");
}

static void read_parts(const struct crash_page *p, struct crash_printed printed, pit_value *dossier, pit_value *missing)
{
    pit_map_set_take(dossier, "fault", read_fault(p));
    pit_map_set_take(dossier, "usage", read_usage(p));
    put_python(p, printed, dossier, missing);
    if ((p->wanted & CRASH_NATIVE) == 0)
        return;
    if (p->frames_n != 0)
        pit_map_set_take(dossier, "native", read_native(p, missing));
    if ((p->failed & CRASH_NATIVE) != 0)
        miss(missing, "native: the stack could not be unwound to its end");
    if ((p->failed & CRASH_SYMBOLS) != 0)
        miss(missing, "native: modules and names could not be looked up to the end");
    if (p->frames_n == CRASH_FRAMES)
        miss(missing, "native: the stack is deeper");
}

void crash_read_page(const struct crash_page *page, int sig, struct crash_printed printed, pit_value *dossier,
                     pit_value *missing)
{
    if (sig == CRASH_SIGNAL_LOST && (page->state == CRASH_BEGUN || page->state == CRASH_TOLD))
        sig = page->signal;
    if (!crash_is_told(sig)) {
        miss(missing, "python, native: a process that ends like this leaves no stacks");
        return;
    }
    bool told = page->state == CRASH_BEGUN || page->state == CRASH_TOLD;
    if (page->state == CRASH_UNWATCHED)
        miss(missing,
             "fault, python, native: the worker has no handler for crashes: no C extension, or it died before it was loaded");
    else if ((page->watched >> (sig & 31) & 1) == 0)
        miss(missing, "fault, python, native: a library in the worker has a handler of its own for this signal");
    else if (!told)
        miss(missing, "fault, python, native: the worker's handler did not run: it was replaced, the signal was blocked, or a "
                      "thread had no stack left for it");
    else if (page->signal != sig)
        miss(missing, "fault, python, native: the report in the worker's memory is of another signal");
    else
        read_parts(page, printed, dossier, missing);
    if (told && page->state == CRASH_BEGUN && page->signal == sig)
        miss(missing, "fault: the report broke off");
}
