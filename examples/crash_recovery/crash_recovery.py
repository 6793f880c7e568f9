"""Work in a library that crashes now and then, and always on one input."""

import os
import signal


class Library:
    def __init__(self):
        self.calls = 0

    def square(self, n):
        """The first process of each slot dies at its fifth call; 13 kills whoever gets it."""
        self.calls += 1
        first = os.environ["SNAKEPIT_WORKER_ID"].endswith(".1")
        if n == 13 or (first and self.calls == 5):
            os.kill(os.getpid(), signal.SIGSEGV)
        return n * n
