"""What the groups of ``Showcase`` share: an adapter that counts its calls.

Thread: the lane's.
"""

from __future__ import annotations

import os
import sys
import time
from resource import RUSAGE_SELF, getrusage

from ..adapter import BaseAdapter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Counted(BaseAdapter):
    """Counts calls by tool, since the worker's start."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = time.monotonic()
        self.calls: dict[str, int] = {}

    def count(self, name: str) -> None:
        """Each tool does this first."""
        self.calls[name] = self.calls.get(name, 0) + 1

    def counted(self) -> dict[str, Any]:
        """Which worker this is, and what it has done."""
        worker = os.environ.get("SNAKEPIT_WORKER_ID", "")
        return {
            "worker": worker or None,
            "pool": worker.partition("/")[0] or None,
            "pid": os.getpid(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "uptime_s": round(time.monotonic() - self.begun, 3),
            "calls": sum(self.calls.values()),
            "by_tool": dict(self.calls),
            "max_rss_kb": getrusage(RUSAGE_SELF).ru_maxrss,
        }


def within(name: str, value: Any, least: int, most: int) -> int:
    """The number, if it is a whole one in the range."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} is a whole number from {least} to {most}, not {value!r}")
    return value


def whole(name: str, value: Any) -> int:
    """The number, if it is a whole one."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    return value
