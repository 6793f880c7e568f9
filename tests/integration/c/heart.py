"""Calls that keep a worker busy in the ways that a heartbeat tells apart. Each says through a file that it has begun."""

import ctypes
import os
import time

libc = ctypes.PyDLL(None)  # its functions run with the GIL held


def begin(path):
    with open(path + ".begun", "wb") as f:
        f.write(b"1")


class Heart:
    def spin(self, path):
        """Python code, until the file is there."""
        begin(path)
        while not os.path.exists(path):
            pass
        return "spun"

    def hold(self, path):
        """C code that keeps the GIL, until the file is there; one bytecode or two an hour."""
        begin(path)
        while not os.path.exists(path):
            libc.poll(None, 0, 3600000)

    def hold_then_spin(self, path):
        """The GIL held in C until a byte comes, then Python code until the file is there."""
        fd = os.open(path + ".fifo", os.O_RDWR)
        begin(path)
        libc.read(fd, ctypes.create_string_buffer(1), 1)
        os.close(fd)
        while not os.path.exists(path):
            pass

    def quick(self, n):
        return n

    def wait(self, path):
        """Without the GIL, for ever."""
        begin(path)
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def masks(self):
        """The blocked signals of each thread but the first, by its name."""
        found = {}
        for task in os.listdir("/proc/self/task"):
            if int(task) == os.getpid():
                continue
            with open(f"/proc/self/task/{task}/status") as f:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            found[fields["Name"]] = fields["SigBlk"]
        return found
