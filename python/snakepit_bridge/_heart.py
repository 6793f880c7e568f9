"""The heart of a worker: what answers the host's heartbeats (``src/_snakepit_heart.c``).

Failure: none; without a heart the host does not ask. Thread: the main one, once, in the process that it answers for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def start(extension: Any, segment_fd: int, welcome: dict[str, Any]) -> str | None:
    """Starts it, if the host wants one and this worker can have one; what to name in READY."""
    if extension is None or segment_fd < 0 or welcome.get("heartbeat") is not True:
        return None
    try:
        extension.start_heart(segment_fd)
    except (OSError, ValueError, MemoryError):
        return None
    return "heart"
