/* The parts of the example digits: digits.c opens the pool and judges, feed.c calls it from several threads, crash.c kills a worker in
 * the middle of a call, show.c prints.
 *
 * Who touches what: a caller's thread takes a call's number from `next` and then alone writes that call's row of `answers` and
 * `times_ns`; the main thread reads them when all callers have ended. What several threads write meanwhile is atomic, or under `lock`. */
#ifndef DIGITS_H
#define DIGITS_H

#include <snakepit/snakepit.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SIDE = 8, IMAGE_BYTES = SIDE * SIDE, NO_ANSWER = -1 };

/* The one call that is made to die, and what came of it. Under demo.lock. */
struct crash {
    uint64_t sent_ns;  /* its caller is about to send it; 0: not yet */
    uint64_t kill_ns;  /* the last kill */
    uint64_t error_ns; /* the error was in the caller's hand; 0: not yet */
    uint64_t whole_ns; /* all workers ready again; 0: not yet */
    double age_ms;     /* how long the call had run */
    unsigned kills;
    bool survived; /* it got an answer after all */
    pid_t pid;
    char worker[96];
    char *error_text; /* owned */
    int error_code;
};

struct demo {
    pit *p;
    int workers, callers, passes;
    bool kill;

    pit_value *images; /* owns pixels and labels */
    const unsigned char *pixels, *labels;
    size_t n_images, n_calls;

    signed char *answers; /* of each call, NO_ANSWER */
    uint64_t *times_ns;   /* of each call's successful try */
    uint64_t begin_ns, end_ns;
    atomic_size_t next, answered;
    atomic_uint failed, running;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a caller has ended, or the crash has moved on */
    struct crash crash;
};

/* feed.c */
int feed_start(struct demo *d, pthread_t *threads); /* the number of threads that run */
const unsigned char *feed_image(const struct demo *d, size_t call);
size_t feed_image_index(const struct demo *d, size_t call);

/* crash.c */
void crash_call(struct demo *d, size_t call);       /* on a caller's thread: the call that is to die */
void crash_hunt(struct demo *d);                    /* on the main thread, now and then */
bool crash_recovering(struct demo *d);              /* the error is there, the pool is not whole yet */
void crash_await_whole(struct demo *d, int64_t ms); /* waits ms at most */

/* show.c */
void show_open(void);
void show_progress(struct demo *d);
void show_progress_end(struct demo *d);
void show_report(struct demo *d, size_t right, bool same);
void show_error(const char *indent, const char *text);

#endif
