/* Errors: an immutable object that says what went wrong, where, and what to do.
 *
 * A function with a pit_error **reterr argument always writes it when it is not NULL: NULL on success, an owned error on failure
 * (out of memory: a static one, which pit_error_free accepts). Any thread may read an error; every function accepts NULL. What is
 * returned lives as long as the error. Since 0.1. */
#ifndef SNAKEPIT_ERROR_H
#define SNAKEPIT_ERROR_H

#include <snakepit/base.h>
#include <snakepit/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One line for a code; never NULL. */
PIT_API const char *pit_strerror(int rc);
/* The name of a code: "queue_timeout" for PIT_E_QUEUE_TIMEOUT; "ok" for 0, "unknown" for a number that is no code. */
PIT_API const char *pit_error_code_name(int rc);

/* The PIT_E_* number, its name ("queue_timeout"), its category ("timeout"), and one line on what happened. Never NULL; of no
 * error: 0, "ok" and empty texts. */
PIT_API int pit_error_code(const pit_error *e);
PIT_API const char *pit_error_name(const pit_error *e);
PIT_API const char *pit_error_category(const pit_error *e);
PIT_API const char *pit_error_message(const pit_error *e);
/* Everything that a person wants to read: "[category/code] message", then details, suggestions, Python traceback, cause. What a worker has
 * said is part of it: control characters but newline and tab are written as \u001b is, so that no terminal obeys them. */
PIT_API const char *pit_error_string(const pit_error *e);
/* The worker's id ("default/3.2"), the pool, the call's correlation id; NULL when there was none. */
PIT_API const char *pit_error_worker(const pit_error *e);
PIT_API const char *pit_error_pool(const pit_error *e);
PIT_API const char *pit_error_correlation_id(const pit_error *e);
/* Of an exception in Python: its type ("ValueError"), its traceback as text, its notes (a list); NULL else. */
PIT_API const char *pit_error_python_type(const pit_error *e);
PIT_API const char *pit_error_traceback(const pit_error *e);
PIT_API const pit_value *pit_error_notes(const pit_error *e);
/* May the same call succeed when it is made again? */
PIT_API bool pit_error_retriable(const pit_error *e);
/* The particulars, a map; of a death: exit_class, exit_code, signal, stderr. NULL when there are none. */
PIT_API const pit_value *pit_error_details(const pit_error *e);
/* Suggestions, a list of texts: what to try next. NULL when there are none. */
PIT_API const pit_value *pit_error_suggestions(const pit_error *e);
/* Of the death of a worker: all that is known of it (guide-crashes.md): signal, address, the stacks of Python and of C, what ran, what was
 * printed last. A map; what is missing is named in `missing`, and `partial` is true then. NULL when there is none. */
PIT_API const pit_value *pit_error_dossier(const pit_error *e);
/* The error behind this one; borrowed, NULL when there is none. */
PIT_API const pit_error *pit_error_cause(const pit_error *e);
/* The whole error as one JSON document; one block, freed with pit_free(). NULL when memory ran out. */
PIT_API char *pit_error_json(const pit_error *e);
/* Frees an error with its causes. NULL and the static error of "out of memory" are fine. */
PIT_API void pit_error_free(pit_error *e);

#ifdef __cplusplus
}
#endif
#endif
