"""For test_scope.c: which instance of the adapter a call meets."""

import itertools
import threading

from snakepit_bridge import BaseAdapter, tool

_numbers = itertools.count(1)


class Counted(BaseAdapter):
    __thread_safe__ = True
    together = threading.Barrier(2)

    def __init__(self):
        super().__init__()
        self.number = next(_numbers)
        self.calls = 0

    def initialize(self):
        self.initialized = True

    @tool
    def meet(self):
        """Two calls meet, so each is on a lane of its own."""
        self.together.wait(60)
        return self.number if self.initialized else 0

    @tool
    def count(self):
        self.calls += 1
        return [self.number if self.initialized else 0, self.calls]


class PerRequest(Counted):
    adapter_scope = "request"
