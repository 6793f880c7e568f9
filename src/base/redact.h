/* Secrets out of text that is kept or shown: what follows Bearer; tokens sk-... of at least ten letters and digits in a row; the values of
 * fields whose name ends in api_key, api-key, apikey, token, secret or password, in JSON, in a repr() or as name=value.
 *
 * The rules are those of python/snakepit_bridge/_redact.py, and so are the tests. Invariant: the time is linear in the length of the text. Pure.
 * Failure: of the buffer. */
#ifndef PIT_BASE_REDACT_H
#define PIT_BASE_REDACT_H

#include "base/buf.h"

/* Appends the text without its secrets. */
void redact(struct buf *out, const char *text, size_t n);

#endif
