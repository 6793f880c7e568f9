"""The worker of the crash storm: what it is asked to do to itself, it does."""

import os
import resource
import signal
import time

ROOM = 256 << 20


class Storm:
    def __init__(self):
        resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def good(self, number):
        return number * 3 + 1

    def slow(self, number):
        time.sleep(0.005)  # allow-sleep: a call that takes its time
        return number * 3 + 1

    def raises(self, number):
        raise ValueError(number)

    def dies(self, number):
        os.kill(os.getpid(), signal.SIGSEGV)

    def leaves(self, number):
        os._exit(3)

    def stops(self, number):
        os.kill(os.getpid(), signal.SIGSTOP)

    def hangs(self, number):
        while True:
            pass

    def hogs(self, number):
        """More memory than it may have."""
        held = []
        while True:
            held.append(bytearray(16 << 20))
