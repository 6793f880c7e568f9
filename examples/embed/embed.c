/* A program with a poll loop of its own that drives the library: no thread is started, nothing blocks.
 *
 * The library shows as one descriptor (pit_fd) and one time (pit_timeout) to wait for; whenever either is due, pit_dispatch() does
 * what is to be done and runs the callbacks. Beside it the loop serves a timer of the program, which ticks on while Python starts
 * and works. Run it in the folder of embed.py. */
#include <snakepit/snakepit.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { CALLS = 24, TICK_MS = 100 };

struct program {
    pit *p;
    int timer;
    unsigned ticks, answered, failed;
    int64_t sum;
};

/* On the thread that dispatches: no lock is needed. The future is ours and may be freed here. */
static void on_done(pit_future *f, void *user)
{
    struct program *program = user;
    pit_value *v = NULL;
    pit_error *err = NULL;
    int64_t square = 0;

    if (pit_future_result(f, &v, &err) == 0 && pit_value_get_int(v, &square)) {
        program->answered++;
        program->sum += square;
    } else {
        program->failed++;
        fprintf(stderr, "%s\n", pit_error_string(err));
    }
    pit_error_free(err);
    pit_value_free(v);
    pit_future_free(f);
}

/* All at once: what finds no free worker waits in the pool's queue. */
static int submit_all(struct program *program, pit_error **reterr)
{
    for (int n = 1; n <= CALLS; n++) {
        pit_future *f = NULL;
        pit_value *args = pit_pack("{s:i}", "n", n);
        int rc = pit_submit(program->p, "square", args, NULL, &f, reterr);
        pit_value_free(args);
        if (rc == 0)
            rc = pit_future_on_done(f, on_done, program);
        if (rc != 0) {
            pit_future_free(f);
            return rc;
        }
    }
    return 0;
}

static int timer_open(void)
{
    struct itimerspec every = {{0, TICK_MS * 1000000}, {0, TICK_MS * 1000000}};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (fd >= 0 && timerfd_settime(fd, 0, &every, NULL) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static void on_tick(struct program *program)
{
    uint64_t expirations = 0;

    if (read(program->timer, &expirations, sizeof expirations) != (ssize_t)sizeof expirations)
        return;
    program->ticks++;
    printf("tick %2u: %2u of %d answers\n", program->ticks, program->answered, CALLS);
    (void)fflush(stdout);
}

static int loop(struct program *program)
{
    while (program->answered + program->failed < CALLS || program->ticks == 0) {
        struct pollfd fds[] = {{pit_fd(program->p), POLLIN, 0}, {program->timer, POLLIN, 0}};
        if (poll(fds, 2, pit_timeout(program->p)) < 0 && errno != EINTR)
            return PIT_E_SYSTEM_ERROR;
        if (fds[1].revents != 0)
            on_tick(program);
        int rc = pit_dispatch(program->p);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int main(void)
{
    struct program program = {.timer = timer_open()};
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;

    o.adapter = "embed.py";
    o.workers = 2;
    o.drive = PIT_DRIVE_HOST;
    o.require_ready = PIT_OFF; /* the interpreters start while the loop runs */
    int rc = program.timer < 0 ? PIT_E_SYSTEM_ERROR : pit_open(&o, &program.p, &err);
    if (rc == 0)
        rc = submit_all(&program, &err);
    if (rc == 0)
        rc = loop(&program);
    if (rc != 0)
        fprintf(stderr, "%s\n", err != NULL ? pit_error_string(err) : pit_strerror(rc));
    else
        printf("%u answers, %u failed, their sum is %lld; the loop ticked %u times meanwhile\n", program.answered,
               program.failed, (long long)program.sum, program.ticks);
    pit_error_free(err);
    (void)pit_close(program.p);
    if (program.timer >= 0)
        (void)close(program.timer);
    return rc != 0 || program.failed != 0;
}
