/* A worker that is killed while it writes: everything that it had published can be read, whole and in order, and nothing else. */
#include "channel_pair.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 60, LONGEST = 3 * PAIR_RING };

static size_t size_of(uint64_t id)
{
    return id % 16 == 15 ? LONGEST : FRAME_HEADER + (size_t)(id * 37 % 400);
}

/* The worker: frames, one after the other, until it is killed. */
static void babble(struct channel *c)
{
    static uint8_t frame[LONGEST];
    for (uint64_t id = 0;; id++) {
        size_t done = 0;
        int rc;
        make_frame(frame, size_of(id), id);
        while ((rc = c->ops->send(c, frame, size_of(id), &done)) == CHANNEL_AGAIN)
            c->ops->wait(c, CHANNEL_FOR_ROOM, UINT64_MAX, 1000);
        if (rc != 0)
            _exit(1);
    }
}

/* Reads frames until `enough` have come or nothing more does; next is the one that must come. */
static int drain(struct channel *c, uint64_t *next, uint64_t enough, bool alive)
{
    struct channel_frame f;
    int rc = 0;
    channel_frame_init(&f);
    while (*next < enough) {
        rc = c->ops->recv(c, &f);
        if (rc == CHANNEL_AGAIN && alive) {
            assert_int_equal(c->ops->wait(c, CHANNEL_FOR_FRAME, os_linux.now_ns() + UINT64_C(20000000000), 1000), 0);
            continue;
        }
        if (rc != 0)
            break;
        assert_frame(&f, size_of(*next), *next);
        ++*next;
    }
    channel_frame_finish(&f);
    return rc;
}

static void killed_while_writing(void **state)
{
    enum pair_kind kind = (enum pair_kind)(*(const int *)*state);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct pair p;
        uint64_t next = 0;
        assert_int_equal(pair_open(&p, &os_linux, kind), 0);
        assert_non_null(p.host);
        assert_non_null(p.worker);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            os_linux.close(p.fds[0]);
            babble(p.worker);
        }
        os_linux.close(p.fds[1]);
        p.fds[1] = -1;
        drain(p.host, &next, round * 7 % 50, true);
        int status;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        int rc = drain(p.host, &next, UINT64_MAX, false);
        assert_int_equal(rc, kind == PAIR_SOCKET ? PIT_E_WORKER_LOST : CHANNEL_AGAIN);
        pair_close(&p);
    }
}

int main(void)
{
    static int rings = PAIR_RINGS, socket = PAIR_SOCKET;
    const struct CMUnitTest tests[] = {
        {"killed_while_writing (rings)", killed_while_writing, NULL, NULL, &rings},
        {"killed_while_writing (socket)", killed_while_writing, NULL, NULL, &socket},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
