/* What can be known of a death before the kernel announces it: the status in /proc, and the bell that it rings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "ring/segment.h"
#include "worker/exit.h"

#define LIMIT_NS UINT64_C(20000000000)

static const struct os_ops *os = &os_linux;

/* The status that is known of pid, once it is in this state. */
static int status_in(pid_t pid, char state)
{
    struct os_proc info = {0};
    for (uint64_t until = os->now_ns() + LIMIT_NS; info.state != state;) {
        poll(NULL, 0, 1); /* allow-sleep: between two looks */
        assert_int_equal(os->proc_info(pid, &info), 0);
        assert_true(os->now_ns() < until);
    }
    return info.wait_status;
}

static void check_end(int sig, int exit_status)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (sig != 0)
            pause();
        _exit(exit_status);
    }
    if (sig != 0) {
        assert_int_equal(status_in(pid, 'S'), 0);
        kill(pid, SIGSTOP);
        assert_int_equal(status_in(pid, 'T'), 0);
        kill(pid, SIGCONT);
        kill(pid, sig);
    }
    siginfo_t end; /* all of its threads have ended: a sanitizer has one of its own */
    assert_int_equal(waitid(P_PID, (id_t)pid, &end, WEXITED | WNOWAIT), 0);
    int known = status_in(pid, 'Z');
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(known, status);
    struct guard_exit how = exit_from_wait(known);
    assert_int_equal(exit_signal(how), sig);
    assert_int_equal(exit_shell_code(how), sig != 0 ? 128 + sig : exit_status);
}

static void test_status_before_the_reaping(void **state)
{
    (void)state;
    check_end(SIGKILL, 0);
    check_end(SIGTERM, 0);
    check_end(0, 7);
    check_end(0, 255);
    check_end(0, 0);
    int core = 0x80;
    assert_int_equal(exit_from_wait(SIGSEGV | core).code, CLD_DUMPED);
    assert_int_equal(exit_from_wait(SIGSEGV | core).status, SIGSEGV);
}

static void *second_thread(void *arg)
{
    (void)arg;
    for (;;)
        pause();
    return NULL;
}

/* The first thread has ended, with a status, and the process goes on: that is no end. */
static void test_first_thread_alone(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        pthread_create(&t, NULL, second_thread, NULL);
        syscall(SYS_exit, 3);
    }
    assert_int_equal(status_in(pid, 'Z'), 0);
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* The child of die_large: takes memory, leaves the bell with the kernel, says so, and waits for its death. */
static _Noreturn void be_large(uint32_t *bell, uint32_t *ready, size_t bytes)
{
    struct robust_list_head *head = NULL;
    size_t n;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || syscall(SYS_get_robust_list, 0, &head, &n) != 0 || head == NULL)
        _exit(1);
    memset(memory, 1, bytes);
    head->list_op_pending = (struct robust_list *)(void *)((uint8_t *)bell - head->futex_offset);
    __atomic_store_n(ready, 1, __ATOMIC_SEQ_CST);
    os->futex_wake(ready, 1);
    for (;;)
        pause();
}

/* Whether the bell has rung, with the status to be had, before the pidfd was readable. */
static bool die_large(void)
{
    enum { BYTES = 256 << 20 };
    uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(words, MAP_FAILED);
    uint32_t *bell = &words[0], *ready = &words[64];
    pid_t pid = fork();
    if (pid == 0)
        be_large(bell, ready, BYTES);
    int pidfd = os->pidfd_open(pid);
    while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) == 0)
        assert_int_not_equal(os->futex_wait(ready, 0, os->now_ns() + LIMIT_NS), -ETIMEDOUT);
    __atomic_store_n(bell, RING_FUTEX, __ATOMIC_SEQ_CST);
    pid_t killer = fork(); /* this thread sleeps already when the signal is sent: nearly always, and it does not matter */
    if (killer == 0) {
        poll(NULL, 0, 5); /* allow-sleep: gives the other one time to fall asleep */
        _exit(kill(pid, SIGKILL) != 0);
    }
    assert_int_equal(os->futex_wait(bell, RING_FUTEX, os->now_ns() + LIMIT_NS), 0);
    struct os_proc info;
    assert_int_equal(os->proc_info(pid, &info), 0);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    bool early = poll(&p, 1, 0) == 0;
    assert_int_equal(info.wait_status, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(waitpid(killer, NULL, 0), killer);
    os->close(pidfd);
    munmap(words, 4096);
    return early;
}

static void test_kernel_rings_the_bell_early(void **state)
{
    (void)state;
    enum { TRIES = 10 }; /* another program may hold the CPU until the memory is gone */
    for (int i = 0; i < TRIES; i++)
        if (die_large())
            return;
    fail_msg("the bell never rang before the memory was gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_before_the_reaping),
        cmocka_unit_test(test_first_thread_alone),
        cmocka_unit_test(test_kernel_rings_the_bell_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
