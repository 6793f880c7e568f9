"""The worker of embed.c: a command that takes its time."""

import time


class Squares:
    def square(self, n):
        time.sleep(0.05)
        return n * n
