/* The ring channel: frames through the rings of one lane. See channel.h for the contract, ring/ring.h for how the rings work.
 *
 * Invariants
 *  1. `out` belongs to the sending side, `in` and `partial` to the receiving side; they share nothing but `interrupted`, `broken` and
 *     `futile`, which either sets to zero.
 *  2. A frame of which only a part has come stays in `partial`: the next recv(), by whoever holds the lane then, goes on with it.
 *  3. Nothing that the peer does makes a call loop: every call handles at most one ringful; a peer that wakes its waiter FUTILE_WAKES
 *     times within FUTILE_WINDOW_NS for nothing has broken the protocol, and so has one that takes back the position which woke it.
 *
 * Failure: the codes of channel.h; broken rings stay broken. */
#include <snakepit/codes.h>

#include "base/alloc.h"
#include "channel/channel_internal.h"

enum { FUTILE_WAKES = 1000 };
#define FUTILE_WINDOW_NS UINT64_C(100000000)
#define BOTH_SLICE_NS UINT64_C(10000000)

/* Why a wait is to end: for good, or once. */
enum { GONE = 1, ROUSED = 2 };

struct ring_channel {
    struct channel base;
    struct ring_sys sys;
    struct ring_writer out;
    struct ring_reader in;
    struct lane_status *status;
    struct channel_frame partial;
    uint32_t interrupted; /* atomic: GONE, ROUSED */
    uint32_t futile;      /* atomic: wakes for nothing since futile_since_ns, or since something came */
    uint64_t futile_since_ns;
    uint64_t attention; /* the worker's side: status->attention, as whoever waits has seen it */
    int bell_fd;        /* -1: the peer is not rung by the socket */
    void (*let_go)(void *memory);
    void *memory;
};

static struct ring_channel *of(struct channel *c)
{
    return (struct ring_channel *)(void *)c;
}

static bool interrupted(void *user)
{
    const struct ring_channel *r = user;
    return __atomic_load_n(&r->interrupted, __ATOMIC_SEQ_CST) != 0;
}

/* The same for the worker's side, where a wait also ends when the host has written to the control socket. The bell is set when this is asked: a word
 * that comes later rings it. */
static bool spoken_to(void *user)
{
    struct ring_channel *r = user;
    uint64_t attention = __atomic_load_n(&r->status->attention, __ATOMIC_SEQ_CST);
    bool news = attention != r->attention;
    r->attention = attention;
    return news || interrupted(user);
}

/* The peer has made progress: its wakes for nothing are forgiven. */
static void came_on(struct ring_channel *r)
{
    __atomic_store_n(&r->futile, 0, __ATOMIC_RELAXED);
}

/* One zero byte. If there is no room for it the peer's socket is readable already. */
static void ring_socket(struct ring_channel *r, bool wanted)
{
    static const uint8_t bell = 0;
    if (wanted && r->bell_fd >= 0)
        r->base.os->send(r->bell_fd, &bell, 1);
}

/* tell: at once. Where there is no room the worker is told in any case: only it can make some. */
static inline int write_frame(struct channel *c, const uint8_t *frame, size_t n, size_t *done, bool tell)
{
    struct ring_channel *r = of(c);
    int broken = channel_broken(c);
    if (broken != 0)
        return broken;
    size_t had = *done;
    int rc = ring_write(&r->out, frame, n, done);
    if (*done != had)
        came_on(r);
    if (tell || rc != RING_OK)
        ring_socket(r, ring_publish(&r->out));
    if (rc == RING_BROKEN)
        return channel_break(c, PIT_E_PROTOCOL_ERROR);
    return rc == RING_OK ? 0 : CHANNEL_AGAIN;
}

static int ring_channel_send(struct channel *c, const uint8_t *frame, size_t n, size_t *done)
{
    return write_frame(c, frame, n, done, true);
}

static int ring_channel_put(struct channel *c, const uint8_t *frame, size_t n, size_t *done)
{
    return write_frame(c, frame, n, done, false);
}

static void ring_channel_tell(struct channel *c)
{
    ring_socket(of(c), ring_publish(&of(c)->out));
}

static uint8_t *room_in(void *user, size_t total)
{
    return frame_room(user, total);
}

static int ring_channel_recv(struct channel *c, struct channel_frame *f)
{
    struct ring_channel *r = of(c);
    int broken = channel_broken(c);
    if (broken != 0)
        return broken;
    size_t n;
    uint64_t had = r->in.got;
    bool resume = had != 0;
    struct channel_frame *into = resume ? &r->partial : f;
    if (!resume)
        frame_clear(f);
    int rc = ring_read(&r->in, room_in, into, c->max_frame, &n);
    switch (rc) {
    case RING_OK:
        ring_socket(r, ring_pass(&r->in));
        came_on(r);
        if (resume)
            frame_move(f, &r->partial);
        return 0;
    case RING_AGAIN:
    case RING_NO_MEMORY:
        ring_socket(r, ring_take_socket_bell(&r->in));
        if (r->in.got != had) /* a late bell of the fragment before is no offence */
            came_on(r);
        if (!resume && r->in.got != 0)
            frame_move(&r->partial, f);
        return rc == RING_AGAIN ? CHANNEL_AGAIN : PIT_E_ALLOCATION_FAILED;
    default:
        return channel_break(c, rc == RING_LIMIT ? PIT_E_LIMIT_EXCEEDED : PIT_E_PROTOCOL_ERROR);
    }
}

/* A wake that brought nothing. A few are normal; a peer that goes on with them burns the host's time. */
static void count_futile(struct ring_channel *r)
{
    if (interrupted(r))
        return;
    uint32_t before = __atomic_fetch_add(&r->futile, 1, __ATOMIC_RELAXED);
    if (before == 0)
        r->futile_since_ns = r->sys.now_ns();
    if (before + 1 < FUTILE_WAKES)
        return;
    if (r->sys.now_ns() - r->futile_since_ns < FUTILE_WINDOW_NS)
        channel_break(&r->base, PIT_E_PROTOCOL_ERROR);
    came_on(r);
}

/* A thread sleeps on one word, and room and frames have one each. Who waits for both sleeps on that of the room, which is what a peer in
 * order makes within microseconds, and looks for frames in between. */
static int wait_for_both(struct ring_channel *r, uint64_t deadline_ns, uint64_t spin_ns)
{
    if (ring_wait_data(&r->in, 0, 0) == RING_OK)
        return RING_OK;
    uint64_t slice = r->sys.now_ns() + BOTH_SLICE_NS;
    int rc = ring_wait_room(&r->out, slice < deadline_ns ? slice : deadline_ns, spin_ns);
    return rc == RING_AGAIN && slice < deadline_ns ? RING_OK : rc;
}

/* To be asked once for each time that it was roused. */
static bool ended(struct ring_channel *r)
{
    if (channel_broken(&r->base) != 0)
        return true;
    return interrupted(r) && __atomic_fetch_and(&r->interrupted, ~(uint32_t)ROUSED, __ATOMIC_SEQ_CST) != 0;
}

static int ring_channel_wait(struct channel *c, int what, uint64_t deadline_ns, uint64_t spin_ns)
{
    struct ring_channel *r = of(c);
    if (ended(r))
        return 0;
    ring_socket(r, ring_settle(&r->in));
    int rc = what == CHANNEL_FOR_FRAME  ? ring_wait_data(&r->in, deadline_ns, spin_ns)
             : what == CHANNEL_FOR_ROOM ? ring_wait_room(&r->out, deadline_ns, spin_ns)
                                        : wait_for_both(r, deadline_ns, spin_ns);
    if (rc == RING_SPURIOUS)
        count_futile(r);
    return rc == RING_AGAIN ? CHANNEL_AGAIN : 0;
}

static void ring_channel_disarm(struct channel *c)
{
    ring_disarm_data(&of(c)->in);
    ring_disarm_room(&of(c)->out);
}

static bool ring_channel_arm(struct channel *c, int what)
{
    struct ring_channel *r = of(c);
    if (ended(r))
        return false;
    ring_socket(r, ring_settle(&r->in));
    if (((what & CHANNEL_FOR_FRAME) != 0 && !ring_arm_data(&r->in)) ||
        ((what & CHANNEL_FOR_ROOM) != 0 && !ring_arm_room(&r->out))) {
        ring_channel_disarm(c);
        return false;
    }
    return true;
}

static void wake_waiter(struct channel *c, uint32_t why)
{
    struct ring_channel *r = of(c);
    __atomic_fetch_or(&r->interrupted, why, __ATOMIC_SEQ_CST);
    ring_nudge(&r->sys, &r->in.shared->data_bell);
    ring_nudge(&r->sys, &r->out.shared->room_bell);
}

static void ring_channel_interrupt(struct channel *c)
{
    wake_waiter(c, GONE);
}

static void ring_channel_rouse(struct channel *c)
{
    wake_waiter(c, ROUSED);
}

static void ring_channel_nudge(struct channel *c)
{
    struct ring_channel *r = of(c);
    __atomic_fetch_add(&r->status->attention, 1, __ATOMIC_SEQ_CST);
    ring_nudge(&r->sys, &r->out.shared->data_bell);
    ring_nudge(&r->sys, &r->in.shared->room_bell);
}

static void ring_channel_destroy(struct channel *c)
{
    struct ring_channel *r = of(c);
    channel_frame_finish(&r->partial);
    if (r->let_go != NULL)
        r->let_go(r->memory);
    mem_free(r);
}

#define RING_OPS(kind)                                                                                                         \
    {                                                                                                                          \
        .name = kind, .send = ring_channel_send, .put = ring_channel_put, .tell = ring_channel_tell,                           \
        .recv = ring_channel_recv, .wait = ring_channel_wait, .arm = ring_channel_arm, .disarm = ring_channel_disarm,          \
        .interrupt = ring_channel_interrupt, .rouse = ring_channel_rouse, .nudge = ring_channel_nudge,                         \
        .destroy = ring_channel_destroy                                                                                        \
    }

static const struct channel_ops ring_ops = RING_OPS("ring"), memory_ops = RING_OPS("memory");

struct channel *ring_channel_new(const struct os_ops *os, void *segment, unsigned index, uint32_t ring_bytes, size_t max_frame,
                                 enum ring_side side, int bell_fd)
{
    struct ring_channel *r = mem_zalloc(sizeof *r);
    if (r == NULL)
        return NULL;
    r->base = (struct channel){.ops = &ring_ops, .os = os, .max_frame = max_frame};
    r->sys = (struct ring_sys){.now_ns = os->now_ns, .futex_wait = os->futex_wait, .futex_wake = os->futex_wake};
    r->bell_fd = bell_fd;
    channel_frame_init(&r->partial);
    r->status = channel_ring_status(segment, index, ring_bytes);
    uint8_t *lane = (uint8_t *)(void *)r->status;
    uint8_t *request = lane + LANE_REQUEST_OFFSET, *reply = lane + LANE_REPLY_OFFSET(ring_bytes);
    uint8_t *out = side == RING_HOST ? request : reply, *in = side == RING_HOST ? reply : request;
    ring_writer_init(&r->out, (struct ring_shared *)(void *)out, out + sizeof(struct ring_shared), ring_bytes, &r->sys);
    ring_reader_init(&r->in, (struct ring_shared *)(void *)in, in + sizeof(struct ring_shared), ring_bytes, &r->sys);
    /* the peer's other position is the later word on its CPU: it moves when the peer takes a frame up, before it answers */
    r->in.waiter.fresh_cpu = &r->out.shared->tail_cpu;
    r->in.waiter.stop = r->out.waiter.stop = side == RING_HOST ? interrupted : spoken_to;
    r->in.waiter.user = r->out.waiter.user = r;
    return &r->base;
}

void ring_channel_own(struct channel *c, void (*let_go)(void *memory), void *memory)
{
    c->ops = &memory_ops;
    of(c)->let_go = let_go;
    of(c)->memory = memory;
}

struct channel *channel_ring_create(const struct os_ops *os, void *segment, unsigned index, uint32_t ring_bytes,
                                    size_t max_frame)
{
    return ring_channel_new(os, segment, index, ring_bytes, max_frame, RING_HOST, -1);
}

struct channel *channel_ring_create_worker(const struct os_ops *os, void *segment, unsigned index, uint32_t ring_bytes,
                                           size_t max_frame, int control_fd)
{
    return ring_channel_new(os, segment, index, ring_bytes, max_frame, RING_WORKER, control_fd);
}
