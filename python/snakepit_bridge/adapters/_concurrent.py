"""The concurrent group of ``Showcase``: calls that compute, wait, or do next to nothing.

Thread: the lane's.
"""

from __future__ import annotations

import os
import time

from ..adapter import tool
from ._counted import Counted, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOOK = 0x3FF  # a long computation looks that often whether it shall end


class ConcurrentTools(Counted):
    """cpu_bound_task, sleep_task, lightweight_task, get_pool_stats"""

    @tool(idempotent=True)
    def cpu_bound_task(self, n: int = 20_000) -> dict[str, Any]:
        """Counts the primes below n by trial division; ends early when it is cancelled."""
        self.count("cpu_bound_task")
        within("n", n, 0, 100_000_000)
        begun, primes, context = time.perf_counter(), [], self.session_context
        for candidate in range(2, n):
            if not candidate & LOOK:
                context.check()
            for p in primes:
                if p * p > candidate:
                    primes.append(candidate)
                    break
                if candidate % p == 0:
                    break
            else:
                primes.append(candidate)
        return {
            "n": n,
            "primes": len(primes),
            "largest": primes[-1] if primes else None,
            "took_ms": (time.perf_counter() - begun) * 1000,
            "pid": os.getpid(),
        }

    @tool(idempotent=True)
    def sleep_task(self, ms: int = 100) -> dict[str, Any]:
        """Waits."""
        self.count("sleep_task")
        begun = time.perf_counter()
        time.sleep(within("ms", ms, 0, 3_600_000) / 1000)
        return {"asked_ms": ms, "slept_ms": (time.perf_counter() - begun) * 1000, "pid": os.getpid()}

    @tool(idempotent=True)
    def lightweight_task(self, value: float = 0) -> dict[str, Any]:
        """Next to nothing: what is left is the call."""
        self.count("lightweight_task")
        return {"value": value, "doubled": value * 2}

    @tool
    def get_pool_stats(self) -> dict[str, Any]:
        """What the worker that runs this call knows of its part in the pool. (``pit_get_stats`` tells of the pool.)"""
        self.count("get_pool_stats")
        return {
            **self.counted(),
            "cpu_s": time.process_time(),
            "cpus": len(os.sched_getaffinity(0)),
            "load": list(os.getloadavg()),
        }
