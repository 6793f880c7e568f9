"""Two kinds of work: one that waits for somebody else, and one that computes. Each answer has a mark that tells how the calls were spread."""

import math
import os
import threading
import time

from snakepit_bridge import BaseAdapter, tool


class Work(BaseAdapter):
    __thread_safe__ = True

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()
        self._inside = 0

    @tool
    def ask(self, n: int, seconds: float):
        """As long as a server takes to answer. The mark: how many calls wait at this moment."""
        with self._lock:
            self._inside += 1
        time.sleep(seconds)
        with self._lock:
            inside, self._inside = self._inside, self._inside - 1
        return [n * n, inside]

    @tool
    def compute(self, n: int, limit: int):
        """How many primes there are below limit + n. The mark: the process that has counted them."""
        found = sum(all(k % d for d in range(2, math.isqrt(k) + 1)) for k in range(2, limit + n))
        return [found, os.getpid()]
