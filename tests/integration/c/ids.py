"""For test_ids.c: a call tells its correlation id, at once or when a file is there."""

import os
import time

from snakepit_bridge import current_context


class Ids:
    def own(self):
        return current_context().correlation_id

    def when(self, path):
        while not os.path.exists(path):
            time.sleep(0.001)  # allow-sleep: between two looks
        return current_context().correlation_id
