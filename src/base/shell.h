/* Text for a line that a person pastes into a shell. Pure. Failure: of the buffer. */
#ifndef PIT_BASE_SHELL_H
#define PIT_BASE_SHELL_H

#include "base/buf.h"

/* Appends it as one word of a POSIX shell: as it is where no character of it means anything there, else in single quotes. Bytes that are no text of
 * one line (control characters, NUL) become '?': what is pasted must not be taken for what is typed. */
void shell_quote(struct buf *out, const char *text, size_t n);

#endif
