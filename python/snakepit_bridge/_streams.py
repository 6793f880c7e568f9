"""Streams: what a tool gives bit by bit, and what comes to it meanwhile.

A tool streams when it is a generator or an async one, gives an iterator, or takes ``stream`` or ``inbox`` as an argument: the stream of the
call, to ``send`` to and to iterate over. The lane drives what is synchronous; what is asynchronous is driven here, on the event loop. An async
tool waits for credit, and for what comes, in a thread beside the loop, and only when there is none.

Failure: ``Cancelled`` when the call shall end, ``RuntimeError`` after it. Thread: the call's.
"""

from __future__ import annotations

from types import FunctionType

from ._errors import Cancelled, SnakepitError, type_name
from .context import note_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

stream_name, inbox_name = "stream", "inbox"
TAKES_STREAM, TAKES_INBOX, TAKES_ASYNC = 1, 2, 4
FOR_CREDIT, FOR_INBOX = 1, 2
_CO_COROUTINES = 0x80 | 0x100 | 0x200  # async functions, what types.coroutine has marked, async generators
_CO_VARARGS = 0x04
_WRAPPERS = 32  # around a function; an object may claim to wrap itself
_TURN = 64  # chunks after which other tasks have their turn


class StreamChunk:
    """A chunk of which more is to be said than its value: ``yield StreamChunk(value, metadata={...}, is_final=True)``."""

    __slots__ = ("is_final", "metadata", "value")

    def __init__(self, value: Any, metadata: dict[str, Any] | None = None, is_final: bool = False) -> None:
        self.value = value
        self.metadata = metadata
        self.is_final = is_final


def streams_nothing(result: object) -> SnakepitError:
    """The error of a call for a stream whose tool has given a plain value."""
    return SnakepitError(
        "streaming_not_supported",
        f"the tool gave a value of the type {type_name(type(result))}, which is no stream",
        suggestions=["have the method yield what it makes"],
    )


def streaming_required(what: str) -> SnakepitError:
    """The error of a plain call of a tool that streams."""
    return SnakepitError(
        "streaming_required",
        f"{what}: it streams, and this was no call for a stream",
        suggestions=["have the method collect what it makes: return list(...)"],
    )


# ---- what a tool takes ----


def _innermost(fn: Any) -> Any:
    for _ in range(_WRAPPERS):
        inner = getattr(fn, "__wrapped__", None) or getattr(fn, "__func__", None)
        if inner is None:
            break
        fn = inner
    return fn


def taken(fn: Any) -> tuple[int, bool]:
    """Which of ``stream`` and ``inbox`` a tool takes, and whether it cannot be called without."""
    fn = _innermost(fn)
    if not isinstance(fn, FunctionType):
        return _taken_by_signature(fn)
    code = fn.__code__
    positional = code.co_varnames[: code.co_argcount]
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    optional = {*positional[len(positional) - len(fn.__defaults__ or ()) :], *(fn.__kwdefaults__ or {})}
    found, needed = 0, False
    for name, bit in ((stream_name, TAKES_STREAM), (inbox_name, TAKES_INBOX)):
        if name in positional[code.co_posonlyargcount :] or name in named:
            found |= bit
            needed = needed or name not in optional
    return (found | TAKES_ASYNC if found and code.co_flags & _CO_COROUTINES else found), needed


def _taken_by_signature(fn: Any) -> tuple[int, bool]:
    """Of what is no function: an object that can be called."""
    from inspect import signature

    try:
        parameters = signature(fn).parameters
    except (TypeError, ValueError):
        return 0, False
    found, needed = 0, False
    for name, bit in ((stream_name, TAKES_STREAM), (inbox_name, TAKES_INBOX)):
        p = parameters.get(name)
        if p is not None and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            found |= bit
            needed = needed or p.default is p.empty
    code = getattr(type(fn).__call__, "__code__", None)
    return (found | TAKES_ASYNC if found and getattr(code, "co_flags", 0) & _CO_COROUTINES else found), needed


def given_by_caller(name: str) -> TypeError:
    """The error of a caller who gives what only the lane has."""
    return TypeError(f"{name} is the call's own: no caller gives it as an argument")


def _stand_last(fn: Any) -> bool:
    """Does no argument of a caller come after ``stream`` and ``inbox``? Then it cannot get into their place."""
    code = getattr(_innermost(fn), "__code__", None)
    if code is None or code.co_flags & _CO_VARARGS:
        return False
    names = code.co_varnames[: code.co_argcount]
    own = [i for i, name in enumerate(names) if name in (stream_name, inbox_name)]
    return not own or own == list(range(own[0], len(names)))


def in_place(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A tool that takes ``stream`` or ``inbox``, for callers who do not know of them: what is given by position passes them by."""
    from inspect import signature

    try:
        positional = [p for p in signature(fn).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        return fn
    own = [(i, p.name, p.default) for i, p in enumerate(positional) if p.name in (stream_name, inbox_name)]

    def run(*args: Any, **kwargs: Any) -> Any:
        given = list(args)
        for i, name, default in own:
            if i < len(given):
                given.insert(i, kwargs.pop(name, default))
        return fn(*given, **kwargs)

    return run


def streamed(fn: Callable[..., Any], takes: int) -> Callable[..., Any]:
    """A tool as a call for a stream has it, which adds what the tool takes by name."""
    return in_place(fn) if takes and not _stand_last(fn) else fn


def close(producer: Any) -> None:
    """Ends an iterator that nobody will go on with."""
    end = getattr(producer, "close", None)
    if callable(end):
        end()


def _without(fn: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        for name in (stream_name, inbox_name):
            if name in kwargs:
                raise given_by_caller(name)
        return fn(*args, **kwargs)

    return run


def unary(fn: Callable[..., Any], name: str, marked: bool) -> Callable[..., Any]:
    """A tool as a plain call has it: one that can only stream refuses."""
    takes, needed = taken(fn)
    if needed:

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise streaming_required(f"the tool {name!r} sends what it makes, or reads what comes")

        return refuse
    if takes:
        fn = _without(in_place(fn))
    if not marked:
        return fn

    def check(result: Any) -> Any:
        if hasattr(type(result), "__next__"):
            close(result)
            raise streaming_required(f"the tool {name!r} gave an iterator")
        return result

    async def later(result: Any) -> Any:
        return check(await result)

    def run(*args: Any, **kwargs: Any) -> Any:
        result = fn(*args, **kwargs)
        return later(result) if hasattr(type(result), "__await__") else check(result)

    return run


# ---- on the event loop ----


class AsyncStream:
    """The stream of an async tool's call: ``await stream.send(value)``, ``async for value in inbox``."""

    __slots__ = ("_pending", "_pool", "_port")

    def __init__(self, port: Any, pool: Callable[[], Any]) -> None:
        self._port = port
        self._pool = pool
        self._pending: dict[int, Any] = {}

    @property
    def inbox(self) -> AsyncStream:
        """What the host sends, to iterate over."""
        return self

    async def send(self, value: Any, *, metadata: dict[str, Any] | None = None, is_final: bool = False) -> None:
        """One chunk. Waits while the host takes no more; other tasks go on."""
        try:
            while not self._port.push(value, metadata, is_final):
                await self._news(FOR_CREDIT)
        except Cancelled:
            note_end()
            raise

    asend = send

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Any:
        try:
            while True:
                found = self._port.pull()
                if found is None:
                    await self._news(FOR_INBOX)
                elif found:
                    return found[0]
                else:
                    raise StopAsyncIteration
        except Cancelled:
            note_end()
            raise

    async def _news(self, what: int) -> None:
        from asyncio import get_running_loop, shield

        pending = self._pending.get(what)
        if pending is None or pending.done():
            pending = self._pending[what] = get_running_loop().run_in_executor(self._pool(), self._port.block, what)
        await shield(pending)  # who gives up waiting leaves it to the next one


class Drive:
    """To be awaited: sends all that an asynchronous iterator makes, and closes it."""

    __slots__ = ("_producer", "_stream")

    def __init__(self, producer: Any, stream: AsyncStream) -> None:
        self._producer = producer
        self._stream = stream

    def __await__(self) -> Any:
        return self._run().__await__()

    async def _run(self) -> None:
        producer, stream = self._producer, self._stream
        n = 0
        try:
            async for value in producer:
                if type(value) is StreamChunk:
                    await stream.send(value.value, metadata=value.metadata, is_final=value.is_final)
                elif not stream._port.push(value):
                    await stream.send(value)
                n += 1
                if n % _TURN == 0:
                    from asyncio import sleep

                    await sleep(0)
        except Cancelled:
            note_end()
            raise
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends the iterator."""
        end = getattr(self._producer, "aclose", None)
        if callable(end):
            await end()
