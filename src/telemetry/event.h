/* The emit point: every event of the library goes through telemetry_emit(), and the one table below makes constants, names,
 * documentation (docs/events.md) and the test that each is emitted.
 *
 * Cost: without a subscriber of the event one relaxed load and a branch. Thread: any. No handler runs under a lock of the hub that
 * another emit needs; telemetry_detach waits for running handlers of other threads, unless it is called inside a handler. */
#ifndef PIT_TELEMETRY_EVENT_H
#define PIT_TELEMETRY_EVENT_H

#include <snakepit/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(CONSTANT, name, measurements, metadata): names without "snakepit."; lists separated by blanks. */
#define EVENT_LIST(X)                                                                                                          \
    X(POOL_INIT_STARTED, "pool.init_started", "total_workers", "")                                                             \
    X(POOL_INITIALIZED, "pool.initialized", "duration_ms ready", "")                                                           \
    X(POOL_INIT_COMPLETE, "pool.init_complete", "duration_ms ready total_workers", "")                                         \
    X(POOL_INIT_FAILED, "pool.init_failed", "duration_ms", "reason")                                                           \
    X(POOL_DEGRADED, "pool.degraded", "max_restarts window_ms", "reason text")                                                 \
    X(POOL_RECOVERED, "pool.recovered", "degraded_ms", "")                                                                     \
    X(POOL_WORKER_READY, "pool.worker_ready", "worker_count", "")                                                              \
    X(POOL_WORKER_SPAWN_STARTED, "pool.worker.spawn_started", "", "mode")                                                      \
    X(POOL_WORKER_SPAWNED, "pool.worker.spawned", "duration_ms", "mode python_pid")                                            \
    X(POOL_WORKER_SPAWN_FAILED, "pool.worker.spawn_failed", "duration_ms", "reason text")                                      \
    X(POOL_WORKER_RESTARTED, "pool.worker.restarted", "restarts", "")                                                          \
    X(POOL_WORKER_TERMINATED, "pool.worker.terminated", "lifetime_ms total_commands", "planned exit_class exit_code")          \
    X(POOL_WORKER_LIMIT, "pool.worker_limit", "requested limit", "reason")                                                     \
    X(POOL_QUEUE_ENQUEUED, "pool.queue.enqueued", "depth", "command priority")                                                 \
    X(POOL_QUEUE_DEQUEUED, "pool.queue.dequeued", "depth wait_ms", "command priority")                                         \
    X(POOL_QUEUE_TIMEOUT, "pool.queue.timeout", "depth wait_ms", "command priority")                                           \
    X(POOL_SATURATED, "pool.saturated", "queue_size max_queue_size", "available_workers busy_workers")                         \
    X(POOL_CALL_DISPATCHED, "pool.call.dispatched", "queue_ms", "command queued")                                              \
    X(REQUEST_EXECUTED, "request.executed", "duration_us", "command success queued aborted reason code")                       \
    X(CALL_START, "call.start", "timeout_ms", "command")                                                                       \
    X(CALL_STOP, "call.stop", "duration_ms queue_ms serialize_us python_us deserialize_us bytes_in bytes_out",                 \
      "command status")                                                                                                        \
    X(CALL_EXCEPTION, "call.exception", "duration_ms queue_ms bytes_in bytes_out", "command code category")                    \
    X(CALL_CANCELLED, "call.cancelled", "total_ms flag_ms raise_ms kill_ms", "command rung reason")                            \
    X(CALL_RETRIED, "call.retried", "attempt delay_ms", "command")                                                             \
    X(CALL_POISONED, "call.poisoned", "crashes", "command digest")                                                             \
    X(CALL_LIMIT, "call.limit", "allowed used", "command limit")                                                               \
    X(WORKER_STATE_CHANGED, "worker.state_changed", "", "from to")                                                             \
    X(WORKER_CRASH, "worker.crash", "count", "reason exit_code exit_class stderr dossier_id")                                  \
    X(WORKER_DOSSIER_LOST, "worker.dossier_lost", "count", "dossier_id dir reason")                                            \
    X(WORKER_GIL_ENABLED, "worker.gil_enabled", "threads", "")                                                                 \
    X(WORKER_TAINTED, "worker.tainted", "duration_ms", "reason")                                                               \
    X(WORKER_UNTAINTED, "worker.untainted", "duration_ms", "reason")                                                           \
    X(POOL_ALL_TAINTED, "pool.all_tainted", "count", "")                                                                       \
    X(WORKER_RESTARTED, "worker.restarted", "duration_ms", "reason mode")                                                      \
    X(WORKER_STALLED, "worker.stalled", "stalled_ms", "command")                                                               \
    X(WORKER_HEALTH_CHECK_FAILED, "worker.health_check_failed", "count", "reason")                                             \
    X(HEALTH_ALERT, "health.alert", "count", "pattern")                                                                        \
    X(HEARTBEAT_MONITOR_STARTED, "heartbeat.monitor_started", "count", "dependent")                                            \
    X(HEARTBEAT_MONITOR_STOPPED, "heartbeat.monitor_stopped", "count", "reason")                                               \
    X(HEARTBEAT_MONITOR_FAILURE, "heartbeat.monitor_failure", "failures", "dependent missed_count")                            \
    X(HEARTBEAT_PING_SENT, "heartbeat.ping_sent", "pings", "")                                                                 \
    X(HEARTBEAT_PONG_RECEIVED, "heartbeat.pong_received", "pongs latency_ms", "")                                              \
    X(HEARTBEAT_TIMEOUT, "heartbeat.heartbeat_timeout", "timeouts missed", "")                                                 \
    X(WORKER_RECYCLED, "worker.recycled", "count memory_mb uptime_seconds request_count", "reason memory_threshold_mb")        \
    X(WORKER_LEAK_FORECAST, "worker.leak_forecast", "slope_kb_per_1k eta_calls", "memory_threshold_mb")                        \
    X(LIFECYCLE_PROBE_FAILED, "lifecycle.probe_failed", "", "reason")                                                          \
    X(WORKER_OUTPUT_DROPPED, "worker.output_dropped", "dropped_bytes", "stream")                                               \
    X(ZYGOTE_READY, "zygote.ready", "duration_ms threads modules rss_bytes", "")                                               \
    X(ZYGOTE_UNSAFE, "zygote.unsafe", "duration_ms", "reason library module")                                                  \
    X(ZYGOTE_LOST, "zygote.lost", "lifetime_ms", "reason")                                                                     \
    X(GUARD_LOST, "guard.lost", "count", "reason")                                                                             \
    X(CLEANUP_START, "cleanup.start", "count", "run_id")                                                                       \
    X(CLEANUP_SUCCESS, "cleanup.success", "count duration_ms", "run_id")                                                       \
    X(CLEANUP_TIMEOUT, "cleanup.timeout", "count duration_ms", "run_id survivors")                                             \
    X(CLEANUP_ORPHANS_FOUND, "cleanup.orphans_found", "count duration_ms", "run_id survivors")                                 \
    X(CLEANUP_EMERGENCY, "cleanup.emergency", "count duration_ms", "run_id survivors")                                         \
    X(CLEANUP_REGISTRY_REBUILT, "cleanup.registry_rebuilt", "count duration_ms", "run_id survivors")                           \
    X(SCRIPT_SHUTDOWN_START, "script.shutdown.start", "duration_ms", "exit_mode stop_mode owned status cleanup_result")        \
    X(SCRIPT_SHUTDOWN_STOP, "script.shutdown.stop", "duration_ms", "exit_mode stop_mode owned status cleanup_result")          \
    X(SCRIPT_SHUTDOWN_CLEANUP, "script.shutdown.cleanup", "duration_ms", "exit_mode stop_mode owned status cleanup_result")    \
    X(SCRIPT_SHUTDOWN_EXIT, "script.shutdown.exit", "duration_ms", "exit_mode stop_mode owned status cleanup_result")          \
    X(STREAM_OPENED, "stream.opened", "count", "command direction")                                                            \
    X(STREAM_MESSAGE, "stream.message", "bytes", "command direction")                                                          \
    X(STREAM_HALTED, "stream.halted", "messages", "command reason")                                                            \
    X(STREAM_CLOSED, "stream.closed", "messages duration_ms", "command direction reason")                                      \
    X(TOOL_REGISTERED, "tool.registered", "count", "tool_name side")                                                           \
    X(TOOL_UNREGISTERED, "tool.unregistered", "count", "tool_name side")                                                       \
    X(TOOL_EXECUTION_START, "tool.execution.start", "parameters_bytes", "tool_name side")                                      \
    X(TOOL_EXECUTION_STOP, "tool.execution.stop", "duration_ms parameters_bytes result_bytes", "tool_name side success")       \
    X(TOOL_EXECUTION_EXCEPTION, "tool.execution.exception", "duration_ms parameters_bytes", "tool_name side code")             \
    X(TELEMETRY_REJECTED, "telemetry.rejected", "count", "reason")

enum event_id {
#define EVENT_ENUM(constant, name, measurements, metadata) EVENT_##constant,
    EVENT_LIST(EVENT_ENUM)
#undef EVENT_ENUM
        EVENT_COUNT
};

#define EVENT_MAX_NUMBERS 8
#define EVENT_MAX_TEXTS 8

struct event_common { /* each NULL or 0 when it does not apply; borrowed */
    const char *pool, *worker_id, *session_id, *correlation_id;
    uint64_t generation, call_id;
};

struct telemetry;

struct telemetry *telemetry_create(uint64_t (*now_ns)(void));
/* A warning for the host's log (a handler that failed and was detached). */
void telemetry_set_warn(struct telemetry *t, void (*warn)(void *user, const char *text), void *user);
void telemetry_destroy(struct telemetry *t); /* no emit may be running */
int telemetry_attach(struct telemetry *t, const char *pattern, pit_event_fn fn, void *user,
                     uint64_t *ret_id); /* 0 or PIT_E_* */
int telemetry_detach(struct telemetry *t, uint64_t id);

/* Is anybody interested? One relaxed load: guards the work of collecting what an event says. */
bool telemetry_wants(const struct telemetry *t, enum event_id id);
/* Any event that tells of a call's way (one or two loads)? */
bool telemetry_wants_calls(const struct telemetry *t);
/* numbers and texts in the order of the event's lists: exactly as many as the table names (a test asserts it); texts may be NULL. */
void telemetry_emit(struct telemetry *t, enum event_id id, const struct event_common *common, const double *numbers,
                    const char *const *texts);
/* Is a handler running on this thread? (blocking functions refuse then) */
bool telemetry_in_handler(void);

#endif
