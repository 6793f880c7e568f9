"""Tools of the host that stream, as async tools read them: an asynchronous iterator over what a lane's ``ask_stream`` gives.

It asks when it is first read. It waits for a value in a thread beside the event loop, and only when there is none.

Failure: ``HostToolError``, ``ValueError`` for a tool that is not there, ``Cancelled`` when the call shall end. Thread: the event loop's.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import SessionContext

WINDOW, WINDOW_BYTES = 100, 8 << 20  # of what the host may send beyond what has been taken


class AsyncToolStream:
    """What a tool streams to an async tool: ``async for row in context.astream_host_tool("rows"): ...``."""

    __slots__ = ("_closed", "_context", "_pending", "_port", "_question")

    def __init__(self, context: SessionContext, name: str, parameters: Any, binary: Any) -> None:
        self._context = context
        self._question = (name, parameters, binary)
        self._port: Any = None
        self._pending: Any = None
        self._closed = False

    @property
    def result(self) -> Any:
        """What the tool has returned, after its last value."""
        return None if self._port is None else self._port.result

    def __aiter__(self) -> AsyncToolStream:
        return self

    async def __anext__(self) -> Any:
        if self._port is None and not self._closed:
            await self._open()
        while not self._closed:
            found = self._port.pull()
            if found is None:
                await self._news()
            elif found:
                return found[0]
            else:
                break
        raise StopAsyncIteration

    async def _open(self) -> None:
        from asyncio import Lock, get_running_loop, shield

        context = self._context
        if context._turn is None:
            context._turn = Lock()
        async with context._turn:
            if self._port is not None or self._closed:
                return
            lane = context._host()
            asked = get_running_loop().run_in_executor(
                lane.commands.waiters(), lane.ask_stream, context._id, *self._question, WINDOW, WINDOW_BYTES
            )
            asked.add_done_callback(self._keep)  # also when nobody waits any more
            await shield(asked)

    def _keep(self, asked: Any) -> None:
        if asked.cancelled() or asked.exception() is not None:
            return
        self._port = asked.result()
        if self._closed:
            self._port.close()

    async def _news(self) -> None:
        from asyncio import get_running_loop, shield

        if self._pending is None or self._pending.done():
            waiters = self._context._host().commands.waiters()
            self._pending = get_running_loop().run_in_executor(waiters, self._port.block)
        await shield(self._pending)  # who gives up waiting leaves it to the next one

    async def aclose(self) -> None:
        """Nothing more is wanted: the tool is told so, and the iteration is over."""
        self._closed = True
        if self._port is not None:
            self._port.close()

    def __del__(self) -> None:
        if self._port is not None:
            self._port.close()  # a thread may wait for it still

    async def __aenter__(self) -> AsyncToolStream:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
