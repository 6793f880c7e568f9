/* What a call asks for, as a name: command and arguments as they are encoded, and binary parameters. Session, correlation, metadata and
 * options are not in it.
 *
 * SHA-256. Arguments of more than DIGEST_EXACT bytes go into it as a sum of 64 bits for each page of theirs: every bit counts, and a pool's
 * lock may be held meanwhile. */
#ifndef PIT_WORKER_CALL_DIGEST_H
#define PIT_WORKER_CALL_DIGEST_H

#include "base/sha256.h"
#include "worker/call.h"

enum { DIGEST_EXACT = 64 << 10 };

void call_digest(const struct call *c, uint8_t out[SHA256_BYTES]);
/* The command and the arguments, borrowed from the frame: what comes first in the digest. NULL: the call was not encoded. */
const uint8_t *call_content(const struct call *c, size_t *ret_n);

#endif
