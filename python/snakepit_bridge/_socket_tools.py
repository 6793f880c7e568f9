"""What a call asks of its host, over the control socket: what ``src/_snakepit_tools.c`` is for the rings, in pure Python.

The threads and tasks of one call take turns. Calls that the host makes meanwhile, because its tool needs this worker, are served by whoever waits.

Invariants
 1. A call has at most one question out, and sends nothing else meanwhile.
 2. A question that nobody waits for any more stays the call's question until its answer has come and been dropped; only a call that is cancelled ends
    before that.
 3. A call ends after its last asker.

Failure: ``HostToolError``, ``ValueError``, ``Cancelled``, ``RuntimeError`` after the call. Thread: any of the call.
"""

from __future__ import annotations

from _weakref import ref
from contextvars import Context
from struct import Struct
from threading import get_ident

from . import _wire
from ._codec import Output, decode, encode_into
from ._errors import Cancelled
from ._host_tools import tool_failure, with_binary
from ._refusals import too_large
from ._registry import POLICY_ERROR
from ._wire import (
    FIELD_BINARY,
    FIELD_STREAM,
    FLAG_FIELDS,
    HEADER,
    HEADER_SIZE,
    TOOL_CALL,
    TOOL_CLOSE,
    TOOL_ERROR,
    TOOL_LIST,
    VERSION,
    field,
)
from .context import bind_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._socket_stream import Inner

FOR_TURN, FOR_ANSWER = 3, 4
_U32, _FIELD = Struct("<I"), Struct("<BBH")
_pack_into = HEADER.pack_into


class Level:
    """One call, and what it has asked."""

    def __init__(self, inner: Inner, call: int) -> None:
        self._inner = inner
        self._id = call
        self._waiters = 0
        self.live = True
        self.asking = False
        self.abandoned = False
        self.ask_id = 0
        self.answer: _wire.Frame | None = None
        self.tools: list[Any] = []  # that stream to it, as weak references: _socket_tool_stream.py
        self.closing: list[int] = []  # of them: the host is still to be told

    def check(self) -> None:
        """Raises when the call shall end."""
        if self._inner.lane._is_cancelled(self._id):
            raise Cancelled()

    def is_there(self, what: int) -> bool:
        """May it ask (3)? Is the answer there (4)?"""
        return not self.asking or not self.live if what == FOR_TURN else self.answer is not None

    def take(self, frame: _wire.Frame) -> None:
        """The answer."""
        if self.abandoned:
            self.asking = self.abandoned = False
        else:
            self.answer = frame

    def close_late(self) -> None:
        """Tells the host of what was closed when nothing could be sent."""
        inner = self._inner
        while self.closing and not inner._writer and inner.has_turn(self._id):
            try:
                inner.write(_wire.build(TOOL_CLOSE, b"", self.closing.pop()))
            except (IndexError, OSError):
                return  # another thread was quicker; the host has gone, and the lane hears of that

    def end(self) -> None:
        """Waits for those who ask; later ones are refused."""
        inner = self._inner
        with inner.news:
            self.live = False
            while self._waiters:
                inner.news.wait()
            streams = [stream for stream in (found() for found in self.tools) if stream is not None]
            for stream in streams:
                stream.part()
            while any(stream._waiters for stream in streams):
                inner.recall()
                inner.news.wait()
            self.tools, self.closing = [], []
        while self.asking:
            try:
                inner.wait(self, FOR_TURN)
            except Cancelled:
                break
            except Exception:
                continue


def _has_ended() -> RuntimeError:
    return RuntimeError("the call has ended: its host can be asked for nothing more")


def level_of(inner: Inner, call: int) -> Level:
    """The call with this id; ``inner.news`` is held."""
    lane = inner.lane
    if lane._current == call and lane._live:
        if lane._level is None:
            lane._level = Level(inner, call)
        return lane._level  # type: ignore[no-any-return]
    for level in inner.outer:
        if level._id == call and level.live:
            return level
    raise _has_ended()


def _frame(
    lane: Any, kind: int, name: str | None, parameters: Any, binary: bytes | None, window: bytes | None = None
) -> Output:
    out = Output(HEADER_SIZE)
    out.policy = POLICY_ERROR
    given = [(tag, data) for tag, data in ((FIELD_STREAM, window), (FIELD_BINARY, binary)) if data is not None]
    if given:
        out += _U32.pack(sum(4 + len(data) for _, data in given))
        for tag, data in given:
            out += _FIELD.pack(tag, len(data) >> 16, len(data) & 0xFFFF) + data
    if kind == TOOL_CALL:
        encode_into(out, name)
        encode_into(out, parameters)
    if len(out) > lane._control.max_frame:
        raise too_large(lane._control.max_frame)
    return out


def open_question(
    inner: Inner, call: int, name: str, parameters: Any, binary: bytes | None, stream: Any, window: bytes
) -> None:
    """Asks for what comes to ``stream``, and waits for nothing."""
    with inner.news:
        level = level_of(inner, call)
        level._waiters += 1
    try:
        _take_turn(inner, level)
        try:
            with inner.news:
                stream.id, level.ask_id = level.ask_id, 0
                level.tools = [found for found in level.tools if found() is not None]
                level.tools.append(ref(stream))
            out = _frame(inner.lane, TOOL_CALL, name, parameters, binary, window)
            _pack_into(out, 0, VERSION, TOOL_CALL, FLAG_FIELDS, len(out), stream.id, 0)
            inner.write(out)
        except BaseException:
            with inner.news:
                level.tools = [found for found in level.tools if found() is not stream]
            raise
        finally:
            with inner.news:
                level.asking = False
                inner.recall()
    finally:
        with inner.news:
            level._waiters -= 1
            inner.news.notify_all()


def ask(inner: Inner, call: int, kind: int, name: str | None, parameters: Any, binary: bytes | None) -> Any:
    """Asks, and waits for the answer."""
    with inner.news:
        level = level_of(inner, call)
        level._waiters += 1
    try:
        _take_turn(inner, level)
        try:
            out = _frame(inner.lane, kind, name, parameters, binary)
            _pack_into(out, 0, VERSION, kind, FLAG_FIELDS if binary is not None else 0, len(out), level.ask_id, 0)
            inner.write(out)
        except BaseException:
            with inner.news:
                level.asking = False
                inner.recall()
            raise
        return _outcome(name, _await_answer(inner, level))
    finally:
        with inner.news:
            level._waiters -= 1
            inner.news.notify_all()


def _take_turn(inner: Inner, level: Level) -> None:
    while True:
        level.check()
        with inner.news:
            if not level.live:
                raise _has_ended()
            if not level.asking:
                level.asking = True
                level.abandoned = False
                level.answer = None
                inner.last_ask += 1
                level.ask_id = inner.last_ask
                return
        inner.wait(level, FOR_TURN)


def _await_answer(inner: Inner, level: Level) -> _wire.Frame:
    try:
        while level.answer is None:
            inner.wait(level, FOR_ANSWER)
    except BaseException:
        with inner.news:
            if level.answer is None:
                level.abandoned = True
            else:
                level.answer, level.asking = None, False
                inner.recall()
        raise
    with inner.news:
        answer, level.answer, level.asking = level.answer, None, False
        inner.recall()
    if level.closing:
        level.close_late()
    return answer


def _outcome(name: str | None, frame: _wire.Frame) -> Any:
    value = decode(frame.data[frame.start :])
    if frame.kind == TOOL_ERROR:
        raise tool_failure(name, value)
    beside = field(frame.fields, FIELD_BINARY) if frame.fields else None
    return value if beside is None else with_binary(value, beside)


def take_answer(inner: Inner, data: bytes) -> None:
    """TOOL_RESULT, TOOL_ERROR or TOOL_LIST: for who asked, or for nobody any more."""
    frame = _wire.parse(data)
    lane = inner.lane
    levels = ([lane._level] if lane._level is not None else []) + inner.outer
    for level in levels:
        if level.asking and level.ask_id == frame.id and level.answer is None:
            level.take(frame)
            return
    with inner.news:
        for stream in [found() for level in levels for found in level.tools]:
            if stream is not None and stream.id == frame.id:
                stream.take(frame)


def serve_nested(inner: Inner, data: bytes) -> None:
    """A call that comes while this one waits for a tool."""
    lane = inner.lane
    level = lane._level
    if level is None or not level.asking:
        raise _wire.ProtocolError("a nested call that nothing waits for")
    inner.outer.insert(0, level)
    before = lane.set_aside()
    elsewhere = before.runner != get_ident()
    if elsewhere:  # the calls of this thread are the lane's for a while
        bind_thread(lane.make_context)
    held = inner.give_up_reading()
    try:
        Context().run(lane.serve_inner, data)
    finally:
        if elsewhere:
            bind_thread(None)
        with inner.news:
            lane.take_up(before)
            inner.outer.pop(0)
            inner.news.notify_all()
        inner.take_reading(held)


__all__ = ["TOOL_LIST", "ask", "serve_nested", "take_answer"]
