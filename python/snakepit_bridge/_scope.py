"""How long an instance of the adapter lives, and what stands around its calls.

``worker``: one instance, shared by all lanes. ``lane``: one for each lane, made, initialised and cleaned up on the lane's thread. ``request``: one
for each call, initialised before it and cleaned up after it, be it over at once, awaited or streamed.

Invariants
 1. What was initialised is cleaned up exactly once: when the call is over, or its producer is closed, also one that nobody has iterated.
 2. A session's ``reset`` has returned before a call of another session, or of none, begins on its lane.

Failure: ``adapter_invalid`` for a scope that is none; what ``initialize`` or ``reset`` raises is the error of the call that waited for it; what
``cleanup`` raises is told on stderr. Thread: the lane's.
"""

from __future__ import annotations

import sys
from types import AsyncGeneratorType, GeneratorType

from ._commands import can_be_awaited
from ._errors import SnakepitError, clean, traceback_of, type_name
from .adapter import hook_of
from .context import SessionContext, current_context, enter, note_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from typing import Any, Callable

    from ._commands import Commands

SCOPES = ("worker", "lane", "request")


def scope_of(cls: type, asked: Any = None) -> str:
    """The scope: what the pool asks for, else what the class says."""
    scope = getattr(cls, "adapter_scope", "worker") if asked is None else asked
    if isinstance(scope, str) and scope in SCOPES:
        return scope
    who = type_name(cls) if asked is None else "the pool"
    raise SnakepitError(
        "adapter_invalid",
        f"adapter_scope of {who} is {clean(repr(scope)[:80])}",
        {"adapter_scope": clean(repr(scope)[:80])},
        [f"it is one of {', '.join(map(repr, SCOPES))}"],
    )


async def _within(awaitable: Any, context: SessionContext) -> Any:
    enter(context)
    return await awaitable


def _settle(commands: Commands, result: Any) -> None:
    """Waits for what a hook has returned, in the context of the call that runs."""
    if hasattr(type(result), "__await__"):
        commands.run(_within(result, current_context()))


def _tell_cleanup(exc: BaseException) -> None:
    """It spoils nothing that has been done."""
    print(f"snakepit_bridge: cleanup failed\n{traceback_of(exc)}", file=sys.stderr)


class Resets:
    """Around each call of a lane: tells the adapter of the session that has left."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._session: str | None = None

    def __call__(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            session = current_context().session_id
            if session != self._session:
                if self._session is not None:
                    _settle(self._commands, self._commands.instance.reset(self._session))
                self._session = session
            return fn(*args, **kwargs)

        run.__wrapped__ = fn  # type: ignore[attr-defined]
        return run


class _Awaited:
    """What an async method has returned, and the instance whose it is."""

    def __init__(self, requests: Requests, instance: Any, awaitable: Any) -> None:
        self._requests, self._instance, self._awaitable = requests, instance, awaitable

    def __await__(self) -> Generator[Any, None, Any]:
        return self._run().__await__()

    async def _run(self) -> Any:
        from asyncio import sleep

        try:
            await sleep(0)  # a call that was cancelled meanwhile ends here
        except BaseException:
            close = getattr(self._awaitable, "close", None)
            if close is not None:
                close()
            await self._requests.end_async(self._instance)
            raise
        try:
            result = await self._awaitable
        except BaseException:
            await self._requests.end_async(self._instance)
            raise
        producer = self._requests.producer(self._instance, result)
        if producer is None:
            await self._requests.end_async(self._instance)
        return result if producer is None else producer


class Requests:
    """Around each call of a lane: an instance of its own."""

    def __init__(self, cls: type, commands: Commands) -> None:
        self._cls = cls
        self._commands = commands

    def __call__(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            instance = self._cls()
            own = self._commands.bound(instance, name)
            if own is None:
                raise SnakepitError(
                    "tool_not_found", f"{clean(name)!r} is a tool of some instances of the adapter and not of this one"
                )
            initialize = hook_of(instance, "initialize")
            if initialize is not None:
                _settle(self._commands, initialize())
            try:
                result = own(*args, **kwargs)
            except BaseException:
                self.end(instance)
                raise
            return self._pass_on(instance, result)

        run.__wrapped__ = fn  # type: ignore[attr-defined]
        return run

    def _pass_on(self, instance: Any, result: Any) -> Any:
        if can_be_awaited(result):
            return _Awaited(self, instance, result)
        producer = self.producer(instance, result)
        if producer is None:
            self.end(instance)
        return result if producer is None else producer

    def producer(self, instance: Any, result: Any) -> Any:
        """What streams the result, and ends the instance when it is over; None: it is no stream."""
        kind = type(result)
        if kind is AsyncGeneratorType or hasattr(kind, "__anext__"):
            return self._begun_async(self._produce_async(instance, result))
        if kind is GeneratorType or hasattr(kind, "__next__"):
            producer = self._produce(instance, result)
            next(producer)
            return producer
        return None

    # A generator that was never begun runs none of its ``finally`` when it is closed: so these are begun at once, up to a first value that nobody
    # sees.

    def _produce(self, instance: Any, producer: Any) -> Generator[Any, Any, Any]:
        try:
            yield
            return (yield from producer)
        finally:
            try:
                close = getattr(producer, "close", None)
                if close is not None:
                    close()
            finally:
                self.end(instance)

    async def _produce_async(self, instance: Any, producer: Any) -> AsyncGenerator[Any, None]:
        try:
            yield
            async for value in producer:
                yield value
        finally:
            try:
                close = getattr(producer, "aclose", None)
                if close is not None:
                    await close()
            finally:
                await self.end_async(instance)

    def _begun_async(self, producer: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        try:
            producer.asend(None).send(None)  # type: ignore[attr-defined]
        except StopIteration:
            pass
        return producer

    def end(self, instance: Any) -> None:
        """After the call."""
        cleanup = hook_of(instance, "cleanup")
        if cleanup is None:
            return
        try:
            result = cleanup()
            if hasattr(type(result), "__await__"):
                self._commands.run(result)
        except Exception as exc:
            _tell_cleanup(exc)

    async def end_async(self, instance: Any) -> None:
        """The same on the lane's event loop, which runs. A call that shall end while it is cleaned up after is on its way there."""
        cleanup = hook_of(instance, "cleanup")
        if cleanup is None:
            return
        note_end()
        try:
            result = cleanup()
            if hasattr(type(result), "__await__"):
                await result
        except Exception as exc:
            _tell_cleanup(exc)
