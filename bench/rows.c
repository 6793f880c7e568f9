/* What is measured and what is reported: two tables. docs/benchmarks.md explains each row. */
#include "bench.h"

#include <snakepit/pool.h>

/* X(CONSTANT, name, unit, run, argument, CPUs, when) in the order in which a round runs them: what is compared stands together. */
#define SERIES_LIST(X)                                                                                                         \
    X(IDLE_FRESH, "idle.fresh", "1/s", run_idle, 0, 1, MEASURE_BEFORE)                                                         \
    X(C_RING_2, "c_ring.2core", "ns", run_c_ring, PLACE_TWO, 2, MEASURE_EACH_ROUND)                                            \
    X(HOT_2, "call.hot.2core", "ns", run_call_hot, PLACE_TWO, 2, MEASURE_EACH_ROUND)                                           \
    X(TOOL_ASK, "tool.roundtrip", "ns", run_tool, TOOL_ROUNDTRIP, 2, MEASURE_EACH_ROUND)                                       \
    X(TOOL_FIRST, "tool.nested.first", "ns", run_tool, TOOL_FIRST_LEVELS, 2, MEASURE_EACH_ROUND)                               \
    X(TOOL_LAST, "tool.nested.last", "ns", run_tool, TOOL_LAST_LEVELS, 2, MEASURE_EACH_ROUND)                                  \
    X(STREAM_FIRST_CHUNK, "stream.first", "ns", run_stream, STREAM_FIRST, 2, MEASURE_EACH_ROUND)                               \
    X(STREAM_TALK, "stream.bidi", "ns", run_stream, STREAM_BIDI, 2, MEASURE_EACH_ROUND)                                        \
    X(STREAM_CHUNKS, "stream.small", "1/s", run_stream, STREAM_SMALL, 2, MEASURE_EACH_ROUND)                                   \
    X(PIPE_CHUNKS, "mp.Pipe.stream", "1/s", run_peer, PEER_AT(PEER_PIPE_STREAM, PLACE_TWO), 2, MEASURE_EACH_ROUND)             \
    X(GRPC_CHUNKS, "grpcio.stream", "1/s", run_grpc_stream, 0, 2, MEASURE_EACH_ROUND)                                          \
    X(STREAM_MEMORY, "stream.slow_reader", "bytes", run_stream, STREAM_SLOW, 2, MEASURE_EACH_ROUND)                            \
    X(DEFAULT, "call.hot.default", "ns", run_call_default, 0, 2, MEASURE_EACH_ROUND)                                           \
    X(EMBED, "embed", "ns", run_embed, 0, 1, MEASURE_EACH_ROUND)                                                               \
    X(MP_PIPE_2, "mp.Pipe.2core", "ns", run_peer, PEER_AT(PEER_PIPE, PLACE_TWO), 2, MEASURE_EACH_ROUND)                        \
    X(MP_POOL_2, "mp.Pool.2core", "ns", run_peer, PEER_AT(PEER_POOL, PLACE_TWO), 2, MEASURE_EACH_ROUND)                        \
    X(EXECUTOR_2, "ProcessPoolExecutor.2core", "ns", run_peer, PEER_AT(PEER_EXECUTOR, PLACE_TWO), 2, MEASURE_EACH_ROUND)       \
    X(ZMQ_2, "pyzmq.2core", "ns", run_peer, PEER_AT(PEER_ZMQ, PLACE_TWO), 2, MEASURE_EACH_ROUND)                               \
    X(GRPC_2, "grpcio.2core", "ns", run_grpc_unary, PLACE_TWO, 2, MEASURE_EACH_ROUND)                                          \
    X(C_SOCKET_2, "c_socketpair.2core", "ns", run_c_socketpair, PLACE_TWO, 2, MEASURE_EACH_ROUND)                              \
    X(PY_SOCKET_2, "cpython_socketpair.2core", "ns", run_py_socketpair, PLACE_TWO, 2, MEASURE_EACH_ROUND)                      \
    X(FALLBACK_2, "call.python_fallback.2core", "ns", run_call_fallback, PLACE_TWO, 2, MEASURE_EACH_ROUND)                     \
    X(SUBMIT, "submit.depth64", "1/s", run_submit, 0, 2, MEASURE_EACH_ROUND)                                                   \
    X(GRPC_64, "grpcio.depth64", "1/s", run_grpc_window, 0, 2, MEASURE_EACH_ROUND)                                             \
    X(MANY, "many.10000", "1/s", run_many, 0, 2, MEASURE_EACH_ROUND)                                                           \
    X(MANY_MAP, "many.100000", "1/s", run_many_map, 0, 2, MEASURE_EACH_ROUND)                                                  \
    X(POOL_MAP, "mp.Pool.map", "1/s", run_peer, PEER_AT(PEER_MAP, PLACE_FREE), 2, MEASURE_EACH_ROUND)                          \
    X(C_RING_1, "c_ring.1core", "ns", run_c_ring, PLACE_ONE, 1, MEASURE_EACH_ROUND)                                            \
    X(HOT_1, "call.hot.1core", "ns", run_call_hot, PLACE_ONE, 1, MEASURE_EACH_ROUND)                                           \
    X(MP_PIPE_1, "mp.Pipe.1core", "ns", run_peer, PEER_AT(PEER_PIPE, PLACE_ONE), 1, MEASURE_EACH_ROUND)                        \
    X(MP_POOL_1, "mp.Pool.1core", "ns", run_peer, PEER_AT(PEER_POOL, PLACE_ONE), 1, MEASURE_EACH_ROUND)                        \
    X(EXECUTOR_1, "ProcessPoolExecutor.1core", "ns", run_peer, PEER_AT(PEER_EXECUTOR, PLACE_ONE), 1, MEASURE_EACH_ROUND)       \
    X(ZMQ_1, "pyzmq.1core", "ns", run_peer, PEER_AT(PEER_ZMQ, PLACE_ONE), 1, MEASURE_EACH_ROUND)                               \
    X(GRPC_1, "grpcio.1core", "ns", run_grpc_unary, PLACE_ONE, 1, MEASURE_EACH_ROUND)                                          \
    X(C_SOCKET_1, "c_socketpair.1core", "ns", run_c_socketpair, PLACE_ONE, 1, MEASURE_EACH_ROUND)                              \
    X(PY_SOCKET_1, "cpython_socketpair.1core", "ns", run_py_socketpair, PLACE_ONE, 1, MEASURE_EACH_ROUND)                      \
    X(FALLBACK_1, "call.python_fallback.1core", "ns", run_call_fallback, PLACE_ONE, 1, MEASURE_EACH_ROUND)                     \
    X(CODEC_FLOATS, "codec.floats", "ns", run_codec, CODEC_FLOATS, 1, MEASURE_EACH_ROUND)                                      \
    X(JSON_FLOATS, "json.floats", "ns", run_codec, JSON_FLOATS, 1, MEASURE_EACH_ROUND)                                         \
    X(CODEC_DICT, "codec.dict", "ns", run_codec, CODEC_DICT, 1, MEASURE_EACH_ROUND)                                            \
    X(MARSHAL_DICT, "marshal.dict", "ns", run_codec, MARSHAL_DICT, 1, MEASURE_EACH_ROUND)                                      \
    X(BYTES_FLOOR_1, "socketpair.1MB", "ns", run_bytes_floor, 1, 1, MEASURE_EACH_ROUND)                                        \
    X(BYTES_1, "bytes.1MB", "ns", run_bytes_call, 1, 1, MEASURE_EACH_ROUND)                                                    \
    X(BYTES_FLOOR_10, "socketpair.10MB", "ns", run_bytes_floor, 10, 1, MEASURE_EACH_ROUND)                                     \
    X(BYTES_10, "bytes.10MB", "ns", run_bytes_call, 10, 1, MEASURE_EACH_ROUND)                                                 \
    X(PY_SOCKET_SPARSE, "cpython_socketpair.sparse", "ns", run_py_socketpair_sparse, 2000, 1, MEASURE_EACH_ROUND)              \
    X(SPARSE, "call.sparse", "ns", run_call_sparse, 2000, 1, MEASURE_EACH_ROUND)                                               \
    X(PY_SOCKET_CONTENDED, "cpython_socketpair.contended", "ns", run_py_socketpair_contended, 0, 2, MEASURE_EACH_ROUND)        \
    X(CONTENDED, "call.contended", "ns", run_call_contended, 0, 2, MEASURE_EACH_ROUND)                                         \
    X(CLOCK, "clock.read", "ns", run_recorder, 1, 1, MEASURE_EACH_ROUND)                                                       \
    X(RECORDER, "recorder", "ns", run_recorder, 0, 1, MEASURE_EACH_ROUND)                                                      \
    X(PIDFD, "pidfd.c", "ns", run_pidfd, 0, 1, MEASURE_EACH_ROUND)                                                             \
    X(PIDFD_PY, "pidfd.cpython", "ns", run_pidfd, 1, 1, MEASURE_EACH_ROUND)                                                    \
    X(CRASH, "crash.error", "ns", run_crash, 0, 1, MEASURE_EACH_ROUND)                                                         \
    X(PIDFD_WORKER, "pidfd.worker", "ns", run_crash, 1, 1, MEASURE_EACH_ROUND)                                                 \
    X(CRASH_DOSSIER, "crash.dossier", "ns", run_dossier, 1, 1, MEASURE_EACH_ROUND)                                             \
    X(CRASH_NO_DOSSIER, "crash.dossier.off", "ns", run_dossier, 0, 1, MEASURE_EACH_ROUND)                                      \
    X(LOOK_BUSY_LOOP, "stack.live.busy", "ns", run_look, LOOK_BUSY, 1, MEASURE_EACH_ROUND)                                     \
    X(LOOK_FREE_C, "stack.live.c", "ns", run_look, LOOK_FREE, 1, MEASURE_EACH_ROUND)                                           \
    X(LOOK_AT_STOPPED, "stack.live.stopped", "ns", run_look, LOOK_STOPPED, 1, MEASURE_EACH_ROUND)                              \
    X(FORK_NUMPY, "fork.numpy", "ns", run_peer, PEER_AT(PEER_FORK_NUMPY, PLACE_FREE), 1, MEASURE_EACH_ROUND)                   \
    X(FORK_TORCH, "fork.torch", "ns", run_peer, PEER_AT(PEER_FORK_TORCH, PLACE_FREE), 1, MEASURE_EACH_ROUND)                   \
    X(START_SMALL_FORK, "start", "ns", run_start, START_SMALL, 1, MEASURE_EACH_ROUND)                                          \
    X(NEXT_GOOD, "crash.next_good", "ns", run_next_good, 0, 1, MEASURE_EACH_ROUND)                                             \
    X(RETRY, "barrier.retry", "ns", run_retry, 0, 1, MEASURE_EACH_ROUND)                                                       \
    X(START_POOL, "pool.start", "ns", run_peer_start, PEER_LIFE_POOL, 1, MEASURE_EACH_ROUND)                                   \
    X(KILL_POOL, "pool.next_good", "ns", run_peer_kill, PEER_LIFE_POOL, 1, MEASURE_EACH_ROUND)                                 \
    X(START_FORKSERVER, "forkserver.start", "ns", run_peer_start, PEER_LIFE_FORKSERVER, 1, MEASURE_EACH_ROUND)                 \
    X(KILL_FORKSERVER, "forkserver.next_good", "ns", run_peer_kill, PEER_LIFE_FORKSERVER, 1, MEASURE_EACH_ROUND)               \
    X(START_EXECUTOR, "executor.start", "ns", run_peer_start, PEER_LIFE_EXECUTOR, 1, MEASURE_EACH_ROUND)                       \
    X(KILL_EXECUTOR, "executor.next_good", "ns", run_peer_kill, PEER_LIFE_EXECUTOR, 1, MEASURE_EACH_ROUND)                     \
    X(START_PEBBLE, "pebble.start", "ns", run_peer_start, PEER_LIFE_PEBBLE, 1, MEASURE_EACH_ROUND)                             \
    X(KILL_PEBBLE, "pebble.next_good", "ns", run_peer_kill, PEER_LIFE_PEBBLE, 1, MEASURE_EACH_ROUND)                           \
    X(START_LOKY, "loky.start", "ns", run_peer_start, PEER_LIFE_LOKY, 1, MEASURE_EACH_ROUND)                                   \
    X(KILL_LOKY, "loky.next_good", "ns", run_peer_kill, PEER_LIFE_LOKY, 1, MEASURE_EACH_ROUND)                                 \
    X(START_NUMPY_FORK, "start.numpy", "ns", run_start, START_NUMPY, 1, MEASURE_EACH_ROUND)                                    \
    X(START_NUMPY_EXEC, "start.numpy.exec", "ns", run_start_exec, START_NUMPY, 1, MEASURE_EACH_ROUND)                          \
    X(START_TORCH_FORK, "start.torch", "ns", run_start, START_TORCH, 1, MEASURE_EACH_ROUND)                                    \
    X(START_TORCH_EXEC, "start.torch.exec", "ns", run_start_exec, START_TORCH, 1, MEASURE_EACH_ROUND)                          \
    X(START_32, "start.pool32", "ns", run_start_pool, PIT_START_ZYGOTE, 1, MEASURE_EACH_ROUND)                                 \
    X(START_32_EXEC, "start.pool32.exec", "ns", run_start_pool, PIT_START_EXEC, 1, MEASURE_EACH_ROUND)                         \
    X(CLOSE_32, "close", "ns", run_close_pool, START_NUMPY, 1, MEASURE_EACH_ROUND)                                             \
    X(MEMORY_4, "memory.idle.4", "bytes", run_memory, START_OF(4, PIT_START_ZYGOTE), 1, MEASURE_EACH_ROUND)                    \
    X(MEMORY_32, "memory.idle.32", "bytes", run_memory, START_OF(32, PIT_START_ZYGOTE), 1, MEASURE_EACH_ROUND)                 \
    X(MEMORY_EXEC, "memory.idle.exec", "bytes", run_memory, START_OF(4, PIT_START_EXEC), 1, MEASURE_EACH_ROUND)                \
    X(SIGNAL, "signal.c", "ns", run_signal, 0, 1, MEASURE_EACH_ROUND)                                                          \
    X(CANCEL_PYTHON, "cancel.python", "ns", run_cancel, CANCEL_PYTHON, 1, MEASURE_EACH_ROUND)                                  \
    X(CANCEL_SLEEP, "cancel.sleep", "ns", run_cancel, CANCEL_SLEEP, 1, MEASURE_EACH_ROUND)                                     \
    X(CANCEL_OVERRUN, "cancel.native", "ns", run_cancel, CANCEL_OVERRUN, 1, MEASURE_EACH_ROUND)                                \
    X(CANCEL_WHOLE, "cancel.native.whole", "ns", run_cancel, CANCEL_WHOLE, 1, MEASURE_EACH_ROUND)                              \
    X(IDLE_AFTER, "idle.after_load", "1/s", run_idle, 0, 1, MEASURE_AFTER)

enum {
#define SERIES_ENUM(constant, name, unit, run, argument, cpus, when) S_##constant,
    SERIES_LIST(SERIES_ENUM)
#undef SERIES_ENUM
        SERIES_COUNT
};

const struct series series_list[] = {
#define SERIES_ENTRY(constant, name, unit, run, argument, cpus, when) {name, unit, run, argument, cpus, when},
    SERIES_LIST(SERIES_ENTRY)
#undef SERIES_ENTRY
};
const int series_count = SERIES_COUNT;

/* A figure of its own: no floor, no goal. */
#define PLAIN(name, series, stat)                                                                                              \
    {                                                                                                                          \
        name, series, NO_SERIES, stat, NO_SERIES, STAT_P50, 0, false, NULL                                                     \
    }
/* A rate against another, at least goal times. */
#define FASTER(name, series, floor, goal, note)                                                                                \
    {                                                                                                                          \
        name, series, NO_SERIES, STAT_RATE, floor, STAT_RATE, goal, true, note                                                 \
    }
/* series against floor, at most goal times. */
#define AGAINST(name, series, stat, floor, floor_stat, goal, note)                                                             \
    {                                                                                                                          \
        name, series, NO_SERIES, stat, floor, floor_stat, goal, false, note                                                    \
    }

const struct row row_list[] = {
    PLAIN("c_ring.2core", S_C_RING_2, STAT_P50),
    PLAIN("c_ring.1core", S_C_RING_1, STAT_P50),
    PLAIN("c_socketpair.2core", S_C_SOCKET_2, STAT_P50),
    PLAIN("c_socketpair.1core", S_C_SOCKET_1, STAT_P50),
    PLAIN("cpython_socketpair.2core", S_PY_SOCKET_2, STAT_P50),
    PLAIN("cpython_socketpair.1core", S_PY_SOCKET_1, STAT_P50),
    PLAIN("mp.Pipe.2core", S_MP_PIPE_2, STAT_P50),
    PLAIN("mp.Pipe.1core", S_MP_PIPE_1, STAT_P50),
    PLAIN("mp.Pool.2core", S_MP_POOL_2, STAT_P50),
    PLAIN("mp.Pool.1core", S_MP_POOL_1, STAT_P50),
    PLAIN("ProcessPoolExecutor.2core", S_EXECUTOR_2, STAT_P50),
    PLAIN("ProcessPoolExecutor.1core", S_EXECUTOR_1, STAT_P50),
    PLAIN("pyzmq.2core", S_ZMQ_2, STAT_P50),
    PLAIN("pyzmq.1core", S_ZMQ_1, STAT_P50),
    PLAIN("grpcio.2core", S_GRPC_2, STAT_P50),
    PLAIN("grpcio.1core", S_GRPC_1, STAT_P50),
    PLAIN("embed", S_EMBED, STAT_P50),
    PLAIN("pidfd.c", S_PIDFD, STAT_P50),
    PLAIN("pidfd.cpython", S_PIDFD_PY, STAT_P50),
    PLAIN("pidfd.worker", S_PIDFD_WORKER, STAT_P50),

    AGAINST("call.hot.2core", S_HOT_2, STAT_P50, S_C_RING_2, STAT_P50, 3.0,
            "p50 against the C ring. --budget says where the nanoseconds go"),
    AGAINST("call.hot.2core.p99", S_HOT_2, STAT_P99, S_HOT_2, STAT_P50, 3.0,
            "own p99 against own p50. Above it: somebody else ran on the two CPUs, or one side fell asleep between two calls"),
    AGAINST("call.hot.1core", S_HOT_1, STAT_P50, S_C_RING_1, STAT_P50, 1.5,
            "p50 against the futex ring. Two context switches are the floor; above it: somebody spins on the CPU that the "
            "other side needs"),
    AGAINST("call.hot.default", S_DEFAULT, STAT_P50, S_C_RING_2, STAT_P50, 4.0,
            "nothing is pinned: when the kernel puts caller and worker on one CPU the call costs what call.hot.1core does"),
    AGAINST("call.sparse", S_SPARSE, STAT_P50, S_PY_SOCKET_SPARSE, STAT_P50, 1.0,
            "2 ms apart, nothing pinned: both sides pay the wake-up of an idle CPU, which jumps by four with where the kernel "
            "puts them"),
    AGAINST("call.contended", S_CONTENDED, STAT_P99, S_PY_SOCKET_CONTENDED, STAT_P99, 0.1,
            "p99 of 4 callers on 2 workers beside 2 CPU hogs: how often a side loses its CPU while the other waits"),
    AGAINST("call.python_fallback.2core", S_FALLBACK_2, STAT_P50, S_PY_SOCKET_2, STAT_P50, 1.3,
            "pure Python over the socket against a plain Python loop, whose caller sleeps where ours looks for a moment"),
    AGAINST("call.python_fallback.1core", S_FALLBACK_1, STAT_P50, S_PY_SOCKET_1, STAT_P50, 3.0,
            "the same on one CPU, where nothing hides what the pure-Python codec and dispatch cost"),
    FASTER("submit.depth64", S_SUBMIT, S_PY_SOCKET_2, 20.0,
           "futures a second on 2 workers against one plain call after the other: what coalescing of frames and of wake-ups "
           "brings"),
    FASTER("submit.depth64.vs_1core", S_SUBMIT, S_PY_SOCKET_1, 0, NULL),
    FASTER("many.10000", S_MANY, S_PY_SOCKET_2, 40.0,
           "calls a second of batches on 2 workers against one plain call after the other. Three processes share two CPUs; and "
           "where the floor's other side never sleeps (a busy machine), the floor is five times as fast"),
    FASTER("many.10000.vs_1core", S_MANY, S_PY_SOCKET_1, 0, NULL),
    AGAINST("vs.pipe.2core", S_HOT_2, STAT_P50, S_MP_PIPE_2, STAT_P50, 1.0 / 50, "against multiprocessing.Pipe, one core each"),
    AGAINST("vs.pipe.1core", S_HOT_1, STAT_P50, S_MP_PIPE_1, STAT_P50, 1.0 / 4,
            "against multiprocessing.Pipe, one core together"),
    AGAINST("vs.pool.2core", S_HOT_2, STAT_P50, S_MP_POOL_2, STAT_P50, 1.0 / 50, "against multiprocessing.Pool, one core each"),
    AGAINST("vs.pool.1core", S_HOT_1, STAT_P50, S_MP_POOL_1, STAT_P50, 1.0 / 4,
            "against multiprocessing.Pool, one core together"),
    AGAINST("vs.executor.2core", S_HOT_2, STAT_P50, S_EXECUTOR_2, STAT_P50, 1.0 / 50,
            "against concurrent.futures.ProcessPoolExecutor, one core each"),
    AGAINST("vs.executor.1core", S_HOT_1, STAT_P50, S_EXECUTOR_1, STAT_P50, 1.0 / 6,
            "against concurrent.futures.ProcessPoolExecutor, one core together"),
    AGAINST("vs.zmq.2core", S_HOT_2, STAT_P50, S_ZMQ_2, STAT_P50, 1.0 / 50, "against pyzmq REQ/REP over ipc, one core each"),
    AGAINST("vs.zmq.1core", S_HOT_1, STAT_P50, S_ZMQ_1, STAT_P50, 1.0 / 6, "against pyzmq REQ/REP over ipc, one core together"),
    AGAINST("vs.grpc.2core", S_HOT_2, STAT_P50, S_GRPC_2, STAT_P50, 1.0 / 100, "against grpcio unary, one core each"),
    AGAINST("vs.grpc.1core", S_HOT_1, STAT_P50, S_GRPC_1, STAT_P50, 1.0 / 30, "against grpcio unary, one core together"),
    FASTER("vs.grpc.depth64", S_SUBMIT, S_GRPC_64, 100.0, "64 futures under way on both sides"),
    FASTER(
        "vs.pool_map", S_MANY_MAP, S_POOL_MAP, 1.0,
        "100,000 calls, an answer or error for each, against the best chunk size of multiprocessing.Pool(2).map, which sends "
        "a chunk as one message and decides nothing call by call"),
    FASTER("stream.small", S_STREAM_CHUNKS, S_PY_SOCKET_2, 30.0,
           "chunks a second of one stream against one plain call after the other: what a generator, its encoding, the ring and "
           "the callback take, on two CPUs at the same time"),
    FASTER("vs.pipe.stream", S_STREAM_CHUNKS, S_PIPE_CHUNKS, 10.0,
           "stream.small against the same generator in a child that sends each item through a multiprocessing.Pipe"),
    FASTER("vs.grpc.stream", S_STREAM_CHUNKS, S_GRPC_CHUNKS, 50.0, "stream.small against a server stream of grpcio"),
    AGAINST("stream.first", S_STREAM_FIRST_CHUNK, STAT_P50, S_HOT_2, STAT_P50, 1.5,
            "from the opening of a stream to its first chunk in hand, against a hot call"),
    AGAINST("stream.bidi", S_STREAM_TALK, STAT_P50, S_HOT_2, STAT_P50, 1.2,
            "a value to the inbox and its chunk back, against a hot call"),
    {"stream.slow_reader", S_STREAM_MEMORY, NO_SERIES, STAT_P50, NO_SERIES, STAT_P50, 9 << 20, false,
     "bytes that the host has gained at most while 1 GB is offered and its reader is slow: the window, 8 MiB, and 1 MiB"},
    AGAINST("tool.roundtrip", S_TOOL_ASK, STAT_P50, S_HOT_2, STAT_P50, 1.5,
            "a call of the host's tool by Python code inside a call, against a hot call: the same way, from the other side"),
    AGAINST("tool.nested", S_TOOL_LAST, STAT_P50, S_TOOL_FIRST, STAT_P50, 1.2,
            "what a further level of calls inside each other costs among the deepest, against the first ones"),
    AGAINST("tool.nested.level", S_TOOL_FIRST, STAT_P50, S_HOT_2, STAT_P50, 0, NULL),
    AGAINST("codec.floats", S_CODEC_FLOATS, STAT_P50, S_JSON_FLOATS, STAT_P50, 1.0 / 20,
            "a list of 1,000 floats encoded and decoded in the worker against json.dumps and json.loads"),
    AGAINST("codec.dict", S_CODEC_DICT, STAT_P50, S_MARSHAL_DICT, STAT_P50, 1.2,
            "a nested dict of 50 leaves encoded and decoded in the worker against marshal.dumps and marshal.loads"),
    AGAINST("bytes.1MB", S_BYTES_1, STAT_P50, S_BYTES_FLOOR_1, STAT_P50, 1.5,
            "an echo in fragments against recv_into and sendall: how many times the bytes are copied, and into fresh pages"),
    AGAINST("bytes.10MB", S_BYTES_10, STAT_P50, S_BYTES_FLOOR_10, STAT_P50, 1.5, "the same, beyond what caches hold"),
    {"embed.overhead", S_HOT_2, S_C_RING_2, STAT_P50, S_EMBED, STAT_P50, 3.0, false,
     "what the call costs beyond the way to another process, against the same call into an interpreter in this one"},
    AGAINST("embed.isolation", S_HOT_2, STAT_P50, S_EMBED, STAT_P50, 0, NULL),
    AGAINST("recorder", S_RECORDER, STAT_P50, S_CLOCK, STAT_P50, 3.0,
            "an event of the flight recorder, the beginning of a call or its end, against one reading of the clock"),
    AGAINST(
        "crash.error", S_CRASH, STAT_P50, S_PIDFD, STAT_P50, 3.0,
        "kill -9 to the error in the caller's hand against the wake-up of a pidfd of a small C program. Above it: the kernel "
        "did not ring the bell of the dying worker (crash.error.vs_worker is above 1 then), or CPUs that sleep deeply: the "
        "news passes three threads"),
    AGAINST("crash.error.vs_worker", S_CRASH, STAT_P50, S_PIDFD_WORKER, STAT_P50, 1.0,
            "the same against a pidfd of the worker that was killed: above 1 the caller learns of the death when the kernel "
            "has taken the worker's memory down, not before"),
    AGAINST("crash.error.vs_cpython", S_CRASH, STAT_P50, S_PIDFD_PY, STAT_P50, 0, NULL),
    {"crash.dossier", S_CRASH_DOSSIER, NO_SERIES, STAT_P50, NO_SERIES, STAT_P50, 50e6, false,
     "ns from a SIGSEGV in a call to the error with the stacks: the dying worker writes them, unwinds, and looks names up"},
    AGAINST("crash.dossier.off", S_CRASH_NO_DOSSIER, STAT_P50, S_CRASH, STAT_P50, 3.0,
            "the same without a dossier, against a kill -9"),
    {"stack.live.busy", S_LOOK_BUSY_LOOP, NO_SERIES, STAT_P50, NO_SERIES, STAT_P50, 20e6, false,
     "ns for a look at a worker in a loop of Python: it gives the interpreter within its switch interval of 5 ms"},
    {"stack.live.c", S_LOOK_FREE_C, NO_SERIES, STAT_P50, NO_SERIES, STAT_P50, 20e6, false,
     "the same in C, without the interpreter"},
    {"stack.live.stopped", S_LOOK_AT_STOPPED, NO_SERIES, STAT_P50, NO_SERIES, STAT_P50, 20e6, false,
     "the same of one that is stopped: what the kernel says"},
    AGAINST("start.numpy", S_START_NUMPY_FORK, STAT_P50, S_FORK_NUMPY, STAT_P50, 3.0,
            "from the request for a worker with numpy to the answer of its first call, forked from a warm template, against a "
            "bare fork of "
            "a process with numpy: descriptors and shared memory, three processes that take turns, handshake and adapter come "
            "on top"),
    AGAINST("start.numpy.vs_exec", S_START_NUMPY_FORK, STAT_P50, S_START_NUMPY_EXEC, STAT_P50, 1.0 / 30,
            "the same against exec and import"),
    AGAINST("start.torch", S_START_TORCH_FORK, STAT_P50, S_FORK_TORCH, STAT_P50, 3.0, "the same with torch"),
    AGAINST("start.torch.vs_exec", S_START_TORCH_FORK, STAT_P50, S_START_TORCH_EXEC, STAT_P50, 1.0 / 100,
            "the same against exec and import"),
    AGAINST("start.pool32", S_START_32, STAT_P50, S_START_32_EXEC, STAT_P50, 1.0 / 15,
            "32 workers with numpy, all ready, against 32 by exec at once"),
    {"close", S_CLOSE_32, NO_SERIES, STAT_P50, NO_SERIES, STAT_P50, 100e6, false,
     "ns until 32 idle workers with numpy have ended and nothing of their pool is left"},
    AGAINST("memory.idle.4", S_MEMORY_4, STAT_P50, S_MEMORY_EXEC, STAT_P50, 0.3,
            "private dirty memory of an idle worker with numpy, 4 up, against one by exec"),
    AGAINST("memory.idle.32", S_MEMORY_32, STAT_P50, S_MEMORY_EXEC, STAT_P50, 0.3, "the same with 32 up"),
    {"memory.idle", S_MEMORY_32, NO_SERIES, STAT_P50, NO_SERIES, STAT_P50, 3e6, false,
     "bytes of a worker's own: what the first call and the collector write to"},
    AGAINST("crash.next_good", S_NEXT_GOOD, STAT_P50, S_START_SMALL_FORK, STAT_P50, 2.0,
            "kill -9 of a small worker to the next good call on its slot, against a start"),
    AGAINST("barrier.retry", S_RETRY, STAT_P50, S_NEXT_GOOD, STAT_P50, 3.0,
            "kill -9 of the only worker while it runs a call that may be repeated to the good answer of that call, without a "
            "back-off, against the next good call"),
    AGAINST("vs.pool.start", S_START_SMALL_FORK, STAT_P50, S_START_POOL, STAT_P50, 1.0,
            "a pool of one asked for, to its first result: multiprocessing.Pool"),
    AGAINST("vs.forkserver.start", S_START_SMALL_FORK, STAT_P50, S_START_FORKSERVER, STAT_P50, 1.0,
            "a pool of one asked for, to its first result: multiprocessing.Pool by forkserver"),
    AGAINST("vs.executor.start", S_START_SMALL_FORK, STAT_P50, S_START_EXECUTOR, STAT_P50, 1.0,
            "a pool of one asked for, to its first result: ProcessPoolExecutor"),
    AGAINST("vs.pebble.start", S_START_SMALL_FORK, STAT_P50, S_START_PEBBLE, STAT_P50, 1.0,
            "a pool of one asked for, to its first result: Pebble"),
    AGAINST("vs.loky.start", S_START_SMALL_FORK, STAT_P50, S_START_LOKY, STAT_P50, 1.0,
            "a pool of one asked for, to its first result: loky"),
    AGAINST("vs.pool.next_good", S_NEXT_GOOD, STAT_P50, S_KILL_POOL, STAT_P50, 1.0,
            "kill -9 of the worker to the next good result: multiprocessing.Pool"),
    AGAINST("vs.forkserver.next_good", S_NEXT_GOOD, STAT_P50, S_KILL_FORKSERVER, STAT_P50, 1.0,
            "kill -9 of the worker to the next good result: multiprocessing.Pool by forkserver"),
    AGAINST("vs.executor.next_good", S_NEXT_GOOD, STAT_P50, S_KILL_EXECUTOR, STAT_P50, 1.0,
            "kill -9 of the worker to the next good result: ProcessPoolExecutor"),
    AGAINST("vs.pebble.next_good", S_NEXT_GOOD, STAT_P50, S_KILL_PEBBLE, STAT_P50, 1.0,
            "kill -9 of the worker to the next good result: Pebble"),
    AGAINST("vs.loky.next_good", S_NEXT_GOOD, STAT_P50, S_KILL_LOKY, STAT_P50, 1.0,
            "kill -9 of the worker to the next good result: loky"),
    AGAINST(
        "cancel.python", S_CANCEL_PYTHON, STAT_P50, S_SIGNAL, STAT_P50, 5.0,
        "a call that runs a Python loop: from the request to end it to the error in the caller's hand, against one signal from "
        "process to process. The caller does not wait for the worker: what counts are the wake-ups of two threads"),
    AGAINST("cancel.sleep", S_CANCEL_SLEEP, STAT_P50, S_SIGNAL, STAT_P50, 5.0, "the same while Python sleeps"),
    {"cancel.native", S_CANCEL_OVERRUN, NO_SERIES, STAT_P50, NO_SERIES, STAT_P50, 5e6, false,
     "a call in C that reacts to nothing: how long after its deadline the caller has the error"},
    {"cancel.native.whole", S_CANCEL_WHOLE, NO_SERIES, STAT_P50, NO_SERIES, STAT_P50, 50e6, false,
     "the same call: how long beyond the waits of the ladder its slot has answered the next one; a worker is killed, "
     "and another started"},
    {"idle.fresh", S_IDLE_FRESH, NO_SERIES, STAT_PER_SECOND, NO_SERIES, STAT_P50, 1.0, false,
     "wake-ups of all threads of host, guards and workers before any call: a timer, or a poll with a timeout, is left running"},
    {"idle.after_load", S_IDLE_AFTER, NO_SERIES, STAT_PER_SECOND, NO_SERIES, STAT_P50, 1.0, false,
     "the same right after load: a timer of a call, a spin that does not end, or a bell that is rung for nobody"},
};
const int row_count = (int)(sizeof row_list / sizeof row_list[0]);
