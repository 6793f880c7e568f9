/* What a call asks for, as a name: command and arguments as they are encoded, and binary parameters. Session, correlation, metadata and
 * options are not in it.
 *
 * SHA-256. Arguments of more than DIGEST_EXACT bytes go into it as a sum of 64 bits for each page of theirs, made with a key that only the
 * host knows: who sends arguments cannot make others with the same sums, and have an innocent call refused.
 *
 * A pool's lock is held meanwhile, by the loop too: SHA-256 over everything takes twenty times as long as the sums, 0.6 s against 0.03 s for
 * 64 MiB where that was measured. The price is that such a digest is the same within a life of the host alone. */
#ifndef PIT_WORKER_CALL_DIGEST_H
#define PIT_WORKER_CALL_DIGEST_H

#include "base/sha256.h"
#include "base/siphash.h"
#include "worker/call.h"

enum { DIGEST_EXACT = 64 << 10 };

void call_digest(const struct call *c, const struct siphash_key *key, uint8_t out[SHA256_BYTES]);
/* The command and the arguments, borrowed from the frame: what comes first in the digest. NULL: the call was not encoded. */
const uint8_t *call_content(const struct call *c, size_t *ret_n);

#endif
