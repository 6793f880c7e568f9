"""Tools of the host that stream, over the control socket: what ``src/_snakepit_tool_stream.c`` is for the rings, in pure Python.

Invariants
 1. Credit, and that it is closed, are sent only while its call may send: else later, by who writes next for the call, or by the reader before he
    waits. A call that ends closes all of its streams without a word: the host knows.
 2. After the last value comes the tool's result, or its failure, once; then nothing.

Failure: ``HostToolError``, ``ValueError``, ``Cancelled``; ``RuntimeError`` after the call. Thread: any of the call.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from . import _wire
from ._codec import Output, decode, encode_into
from ._errors import Cancelled
from ._host_tools import tool_failure, with_binary
from ._socket_tools import open_question
from ._wire import FIELD_BINARY, HEADER, HEADER_SIZE, TOOL_CHUNK, TOOL_CREDIT, TOOL_RESULT, VERSION, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._socket_stream import Inner

_WINDOW = Struct("<IIQ")
_pack_into = HEADER.pack_into


class SocketToolStream:
    """What a tool of the host streams to the call that runs: an iterator. The value of its ``StopIteration`` is what the tool has returned."""

    def __init__(self, inner: Inner, call: int, name: str, chunks: int, size: int) -> None:
        self.id = 0
        self.result: Any = None
        self._inner = inner
        self._id = call
        self._name = name
        self._window, self._window_bytes = chunks, size
        self._taken = self._taken_bytes = 0
        self._items: deque[_wire.Frame] = deque()
        self._answer: _wire.Frame | None = None
        self._over = False  # what comes at the end has been given
        self._closed = self._ended_call = False
        self._waiters = 0

    # ---- what comes: inner.news is held ----

    def take(self, frame: _wire.Frame) -> None:
        if self._answer is None and frame.kind != TOOL_CHUNK:
            self._answer = frame
        elif self._answer is None and not self._closed:
            self._items.append(frame)

    def part(self) -> None:
        """Its call ends."""
        self._ended_call = True

    # ---- what goes ----

    def _grant(self) -> None:
        """Tells the host what has been taken, once it is half a window."""
        inner = self._inner
        with inner.news:
            enough = 2 * self._taken >= self._window or 2 * self._taken_bytes >= self._window_bytes
            idle = self._answer is not None or self._closed or self._ended_call or not inner.has_turn(self._id)
            if not enough or not self._taken or idle:
                return
            taken, size = self._taken, self._taken_bytes
            self._taken = self._taken_bytes = 0
        out = Output(HEADER_SIZE)
        encode_into(out, taken)
        encode_into(out, size)
        _pack_into(out, 0, VERSION, TOOL_CREDIT, 0, len(out), self.id, 0)
        inner.write(out)

    def close(self) -> None:
        """Nothing more is wanted: the tool is told so, and the iteration is over."""
        inner = self._inner
        with inner.news:
            told = self._closed or self._answer is not None or self._ended_call or self.id == 0
            self._closed = True
            self._items.clear()
            if told:
                return
            level = next((x for x in (inner.lane._level, *inner.outer) if x is not None and x._id == self._id), None)
            if level is None or inner.lane._forked:
                return
            level.closing.append(self.id)
            if self._waiters:
                inner.recall()
        level.close_late()

    # ---- reading ----

    def check(self) -> None:
        """Raises when the call has ended or shall end."""
        if self._ended_call:
            raise RuntimeError("the call has ended: its tools give nothing more")
        if self._inner.lane._is_cancelled(self._id):
            raise Cancelled()

    def is_there(self, what: int) -> bool:
        """Is there something for the reader?"""
        return bool(self._items) or self._answer is not None or self._closed

    def _pop(self) -> Any:
        frame = self._items.popleft()
        self._taken += 1
        self._taken_bytes += len(frame.data)
        if not self._ended_call:
            self._grant()
        return decode(frame.data[frame.start :])

    def _end(self) -> Any:
        """What comes at the end, once."""
        frame = self._answer
        if frame is None or self._over or self._closed:
            return None
        self._over = True
        value = decode(frame.data[frame.start :])
        if frame.kind != TOOL_RESULT:
            raise tool_failure(self._name, value)
        beside = field(frame.fields, FIELD_BINARY) if frame.fields else None
        self.result = value if beside is None else with_binary(value, beside)
        return self.result

    def __iter__(self) -> SocketToolStream:
        return self

    def __next__(self) -> Any:
        while True:
            if self._items:
                return self._pop()
            if self._closed or self._answer is not None:
                raise StopIteration(self._end())
            self.check()
            self._grant()
            self._inner.wait(self, 0)

    def pull(self) -> tuple[Any, ...] | None:
        """What has come: ``(value,)``, ``()`` at the end, None when there is nothing yet."""
        if not self.is_there(0):
            self.check()
            self._inner.poll()
        if self._items:
            return (self._pop(),)
        if not self.is_there(0):
            return None
        self._end()
        return ()

    def block(self) -> None:
        """Waits until ``pull`` would get on. Any thread."""
        try:
            while not self._ended_call and not self.is_there(0):
                self._grant()
                self._inner.wait(self, 0)
        except Cancelled:
            pass  # pull() says so

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> SocketToolStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_stream(inner: Inner, call: int, name: str, parameters: Any, binary: bytes | None, chunks: int, size: int) -> Any:
    """Asks for a tool that streams."""
    stream = SocketToolStream(inner, call, name, chunks, size)
    open_question(inner, call, name, parameters, binary, stream, _WINDOW.pack(chunks, 0, size))
    return stream
