/* The lane's rings: where frames come from, where they go, and how the worker sleeps.
 *
 * The worker trusts its host: frames are used where they stand in the ring. It sleeps without a time limit: the host rings the bell for
 * a frame, and also after it has written to the control socket. It counts that up in the status word `attention` before it rings, and
 * the worker looks at that word between setting the bell and sleeping: so it cannot sleep over it.
 *
 * Failure: ProtocolError, OSError, MemoryError. Thread: the lane's. */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "_snakepit_lane.h"
#include "ring/cpu.h"

#define POLL_PAUSES 96 /* how long the GIL is kept in the hope that the next frame is near */
#define POLL_USUAL_NS 20000
#define QUIET_ANSWERS 64        /* at most so many answers wait for one waking of the host */
#define QUIET_NS 50000          /* and about so long */
#define QUIET_LOOKS 4           /* answers between two looks at the clock */
#define COARSE_LAG_NS 20000000u /* more than one tick of any kernel */

static uint64_t read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t lane_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

bool lane_is_past(struct lane *l, uint64_t stamp)
{
    /* The coarse clock costs a fifth, and lags by at most a tick: only near the deadline is the exact one worth asking. Where the frame came a
     * moment after that clock was read, not even that: whoever sent it looks at the deadline too. */
    uint64_t coarse = l->polled_ns != 0 ? l->polled_ns : read_clock(CLOCK_MONOTONIC_COARSE);
    l->polled_ns = 0;
    if (coarse + COARSE_LAG_NS < stamp)
        return false;
    return lane_now_ns() >= stamp;
}

/* No deadline: whoever has something for a worker rings its bell, and a host that dies takes the worker with it. */
static int sleep_on(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    (void)deadline_ns;
    return syscall(SYS_futex, word, FUTEX_WAIT, expected, NULL, NULL, 0) == 0 ? 0 : -errno;
}

static int wake(const uint32_t *word, int n)
{
    return syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0) < 0 ? -errno : 0;
}

static const struct ring_sys ring_system = {.now_ns = lane_now_ns, .futex_wait = sleep_on, .futex_wake = wake, .cpu = NULL};

/* Reads what has come by the control socket. */
static void read_control(struct lane *l)
{
    if (!l->listens || l->eof || l->control_n == sizeof l->control)
        return;
    ssize_t n = recv(l->control_fd, l->control + l->control_n, sizeof l->control - l->control_n, MSG_DONTWAIT);
    if (n > 0)
        l->control_n += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        l->eof = true;
}

/* Before each sleep, with the bell set, without the GIL: true when the control socket has something. */
static bool look_at_control(struct lane *l)
{
    uint64_t attention = __atomic_load_n(&l->status->attention, __ATOMIC_SEQ_CST);
    if (attention != l->attention) {
        l->attention = attention;
        read_control(l);
    }
    return l->eof || l->control_n != 0;
}

/* The same where a call waits: what has come there is for later, and only the end of the socket counts. */
static bool look_for_end(struct lane *l)
{
    uint64_t attention = __atomic_load_n(&l->status->attention, __ATOMIC_SEQ_CST);
    if (!l->threaded && attention != l->attention) {
        l->attention = attention;
        read_control(l);
    }
    return l->eof;
}

static bool look_before_sleep(void *user)
{
    struct lane *l = user;
    if (__atomic_load_n(&l->reading, __ATOMIC_RELAXED) != 0)
        return inner_look(l) || look_for_end(l);
    return l->threaded ? lane_told_to_stop(l) : look_at_control(l);
}

/* A frame is sent to its end. Another thread may look at the socket meanwhile. */
static bool look_while_sending(void *user)
{
    struct lane *l = user;
    return __atomic_load_n(&l->reading, __ATOMIC_RELAXED) != 0 ? l->eof : look_for_end(l);
}

/* ---- attaching ---- */

static int bad_segment(void)
{
    PyErr_SetString(PyExc_ValueError, "the shared memory has no layout that this package knows");
    return -1;
}

static int map_segment(struct segment_view *v, int fd)
{
    off_t size = lseek(fd, 0, SEEK_END); /* fstat would need glibc 2.33, and nobody reads by the descriptor's place */
    if (size < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    if ((size_t)size < sizeof(struct segment_header))
        return bad_segment();
    void *map = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    v->map = map;
    v->map_n = (size_t)size;
    return 0;
}

void segment_close(struct segment_view *v)
{
    munmap(v->map, v->map_n);
}

int segment_open(int fd, unsigned index, struct segment_view *v)
{
    if (map_segment(v, fd) != 0)
        return -1;
    struct segment_header h;
    memcpy(&h, v->map, sizeof h);
    uint64_t at = h.lane_offset + (uint64_t)index * h.lane_stride;
    if (h.magic != SEGMENT_MAGIC || h.version != SEGMENT_VERSION || index >= h.lanes || h.bytes > v->map_n ||
        h.ring_bytes < RING_MIN_BYTES || (h.ring_bytes & (h.ring_bytes - 1)) != 0 || h.ring_bytes > (1u << 30) ||
        at % SEGMENT_LINE != 0 || at + LANE_BYTES((uint64_t)h.ring_bytes) > h.bytes) {
        segment_close(v);
        return bad_segment();
    }
    v->lane = v->map + at;
    v->ring_bytes = h.ring_bytes;
    return 0;
}

int lane_attach(struct lane *l, int segment_fd, unsigned index)
{
    struct segment_view v;
    if (segment_open(segment_fd, index, &v) != 0)
        return -1;
    uint8_t *lane = v.lane;
    l->map = v.map;
    l->map_n = v.map_n;
    struct ring_shared *request = (struct ring_shared *)(void *)(lane + LANE_REQUEST_OFFSET);
    struct ring_shared *reply = (struct ring_shared *)(void *)(lane + LANE_REPLY_OFFSET(v.ring_bytes));
    l->status = (struct lane_status *)(void *)(lane + LANE_STATUS_OFFSET);
    recorder_attach(l, index);
    ring_reader_init(&l->in, request, lane + LANE_REQUEST_DATA, v.ring_bytes, &ring_system);
    ring_writer_init(&l->out, reply, lane + LANE_REPLY_DATA(v.ring_bytes), v.ring_bytes, &ring_system);
    l->in.waiter.fresh_cpu = &reply->tail_cpu;
    l->in.waiter.stop = look_before_sleep;
    l->out.waiter.stop = l->threaded ? NULL : look_while_sending;
    l->in.waiter.user = l->out.waiter.user = l;
    return 0;
}

/* ---- receiving ---- */

/* Hands what has come by the control socket to Python. 1 to go on, 0 when serving is over, -1 with an exception. */
static int take_control(struct lane *l)
{
    if (l->control_n != 0) {
        PyObject *stop = PyObject_CallFunction(l->on_control, "y#", (char *)l->control, (Py_ssize_t)l->control_n);
        l->control_n = 0;
        if (stop == NULL)
            return -1;
        int truth = PyObject_IsTrue(stop);
        Py_DECREF(stop);
        if (truth < 0)
            return -1;
        if (truth)
            l->stopped = true;
    }
    if (l->threaded && lane_told_to_stop(l))
        l->stopped = true;
    return l->stopped || l->eof ? 0 : 1;
}

/* Wakes the host, if it sleeps. */
static void ring_host(struct lane *l)
{
    l->quiet = 0;
    if (ring_publish(&l->out))
        lane_ring_socket(l);
}

/* Waits a moment with the GIL: giving it up and taking it again costs as much as a quick host's whole turn. */
static bool poll_briefly(struct lane *l)
{
    struct ring_waiter *w = &l->in.waiter;
    uint32_t own = (uint32_t)cpu_current();
    if (l->spin_ns == 0 || w->usual_ns > POLL_USUAL_NS || __atomic_load_n(w->peer_cpu, __ATOMIC_RELAXED) == own ||
        __atomic_load_n(w->fresh_cpu, __ATOMIC_RELAXED) == own)
        return false;
    l->polled_ns = read_clock(CLOCK_MONOTONIC_COARSE);
    for (int i = 0; i < POLL_PAUSES; i++) {
        if (ring_has_data(&l->in)) {
            w->usual_ns -= w->usual_ns / 8;
            return true;
        }
        cpu_pause();
    }
    l->polled_ns = 0;
    return false;
}

/* A waking worker usually preempts the thread that has woken it: right for a caller who waits for the answer, wrong for one who has more
 * calls to write. As a batch process it lets him write on: on two CPUs three times as many calls a second. A policy that somebody
 * else has chosen stays. */
static void follow_policy(struct lane *l)
{
    uint32_t wanted = __atomic_load_n(&l->status->written_ahead, __ATOMIC_RELAXED);
    if (wanted == l->is_batch)
        return;
    l->is_batch = wanted;
    struct sched_param none = {0};
    if (sched_getscheduler(0) == (wanted != 0 ? SCHED_OTHER : SCHED_BATCH))
        (void)sched_setscheduler(0, wanted != 0 ? SCHED_BATCH : SCHED_OTHER, &none);
}

/* 1 when there may be a frame, 0 when serving is over, -1 with an exception. */
static int wait_for_frame(struct lane *l)
{
    int rc;
    if (l->quiet != 0)
        ring_host(l);
    lane_renew_farewell(l);
    if (poll_briefly(l))
        return 1;
    if (ring_settle(&l->in))
        lane_ring_socket(l);
    follow_policy(l);
    Py_BEGIN_ALLOW_THREADS rc = ring_wait_data(&l->in, UINT64_MAX, l->spin_ns);
    Py_END_ALLOW_THREADS if (rc == RING_OK) return 1;
    if (__atomic_load_n(&l->reading, __ATOMIC_RELAXED) != 0)
        return 0; /* for a call that runs: it looks around */
    if (PyErr_CheckSignals() != 0)
        return -1;
    read_control(l);
    return take_control(l);
}

int lane_next(struct lane *l, const uint8_t **ret, size_t *ret_n)
{
    for (;;) {
        int rc = ring_peek(&l->in, ret, ret_n);
        if (rc == RING_FRAGMENTS)
            rc = incoming_read(l, ret, ret_n);
        if (rc == RING_OK)
            return 1;
        if (rc == RING_NO_MEMORY) {
            PyErr_NoMemory();
            return -1;
        }
        if (rc != RING_AGAIN) {
            PyErr_SetString(l->st->ProtocolError, rc == RING_LIMIT ? "a frame is too long" : "the request ring is broken");
            return -1;
        }
        rc = wait_for_frame(l);
        if (rc <= 0)
            return rc;
    }
}

void lane_release(struct lane *l)
{
    if (l->incoming.bytes != NULL)
        Py_CLEAR(l->incoming.bytes);
    if (ring_pass(&l->in))
        lane_ring_socket(l);
}

/* ---- sending ---- */

/* May the host sleep on? Where more calls stand in the ring it need not be woken for each answer, but before long for all of them. */
static bool may_be_quiet(struct lane *l)
{
    if (l->quiet >= QUIET_ANSWERS || !ring_has_data(&l->in))
        return false;
    if (l->quiet++ == 0)
        l->quiet_since = lane_now_ns();
    else if (l->quiet % QUIET_LOOKS == 0 && lane_now_ns() - l->quiet_since > QUIET_NS)
        return false;
    return true;
}

void lane_publish(struct lane *l)
{
    if (may_be_quiet(l))
        ring_publish_quietly(&l->out);
    else
        ring_host(l);
}

static int send_all(struct lane *l, const uint8_t *data, size_t n, bool part, bool more)
{
    size_t done = 0;
    for (;;) {
        int rc = part ? ring_write_part(&l->out, data, n, &done, more) : ring_write(&l->out, data, n, &done);
        if (rc == RING_OK) {
            if (!more)
                lane_publish(l);
            return 0;
        }
        ring_host(l); /* only the host can make room: it must not sleep on, whatever else it waits for */
        if (rc != RING_AGAIN) {
            PyErr_SetString(l->st->ProtocolError, "the reply ring is broken");
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS rc = ring_wait_room(&l->out, UINT64_MAX, l->spin_ns);
        Py_END_ALLOW_THREADS if (rc != RING_OK && PyErr_CheckSignals() != 0) return -1;
        if (rc != RING_OK && __atomic_load_n(&l->reading, __ATOMIC_RELAXED) == 0)
            read_control(l);
        if (l->eof)
            return 1;
    }
}

int lane_send(struct lane *l, const uint8_t *frame, size_t n)
{
    return send_all(l, frame, n, false, false);
}

int lane_send_part(struct lane *l, const uint8_t *part, size_t n, bool more)
{
    return send_all(l, part, n, true, more);
}
