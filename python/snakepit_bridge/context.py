"""The context of the call that runs: session, correlation id, deadline, cancellation.

A synchronous call costs nothing for it: the lane keeps the raw fields of its frame, and the object is made when it is asked for. It is then
also left in a context variable, for threads that run in a copy of this call's ``contextvars`` context. An asynchronous call gets its context
before it starts, as a context variable, so that the tasks that it makes, and that may outlive it, keep their own.

Invariants
 1. Within a call ``current_context()`` is that call's, in its thread and in every task and ``asyncio.to_thread`` that it started; a thread that
    runs in a copy of a synchronous call's context sees that call's if the call had asked for it before the copy was made.
 2. Outside a call it raises ``RuntimeError``. No thread or task ever sees the context of a call that is not its own.

Thread: any; each thread sees its own.
"""

from __future__ import annotations

from _thread import _local as local  # threading.local, without the rest of threading
from contextvars import ContextVar
from time import monotonic_ns

from ._errors import Cancelled
from ._wire import FIELD_BINARY, FIELD_CORRELATION, FIELD_METADATA, FIELD_OPTIONS, FIELD_SESSION, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    Maker = Callable[[], Optional["SessionContext"]]

_now_ns = monotonic_ns
TOLD, RAISED = 1, 2  # the second and the third rung of the ladder


class SessionContext:
    """What is known about one call. Usable after the call has ended, too."""

    __slots__ = ("_cancelled", "_deadline_ns", "_ending", "_fields", "_id", "_lane", "_prefix", "_times_truncated", "_turn")

    def __init__(
        self,
        call_id: int,
        deadline_ns: int,
        fields: bytes,
        prefix: int,
        cancelled: Callable[[int], bool],
        times_truncated: bool = False,
        lane: Any = None,
    ) -> None:
        self._id = call_id
        self._deadline_ns = deadline_ns
        self._fields = fields
        self._prefix = prefix
        self._cancelled = cancelled
        self._times_truncated = times_truncated
        self._lane = lane
        self._turn: Any = None  # of the tasks that ask the host for something
        self._ending = 0  # TOLD, RAISED: by what its code has come to its end, to which no second word must come in between

    @property
    def session_id(self) -> str | None:
        """The caller's session, or None."""
        data = field(self._fields, FIELD_SESSION)
        return None if data is None else data.decode("utf-8", "replace")

    @property
    def correlation_id(self) -> str:
        """The id that stands in the events, logs and errors of this call: the caller's, or a generated one."""
        data = field(self._fields, FIELD_CORRELATION)
        if data is not None:
            return data.decode("utf-8", "replace")
        return f"sp-{self._prefix & 0xFFFFFFFF:08x}{self._id:016x}"

    @property
    def deadline(self) -> float | None:
        """Seconds that are left (negative when it has passed), or None when there is no deadline."""
        return None if self._deadline_ns == 0 else (self._deadline_ns - _now_ns()) / 1e9

    @property
    def times_truncated(self) -> bool:
        """Has a time among the arguments lost its nanoseconds? Python's times end with microseconds."""
        return self._times_truncated

    def _map(self, tag: int) -> dict[str, Any]:
        data = field(self._fields, tag)
        if data is None:
            return {}
        from ._coder import decode

        found = decode(data)
        return found if type(found) is dict else {}

    @property
    def metadata(self) -> dict[str, Any]:
        """What the caller has told about the call, as text, numbers and booleans; empty without."""
        return self._map(FIELD_METADATA)

    @property
    def request_metadata(self) -> dict[str, Any]:
        """The same as ``metadata``."""
        return self.metadata

    @property
    def log(self) -> Any:
        """A ``logging`` adapter whose records carry ``correlation_id`` and ``session_id``: ``ctx.log.warning("...")``."""
        from logging import LoggerAdapter, getLogger

        return LoggerAdapter(getLogger("snakepit"), {"correlation_id": self.correlation_id, "session_id": self.session_id})

    @property
    def binary_parameters(self) -> dict[str, bytes]:
        """Named bytes that came with the call beside its arguments; empty without. A copy each time."""
        return self._map(FIELD_BINARY)

    @property
    def idempotent(self) -> bool:
        """Has the caller said that the call may be run again without harm?"""
        return self._map(FIELD_OPTIONS).get("idempotent") is True

    # ---- tools of the host ----

    def _host(self) -> Any:
        if self._lane is None:
            raise RuntimeError("this context is that of no call: there is no host to ask")
        return self._lane

    def call_host_tool(self, name: str, parameters: Any = None, binary: Any = None, /, **named: Any) -> Any:
        """Calls a tool of the host and waits for what it gives: ``call_host_tool("lookup", {"key": 1})`` or ``call_host_tool("lookup", key=1)``.

        binary: bytes by name, beside the parameters. A tool that gives bytes beside its value has them in ``.binary`` of what is returned, its
        value in ``.value``. ``HostToolError`` when the tool fails; ``ValueError`` when there is none of that name.
        """
        from ._host_tools import call  # the extension has this method in C

        return call(self, name, parameters, binary, **named)

    async def acall_host_tool(self, name: str, parameters: Any = None, binary: Any = None, /, **named: Any) -> Any:
        """The same for async tools: other tasks go on meanwhile."""
        from ._host_tools import ask_later, question

        return await ask_later(self, name, *question(parameters, named, binary))

    def stream_host_tool(self, name: str, parameters: Any = None, binary: Any = None, /, **named: Any) -> Any:
        """Iterates over what a tool of the host streams: ``for row in stream_host_tool("rows", table="t"): ...``.

        Whoever has enough closes it: ``close()``, ``with``, or by letting go of it. What the tool has returned is in ``.result`` after the last value.
        ``HostToolError`` when the tool fails; ``ValueError`` when there is none of that name: both when the iteration comes to it.
        """
        from ._host_tools import question
        from ._tool_stream import WINDOW, WINDOW_BYTES

        return self._host().ask_stream(self._id, name, *question(parameters, named, binary), WINDOW, WINDOW_BYTES)

    def astream_host_tool(self, name: str, parameters: Any = None, binary: Any = None, /, **named: Any) -> Any:
        """The same for async tools: ``async for row in astream_host_tool("rows"): ...``; closed by ``aclose()``, ``async with``, or by letting go of it."""
        from ._host_tools import question
        from ._tool_stream import AsyncToolStream

        return AsyncToolStream(self, name, *question(parameters, named, binary))

    @property
    def host_tools(self) -> Any:
        """The tools that the host offers to this session: a mapping of their names to what calls them."""
        from ._host_tools import HostTools

        return HostTools(self)

    call_elixir_tool = call_host_tool
    elixir_tools = host_tools

    def cancelled(self) -> bool:
        """Shall this call end? Its deadline has passed, or the host has asked for it."""
        if self._deadline_ns != 0 and _now_ns() >= self._deadline_ns:
            return True
        return self._cancelled(self._id)

    def check(self) -> None:
        """Raises ``Cancelled`` when this call shall end."""
        if self._deadline_ns != 0 and _now_ns() >= self._deadline_ns:
            self._note_end()
            raise Cancelled("the call's deadline has passed", "deadline_exceeded")
        if self._cancelled(self._id):
            self._note_end()
            raise Cancelled()

    def _note_end(self) -> None:
        """Its code has heard that it shall end: what it does from now on is left alone before the third rung."""
        self._ending = self._ending or TOLD

    def __repr__(self) -> str:
        return f"<SessionContext {self.correlation_id} session={self.session_id!r} deadline={self.deadline}>"


class _Thread(local):
    """make: gives the context of the synchronous call that this thread runs, None when it runs none."""

    make: Maker | None = None


_thread = _Thread()
_current: ContextVar[SessionContext | None] = ContextVar("snakepit_context", default=None)
# That of the synchronous call that runs, once it has been asked for: for copies in other threads. The lane takes it away with the call.
handed: ContextVar[SessionContext | None] = ContextVar("snakepit_handed", default=None)


def current_context() -> SessionContext:
    """The context of the call that runs. Outside a call: ``RuntimeError``."""
    context = _current.get()
    if context is not None:
        return context
    if _thread.make is not None:
        context = _thread.make()
        if context is not None:
            if handed.get() is not context:
                handed.set(context)
            return context
    context = handed.get()
    if context is None:
        raise RuntimeError("there is no call: the context exists only while a call runs")
    return context


def note_end() -> None:
    """The call whose task this is has heard that it shall end, or is being cleaned up after."""
    context = _current.get()
    if context is not None:
        context._note_end()


def bind_thread(make: Maker | None) -> None:
    """The calls of this thread are those of the lane whose ``make`` this is."""
    _thread.make = make


def enter(context: SessionContext) -> None:
    """Makes it the context of the running task."""
    _current.set(context)
