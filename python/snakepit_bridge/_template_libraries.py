"""Numeric libraries in a template: one thread each while it is prepared, their pools ended before the first fork, the pool's limits in a worker.

Invariant: nothing here imports a library; only what the template has loaded is touched.
Failure: a library that does not know a call is left as it is; the count of threads and the canary judge.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Set before the first import. Arrow's allocator and onnxruntime's telemetry start threads of their own.
LIMITS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "ORT_DISABLE_TELEMETRY": "1",
}

# They say themselves that they do not work in a forked process once they have computed, and no count of threads shows it in time.
REFUSED = {
    "numba": "numba's threads do not survive a fork",
    "polars": "polars' thread pool does not survive a fork",
}

_PAUSE_HARD = 2
_OPENMP = ("libgomp", "libomp", "libiomp")
_OPENBLAS_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads_64",
    "openblas_set_num_threads",
)
# Beginning of the file's name, the calls of which one sets the number of threads, the variables that limit it, the first that is set.
_SETTERS = (
    *((name, ("omp_set_num_threads",), ("OMP_NUM_THREADS",)) for name in _OPENMP),
    ("libopenblas", _OPENBLAS_SETTERS, ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")),
    ("libscipy_openblas", _OPENBLAS_SETTERS, ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")),
    ("libmkl_rt", ("MKL_Set_Num_Threads",), ("MKL_NUM_THREADS", "OMP_NUM_THREADS")),
    ("libblis", ("bli_thread_set_num_threads",), ("BLIS_NUM_THREADS", "OMP_NUM_THREADS")),
)
# Modules that keep a number of threads of their own.
_MODULES = (
    ("torch", "set_num_threads", ("MKL_NUM_THREADS", "OMP_NUM_THREADS")),  # the order in which torch itself looks
    ("pyarrow", "set_cpu_count", ("OMP_NUM_THREADS",)),
    ("numexpr", "set_num_threads", ("NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS")),
)


def loaded() -> list[str]:
    """The files of the shared libraries of this process."""
    paths = {}
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            parts = line.rstrip("\n").split(None, 5)
            if len(parts) == 6 and ".so" in parts[5] and parts[5].startswith("/"):
                paths[parts[5]] = True
    return list(paths)


def pause_openmp(extension: Any) -> None:
    """Ends the threads of each OpenMP runtime; the next parallel region starts them anew."""
    for path in loaded():
        if os.path.basename(path).startswith(_OPENMP):
            extension.library_call(path, "omp_pause_resource_all", _PAUSE_HARD)


def refused() -> tuple[str, str] | None:
    """The first module that may not be in a template, and why."""
    return next(((name, why) for name, why in REFUSED.items() if name in sys.modules), None)


def _limit(env: dict[str, str], names: tuple[str, ...]) -> int:
    for name in names:
        text = env.get(name, "").split(",")[0].strip()
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return len(os.sched_getaffinity(0))


class Widener:
    """What has to be called in a worker so that its libraries use as many threads as its environment allows. Made in the template."""

    def __init__(self, extension: Any) -> None:
        self._extension = extension
        self._libraries = [
            (path, symbols, names)
            for path in loaded()
            for beginning, symbols, names in _SETTERS
            if os.path.basename(path).startswith(beginning)
        ]

    def widen(self, env: dict[str, str]) -> None:
        """In the worker. One thread, what the pool gives unless told otherwise, is what the template has."""
        for path, symbols, names in self._libraries:
            n = _limit(env, names)
            if n > 1:
                any(self._extension.library_call(path, symbol, n) is not None for symbol in symbols)
        for name, setter, names in _MODULES:
            module = sys.modules.get(name)
            n = _limit(env, names) if module is not None else 1
            if n > 1:
                getattr(module, setter)(n)


def reseed() -> None:
    """In the worker: ``random`` has seen to itself. What a module seeds or makes for itself is its own affair, as in any process."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()
