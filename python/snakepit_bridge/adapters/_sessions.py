"""The session group of ``Showcase``: a counter and a little state for each session, which stay in the worker that made them.

Thread: the lane's.
"""

from __future__ import annotations

import time

from ..adapter import tool
from ._counted import Counted, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEPT = 1000  # sessions; then the one that was idle longest is forgotten


class _State:
    def __init__(self) -> None:
        self.created = time.time()
        self.counter = 0
        self.values: dict[str, Any] = {}


class SessionTools(Counted):
    """init_session, cleanup, set_counter, get_counter, increment_counter, get_worker_info"""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str | None, _State] = {}

    def state(self) -> _State:
        """That of the call's session; calls without one share theirs."""
        session = self.session_context.session_id
        state = self.states.pop(session, None) or _State()
        self.states[session] = state  # the last one now
        while len(self.states) > KEPT:
            del self.states[next(iter(self.states))]
        return state

    def on_session_end(self, session_id: str) -> None:
        """Forgets it."""
        self.states.pop(session_id, None)

    @tool
    def init_session(self, **values: Any) -> dict[str, Any]:
        """Begins the session anew, with these values."""
        self.count("init_session")
        self.states.pop(self.session_context.session_id, None)
        state = self.state()
        state.values.update(values)
        return {"session_id": self.session_context.session_id, "created": state.created, "values": state.values}

    @tool(name="cleanup")
    def cleanup_session(self) -> dict[str, Any]:
        """Forgets the session."""
        self.count("cleanup")
        session = self.session_context.session_id
        return {"session_id": session, "was_there": self.states.pop(session, None) is not None}

    @tool
    def set_counter(self, value: int) -> dict[str, Any]:
        """Sets the session's counter."""
        self.count("set_counter")
        whole("value", value)
        state = self.state()
        old, state.counter = state.counter, value
        return {"old": old, "new": value}

    @tool
    def get_counter(self) -> dict[str, Any]:
        """The session's counter; 0 at first."""
        self.count("get_counter")
        return {"value": self.state().counter}

    @tool
    def increment_counter(self, by: int = 1) -> dict[str, Any]:
        """Adds to the session's counter."""
        self.count("increment_counter")
        whole("by", by)
        state = self.state()
        state.counter += by
        return {"value": state.counter}

    @tool
    def get_worker_info(self) -> dict[str, Any]:
        """Which worker this is, and the sessions that it has state of."""
        self.count("get_worker_info")
        return {**self.counted(), "session_id": self.session_context.session_id, "sessions": len(self.states)}
