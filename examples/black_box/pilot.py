"""A worker that flies until it hits something."""

import ctypes


class Pilot:
    def fly(self, leg):
        if leg == 4:
            ctypes.memset(leg, 0, 1)  # nothing is mapped there
        return f"leg {leg} flown"
