"""A worker that takes memory, for test_recycle.c."""

import os
import time


class Grow:
    def __init__(self):
        self.kept = []

    def take(self, kib):
        """Keeps so much, and has touched it."""
        self.kept.append(b"x" * (kib << 10))

    def child(self, kib):
        """A child in the same process group takes it."""
        r, w = os.pipe()
        if os.fork() == 0:
            kept = b"x" * (kib << 10)
            os.write(w, kept[:1])
            time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about
        os.read(r, 1)
