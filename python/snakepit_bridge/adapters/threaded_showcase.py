"""``ThreadedShowcase``: what an adapter for several lanes looks like, and what it can do.

Shared state stands under the adapter's lock; what each thread computes again and again it keeps for itself.

Thread: any lane's, several at once.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import OrderedDict, deque

from ..adapter import tool
from ..thread_safe import ThreadSafeAdapter, thread_safe_method
from ._counted import whole, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Matrix = list[list[float]]

HISTORY, CACHED = 100, 256


def _matrix(n: int, seed: int) -> Matrix:
    numbers = random.Random(seed)
    return [[numbers.random() for _ in range(n)] for _ in range(n)]


def _multiply(a: Matrix, b: Matrix) -> Matrix:
    columns = list(zip(*b))
    return [[sum(x * y for x, y in zip(row, column)) for column in columns] for row in a]


class ThreadedShowcase(ThreadSafeAdapter):
    """Tools that several lanes of one worker run at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._cache: OrderedDict[int, int] = OrderedDict()
        self._hits = self._misses = 0

    def _note(self, name: str, begun: float) -> float:
        took_ms = (time.perf_counter() - begun) * 1000
        entry = {"tool": name, "thread": threading.current_thread().name, "took_ms": took_ms, "at": time.time()}
        with self.acquire_lock():
            self._history.append(entry)
        return took_ms

    @tool(idempotent=True)
    @thread_safe_method
    def ping(self, message: str = "pong") -> dict[str, Any]:
        """Answers, and says in which thread."""
        begun = time.perf_counter()
        with self.track_request("ping"):
            self._note("ping", begun)
            return {"status": "ok", "message": message, "thread": threading.current_thread().name}

    @tool(idempotent=True)
    @thread_safe_method
    def compute_intensive(self, iterations: int = 1000, seed: int = 42) -> dict[str, Any]:
        """A chain of hashes, each of the one before."""
        begun = time.perf_counter()
        with self.track_request("compute_intensive"):
            digest, context = str(whole("seed", seed)).encode(), self.session_context
            for i in range(within("iterations", iterations, 1, 100_000_000)):
                digest = hashlib.sha256(digest).digest()
                if not i & 0xFFF:
                    context.check()
            took_ms = self._note("compute_intensive", begun)
            return {"digest": digest.hex(), "iterations": iterations, "took_ms": took_ms}

    @tool(idempotent=True)
    @thread_safe_method
    def matrix_multiply(self, size: int = 16, seed: int = 42) -> dict[str, Any]:
        """The product of two random matrices. Each thread keeps the ones that it has made."""
        begun = time.perf_counter()
        with self.track_request("matrix_multiply"):
            within("size", size, 1, 512)
            made = self.get_thread_local("matrices") or self.set_thread_local("matrices", {})
            if (size, whole("seed", seed)) not in made:
                if len(made) >= 8:
                    made.clear()
                made[size, seed] = _matrix(size, seed), _matrix(size, seed + 1)
            product = _multiply(*made[size, seed])
            took_ms = self._note("matrix_multiply", begun)
            trace = sum(product[i][i] for i in range(size))
            return {"size": size, "trace": trace, "sum": sum(map(sum, product)), "took_ms": took_ms}

    @tool(idempotent=True)
    @thread_safe_method
    def batch_process(self, items: list[int]) -> dict[str, Any]:
        """For each number the length of its Collatz sequence; what one lane has computed, the others need not."""
        begun = time.perf_counter()
        with self.track_request("batch_process"):
            results = [self._collatz(within("each of items", item, 1, 1 << 62)) for item in items]
            took_ms = self._note("batch_process", begun)
            return {"results": results, "count": len(results), "took_ms": took_ms}

    def _collatz(self, n: int) -> int:
        with self.acquire_lock():
            known = self._cache.get(n)
            if known is not None:
                self._hits += 1
                self._cache.move_to_end(n)
                return known
            self._misses += 1
        steps, at = 0, n
        while at != 1:
            at = at // 2 if at % 2 == 0 else 3 * at + 1
            steps += 1
        with self.acquire_lock():
            self._cache[n] = steps
            while len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return steps

    @tool
    @thread_safe_method
    def get_adapter_stats(self) -> dict[str, Any]:
        """What ran, what runs, how many at a time at most; and the cache."""
        stats = self.get_stats()
        with self.acquire_lock():
            cache = {"entries": len(self._cache), "hits": self._hits, "misses": self._misses}
        return {**stats, "cache": cache, "threads": threading.active_count()}

    @tool
    @thread_safe_method
    def stress_test(self, rounds: int = 100, threads: int = 4) -> dict[str, Any]:
        """Threads of its own that add to one number under the adapter's lock: nothing may be lost."""
        begun = time.perf_counter()
        within("rounds", rounds, 1, 1_000_000)
        total = [0]

        def work() -> None:
            for _ in range(rounds):
                with self.acquire_lock(), self.acquire_lock():
                    before = total[0]
                    total[0] = before + 1

        with self.track_request("stress_test"):
            running = [threading.Thread(target=work) for _ in range(within("threads", threads, 1, 64))]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
            took_ms = self._note("stress_test", begun)
        return {"expected": rounds * threads, "counted": total[0], "lost": rounds * threads - total[0], "took_ms": took_ms}

    @tool
    @thread_safe_method
    def clear_caches(self) -> dict[str, Any]:
        """Forgets the shared cache, and what this thread keeps."""
        with self.acquire_lock():
            n = len(self._cache)
            self._cache.clear()
            self._hits = self._misses = 0
        self.clear_thread_local()
        return {"cleared": n}

    @tool
    @thread_safe_method
    def get_history(self, limit: int = 10) -> list[dict[str, Any]]:
        """The last calls, the newest first."""
        within("limit", limit, 0, HISTORY)
        with self.acquire_lock():
            entries = list(self._history)
        return entries[::-1][:limit]
