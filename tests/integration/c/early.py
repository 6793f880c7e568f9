"""A worker that is slow to die: the kernel takes its memory down before it tells anybody."""

import os
import time


class Early:
    def __init__(self):
        self.memory = b"x" * (256 << 20)

    def hold(self, path):
        """Says through the file that it runs, then never returns."""
        with open(path, "wb") as f:
            f.write(b"1")
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def forks(self, n):
        """Children die while the call runs: that is not the worker's death."""
        for _ in range(n):
            pid = os.fork()
            if pid == 0:
                os._exit(3)
            os.waitpid(pid, 0)
        return n
