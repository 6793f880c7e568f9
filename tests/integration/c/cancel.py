"""The worker of test_cancel.c. Each method says by a byte in the file that it has begun."""

import asyncio
import mmap
import os
import signal
import sys
import time

from snakepit_bridge import BaseAdapter, Cancelled, current_context, tool


def begin(path):
    with open(path, "ab") as f:
        f.write(b"1")


class Work(BaseAdapter):
    @tool
    def spin(self, path):
        begin(path)
        while True:
            pass

    @tool
    def doze(self, path):
        begin(path)
        time.sleep(3600)  # allow-sleep: it is to be broken

    @tool
    def tidy(self, path):
        """Says by a second byte that its `finally` has run."""
        begin(path)
        try:
            time.sleep(3600)  # allow-sleep: it is to be broken
        finally:
            begin(path)

    @tool
    def swallow(self, path):
        begin(path)
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass

    @tool
    def native(self, path):
        """In C, with the GIL, and without a look at signals."""
        begin(path)
        return sum(range(1 << 60))

    @tool
    def stop(self, path):
        begin(path)
        os.kill(os.getpid(), signal.SIGSTOP)

    @tool
    async def wait(self, path):
        begin(path)
        await asyncio.sleep(3600)  # allow-sleep: it is to be broken

    @tool
    async def block(self, path):
        begin(path)
        while True:
            pass

    @tool
    def polite(self, path):
        begin(path)
        context = current_context()
        while not context._cancelled(context._id):  # cancelled() is true as soon as the deadline has passed, too
            pass
        return "stopped"

    @tool
    async def polite_task(self, path):
        """Takes its cancellation for a hint."""
        begin(path)
        try:
            await asyncio.sleep(3600)  # allow-sleep: it is to be broken
        except asyncio.CancelledError:
            return "stopped"

    @tool
    def hold(self, path):
        """Until the file is gone, whatever is raised."""
        begin(path)
        while os.path.exists(path):
            try:
                time.sleep(0.001)  # allow-sleep: between two looks
            except Cancelled:
                pass
        return "gone"

    @tool
    def grow(self, n):
        """n bytes more, and busy with them."""
        blocks = [b"x" * 65536 for _ in range(n // 65536)]
        while blocks:
            pass

    @tool
    def grow_and_shrink(self, n):
        return len(b"x" * n)

    @tool
    def give(self, n):
        return b"x" * n

    @tool
    def print_on(self, n):
        while True:
            print("x" * n)

    @tool
    def open_files(self, n):
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(n)]
        while files:
            pass

    @tool
    def leave_open(self, n):
        self.files = [os.open(os.devnull, os.O_RDONLY) for _ in range(n)]

    @tool
    def burn(self, ns):
        """CPU time."""
        until = time.process_time_ns() + ns
        while time.process_time_ns() < until:
            pass

    @tool
    def pid(self):
        return os.getpid()

    @tool
    def inc(self, n):
        return n + 1

    @tool
    def brief(self, n, path=None):
        """Some thousand bytecodes: a signal may come before, within or behind it. The file counts its beginnings."""
        self.count(path)
        try:
            for i in range(n):
                i * i
        except Cancelled:
            self.hits += 1
            raise
        return n

    def count(self, path):
        if path is None:
            return
        if self.page is None:
            with open(path, "r+b") as f:
                self.page = mmap.mmap(f.fileno(), 8)
        self.begun += 1
        self.page[:8] = self.begun.to_bytes(8, "little")

    page = None
    begun = 0
    hits = 0

    @tool
    def interrupted(self):
        return self.hits


class Survivor(Work):
    survives_cancel = True


class Threaded(Work):
    """Several of these calls at a time. The interpreter changes threads so often that the ladder comes to calls in all their moments."""

    __thread_safe__ = True

    def __init__(self):
        super().__init__()
        sys.setswitchinterval(1e-5)

    @tool
    async def brief_task(self, n, path=None):
        """The same, with some awaits on the way."""
        self.count(path)
        try:
            for i in range(n):
                if i % 1000 == 0:
                    await asyncio.sleep(0)  # allow-sleep: a turn of the event loop
        except (Cancelled, asyncio.CancelledError):
            self.hits += 1
            raise
        return n


class ThreadedSurvivor(Threaded):
    survives_cancel = True
