"""An adapter that fails in each way that a worker can fail."""

import ctypes
import time


class Failing:
    def lookup(self, name):
        prices = {"apple": 3, "pear": 4}
        try:
            return prices[name]
        except KeyError as e:
            raise ValueError(f"no price for {name!r}") from e

    def think(self, seconds):
        time.sleep(seconds)

    def write(self, address):
        ctypes.memset(address, 0, 16)
