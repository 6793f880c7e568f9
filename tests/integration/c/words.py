"""A worker that dies while it is idle, after it has said why."""

import os
import sys
import threading
import time


class Words:
    def speak(self, lines, path):
        """Its end comes when the file is gone."""
        threading.Thread(target=self.die, args=(lines, path)).start()

    def die(self, lines, path):
        while os.path.exists(path):
            time.sleep(0.001)  # allow-sleep: between two looks
        sys.stderr.write("".join(f"line {i + 1}\n" for i in range(lines)))
        os._exit(3)
