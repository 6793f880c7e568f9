"""The worker of recycling.c: it answers rightly, and keeps a little more memory after each call, as libraries do that one cannot mend."""

import os


class Leaky:
    def __init__(self):
        self._kept = []

    def work(self, n):
        self._kept.append(os.urandom(64 * 1024))
        return n * n
