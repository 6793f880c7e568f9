/* The error object: built once, then immutable and reference-counted.
 *
 * A builder function takes a pit_error that nobody else has seen. Under memory shortage error_new() returns a static error;
 * every function here accepts it and leaves it alone. Additions that cannot be allocated are dropped silently. */
#ifndef PIT_WIRE_ERROR_H
#define PIT_WIRE_ERROR_H

#include <snakepit/error.h>

__attribute__((format(printf, 2, 3))) pit_error *error_new(int code, const char *format, ...);
pit_error *error_newv(int code, const char *format, va_list ap);
/* For the end of a public function: writes *reterr (if reterr is not NULL) and returns the code. */
__attribute__((format(printf, 3, 4))) int error_set(pit_error **reterr, int code, const char *format, ...);
/* Hands e (taken; NULL = success) to the caller or frees it; returns its code (0 for NULL). */
int error_give(pit_error **reterr, pit_error *e);
pit_error *error_ref(const pit_error *e);

/* builders: return e */
pit_error *error_worker(pit_error *e, const char *worker_id);
pit_error *error_pool(pit_error *e, const char *pool);
pit_error *error_correlation(pit_error *e, const char *id);
pit_error *error_cause_take(pit_error *e, pit_error *cause);
pit_error *error_detail_take(pit_error *e, const char *key, pit_value *v); /* details[key] = v (taken) */
pit_error *error_dossier(pit_error *e, const pit_value *dossier); /* a map that is frozen; takes a reference of its own */
__attribute__((format(printf, 2, 3))) pit_error *error_suggest(pit_error *e, const char *format, ...);
pit_error *error_python(pit_error *e, const char *type, const char *message, const char *traceback, const pit_value *notes);

/* The error that a worker's ERROR or FAILED frame carries: a map {code, message, python {type, message, traceback, notes},
 * details, suggestions}, all optional and none trusted. A code that is not one that a worker may send becomes `fallback`. */
pit_error *error_from_worker(const uint8_t *payload, size_t n, int fallback);
bool error_may_come(int code); /* is it a code that a worker may send? */
/* Such a map (owned), of what e knows but for what Python said; its cause is in details.cause. */
pit_value *error_map(const pit_error *e);
/* The name's number (error_code_from_name("value_error") = PIT_E_VALUE_ERROR), 0 when there is none. */
int error_code_from_name(const char *name, size_t n);
bool error_code_retriable(int code);
const char *error_code_category(int code);
/* The nearest of n names to `name` (edit distance), or NULL when none is near: for "did you mean". */
const char *error_nearest(const char *name, const char *const *names, size_t n);

#endif
