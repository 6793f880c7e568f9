"""Signs of life: what answers the host's heartbeats and health checks.

Heartbeats are answered by a thread of the extension (``src/_snakepit_heart.c``), whatever runs; without it by PONG frames, between calls.
Health checks ask the adapter's ``health()``, between calls.

Failure: none; without a heart the host does not ask, and what ``health()`` raises is its answer. Thread: the lane's.
"""

from __future__ import annotations

from . import _coder
from ._errors import cut, message_of, type_name
from ._registry import POLICY_MARKER
from .adapter import has_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

REASON_LIMIT = 120
REPORT_LIMIT = 60 * 1024  # bytes: the host takes no HEALTH_REPLY above 64 KiB
_WELL = (None, True, "ok", "healthy")


def start(extension: Any, segment_fd: int, welcome: dict[str, Any], instances: list[Any], wake_fd: int = -1) -> list[str]:
    """Starts the thread, once, if the host wants heartbeats and this worker can have it; what to name in READY. ``instances``: of the adapter, all
    that can be asked for their health. ``wake_fd``: the main thread waits for calls nowhere, and is woken by this."""
    found = ["ping"]
    if extension is not None and segment_fd >= 0 and welcome.get("heartbeat") is True:
        try:
            extension.start_heart(segment_fd, wake_fd)
            found.append("heart")
        except (OSError, ValueError, MemoryError):
            pass
    if instances and has_hook(type(instances[0]), "health"):
        found.append("health")
    return found


def _verdict(report: Any) -> tuple[bool, str | None]:
    if report is None or report is True:
        return True, None
    if report is False:
        return False, "health() returned False"
    if not isinstance(report, dict):
        return False, f"health() returned no dict but {type_name(type(report))}"
    status = report.get("status")
    well = status is None or status is True or (isinstance(status, str) and status in _WELL)
    return well, None if well else f"its status is {cut(str(status), REASON_LIMIT)}"


def _ask(instance: Any, settle: Callable[[Any], Any]) -> tuple[bool, str | None, Any]:
    report: Any = None
    try:
        report = settle(instance.health())
        return (*_verdict(report), report)
    except BaseException as exc:
        return False, cut(f"{type_name(type(exc))}: {message_of(exc)}", REASON_LIMIT), report


def examine(instances: list[Any], settle: Callable[[Any], Any]) -> bytes:
    """The payload of HEALTH_REPLY: of the first instance that is not well, else of the first one."""
    answers = [_ask(instance, settle) for instance in instances]
    ok, reason, report = next((answer for answer in answers if not answer[0]), answers[0])
    answer = {"ok": ok, "reason": reason, "report": report if isinstance(report, dict) else None}
    try:
        payload = _coder.encode(answer, POLICY_MARKER)
        if len(payload) <= REPORT_LIMIT:
            return payload
    except Exception:
        pass
    return _coder.encode({"ok": ok, "reason": reason, "report": None})
