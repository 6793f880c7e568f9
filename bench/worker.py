"""What the benchmark calls."""

import mmap
import time


class Bench:
    def inc(self, x):
        return {"x": x + 1}

    def echo(self, data):
        return data

    def count(self, n):
        for i in range(n):  # noqa: UP028 - the loop is what is measured
            yield i

    def talk(self, inbox):
        for item in inbox:
            yield {"x": item["x"] + 1}

    def offer(self, n):
        block = bytes(1_000_000)
        for _ in range(n):
            yield block

    def hold(self, path):
        """Says through a shared page that it runs, then never returns."""
        self._say_running(path)
        time.sleep(3600)

    def hold_once(self, path):
        """The same, but who comes after the first returns."""
        if not self._has_run(path):
            self.hold(path)

    def spin(self, path):
        """The same, in a loop of Python."""
        self._say_running(path)
        while True:
            pass

    def native(self, path):
        """The same in C, with the interpreter held."""
        return sum(range(1 << 60))

    def _has_run(self, path):
        with open(path, "r+b") as f, mmap.mmap(f.fileno(), mmap.PAGESIZE) as page:
            return page[0] != 0

    def _say_running(self, path):
        with open(path, "r+b") as f, mmap.mmap(f.fileno(), mmap.PAGESIZE) as page:
            page[0] = 1
