/* Inside src/ring: the wait that both ends of a ring share. See ring.h for the protocol. */
#ifndef PIT_RING_RING_WAIT_H
#define PIT_RING_RING_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/ring.h"

/* Waits until *position differs from `seen`; RING_OK (w->found: what it was then), RING_AGAIN (deadline), RING_SPURIOUS. */
int wait_for_change(struct ring_waiter *w, const uint64_t *position, uint64_t seen, uint32_t *bell, uint64_t deadline_ns,
                    uint64_t spin_ns);
/* Wakes a sleeper; true: it asks for a byte on the socket. */
bool wait_ring(const struct ring_sys *sys, uint32_t *bell);
/* Asks for a byte on the socket; false, and not asked: *position differs from `seen`, w->found is what it was. */
bool wait_arm(struct ring_waiter *w, const uint64_t *position, uint64_t seen, uint32_t *bell);
uint32_t wait_cpu(const struct ring_sys *sys);

#endif
