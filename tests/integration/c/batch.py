"""The worker of test_batch.c."""

import os
import signal
import time

from snakepit_bridge import current_context


class Batch:
    ran = 0

    def inc(self, x):
        return x + 1

    def boom(self, x):
        raise ValueError(f"no {x}")

    def die(self, x):
        os.kill(os.getpid(), signal.SIGKILL)

    def hold(self, path):
        """Runs while the file is there, and says by its size that it does."""
        with open(path, "ab") as f:
            f.write(b"1")
        while os.path.exists(path):
            time.sleep(0.001)  # allow-sleep: between two looks
        return 1

    def count(self, path):
        """How often this method has run."""
        self.ran += 1
        if path:
            self.hold(path)
        return self.ran

    def maybe(self, path):
        return self.hold(path) if path else 0

    def about(self):
        context = current_context()
        return [context.metadata, context.binary_parameters, context.idempotent]
