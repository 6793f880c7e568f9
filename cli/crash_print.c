/* A dossier for a person at three in the morning: what, when, which call; then the stacks of the thread that crashed, what the process wrote last, what is
 * missing; the other threads after that, and last what this program does not know.
 *
 * Invariant: that of crash.h. Whatever kind a value has, it is shown or left out. */
#include "crash.h"

#include <inttypes.h>
#include <string.h>

enum { MOST_FRAMES = 256 /* of one stack: a host writes fewer */ };

static const char *text_of(const pit_value *map, const char *key)
{
    return pit_value_str(pit_value_get(map, key));
}

static bool number_of(const pit_value *map, const char *key, uint64_t *ret)
{
    return pit_value_get_uint(pit_value_get(map, key), ret);
}

static bool is_true(const pit_value *map, const char *key)
{
    bool yes = false;

    return pit_value_get_bool(pit_value_get(map, key), &yes) && yes;
}

/* ---- texts ---- */

/* The character at s: its bytes, and its number. Values hold valid UTF-8 alone. */
static size_t character_at(const char *s, unsigned *ret)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t n = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
    unsigned c = n == 1 ? u[0] : u[0] & (0x7fu >> n);

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (u[i] & 0x3fu);
    *ret = c;
    return n;
}

size_t crash_put(FILE *to, const char *text, size_t columns)
{
    size_t taken = 0, bytes;
    unsigned c;

    for (; *text != '\0'; text += bytes) {
        bytes = character_at(text, &c);
        size_t width = !is_obeyed(c) ? 1 : c < 0x10000 ? 6 : 8;
        if (columns != 0 && taken + width > columns - (text[bytes] != '\0')) {
            fputs("…", to);
            return taken + 1;
        }
        if (width == 1)
            (void)fwrite(text, 1, bytes, to);
        else
            fprintf(to, c < 0x10000 ? "\\u%04x" : "\\U%06x", c);
        taken += width;
    }
    return taken;
}

static void put(const char *text)
{
    (void)crash_put(stdout, text != NULL ? text : "?", 0);
}

static void put_value(const pit_value *v)
{
    char *json = pit_value_str(v) == NULL ? pit_value_to_json(v, 0) : NULL;

    put(json != NULL ? json : pit_value_str(v));
    pit_free(json);
}

/* "  name      "; then the rest of the line is written. */
static void begin(const char *name)
{
    printf("  %-9s ", name);
}

/* Many lines, each behind two blanks. */
static void put_lines(const char *text)
{
    while (*text != '\0') {
        char line[512];
        size_t n = strcspn(text, "\n"), part = n < sizeof line ? n : sizeof line - 1;
        while (part < n && part > 0 && ((unsigned char)text[part] & 0xc0) == 0x80)
            part--; /* no character is cut */
        memcpy(line, text, part);
        line[part] = '\0';
        fputs("  ", stdout);
        put(line);
        putchar('\n');
        text += part + (text[part] == '\n');
    }
}

/* The next one of a list as long as there are few; what is left out is counted. */
static bool next_of(const pit_value *list, size_t *i, const pit_value **ret)
{
    size_t n = pit_value_len(list);

    if (*i < MOST_FRAMES)
        return pit_value_next(list, i, NULL, ret);
    if (n > MOST_FRAMES)
        printf("  ... and %zu more\n", n - MOST_FRAMES);
    return false;
}

/* ---- what, when, which call ---- */

static void print_head(const pit_value *d)
{
    const pit_value *fault = pit_value_get(d, "fault");
    const char *reason = text_of(d, "reason");

    fputs("worker ", stdout);
    put(text_of(d, "worker_id"));
    putchar(' ');
    put(reason != NULL ? reason : text_of(d, "exit_class"));
    if (text_of(fault, "code") != NULL) {
        fputs(": ", stdout);
        put(text_of(fault, "code"));
    }
    if (text_of(fault, "address") != NULL) {
        fputs(" at ", stdout);
        put(text_of(fault, "address"));
    }
    fputs("\n\n", stdout);
}

static void print_ms(uint64_t ms)
{
    if (ms < 10000)
        printf("%" PRIu64 " ms", ms);
    else if (ms < 7200000)
        printf("%" PRIu64 " s", ms / 1000);
    else
        printf("%.1f h", (double)ms / 3.6e6);
}

static void print_when(const pit_value *d)
{
    uint64_t ms = 0, calls = 0;

    begin("when");
    put(text_of(d, "time"));
    if (number_of(d, "lifetime_ms", &ms)) {
        fputs(", after ", stdout);
        print_ms(ms);
    }
    if (number_of(d, "calls_finished", &calls))
        printf(" and %" PRIu64 " call%s", calls, calls == 1 ? "" : "s");
    putchar('\n');
}

/* The members of a map that are there: "NAME value", parted by commas. */
static void print_members(const char *name, const pit_value *map, const char *const *keys)
{
    const char *before = "";

    for (; *keys != NULL; keys++) {
        const pit_value *v = pit_value_get(map, *keys);
        if (v == NULL)
            continue;
        if (before[0] == '\0')
            begin(name);
        printf("%s%s ", before, *keys);
        put_value(v);
        before = ", ";
    }
    if (before[0] != '\0')
        putchar('\n');
}

static void print_calls(const pit_value *calls)
{
    static const char *const more[] = {"id", "correlation_id", "digest", NULL};
    const pit_value *call;

    for (size_t i = 0; pit_value_next(calls, &i, NULL, &call);) {
        begin(i == 1 ? "call" : "");
        put(text_of(call, "command"));
        putchar('\n');
        print_members("", call, more);
    }
}

static void print_usage(const pit_value *usage)
{
    uint64_t peak = 0, user = 0, kernel = 0;
    bool cpu = number_of(usage, "cpu_user_ms", &user) && number_of(usage, "cpu_system_ms", &kernel);

    (void)number_of(usage, "peak_memory_bytes", &peak);
    if (peak == 0 && !cpu)
        return;
    begin("used");
    if (peak != 0)
        printf("%.1f MiB of memory at most%s", (double)peak / 1048576.0, cpu ? "; " : "");
    if (cpu)
        printf("CPU: %" PRIu64 " ms, and %" PRIu64 " ms in the kernel", user, kernel);
    putchar('\n');
}

static void print_facts(const pit_value *d)
{
    static const char *const worker[] = {"pid", "pool", "start_mode", NULL};
    static const char *const ended[] = {"exit_class", "exit_code", "signal", "out_of_memory", NULL};
    static const char *const fault[] = {"thread", "thread_id", "pc", "sender_pid", NULL};

    print_when(d);
    print_calls(pit_value_get(d, "calls"));
    print_members("ended", d, ended);
    print_members("fault", pit_value_get(d, "fault"), fault);
    print_members("worker", d, worker);
    print_usage(pit_value_get(d, "usage"));
    begin("id");
    put(text_of(d, "id"));
    putchar('\n');
}

/* ---- stacks ---- */

static void print_thread(const pit_value *thread)
{
    const pit_value *frame, *frames = pit_value_get(thread, "frames");

    for (size_t i = 0; next_of(frames, &i, &frame);) {
        uint64_t line = 0;
        fputs("  ", stdout);
        put(text_of(frame, "file"));
        if (number_of(frame, "line", &line))
            printf(", line %" PRIu64, line);
        fputs(", in ", stdout);
        put(text_of(frame, "function"));
        putchar('\n');
    }
    if (pit_value_len(frames) == 0)
        fputs("  (no Python)\n", stdout);
}

static void print_python(const pit_value *threads, bool crashed)
{
    const pit_value *thread;

    for (size_t i = 0; pit_value_next(threads, &i, NULL, &thread);) {
        if (is_true(thread, "crashed") != crashed)
            continue;
        fputs(crashed ? "\nPython, where it crashed (the innermost first), thread " : "\nPython, another thread: ", stdout);
        put(text_of(thread, "thread"));
        putchar('\n');
        print_thread(thread);
    }
}

static void print_native(const pit_value *frames)
{
    const pit_value *frame;

    if (pit_value_len(frames) != 0)
        fputs("\nC (the innermost first)\n", stdout);
    for (size_t i = 0; next_of(frames, &i, &frame);) {
        fputs("  ", stdout);
        put(text_of(frame, "symbol") != NULL ? text_of(frame, "symbol") : text_of(frame, "pc"));
        if (text_of(frame, "module") != NULL) {
            fputs("  ", stdout);
            put(text_of(frame, "module"));
            putchar('+');
            put(text_of(frame, "offset"));
        }
        putchar('\n');
    }
}

/* Which builds those were, of the frames that are shown, each once: for addr2line. */
static void print_builds(const pit_value *frames)
{
    const pit_value *frame;
    bool any = false;

    for (size_t i = 0; i < MOST_FRAMES && pit_value_next(frames, &i, NULL, &frame);) {
        const char *module = text_of(frame, "module"), *build = text_of(frame, "build_id");
        bool seen = module == NULL || build == NULL;
        for (size_t k = 0; k + 1 < i && !seen; k++) {
            const char *other = text_of(pit_value_at(frames, k), "module");
            seen = other != NULL && strcmp(other, module) == 0;
        }
        if (seen)
            continue;
        fputs(any ? "" : "\nBuilds\n", stdout);
        any = true;
        fputs("  ", stdout);
        put(build);
        fputs("  ", stdout);
        put(module);
        putchar('\n');
    }
}

/* ---- what it did last ---- */

/* Of "2026-11-22T04:15:00.148015Z" what stands behind the T; the whole where that is none. */
static void put_time_of_day(const char *time)
{
    const char *day = time != NULL ? strchr(time, 'T') : NULL;
    char clock[32];
    size_t n = day != NULL ? strcspn(day + 1, "Z") : 0;

    if (n == 0 || n >= sizeof clock) {
        put(time);
        return;
    }
    memcpy(clock, day + 1, n);
    clock[n] = '\0';
    put(clock);
}

static void put_event(const pit_value *event)
{
    static const char *const told[] = {"time", "monotonic_ns", "event", "command", "outcome", "took_us", NULL};
    const pit_value *key, *v;
    double took = 0;

    fputs("  ", stdout);
    put_time_of_day(text_of(event, "time"));
    fputs("  ", stdout);
    put(text_of(event, "event"));
    if (text_of(event, "command") != NULL) {
        putchar(' ');
        put(text_of(event, "command"));
        fputs(": ", stdout);
        put(text_of(event, "outcome"));
    }
    if (pit_value_get_number(pit_value_get(event, "took_us"), &took))
        printf(" after %.1f us", took);
    for (size_t i = 0; pit_value_next(event, &i, &key, &v);) {
        const char *name = pit_value_str(key);
        bool seen = name == NULL;
        for (size_t k = 0; told[k] != NULL && !seen; k++)
            seen = strcmp(told[k], name) == 0;
        if (seen)
            continue;
        fputs(", ", stdout);
        put(name);
        putchar(' ');
        put_value(v);
    }
    putchar('\n');
}

static void print_events(const pit_value *events)
{
    enum { MOST = 24 };
    const pit_value *event;
    size_t n = pit_value_len(events), skipped = n > MOST ? n - MOST : 0;

    if (n != 0)
        fputs("\nWhat it did last\n", stdout);
    if (skipped != 0)
        printf("  (%zu events before; -o json has them)\n", skipped);
    for (size_t i = 0; pit_value_next(events, &i, NULL, &event);)
        if (i > skipped)
            put_event(event);
}

/* ---- what it was seen doing before it was killed ---- */

static void put_named(const char *before, const char *text)
{
    if (text == NULL)
        return;
    fputs(before, stdout);
    put(text);
}

/* Which thread, and what it does: as told in Python, or by the kernel. */
static void put_look_thread(const pit_value *thread)
{
    uint64_t tid = 0, lane = 0;

    fputs("  thread", stdout);
    if (number_of(thread, "tid", &tid))
        printf(" %" PRIu64, tid);
    put_named(" ", text_of(thread, "name"));
    if (is_true(thread, "main"))
        fputs(", the main one", stdout);
    if (number_of(thread, "lane", &lane))
        printf(", lane %" PRIu64, lane);
    put_named(", ", text_of(thread, "state"));
    put_named(", in the system call ", text_of(thread, "syscall"));
    put_named(", in ", text_of(thread, "in"));
    put_named(": ", text_of(thread, "function"));
    put_named(", the kernel's ", text_of(thread, "kernel"));
    putchar('\n');
}

static void print_missing(const char *head, const pit_value *missing)
{
    const pit_value *item;

    if (pit_value_len(missing) != 0)
        fputs(head, stdout);
    for (size_t i = 0; pit_value_next(missing, &i, NULL, &item);) {
        fputs("  ", stdout);
        put_value(item);
        putchar('\n');
    }
}

static void print_look(const pit_value *look)
{
    const pit_value *thread, *threads = pit_value_get(look, "threads"), *python = pit_value_get(look, "python");

    if (pit_value_kind(look) != PIT_KIND_MAP)
        return;
    fputs("\nWhat it was doing before it was killed\n", stdout);
    if (text_of(look, "summary") != NULL)
        put_lines(text_of(look, "summary"));
    for (size_t i = 0; next_of(threads, &i, &thread);)
        put_look_thread(thread);
    for (size_t i = 0; next_of(python, &i, &thread);) {
        fputs("\nPython of thread ", stdout);
        put_value(pit_value_get(thread, pit_value_get(thread, "tid") != NULL ? "tid" : "thread"));
        fputs(" then (the innermost first)\n", stdout);
        print_thread(thread);
    }
    print_missing("\nMissing of what it was doing\n", pit_value_get(look, "missing"));
}

/* ---- the rest ---- */

static bool is_known(const char *key)
{
    static const char *const known[] = {
        "id",         "time",      "worker_id", "pool",    "pid",       "start_mode", "lifetime_ms", "calls_finished",
        "exit_class", "exit_code", "signal",    "reason",  "calls",     "fault",      "python",      "native",
        "usage",      "stderr",    "partial",   "missing", "python_at", "library_at", "native_at",   "out_of_memory",
        "events",     "look",      NULL};

    for (size_t i = 0; known[i] != NULL; i++)
        if (strcmp(known[i], key) == 0)
            return true;
    return false;
}

static void print_others(const pit_value *d)
{
    const pit_value *key, *v, *item;

    for (size_t i = 0; pit_value_next(d, &i, &key, &v);) {
        const char *name = pit_value_str(key);
        if (name == NULL || is_known(name))
            continue;
        putchar('\n');
        put(name);
        putchar('\n');
        bool list = pit_value_kind(v) == PIT_KIND_LIST;
        for (size_t k = 0; list && pit_value_next(v, &k, NULL, &item);) {
            fputs("  ", stdout);
            put_value(item);
            putchar('\n');
        }
        if (!list) {
            fputs("  ", stdout);
            put_value(v);
            putchar('\n');
        }
    }
}

void crash_print(const pit_value *d)
{
    const char *said = text_of(d, "stderr");

    print_head(d);
    print_facts(d);
    print_python(pit_value_get(d, "python"), true);
    print_native(pit_value_get(d, "native"));
    print_look(pit_value_get(d, "look"));
    print_events(pit_value_get(d, "events"));
    if (said != NULL) {
        fputs("\nIt wrote last\n", stdout);
        put_lines(said);
    }
    print_missing("\nMissing\n", pit_value_get(d, "missing"));
    print_others(d);
    print_python(pit_value_get(d, "python"), false);
    print_builds(pit_value_get(d, "native"));
}
