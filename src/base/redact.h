/* Secrets out of text that is kept or shown: what follows Bearer, or Basic, Digest, Token behind Authorization; tokens sk-... of at least ten letters
 * and digits in a row, and those of other makers by how they begin (ghp_, hf_, AKIA, ...), of sixteen; the values of fields whose name holds a word
 * for a secret (redact.c: key_names, names) at its end or before _ or -, in JSON, in a repr() or as name=value, and of options --name value; passwords
 * in addresses (scheme://user:password@host); private keys in PEM.
 *
 * The rules are those of python/snakepit_bridge/_redact.py, and so are the tests. Invariant: the time is linear in the length of the text. Pure.
 * Failure: of the buffer. */
#ifndef PIT_BASE_REDACT_H
#define PIT_BASE_REDACT_H

#include "base/buf.h"

/* Appends the text without its secrets. */
void redact(struct buf *out, const char *text, size_t n);
/* Of a text whose beginning is lost: how many bytes at its front may be the rest of a secret whose name is lost too. All of it, where it is one line. */
size_t redact_rest(const char *text, size_t n);
/* Both: appends the end of what somebody has said; is_cut: its beginning is lost. Where nothing is left by that, it says so. */
void redact_end(struct buf *out, const char *text, size_t n, bool is_cut);

#endif
