"""What a flight recorder is to tell of, for test_recorder.c."""

import ctypes
import os

from snakepit_bridge import current_context


class Pilot:
    __thread_safe__ = True

    def echo(self, x):
        return x

    def fail(self):
        raise ValueError("no")

    def memory(self):
        raise MemoryError

    def unsendable(self):
        endless = []
        endless.append(endless)
        return endless

    def spin(self):
        context = current_context()
        while not context._cancelled(context._id):  # cancelled() would go by the deadline, and not ask
            os.sched_yield()
        context.check()

    def fork(self):
        child = os.fork()
        if child == 0:
            return None
        os.waitpid(child, 0)
        return child

    def crash(self, at):
        ctypes.memset(at, 0, 1)
