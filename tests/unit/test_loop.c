/* The event loop: sources, timers, work from other threads, sleeping and waking. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/loop.h"

#define MS UINT64_C(1000000)
#define LIMIT (UINT64_C(20000) * MS)

/* A table whose writes to the eventfd and waits are counted, and whose clock may be ours. */
static struct os_ops counted;
static atomic_int rings, waits;
static uint64_t waited_until, frozen_now;

static ssize_t counting_write(int fd, const void *data, size_t n)
{
    rings++;
    return os_linux.write(fd, data, n);
}

static int counting_wait(int ep, void *events, int max, uint64_t deadline_ns)
{
    waits++;
    waited_until = deadline_ns;
    if (frozen_now == 0)
        return os_linux.epoll_wait(ep, events, max, deadline_ns);
    if (deadline_ns > frozen_now && deadline_ns != UINT64_MAX)
        frozen_now = deadline_ns; /* time passes by itself */
    return os_linux.epoll_wait(ep, events, max, 0);
}

static uint64_t frozen_clock(void)
{
    return frozen_now != 0 ? frozen_now : os_linux.now_ns();
}

static struct loop *open_loop(void)
{
    struct loop *l;
    counted = os_linux;
    counted.write = counting_write;
    counted.epoll_wait = counting_wait;
    counted.now_ns = frozen_clock;
    rings = waits = 0;
    frozen_now = 0;
    assert_int_equal(loop_create(&counted, &l), 0);
    return l;
}

static bool readable(struct loop *l)
{
    struct pollfd p = {.fd = loop_fd(l), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* ---- sources ---- */

struct watched {
    struct loop_source source;
    struct loop *loop;
    struct watched *other; /* removed, when this one is served */
    int served, other_fd;
};

static void serve(struct loop_source *s, uint32_t events)
{
    struct watched *w = LIST_ENTRY(s, struct watched, source);
    char c;
    w->served++;
    assert_true((events & (EPOLLIN | EPOLLHUP)) != 0);
    if (read(s->fd, &c, 1) <= 0)
        loop_remove(w->loop, s);
    if (w->other != NULL) {
        loop_remove(w->loop, &w->other->source);
        w->other = NULL;
    }
}

static void watch(struct loop *l, struct watched *w, int ends[2])
{
    assert_int_equal(os_linux.pipe(ends), 0);
    *w = (struct watched){.source = {.fd = ends[0], .events = EPOLLIN, .fn = serve}, .loop = l, .other_fd = ends[1]};
    assert_int_equal(loop_add(l, &w->source), 0);
}

static void test_source(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct watched w;
    int ends[2];
    watch(l, &w, ends);
    loop_run_once(l, 0);
    assert_int_equal(w.served, 0);
    assert_int_equal(write(ends[1], "ab", 2), 2);
    loop_run_once(l, UINT64_MAX);
    loop_run_once(l, UINT64_MAX); /* level-triggered: what is left comes again */
    assert_int_equal(w.served, 2);
    assert_int_equal(loop_modify(l, &w.source, 0), 0);
    assert_int_equal(write(ends[1], "c", 1), 1);
    loop_run_once(l, 0);
    assert_int_equal(w.served, 2);
    assert_int_equal(loop_modify(l, &w.source, EPOLLIN), 0);
    loop_run_once(l, UINT64_MAX);
    assert_int_equal(w.served, 3);
    close(ends[1]); /* hang-up: serve removes the source in its own callback */
    loop_run_once(l, UINT64_MAX);
    assert_int_equal(w.served, 4);
    loop_run_once(l, 0);
    assert_int_equal(w.served, 4);
    loop_remove(l, &w.source); /* once more does nothing */
    close(ends[0]);
    loop_destroy(l);
}

static void test_add_fails(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct loop_source s = {.fd = 100000, .events = EPOLLIN, .fn = serve};
    assert_int_equal(loop_add(l, &s), -EBADF);
    assert_int_equal(loop_modify(l, &s, 0), -EBADF);
    loop_remove(l, &s);
    loop_destroy(l);
}

/* Both are ready in one batch; whoever comes first removes the other, whose event must not arrive any more, even though its memory
 * may watch something else by then. */
static void test_removed_in_the_same_batch(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct watched *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    int x[2], y[2];
    watch(l, a, x);
    watch(l, b, y);
    a->other = b;
    b->other = a;
    assert_int_equal(write(x[1], "ab", 2), 2);
    assert_int_equal(write(y[1], "ab", 2), 2);
    loop_run_once(l, UINT64_MAX);
    assert_int_equal(a->served + b->served, 1);
    loop_run_once(l, 0);
    assert_int_equal(a->served + b->served, 2); /* the one that is left, again */
    loop_remove(l, &a->source);
    loop_remove(l, &b->source);
    free(a);
    free(b);
    for (int i = 0; i < 2; i++) {
        close(x[i]);
        close(y[i]);
    }
    loop_destroy(l);
}

/* ---- timers ---- */

struct clocked {
    struct loop_timer timer;
    struct loop *loop;
    struct clocked *stops;
    uint64_t again_ns, ran_at;
    int ran;
};

static void tick(struct loop_timer *t)
{
    struct clocked *c = LIST_ENTRY(t, struct clocked, timer);
    c->ran++;
    c->ran_at = frozen_clock();
    assert_false(loop_timer_armed(t));
    if (c->stops != NULL)
        loop_timer_stop(c->loop, &c->stops->timer);
    if (c->again_ns != 0)
        loop_timer_set(c->loop, t, c->ran_at + c->again_ns);
}

static void test_timers_sleep_exactly(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    static const uint64_t dues[] = {1, 5, 63, 64, 70, 1000, 4097, 3600000, 86400000};
    struct clocked c[9] = {{.ran = 0}};
    loop_run_once(l, 0);
    uint64_t begun = frozen_now = os_linux.now_ns();
    for (int i = 0; i < 9; i++) {
        c[i] = (struct clocked){.timer = {.fn = tick}, .loop = l};
        loop_timer_set(l, &c[i].timer, begun + dues[i] * MS);
    }
    waits = 0;
    for (int i = 0; i < 9; i++) { /* one sleep each: no wake-up in vain, a day included */
        loop_run_once(l, UINT64_MAX);
        assert_int_equal(c[i].ran, 1);
        assert_true(c[i].ran_at >= begun + dues[i] * MS && c[i].ran_at < begun + (dues[i] + 1) * MS);
        assert_int_equal(waits, i + 1);
    }
    assert_int_equal(loop_next_due(l), UINT64_MAX);
    loop_run_once(l, begun + dues[8] * MS + 7 * MS);
    assert_int_equal(waited_until, begun + dues[8] * MS + 7 * MS);
    loop_destroy(l);
}

/* Between the look at the descriptors and the next reading of the clock a thread may wait for a CPU, as long as it likes. */
static int late_fd;
static int late_wait(int ep, void *events, int max, uint64_t deadline_ns)
{
    int n = counting_wait(ep, events, max, deadline_ns);
    if (n > 0 && late_fd >= 0) {
        assert_int_equal(write(late_fd, "x", 1), 1);
        late_fd = -1;
        frozen_now += 10 * MS;
    }
    return n;
}

static atomic_int late_order, answer_at, timeout_at;

static void on_question(struct loop_source *s, uint32_t events)
{
    char c;
    (void)events;
    assert_int_equal(read(s->fd, &c, 1), 1);
}

static void on_answer(struct loop_source *s, uint32_t events)
{
    on_question(s, events);
    answer_at = ++late_order;
}

static void on_timeout(struct loop_timer *t)
{
    (void)t;
    timeout_at = ++late_order;
}

/* An answer that came in time counts before its time-out, also when the loop finds both at once. */
static void test_events_count_before_timers(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    counted.epoll_wait = late_wait;
    int first[2], second[2];
    assert_int_equal(pipe(first), 0);
    assert_int_equal(pipe(second), 0);
    struct loop_source a = {.fd = first[0], .events = EPOLLIN, .fn = on_question};
    struct loop_source b = {.fd = second[0], .events = EPOLLIN, .fn = on_answer};
    struct loop_timer t = {.fn = on_timeout};
    assert_int_equal(loop_add(l, &a), 0);
    assert_int_equal(loop_add(l, &b), 0);
    frozen_now = os_linux.now_ns();
    late_fd = second[1];
    late_order = answer_at = timeout_at = 0;
    loop_timer_set(l, &t, frozen_now + 5 * MS);
    assert_int_equal(write(first[1], "x", 1), 1);
    for (int i = 0; i < 3; i++)
        loop_run_once(l, 0);
    assert_int_equal(answer_at, 1);
    assert_int_equal(timeout_at, 2);
    loop_remove(l, &a);
    loop_remove(l, &b);
    for (int i = 0; i < 2; i++) {
        close(first[i]);
        close(second[i]);
    }
    loop_destroy(l);
}

static void test_timers_in_callbacks(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    frozen_now = os_linux.now_ns();
    struct clocked a = {.timer = {.fn = tick}, .loop = l}, b = a, c = a;
    a.stops = &b; /* due in the same turn: must not run */
    c.again_ns = 1;
    loop_timer_set(l, &a.timer, frozen_now + 2 * MS);
    loop_timer_set(l, &b.timer, frozen_now + 2 * MS);
    loop_timer_set(l, &c.timer, frozen_now + 3 * MS);
    loop_run_once(l, UINT64_MAX);
    assert_int_equal(a.ran, 1);
    assert_int_equal(b.ran, 0);
    assert_false(loop_timer_armed(&b.timer));
    for (int i = 1; i <= 5; i++) { /* re-arms itself: once a turn, never for ever in one */
        loop_run_once(l, UINT64_MAX);
        assert_int_equal(c.ran, i);
    }
    /* armed for the past: the next turn, without a sleep */
    loop_timer_stop(l, &c.timer);
    loop_timer_set(l, &a.timer, 1);
    loop_run_once(l, UINT64_MAX);
    assert_int_equal(waited_until, 0);
    assert_int_equal(a.ran, 2);
    loop_destroy(l);
}

/* ---- work from other threads ---- */

struct job {
    struct loop_work work;
    struct loop *loop;
    atomic_int ran;
    int order;
    bool again;
};

static int next_order;

static void run_job(struct loop_work *w)
{
    struct job *j = LIST_ENTRY(w, struct job, work);
    j->order = next_order++;
    j->ran++;
    assert_true(loop_is_current(j->loop));
    if (j->again)
        loop_post(j->loop, w);
}

static void test_post(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct job j[3];
    for (int i = 0; i < 3; i++)
        j[i] = (struct job){.work = {.fn = run_job}, .loop = l};
    assert_false(readable(l));
    assert_false(loop_is_current(l));
    next_order = 0;
    for (int i = 0; i < 3; i++)
        loop_post(l, &j[i].work);
    loop_post(l, &j[0].work); /* pending already */
    assert_true(readable(l));
    assert_int_equal(rings, 1);
    loop_run_once(l, UINT64_MAX);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(j[i].ran, 1);
        assert_int_equal(j[i].order, i);
    }
    assert_false(readable(l));
    assert_false(loop_is_current(l));
    /* posted by itself, inside a turn: the next turn, and a host that polls the descriptor sees it */
    j[1].again = true;
    loop_post(l, &j[1].work);
    loop_run_once(l, UINT64_MAX);
    assert_int_equal(j[1].ran, 2);
    assert_true(readable(l));
    j[1].again = false;
    loop_run_once(l, UINT64_MAX);
    assert_int_equal(j[1].ran, 3);
    assert_false(readable(l));
    loop_destroy(l);
}

static bool no_sleep(void *user)
{
    struct job *j = user;
    j->order++;
    return j->again;
}

/* Work appears at the last moment, after the hook has looked. */
static bool post_and_agree(void *user)
{
    struct job *j = user;
    loop_post(j->loop, &j->work);
    return true;
}

static void slept(void *user)
{
    struct job *j = user;
    j->ran++;
}

static void test_hooks(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    frozen_now = os_linux.now_ns();
    struct job j = {.loop = l, .again = false};
    loop_set_hooks(l, no_sleep, slept, &j);
    assert_true(loop_run_once(l, UINT64_MAX)); /* would sleep for ever, but for the hook */
    assert_int_equal(waited_until, 0);
    assert_int_equal(j.order, 1);
    assert_int_equal(j.ran, 1);
    assert_true(loop_run_once(l, 0)); /* a foreign loop asks whether it may sleep */
    assert_int_equal(j.order, 2);
    j.again = true;
    assert_false(loop_run_once(l, 0));
    assert_int_equal(j.ran, 3);
    struct job k = {.loop = l, .work = {.fn = run_job}};
    loop_set_hooks(l, post_and_agree, slept, &k);
    assert_true(loop_run_once(l, UINT64_MAX));
    assert_int_equal(waited_until, 0);
    assert_int_equal(k.ran, 2); /* the work, and the end of the sleep */
    assert_true(loop_run_once(l, 0));
    assert_int_equal(k.ran, 4);
    loop_destroy(l);
}

static void test_says_whether_it_was_idle(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    frozen_now = os_linux.now_ns();
    struct clocked c = {.timer = {.fn = tick}, .loop = l};
    struct job j = {.work = {.fn = run_job}, .loop = l};
    assert_false(loop_run_once(l, 0));
    loop_timer_set(l, &c.timer, frozen_now + 5 * MS);
    assert_false(loop_run_once(l, 0));
    frozen_now += 6 * MS;
    assert_true(loop_run_once(l, 0));
    loop_post(l, &j.work);
    assert_true(loop_run_once(l, 0));
    assert_false(loop_run_once(l, 0)); /* the bell was read with the work */
    loop_destroy(l);
}

struct poster {
    struct job jobs[64];
    struct loop *loop;
    atomic_bool stop;
    atomic_long posted;
};

static void *post_all(void *arg)
{
    struct poster *p = arg;
    for (int round = 0; round < 2000; round++)
        for (int i = 0; i < 64; i += 7)
            loop_post(p->loop, &p->jobs[i].work);
    p->posted++;
    return NULL;
}

/* Whatever was posted last runs, and the loop sleeps without a time limit meanwhile: a lost wake-up would hang this test. */
static void test_posting_threads(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    static struct poster p[4];
    pthread_t t[4];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++) {
            p[i].loop = l;
            p[i].posted = 0;
            for (int j = 0; j < 64; j++)
                p[i].jobs[j] = (struct job){.work = {.fn = run_job}, .loop = l};
            assert_int_equal(pthread_create(&t[i], NULL, post_all, &p[i]), 0);
        }
        for (int i = 0; i < 4; i++)
            while (p[i].posted == 0 || p[i].jobs[63].ran == 0)
                loop_run_once(l, os_linux.now_ns() + LIMIT);
        for (int i = 0; i < 4; i++)
            pthread_join(t[i], NULL);
        loop_run_once(l, 0);
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 64; j += 7)
                assert_true(p[i].jobs[j].ran > 0 && p[i].jobs[j].work.pending == 0);
    }
    loop_destroy(l);
}

struct waker {
    struct loop *loop;
    atomic_int asked, seen;
};

static void *wake_all(void *arg)
{
    struct waker *w = arg;
    for (int i = 1; i <= 20000; i++) {
        w->asked = i;
        loop_wake(w->loop);
    }
    return NULL;
}

/* A flag set before loop_wake is seen by the thread that looks at it between turns, without any other event. */
static void test_wake_is_never_lost(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct waker w = {.loop = l};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, wake_all, &w), 0);
    uint64_t limit = os_linux.now_ns() + LIMIT;
    while (w.asked < 20000 && os_linux.now_ns() < limit)
        loop_run_once(l, limit);
    assert_true(os_linux.now_ns() < limit);
    pthread_join(t, NULL);
    loop_run_once(l, 0);
    loop_run_once(l, 0);
    assert_false(readable(l));
    loop_wake(l);
    assert_true(readable(l));
    loop_run_once(l, UINT64_MAX);
    loop_destroy(l);
}

static int no_epoll(void)
{
    return -EMFILE;
}

static int no_add(int ep, int op, int fd, uint32_t events, void *data)
{
    (void)ep, (void)op, (void)fd, (void)events, (void)data;
    return -ENOSPC;
}

static void test_create_fails(void **state)
{
    (void)state;
    struct loop *l = NULL;
    struct os_ops os = os_linux;
    os.epoll_create = no_epoll;
    assert_int_equal(loop_create(&os, &l), -EMFILE);
    os = os_linux;
    os.eventfd = no_epoll;
    assert_int_equal(loop_create(&os, &l), -EMFILE);
    os = os_linux;
    os.epoll_ctl = no_add;
    assert_int_equal(loop_create(&os, &l), -ENOSPC);
    assert_null(l);
    loop_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source),
        cmocka_unit_test(test_add_fails),
        cmocka_unit_test(test_removed_in_the_same_batch),
        cmocka_unit_test(test_timers_sleep_exactly),
        cmocka_unit_test(test_events_count_before_timers),
        cmocka_unit_test(test_timers_in_callbacks),
        cmocka_unit_test(test_post),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_says_whether_it_was_idle),
        cmocka_unit_test(test_posting_threads),
        cmocka_unit_test(test_wake_is_never_lost),
        cmocka_unit_test(test_create_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
