"""The worker of test_threads.c and test_thread_cancel.c."""

import asyncio
import os
import threading
import time

from snakepit_bridge import BaseAdapter, Cancelled, current_context, tool


class Threads(BaseAdapter):
    __thread_safe__ = True

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()
        self._meetings = {}
        self._inside = 0
        self._most = 0

    def cleanup(self):
        path = os.environ.get("CLEANUP_MARK")
        if path:
            with open(path, "ab") as f:
                f.write(b"c")

    def _meeting(self, n):
        with self._lock:
            return self._meetings.setdefault(n, threading.Barrier(n))

    @tool
    def meet(self, n):
        """Ends when n calls are here at the same time."""
        self._meeting(n).wait(60)
        return n

    @tool
    async def meet_task(self, n):
        while not self._arrive(n):
            await asyncio.sleep(0.001)  # allow-sleep: between two looks
        return n

    _arrived = 0

    def _arrive(self, n):
        task = asyncio.current_task()
        with self._lock:
            if not hasattr(task, "counted"):
                task.counted = True
                self._arrived += 1
            return self._arrived >= n

    @tool
    def who(self, n):
        """Met by n: what this call sees of itself."""
        self._meeting(n).wait(60)
        context = current_context()
        return {
            "pid": os.getpid(),
            "instance": id(self),
            "thread": threading.current_thread().name,
            "session": context.session_id,
            "metadata": context.metadata,
            "omp": os.environ["OMP_NUM_THREADS"],
        }

    @tool
    def inc(self, n):
        return n + 1

    @tool
    def big(self, n):
        return b"x" * n

    @tool
    def odd(self):
        """Makes the worker log a line."""
        return object()

    @tool
    def die(self, n):
        """n calls meet, then all go at once."""
        self._meeting(n).wait(60)
        os._exit(3)

    @tool
    def fall(self, n):
        os._exit(3)

    @tool
    def native(self, n):
        """In C, with the GIL."""
        return sum(range(1 << 60))

    @tool
    def doze_until_gone(self, path):
        """Without the GIL for longer than a stall takes to be told of."""
        while os.path.exists(path):
            time.sleep(0.5)  # allow-sleep: between two looks

    @tool
    def until_gone(self, path):
        with open(path, "ab") as f:
            f.write(b"1")
        while os.path.exists(path):
            time.sleep(0.001)  # allow-sleep: between two looks
        return "gone"

    @tool
    def fork(self):
        pid = os.fork()
        if pid == 0:
            return "nobody hears this"
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @tool
    def swallow(self, path):
        with open(path, "ab") as f:
            f.write(b"1")
        while True:
            try:
                while True:
                    pass
            except Cancelled:
                pass


class Sick(Threads):
    def health(self):
        return {"status": "fine", "thread": threading.current_thread().name}


class Unsafe(BaseAdapter):
    @tool
    def inc(self, n):
        return n + 1


class Plain:
    __thread_safe__ = True

    def inc(self, n):
        return n + 1
