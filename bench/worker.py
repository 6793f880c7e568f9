"""What the benchmark calls."""

import mmap
import time


class Bench:
    def inc(self, x):
        return {"x": x + 1}

    def echo(self, data):
        return data

    def hold(self, path):
        """Says through a shared page that it runs, then never returns."""
        with open(path, "r+b") as f, mmap.mmap(f.fileno(), mmap.PAGESIZE) as page:
            page[0] = 1
            time.sleep(3600)
