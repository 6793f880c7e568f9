/* What the threads of this process do, as the kernel tells: which system call each is in, and which library that lies in.
 *
 * Nothing is stopped and no signal is sent: a process may read of its own threads what a debugger may. Of a thread that is in the kernel the
 * kernel tells system call, stack and instruction; of one that runs only that it does. Where the instruction lies in the C library, the words on
 * the stack tell who has called it: the nearest return address into another library, that is one behind a call instruction. What stands on a
 * stack that its thread is using may be old, so this is the nearest, not a proof.
 *
 * Invariants: memory of the threads is read through /proc/self/mem, which fails where there is none; bounded work. No lock is taken, nothing
 * allocated but one area, once.
 * Failure: what cannot be read is not told. A disk that does not answer holds up the calling thread alone. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "_snakepit_crash.h"
#include "_snakepit_look.h"

#define RANGES 4096
#define STACK_BYTES 4096
#define SYMBOL_NS UINT64_C(10000000) /* of CPU time, until names are not looked for any more */

struct range { /* executable, and of no library that everybody calls */
    uint64_t from, to;
};

static struct work {
    struct crash_room room;
    uint32_t ranges_n;
    struct range ranges[RANGES];
    uint64_t stack[STACK_BYTES / sizeof(uint64_t)];
    uint64_t sp[LOOK_THREADS];
    char entries[4096];
} * work;

struct entry { /* of getdents64 */
    uint64_t inode;
    int64_t next;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the threads ---- */

static const struct look_served *find_served(const struct look_served *served, uint32_t n, uint32_t tid)
{
    for (uint32_t i = 0; i < n; i++)
        if (served[i].tid == tid)
            return &served[i];
    return NULL;
}

static void add_thread(struct look_native *out, uint32_t tid, const struct look_served *of)
{
    for (uint32_t i = 0; i < out->threads_n; i++)
        if (out->threads[i].tid == tid)
            return;
    if (out->threads_n == LOOK_THREADS) {
        out->failed |= LOOK_FAILED_THREADS;
        return;
    }
    out->threads[out->threads_n++] =
        (struct look_thread){.python = of != NULL ? of->python : 0, .tid = tid, .lane = of != NULL ? of->lane : -1};
}

static bool is_one_of(const uint32_t *list, uint32_t n, uint32_t tid)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i] == tid)
            return true;
    return false;
}

/* The rest, behind those that serve lanes. */
static void list_threads(struct look_native *out, const struct look_served *served, uint32_t served_n, const uint32_t *own,
                         uint32_t own_n)
{
    int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long got;
    if (fd < 0)
        out->failed |= LOOK_FAILED_NATIVE;
    while (fd >= 0 && (got = syscall(SYS_getdents64, fd, work->entries, sizeof work->entries)) > 0)
        for (long at = 0; at < got;) {
            const struct entry *e = (const struct entry *)(const void *)(work->entries + at);
            uint32_t tid = (uint32_t)strtoul(e->name, NULL, 10);
            at += e->bytes;
            if (tid != 0 && !is_one_of(own, own_n, tid))
                add_thread(out, tid, find_served(served, served_n, tid));
        }
    if (fd >= 0)
        close(fd);
}

/* ---- where they are ---- */

/* "202 0x1 0x2 0x3 0x4 0x5 0x6 SP PC", "-1 SP PC", or "running". */
static void read_call(struct look_thread *t, uint64_t *ret_sp, uint64_t *ret_pc)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%u/syscall", t->tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return;
    text[n] = '\0';
    if (text[0] == 'r') {
        t->where = LOOK_RUNS;
        return;
    }
    char *at = text;
    long call = strtol(at, &at, 10);
    for (int i = 0; call >= 0 && i < 6; i++)
        (void)strtoull(at, &at, 16);
    *ret_sp = strtoull(at, &at, 16);
    *ret_pc = strtoull(at, &at, 16);
    t->call = (int32_t)call;
    t->where = call >= 0 ? LOOK_CALLS : LOOK_KERNEL;
}

static uint16_t add_frame(struct crash_page *page, uint64_t pc, bool exact)
{
    if (pc == 0 || page->frames_n == CRASH_FRAMES)
        return 0;
    page->frames[page->frames_n++] = (struct crash_frame){.pc = pc, .exact = exact};
    return (uint16_t)page->frames_n;
}

static void look_at_thread(struct look_native *out, uint32_t i)
{
    struct look_thread *t = &out->threads[i];
    uint64_t pc = 0;
    work->sp[i] = 0;
    read_call(t, &work->sp[i], &pc);
    t->at = add_frame(&out->page, pc, true);
}

/* ---- who has called the C library ---- */

static bool is_common(const char *path, size_t n)
{
    static const char *const names[] = {"libc.so", "libc-", "libpthread", "ld-", "[vdso]", "[vsyscall]"};
    const char *name = path + n;
    while (name > path && name[-1] != '/')
        name--;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t length = strlen(names[i]);
        if ((size_t)(path + n - name) >= length && memcmp(name, names[i], length) == 0)
            return true;
    }
    return false;
}

static void keep_range(const struct crash_mapping *m, void *unused)
{
    (void)unused;
    if (m->runs && work->ranges_n < RANGES && !is_common(m->path, m->path_n))
        work->ranges[work->ranges_n++] = (struct range){m->from, m->to};
}

/* They are in the order of their addresses. */
static bool is_in_range(uint64_t at)
{
    uint32_t low = 0, high = work->ranges_n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (at >= work->ranges[middle].to)
            low = middle + 1;
        else
            high = middle;
    }
    return low < work->ranges_n && at >= work->ranges[low].from;
}

static bool follows_call(int memory, uint64_t at)
{
    uint8_t code[8];
    if (pread(memory, code, sizeof code, (off_t)(at - sizeof code)) != (ssize_t)sizeof code)
        return false;
#if defined(__x86_64__)
    if (code[3] == 0xe8) /* call rel32 */
        return true;
    for (int n = 2; n <= 7; n++) /* call r/m: ff /2 */
        if (code[8 - n] == 0xff && (code[9 - n] & 0x38) == 0x10)
            return true;
    return false;
#elif defined(__aarch64__)
    uint32_t instruction;
    memcpy(&instruction, code + 4, sizeof instruction);
    return (instruction & 0xfc000000u) == 0x94000000u || (instruction & 0xfffffc1fu) == 0xd63f0000u;
#else
    return false;
#endif
}

static uint64_t find_caller(int memory, uint64_t sp)
{
    ssize_t got = sp != 0 ? pread(memory, work->stack, sizeof work->stack, (off_t)sp) : -1;
    for (ssize_t i = 0; i < got / (ssize_t)sizeof work->stack[0]; i++)
        if (is_in_range(work->stack[i]) && follows_call(memory, work->stack[i]))
            return work->stack[i];
    return 0;
}

static void find_callers(struct look_native *out)
{
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (memory < 0)
        return;
    work->ranges_n = 0;
    crash_each_mapping(&work->room, keep_range, NULL);
    for (uint32_t i = 0; i < out->threads_n; i++) {
        struct look_thread *t = &out->threads[i];
        if (t->at != 0 && !is_in_range(out->page.frames[t->at - 1].pc))
            t->caller = add_frame(&out->page, find_caller(memory, work->sp[i]), false);
    }
    close(memory);
}

bool look_at_threads(struct look_native *out, const struct look_served *served, uint32_t served_n, const uint32_t *own,
                     uint32_t own_n)
{
    if (work == NULL) {
        void *area = mmap(NULL, sizeof *work, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED)
            return false;
        work = area;
    }
    memset(out, 0, sizeof *out);
    add_thread(out, (uint32_t)getpid(), find_served(served, served_n, (uint32_t)getpid()));
    for (uint32_t i = 0; i < served_n; i++)
        add_thread(out, served[i].tid, &served[i]);
    list_threads(out, served, served_n, own, own_n);
    for (uint32_t i = 0; i < out->threads_n; i++)
        look_at_thread(out, i);
    find_callers(out);
    crash_find_modules(&out->page, &work->room);
    if (!crash_find_symbols(&out->page, &work->room, cpu_ns, cpu_ns() + SYMBOL_NS))
        out->failed |= LOOK_FAILED_SYMBOLS;
    return true;
}
