/* The death of the thread that serves a lane rings the bell on which the host's caller sleeps.
 *
 * The kernel tells of a death (pidfd, end of the socket, SIGCHLD) only when it has taken the process's memory down: half a millisecond for a
 * bare interpreter, 70 ms a gigabyte. Robust futexes it handles before that: for each thread it is told of one that is being acquired
 * (list_op_pending), and if the thread dies while no owner stands in that word, it wakes one waiter. (handle_futex_death looks at the owner's
 * bits since Linux 6.2, and in stable kernels since the end of 2022. From 5.5 until then it wakes only while the whole word is 0, which a
 * bell with a sleeper never is: those kernels do not ring.) So the bell's word is left there as "being acquired" for as long as the lane is
 * served. The bell never holds a thread's id:
 * RING_FUTEX has none of the bits of FUTEX_TID_MASK.
 *
 * The place belongs to the C library, which uses it in each operation on a robust mutex and empties it then: it is filled again before each
 * wait, and never while something else stands in it. Where there is none (musl before the first robust mutex, a sandbox that refuses
 * get_robust_list) the host learns of the death later, by the pidfd; so it does where the kernel does not ring.
 *
 * Failure: none. Thread: the lane's. */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "_snakepit_lane.h"

void lane_prepare_farewell(struct lane *l)
{
    struct robust_list_head *head = NULL;
    size_t n = 0;
    l->farewell = NULL;
    if (syscall(SYS_get_robust_list, 0, &head, &n) != 0 || head == NULL || n < sizeof *head)
        return;
    l->farewell = (const void **)(void *)&head->list_op_pending;
    l->farewell_at = (const uint8_t *)&l->out.shared->data_bell - head->futex_offset;
    lane_renew_farewell(l);
}

void lane_forget_farewell(struct lane *l)
{
    if (l->farewell != NULL && *l->farewell == l->farewell_at)
        *l->farewell = NULL;
    l->farewell = NULL;
}
