"""Calls that keep a worker busy in the ways that a look tells apart. Each says through a file that it has begun, and ends when a byte is in a pipe."""

import ctypes
import itertools
import os
import threading
import time

held = ctypes.PyDLL(None)  # its functions run with the GIL held
free = ctypes.CDLL(None)


def begin(path):
    with open(path + ".begun", "wb") as f:
        f.write(b"1")


def read_with(library, path):
    fd = os.open(path + ".fifo", os.O_RDWR)
    byte = ctypes.create_string_buffer(1)
    begin(path)
    n = library.read(fd, byte, 1)
    os.close(fd)
    return n


class Look:
    __thread_safe__ = True

    def spin(self, path):
        begin(path)
        turns = 1
        while not os.path.exists(path):  # it may be there already: who begins may lose the CPU for long
            turns += 1
        return turns > 0

    def hold(self, path):
        """C code that keeps the GIL."""
        return read_with(held, path)

    def let_go(self, path):
        """C code without the GIL."""
        return read_with(free, path)

    def deep(self, path, n):
        return self.deep(path, n - 1) if n else self.let_go(path)

    def many(self, path, n):
        """Beside n threads that sleep."""
        over = threading.Event()
        threads = [threading.Thread(target=over.wait, name=f"sleeper {i}") for i in range(n)]
        for thread in threads:
            thread.start()
        try:
            return self.let_go(path)
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def strange(self, path):
        """Its file's name is not to be printed as it is."""
        names = {"let_go": self.let_go}
        exec(compile("def run(path):\n    return let_go(path)\n", "a\x1b[31m\udcff\nb.py", "exec"), names)
        return names["run"](path)

    def nap(self):
        """Its sleep must not be cut short."""
        begun = time.monotonic()
        time.sleep(0.2)  # allow-sleep: that nothing interrupts it is what is looked at
        return time.monotonic() - begun >= 0.2

    def numb(self, path):
        """C code that keeps the GIL, and that no signal ends."""
        begin(path)
        return sum(itertools.repeat(1, 10**15))

    def leave(self, path):
        begin(path)
        while not os.path.exists(path):
            pass
        os._exit(3)

    def quick(self, n):
        return n

    def tasks(self):
        return sorted(open(f"/proc/self/task/{t}/comm").read().strip() for t in os.listdir("/proc/self/task"))

    def files(self):
        return len(os.listdir("/proc/self/fd"))

    def mappings(self):
        with open("/proc/self/maps") as f:
            return len(f.readlines())
