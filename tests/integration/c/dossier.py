"""Ways to die, for test_dossier.c."""

import ctypes
import os
import time


class Dying:
    __thread_safe__ = True

    def echo(self, x):
        return x

    def crash(self, at):
        ctypes.memset(at, 0, 1)

    def leave(self):
        os._exit(7)

    def doze(self, token):
        time.sleep(3600)  # allow-sleep: until its deadline
