/* Status codes of libsnakepit: one list for constants, names, categories, retriability and texts.
 *
 * Every fallible function returns 0 (PIT_OK) or one of the negative PIT_E_* constants. A code's number never changes; new codes
 * are added at the end of their category's hundred. */
#ifndef SNAKEPIT_CODES_H
#define SNAKEPIT_CODES_H

/* X(CONSTANT, name, CATEGORY, number, retriable, text) */
#define PIT_CODE_LIST(X)                                                                                                       \
    X(QUEUE_TIMEOUT, queue_timeout, TIMEOUT, -100, 1, "the call waited too long for a free worker and never ran")              \
    X(DEADLINE_EXCEEDED, deadline_exceeded, TIMEOUT, -101, 1, "the call's deadline passed before it had a result")             \
    X(START_TIMEOUT, start_timeout, TIMEOUT, -102, 1, "the worker was not ready in time")                                      \
    X(CLEANUP_TIMEOUT, cleanup_timeout, TIMEOUT, -103, 0,                                                                      \
      "some processes were still alive when the time for cleaning up ended")                                                   \
    X(POOL_NOT_FOUND, pool_not_found, POOL, -200, 0, "no pool has this name")                                                  \
    X(POOL_NOT_INITIALIZED, pool_not_initialized, POOL, -201, 1, "the pool has no worker because every start failed")          \
    X(POOL_SATURATED, pool_saturated, POOL, -202, 1, "the pool's queue is full")                                               \
    X(NO_WORKERS_AVAILABLE, no_workers_available, POOL, -203, 1, "no worker is free and the call must not wait")               \
    X(NO_WORKERS_STARTED, no_workers_started, POOL, -204, 0, "no worker of the pool could be started")                         \
    X(NOT_READY, not_ready, POOL, -205, 1, "no worker was ready in time")                                                      \
    X(WORKER_BUSY, worker_busy, POOL, -206, 1, "the worker is busy and the call must not wait")                                \
    X(WORKER_AT_CAPACITY, worker_at_capacity, POOL, -207, 1, "the worker runs as many calls as it may")                        \
    X(DUPLICATE_POOL_NAME, duplicate_pool_name, POOL, -208, 0, "two pools have the same name")                                 \
    X(INVALID_POOL_NAME, invalid_pool_name, POOL, -209, 0, "a pool's name is 1 to 64 letters, digits, '_', '.' or '-'")        \
    X(INVALID_POOL_SIZE, invalid_pool_size, POOL, -210, 0, "a pool needs at least one worker")                                 \
    X(POOL_MISMATCH, pool_mismatch, POOL, -211, 0, "the worker belongs to another pool")                                       \
    X(SHUTTING_DOWN, shutting_down, POOL, -212, 0, "the pool is being closed")                                                 \
    X(ADAPTER_INVALID, adapter_invalid, POOL, -213, 0, "the adapter cannot be used")                                           \
    X(ADAPTER_INIT_FAILED, adapter_init_failed, POOL, -214, 0, "the adapter's initialisation failed")                          \
    X(ADAPTER_NOT_THREAD_SAFE, adapter_not_thread_safe, POOL, -215, 0, "the adapter does not declare that it is thread-safe")  \
    X(PROFILE_UNAVAILABLE, profile_unavailable, POOL, -216, 0, "this interpreter cannot run the worker profile")               \
    X(GUARD_UNAVAILABLE, guard_unavailable, POOL, -217, 0, "the guard process could not be started")                           \
    X(START_FAILED, start_failed, POOL, -218, 1, "the worker ended before it was ready")                                       \
    X(WORKER_CRASH, worker_crash, WORKER, -300, 1, "the worker died while it ran the call")                                    \
    X(GUARD_LOST, guard_lost, WORKER, -301, 1, "the guard process died, and the worker with it")                               \
    X(WORKER_KILLED, worker_killed, WORKER, -302, 1, "the worker was killed on purpose while it ran the call")                 \
    X(WORKER_RECYCLED, worker_recycled, WORKER, -303, 1, "the worker was recycled before the call ended")                      \
    X(WORKER_NOT_FOUND, worker_not_found, WORKER, -304, 0, "no worker has this id")                                            \
    X(STALE_WORKER, stale_worker, WORKER, -305, 0, "the worker of this generation is gone")                                    \
    X(HEARTBEAT_TIMEOUT, heartbeat_timeout, WORKER, -306, 1, "the worker stopped answering heartbeats")                        \
    X(PROTOCOL_ERROR, protocol_error, WORKER, -307, 0, "the worker broke the protocol")                                        \
    X(PROTOCOL_MISMATCH, protocol_mismatch, WORKER, -308, 0, "the worker speaks no protocol version that this library speaks") \
    X(WORKER_LOST, worker_lost, WORKER, -309, 1, "the connection to the worker was lost")                                      \
    X(POISON_CALL, poison_call, WORKER, -310, 0, "this call has killed several workers and is refused")                        \
    X(SESSION_WORKER_UNAVAILABLE, session_worker_unavailable, SESSION, -400, 0, "the worker that holds the session is gone")   \
    X(SESSION_QUOTA_EXCEEDED, session_quota_exceeded, SESSION, -401, 0, "there are as many sessions as may be")                \
    X(SESSION_UPDATE_FAILED, session_update_failed, SESSION, -402, 0, "the session was not changed: the callback failed")      \
    X(SESSION_NOT_FOUND, session_not_found, SESSION, -403, 0, "no session has this id")                                        \
    X(INVALID_SESSION_ID, invalid_session_id, SESSION, -404, 0, "a session id is 1 to 256 bytes of UTF-8")                     \
    X(INVALID_TTL, invalid_ttl, SESSION, -405, 0, "a time to live is not negative")                                            \
    X(CAPABILITY_NOT_FOUND, capability_not_found, SESSION, -406, 0, "no worker offers this capability")                        \
    X(INVALID_REQUEST, invalid_request, VALIDATION, -500, 0, "the request is malformed")                                       \
    X(INVALID_PARAMETER, invalid_parameter, VALIDATION, -501, 0, "an argument has a value that is not allowed")                \
    X(INVALID_TIMEOUT, invalid_timeout, VALIDATION, -502, 0, "a timeout is a positive number of milliseconds or infinite")     \
    X(INVALID_AFFINITY, invalid_affinity, VALIDATION, -503, 0, "unknown affinity mode")                                        \
    X(INVALID_AUTOSCALE, invalid_autoscale, VALIDATION, -504, 0, "the autoscale settings contradict each other")               \
    X(INVALID_CAPACITY_STRATEGY, invalid_capacity_strategy, VALIDATION, -505, 0, "unknown capacity strategy")                  \
    X(INVALID_PROFILE, invalid_profile, VALIDATION, -506, 0, "unknown worker profile")                                         \
    X(INVALID_TIMEOUT_PROFILE, invalid_timeout_profile, VALIDATION, -507, 0, "unknown timeout profile")                        \
    X(INVALID_WORKER_TTL, invalid_worker_ttl, VALIDATION, -508, 0, "the worker's time to live is not a duration")              \
    X(INVALID_WORKER_MAX_REQUESTS, invalid_worker_max_requests, VALIDATION, -509, 0, "worker_max_requests is at least 1")      \
    X(INVALID_INTERVAL, invalid_interval, VALIDATION, -510, 0, "an interval is a positive number of milliseconds")             \
    X(UNSUPPORTED_OPTION, unsupported_option, VALIDATION, -511, 0,                                                             \
      "an option is set that this version of the library does not know")                                                       \
    X(UNKNOWN_KEY, unknown_key, VALIDATION, -512, 0, "the configuration has a key that does not exist")                        \
    X(MISSING_KEY, missing_key, VALIDATION, -513, 0, "the configuration lacks a required key")                                 \
    X(CONFIG_CONFLICT, config_conflict, VALIDATION, -514, 0, "two settings exclude each other")                                \
    X(CONFIG_SYNTAX, config_syntax, VALIDATION, -515, 0, "the configuration cannot be parsed")                                 \
    X(VALIDATION_FAILED, validation_failed, VALIDATION, -516, 0, "several settings are wrong")                                 \
    X(DUPLICATE_KEY, duplicate_key, VALIDATION, -517, 0, "a key stands twice in one map")                                      \
    X(LIMIT_EXCEEDED, limit_exceeded, VALIDATION, -518, 0, "a size limit was passed")                                          \
    X(WRONG_THREAD, wrong_thread, VALIDATION, -519, 0, "this function must not be called from this thread")                    \
    X(LEASE_LOST, lease_lost, VALIDATION, -520, 0, "the lease has ended")                                                      \
    X(FORKED, forked, VALIDATION, -521, 0, "this handle belongs to the process that this one was forked from")                 \
    X(CALLBACK_FAILED, callback_failed, VALIDATION, -522, 0, "a callback returned an unknown status")                          \
    X(NESTING_TOO_DEEP, nesting_too_deep, VALIDATION, -523, 0, "calls are nested too deeply")                                  \
    X(WOULD_DEADLOCK, would_deadlock, VALIDATION, -524, 0, "the call would wait for itself")                                   \
    X(NOT_FOUND, not_found, VALIDATION, -525, 0, "there is no such thing")                                                     \
    X(ALREADY_EXISTS, already_exists, VALIDATION, -526, 0, "it exists already")                                                \
    X(INVALID_PYTHON, invalid_python, VALIDATION, -527, 0, "the Python interpreter does not exist or does not run")            \
    X(PYTHON_NOT_FOUND, python_not_found, VALIDATION, -528, 0, "no Python interpreter was found")                              \
    X(PYTHON_TOO_OLD, python_too_old, VALIDATION, -529, 0, "the Python interpreter is older than 3.9")                         \
    X(PACKAGE_ERROR, package_error, VALIDATION, -530, 0, "a Python package is missing or could not be installed")              \
    X(TOOL_NOT_FOUND, tool_not_found, TOOL, -600, 0, "no tool has this name")                                                  \
    X(INVALID_TOOL_NAME, invalid_tool_name, TOOL, -601, 0, "a tool's name is 1 to 64 letters, digits, '_', '.' or '-'")        \
    X(INVALID_METADATA, invalid_metadata, TOOL, -602, 0, "the metadata is too large or of a kind that is not allowed")         \
    X(DUPLICATE_TOOL, duplicate_tool, TOOL, -603, 0, "a tool of this name exists in this scope")                               \
    X(TOOL_EXECUTION_FAILED, tool_execution_failed, TOOL, -604, 0, "the host tool failed")                                     \
    X(NOT_A_HOST_TOOL, not_a_host_tool, TOOL, -605, 0, "the tool belongs to a worker")                                         \
    X(AMBIGUOUS_TOOL, ambiguous_tool, TOOL, -606, 0, "several pools have a tool of this name")                                 \
    X(TOOL_PROVIDER_GONE, tool_provider_gone, TOOL, -607, 1, "the client that offered the tool has left")                      \
    X(STREAMING_NOT_SUPPORTED, streaming_not_supported, TOOL, -608, 0, "the tool cannot stream")                               \
    X(STREAMING_REQUIRED, streaming_required, TOOL, -609, 0, "the tool streams and must be called as a stream")                \
    X(UNSERIALIZABLE, unserializable, VALUE, -700, 0, "a value cannot leave its process")                                      \
    X(INVALID_UTF8, invalid_utf8, VALUE, -701, 0, "a text is not valid UTF-8")                                                 \
    X(UNSUPPORTED_DTYPE, unsupported_dtype, VALUE, -702, 0, "unknown element type")                                            \
    X(UNSUPPORTED_TYPE, unsupported_type, VALUE, -703, 0, "unknown type")                                                      \
    X(DESERIALIZATION_FAILED, deserialization_failed, VALUE, -704, 0, "the bytes or the text are not a value")                 \
    X(SHAPE_MISMATCH, shape_mismatch, VALUE, -705, 0, "the shapes do not fit")                                                 \
    X(DTYPE_MISMATCH, dtype_mismatch, VALUE, -706, 0, "the element types do not fit")                                          \
    X(DEVICE_MISMATCH, device_mismatch, VALUE, -707, 0, "the tensors are on different devices")                                \
    X(INVALID_ZERO_COPY_KIND, invalid_zero_copy_kind, VALUE, -708, 0, "the handle is of another kind")                         \
    X(ZERO_COPY_HANDLE_NOT_FOUND, zero_copy_handle_not_found, VALUE, -709, 0, "no open handle has this id")                    \
    X(ZERO_COPY_UNAVAILABLE, zero_copy_unavailable, VALUE, -710, 0, "the data cannot be handed over without a copy")           \
    X(REF_NOT_FOUND, ref_not_found, VALUE, -711, 0, "no object has this reference")                                            \
    X(REF_SESSION_MISMATCH, ref_session_mismatch, VALUE, -712, 0, "the object belongs to another session")                     \
    X(INVALID_REF, invalid_ref, VALUE, -713, 0, "the reference is malformed or its worker is gone")                            \
    X(ALLOCATION_FAILED, allocation_failed, RESOURCE, -800, 0, "out of memory in the host")                                    \
    X(SYSTEM_ERROR, system_error, RESOURCE, -801, 0, "a system call failed")                                                   \
    X(MMAP_FAILED, mmap_failed, RESOURCE, -802, 0, "shared memory could not be mapped")                                        \
    X(CUDA_ERROR, cuda_error, RESOURCE, -803, 0, "the GPU driver reported an error")                                           \
    X(OUT_OF_MEMORY, out_of_memory, RESOURCE, -804, 0, "out of memory in the worker")                                          \
    X(CALL_LIMIT_EXCEEDED, call_limit_exceeded, RESOURCE, -805, 0, "the call used more than its limits allow")                 \
    X(DEVICE_NOT_AVAILABLE, device_not_available, RESOURCE, -806, 0, "the device is not there")                                \
    X(NO_DEVICE, no_device, RESOURCE, -807, 0, "none of the devices is there")                                                 \
    X(SANDBOX_DENIED, sandbox_denied, RESOURCE, -808, 0, "the sandbox cannot be set up as demanded")                           \
    X(PYTHON_EXCEPTION, python_exception, PYTHON_ERROR, -900, 0, "the Python code raised an exception")                        \
    X(VALUE_ERROR, value_error, PYTHON_ERROR, -901, 0, "the Python code raised ValueError")                                    \
    X(KEY_ERROR, key_error, PYTHON_ERROR, -902, 0, "the Python code raised KeyError")                                          \
    X(INDEX_ERROR, index_error, PYTHON_ERROR, -903, 0, "the Python code raised IndexError")                                    \
    X(TYPE_ERROR, type_error, PYTHON_ERROR, -904, 0, "the Python code raised TypeError")                                       \
    X(ATTRIBUTE_ERROR, attribute_error, PYTHON_ERROR, -905, 0, "the Python code raised AttributeError")                        \
    X(IMPORT_ERROR, import_error, PYTHON_ERROR, -906, 0, "the Python code raised ImportError")                                 \
    X(RUNTIME_ERROR, runtime_error, PYTHON_ERROR, -907, 0, "the Python code raised RuntimeError")                              \
    X(NOT_IMPLEMENTED, not_implemented, PYTHON_ERROR, -908, 0, "the Python code raised NotImplementedError")                   \
    X(FILE_NOT_FOUND, file_not_found, PYTHON_ERROR, -909, 0, "the Python code raised FileNotFoundError")                       \
    X(PERMISSION_ERROR, permission_error, PYTHON_ERROR, -910, 0, "the Python code raised PermissionError")                     \
    X(ZERO_DIVISION, zero_division, PYTHON_ERROR, -911, 0, "the Python code raised ZeroDivisionError")                         \
    X(PYTHON_TIMEOUT, python_timeout, PYTHON_ERROR, -912, 0, "the Python code raised TimeoutError")                            \
    X(CIRCUIT_OPEN, circuit_open, BREAKER, -1000, 1, "the circuit breaker is open after repeated failures")                    \
    X(CANCELLED, cancelled, CANCELLED, -1100, 0, "the call was cancelled")                                                     \
    X(CONNECTION_REFUSED, connection_refused, TRANSPORT, -1200, 1, "nothing listens at this address")                          \
    X(UNAVAILABLE, unavailable, TRANSPORT, -1201, 1, "the service cannot be reached")                                          \
    X(UNAUTHENTICATED, unauthenticated, TRANSPORT, -1202, 0, "no valid credentials were given")                                \
    X(PERMISSION_DENIED, permission_denied, TRANSPORT, -1203, 0, "this is not allowed")                                        \
    X(RATE_LIMITED, rate_limited, TRANSPORT, -1204, 1, "too many requests")                                                    \
    X(INTERNAL, internal, INTERNAL, -1300, 0, "an error inside the library")                                                   \
    X(LIBRARY_MISSING, library_missing, INTERNAL, -1301, 0, "a Python library is missing")                                     \
    X(VARIABLE_NOT_FOUND, variable_not_found, INTERNAL, -1302, 0, "no variable has this name")                                 \
    X(WORKFLOW_NOT_FOUND, workflow_not_found, INTERNAL, -1303, 0, "no workflow has this id")                                   \
    X(WORKFLOW_INVALID, workflow_invalid, INTERNAL, -1304, 0, "the workflow is malformed")                                     \
    X(WORKFLOW_STEP_FAILED, workflow_step_failed, INTERNAL, -1305, 0, "a step of the workflow failed")                         \
    X(JOB_NOT_FOUND, job_not_found, INTERNAL, -1306, 0, "no job has this id")                                                  \
    X(PENDING, pending, CONTROL, -1400, 0, "not finished yet")                                                                 \
    X(END, end, CONTROL, -1401, 0, "nothing more will come")

/* X(CONSTANT, name) */
#define PIT_CATEGORY_LIST(X)                                                                                                   \
    X(TIMEOUT, timeout)                                                                                                        \
    X(POOL, pool)                                                                                                              \
    X(WORKER, worker)                                                                                                          \
    X(SESSION, session)                                                                                                        \
    X(VALIDATION, validation)                                                                                                  \
    X(TOOL, tool)                                                                                                              \
    X(VALUE, value)                                                                                                            \
    X(RESOURCE, resource)                                                                                                      \
    X(PYTHON_ERROR, python_error)                                                                                              \
    X(BREAKER, breaker)                                                                                                        \
    X(CANCELLED, cancelled)                                                                                                    \
    X(TRANSPORT, transport)                                                                                                    \
    X(INTERNAL, internal)                                                                                                      \
    X(CONTROL, control)

enum {
    PIT_OK = 0,
#define PIT_CODE_ENUM(constant, name, category, number, retriable, text) PIT_E_##constant = number,
    PIT_CODE_LIST(PIT_CODE_ENUM)
#undef PIT_CODE_ENUM
};

#endif
