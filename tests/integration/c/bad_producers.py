"""For test_bad_producers.c: generators that do what a reader does not expect."""

import asyncio
import time

from snakepit_bridge import BaseAdapter, tool


class Producers(BaseAdapter):
    __thread_safe__ = True
    survives_cancel = True

    def __init__(self):
        super().__init__()
        self.closed = 0

    @tool
    def same(self, n):
        return n

    @tool
    def closings(self):
        """How many have been closed, since it was last asked."""
        closed, self.closed = self.closed, 0
        return closed

    @tool
    def never(self, n):
        try:
            while True:
                time.sleep(0.001)  # allow-sleep: it never yields
        finally:
            self.closed += 1
        yield n

    @tool
    async def anever(self, n):
        try:
            await asyncio.sleep(3600)  # allow-sleep: it never yields
            yield n
        finally:
            self.closed += 1

    @tool
    def count(self, n):
        try:
            yield from range(n)
        finally:
            self.closed += 1

    @tool
    async def acount(self, n):
        try:
            for i in range(n):
                yield i
        finally:
            self.closed += 1

    @tool
    def raises(self, n):
        """After so many."""
        yield from range(n)
        raise ValueError("no more")

    @tool
    async def araises(self, n):
        for i in range(n):
            yield i
        raise ValueError("no more")

    @tool
    def stubborn(self, n):
        i = 0
        while i < n:
            try:
                yield i
                i += 1
            except GeneratorExit:
                self.closed += 1

    @tool
    def goes_on(self, stream, n):
        for i in range(n):
            stream.send(i, is_final=i == n - 1)
        stream.send(n)
