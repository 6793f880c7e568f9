"""The worker of the thousand deaths: each command but one ends it, in the way that its name says."""

import ctypes
import faulthandler
import mmap
import os
import resource
import signal
import sys
import tempfile
import threading

STACK = 8 << 20  # overflows soon, also where it has no limit


class Dying:
    def __init__(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = resource.getrlimit(resource.RLIMIT_STACK)[1]
        resource.setrlimit(resource.RLIMIT_STACK, (STACK if most == resource.RLIM_INFINITY else min(STACK, most), most))

    def good(self, number):
        return number * 3 + 1

    def segfault(self, number):
        ctypes.memset(8, 0, 1)

    def segfault_in_a_thread(self, number):
        thread = threading.Thread(target=ctypes.memset, args=(8, 0, 1))
        thread.start()
        thread.join()

    def segfault_under_faulthandler(self, number):
        faulthandler.enable()
        ctypes.memset(8, 0, 1)

    def segfault_with_words(self, number):
        sys.stderr.write(f"password=hunter{number}\n" + "x" * 20000 + "\n")
        ctypes.memset(8, 0, 1)

    def overflow(self, number):
        faulthandler._stack_overflow()

    def bus_error(self, number):
        with tempfile.TemporaryFile() as f:
            f.truncate(4096)
            area = mmap.mmap(f.fileno(), 4096)
            f.truncate(0)
            area[0]

    def abort(self, number):
        os.abort()

    def fatal(self, number):
        ctypes.pythonapi.Py_FatalError(b"as it was asked to")

    def fpe(self, number):
        os.kill(os.getpid(), signal.SIGFPE)

    def illegal(self, number):
        os.kill(os.getpid(), signal.SIGILL)

    def killed(self, number):
        os.kill(os.getpid(), signal.SIGKILL)

    def terminated(self, number):
        os.kill(os.getpid(), signal.SIGTERM)

    def leaves(self, number):
        os._exit(0)

    def fails(self, number):
        os._exit(1)

    def exits(self, number):
        os._exit(7)
