"""A worker that imports what BENCH_IMPORT names, and what its first call needs."""

import importlib
import os

for module in os.environ.get("BENCH_IMPORT", "").split():
    importlib.import_module(module)


class Started:
    def answer(self):
        return 1
