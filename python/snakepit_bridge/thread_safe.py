"""For adapters of pools of the profile ``thread``: what several calls at a time need.

Thread: any; everything here may be called from several at once.
"""

from __future__ import annotations

from _thread import RLock, _local, allocate_lock  # threading's own, without the rest of it

from .adapter import BaseAdapter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    F = TypeVar("F")

_MARK = "__snakepit_thread_safe__"


def thread_safe_method(method: F) -> F:
    """Says of a method that it may be entered while it runs in another thread. Goes with ``@tool`` in either order; changes nothing else."""
    target = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
    setattr(target, _MARK, True)
    return method


def is_thread_safe(method: Any) -> bool:
    """Has it been marked so?"""
    target = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
    return getattr(target, _MARK, False) is True


class _Tracked:
    """One request, from ``with`` to its end."""

    def __init__(self, adapter: ThreadSafeAdapter, name: str) -> None:
        self._adapter, self._name = adapter, name

    def __enter__(self) -> None:
        self._adapter._snakepit_count(self._name, 1, False)

    def __exit__(self, kind: object, exc: object, traceback: object) -> None:
        self._adapter._snakepit_count(self._name, -1, kind is not None)


class ThreadSafeAdapter(BaseAdapter):
    """A ``BaseAdapter`` whose methods may run in several threads at once, with what they need to share state and to keep apart what is a thread's own.

    ::

        class Model(ThreadSafeAdapter):
            @tool
            @thread_safe_method
            def predict(self, x):
                with self.track_request("predict"):
                    session = self.get_thread_local("session") or self.set_thread_local("session", open_session())
                    with self.acquire_lock():
                        self.calls += 1
                    return session.run(x)
    """

    __thread_safe__ = True

    def __new__(cls, *args: Any, **kwargs: Any) -> ThreadSafeAdapter:
        # Not __init__, which a subclass may leave out; and under names that are no subclass's, which may well have a _lock of its own.
        self = super().__new__(cls)
        self.__lock = RLock()
        self.__own = _local()
        self.__counting = allocate_lock()
        self.__counts: dict[str, list[int]] = {}  # name -> started, running, failed
        self.__running = self.__most = 0
        return self

    def acquire_lock(self) -> Any:
        """The adapter's lock, for ``with self.acquire_lock():``. The thread that has it may take it again."""
        return self.__lock

    def get_thread_local(self, key: str, default: Any = None) -> Any:
        """What this thread has kept under the key. A lane's thread lives as long as the lane, and so does what it keeps."""
        return self.__own.__dict__.get(key, default)

    def set_thread_local(self, key: str, value: Any) -> Any:
        """Keeps the value for this thread. Returns it."""
        self.__own.__dict__[key] = value
        return value

    def clear_thread_local(self, key: str | None = None) -> None:
        """Forgets what this thread has kept under the key; without a key, all of it."""
        if key is None:
            self.__own.__dict__.clear()
        else:
            self.__own.__dict__.pop(key, None)

    def track_request(self, name: str = "request") -> Any:
        """Counts what runs within ``with self.track_request("predict"):`` for ``get_stats()``."""
        return _Tracked(self, name)

    def _snakepit_count(self, name: str, step: int, failed: bool) -> None:
        with self.__counting:
            counts = self.__counts.setdefault(name, [0, 0, 0])
            counts[0] += step > 0
            counts[1] += step
            counts[2] += failed
            self.__running += step
            self.__most = max(self.__most, self.__running)

    def get_stats(self) -> dict[str, Any]:
        """What was tracked: how many requests have begun, run now, ran at a time at most, and have failed; and the same by name."""
        with self.__counting:
            by_name = {
                name: {"requests": started, "running": running, "failed": failed}
                for name, (started, running, failed) in self.__counts.items()
            }
            running, most = self.__running, self.__most
        return {
            "requests": sum(each["requests"] for each in by_name.values()),
            "running": running,
            "most_running": most,
            "failed": sum(each["failed"] for each in by_name.values()),
            "by_name": by_name,
        }
