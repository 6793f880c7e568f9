"""Calls for a stream over the control socket: what ``src/_snakepit_stream.c`` and ``_inner.c`` are for the rings, in pure Python.

Several threads of one call may wait for the host: one of them reads the socket, for all, and the others wait until it has read something.

Invariants
 1. At most one thread reads. Who reads has looked at the cancel word before it waits, and waits in ``poll``, where a signal may end it; while a
    frame is being read, or written, none raises.
 2. A thread waits only while it is counted in ``SocketStream._waiters``: a call ends when these are 0.
 3. What belongs to no call that runs (pings, STOP) is kept for later.
 4. Where SIGIO tells of frames (``SocketLane.listens``) and comes when nobody may look at it, it is sent once more afterwards (``missed``).

Failure: ``Cancelled``, ``ProtocolError``. Thread: any of the call.
"""

from __future__ import annotations

import os
import select
from collections import deque
from struct import Struct
from threading import Condition, get_ident

from . import _wire
from ._codec import Output, decode, encode_into
from ._commands import can_be_awaited
from ._errors import Cancelled
from ._refusals import malformed, too_large
from ._streams import (
    FOR_CREDIT,
    FOR_INBOX,
    TAKES_ASYNC,
    TAKES_INBOX,
    TAKES_STREAM,
    StreamChunk,
    close,
    given_by_caller,
    streams_nothing,
)
from ._wire import (
    CHUNK,
    CREDIT,
    FIELD_STREAM,
    FLAG_FINAL,
    FLAG_NESTED,
    HEADER,
    HEADER_SIZE,
    SEND,
    SEND_END,
    VERSION,
    ProtocolError,
    field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ANSWERS = (_wire.TOOL_RESULT, _wire.TOOL_ERROR, _wire.TOOL_LIST, _wire.TOOL_CHUNK)
STRAYS = (CREDIT, SEND, SEND_END, *_ANSWERS)
_WINDOW = Struct("<IIQ")
_INBOX = 1
_pack_into = HEADER.pack_into
_exit = os._exit


class Inner:
    """What comes for the calls that run, and who may read and write: one for a lane."""

    def __init__(self, lane: Any, thread: int) -> None:
        self.lane = lane
        self.control = lane._control
        self.news = Condition()
        self.stream: SocketStream | None = None  # of the innermost call that has one
        self.later: deque[bytes] = deque()  # frames that are for nobody now
        self.outer: list[Any] = []  # the calls that wait for a tool while others are nested in them, innermost first
        self.last_ask = 0
        self._reading = False
        self._writer = 0
        self._wake = os.pipe()
        self._main = thread
        self._held = 0
        self.missed = False

    def hold(self) -> int:
        """From here on no signal raises ``Cancelled`` on the lane's thread; what ``let`` is to be given."""
        lane = self.lane
        if get_ident() != self._main:
            return 0
        call: int = lane._call_id
        lane._call_id = 0
        self._held += 1
        return call

    def let(self, call: int) -> None:
        if get_ident() != self._main:
            return
        self._held -= 1
        if call:
            self.lane._call_id = call
        if self.missed and not self._held:
            self._send_again()

    def _send_again(self) -> None:
        from _signal import SIGIO, pthread_kill

        self.missed = False
        pthread_kill(self._main, SIGIO)

    def hear(self) -> None:
        """SIGIO has come, on the lane's thread, while user code may run."""
        if self._held or self._reading:
            self.missed = True
        else:
            self.poll()

    def _stop_reading(self) -> None:
        with self.news:
            self._reading = False
            self.news.notify_all()
        if self.missed and not self._held:
            self._send_again()

    def write(self, out: bytes | bytearray, chunk_of: SocketStream | None = None, final: bool = False) -> bool:
        """One frame. False: it is a chunk, and not to be sent now."""
        call = self.hold()
        try:
            with self.news:
                while self._writer:
                    if self._writer == get_ident():
                        raise RuntimeError("a value is being sent already, by this thread")
                    self.news.wait()
                if chunk_of is not None and not chunk_of.book(len(out), final):
                    return False
                self._writer = get_ident()
            try:
                self.control.send(out)
            finally:
                with self.news:
                    self._writer = 0
                    self.news.notify_all()
                if self.lane._level is not None and self.lane._level.closing:
                    self.lane._level.close_late()
            return True
        finally:
            self.let(call)

    def has_turn(self, call: int) -> bool:
        """May this call send? It is the innermost one, and waits for no tool."""
        lane = self.lane
        return lane._current == call and (lane._level is None or not lane._level.asking)

    def wait(self, stream: Any, what: int) -> None:
        """Until something has come, or changed: the caller looks whether it is what he waits for. At once when it is there."""
        stream.check()
        call = self.hold()
        try:
            with self.news:
                if stream.is_there(what):
                    return
                stream._waiters += 1
                reads = not self._reading and self.lane._current == stream._id
                if reads:
                    self._reading = True
                else:
                    self.news.wait()
                    stream._waiters -= 1
            if not reads:
                return
            try:
                self._read_one(call)
            finally:
                with self.news:
                    stream._waiters -= 1
                self._stop_reading()
        finally:
            self.let(call)

    def _read_one(self, call: int) -> None:
        data = self.control.next()
        if data is None and not self._await_readable(call):
            return
        if data is None:
            data = self.control.recv_some()
        if data is not None:
            self.take(data)

    def _await_readable(self, call: int) -> bool:
        poll = select.poll()
        poll.register(self.control.fd, select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        self.let(call)
        try:
            found = poll.poll()
        finally:
            self.hold()
        ready = [fd for fd, _ in found]
        if self._wake[0] in ready:
            os.read(self._wake[0], 4096)
        return self.control.fd in ready

    def recall(self) -> None:
        """Who reads comes back, to look at what he waits for: it may have changed without a frame. ``news`` is held."""
        self.news.notify_all()
        if self._reading:
            os.write(self._wake[1], b"\0")

    def poll(self) -> None:
        """Takes what has come, without waiting."""
        call = self.hold()
        try:
            self._poll()
        finally:
            self.let(call)

    def _poll(self) -> None:
        with self.news:
            if self._reading:
                return
            self._reading = True
        try:
            while True:
                data = self.control.next()
                if data is None:
                    if not select.select([self.control.fd], [], [], 0)[0]:
                        return
                    data = self.control.recv_some()
                    if data is None:
                        return
                self.take(data)
        finally:
            self._stop_reading()

    def take(self, data: bytes) -> None:
        """A frame that has come while a call runs."""
        kind = data[1]
        if kind in STRAYS:
            self.take_stray(data)
        elif kind == _wire.CANCEL:
            self.lane.take_cancel(data)
            self.missed = self.lane.listens
        elif kind in (_wire.CALL, _wire.STREAM_CALL) and _wire.parse(data).flags & FLAG_NESTED:
            from ._socket_tools import serve_nested

            serve_nested(self, data)
        else:
            self.later.append(data)

    def give_up_reading(self) -> int:
        """For a nested call, whose threads may read; what ``take_reading`` is to be given."""
        held = 0
        if get_ident() == self._main:
            held, self._held = self._held, 0
        self._stop_reading()
        return held

    def take_reading(self, held: int) -> None:
        """After it."""
        if get_ident() == self._main:
            self._held = held
        with self.news:
            while self._reading:
                self.news.wait()
            self._reading = True

    def take_stray(self, data: bytes) -> None:
        """What belongs to a call: one that is open, or to none any more."""
        if data[1] in _ANSWERS:
            from ._socket_tools import take_answer

            take_answer(self, data)
            return
        frame = _wire.parse(data)
        stream = self.stream
        while stream is not None and stream._id != frame.id:
            stream = stream._outer
        if stream is not None:
            stream.take(frame)

    def send_home(self, stream: SocketStream) -> None:
        """No thread waits for this stream any more."""
        self.stream = stream._outer
        with self.news:
            stream._ended_call = True
            while stream._waiters or self._writer:
                self.recall()
                self.news.wait()


class SocketStream:
    """The stream of a call: ``send()`` to the host, and iterate over what it sends."""

    def __init__(self, inner: Inner, call: int, window: bytes | None, policy: int) -> None:
        if window is None or len(window) != _WINDOW.size:
            raise malformed("a call for a stream without its window")
        chunks, flags, size = _WINDOW.unpack(window)
        self._inner = inner
        self._id = call
        self._policy = policy
        self._chunks = self._window = chunks
        self._bytes = self._window_bytes = size
        self._ended = not flags & _INBOX  # nothing more comes
        self._final = False
        self._items: deque[tuple[Any, BaseException | None, int]] = deque()
        self._taken = self._taken_bytes = 0
        self._waiters = 0
        self._ended_call = False
        self._outer = inner.stream
        inner.stream = self

    @property
    def inbox(self) -> SocketStream:
        """What the host sends, to iterate over."""
        return self

    def check(self) -> None:
        """Raises when the call has ended or shall end."""
        if self._ended_call:
            raise RuntimeError("the call that this stream belongs to has ended")
        if self._inner.lane._is_cancelled(self._id):
            raise Cancelled()

    # ---- out ----

    def send(self, value: Any, *, metadata: dict[str, Any] | None = None, is_final: bool = False) -> None:
        """One chunk. Waits while the host takes no more."""
        while not self.push(value, metadata, is_final):
            self._inner.wait(self, FOR_CREDIT)

    def push(self, value: Any, metadata: dict[str, Any] | None = None, is_final: bool = False) -> bool:
        """The same without waiting; False: not now."""
        if metadata is not None and not isinstance(metadata, dict):
            raise TypeError("the metadata of a chunk is a dict")
        self.check()
        if 2 * self._chunks < self._window:
            self._inner.poll()
        if not self.is_there(FOR_CREDIT):
            return False
        self._check_final()
        out = Output(HEADER_SIZE)
        out.policy = self._policy
        encode_into(out, value)
        if metadata is not None:
            encode_into(out, metadata)
        if len(out) > self._inner.control.max_frame:
            raise too_large(self._inner.control.max_frame)
        if self._inner.lane._forked:
            _exit(0)
        _pack_into(out, 0, VERSION, CHUNK, FLAG_FINAL if is_final else 0, len(out), self._id, 0)
        return self._inner.write(out, self, is_final)

    def _check_final(self) -> None:
        if self._final:
            raise RuntimeError("a chunk after the final one")

    def book(self, size: int, final: bool) -> bool:
        """Takes the credit for a chunk. False: there is none, or another has the word."""
        self.check()
        if not self.is_there(FOR_CREDIT):
            return False
        self._check_final()
        self._chunks -= 1
        self._bytes -= size
        self._final = final
        return True

    # ---- in ----

    def take(self, frame: _wire.Frame) -> None:
        """CREDIT, SEND, SEND_END."""
        if frame.kind == SEND_END:
            self._ended = True
        elif frame.kind == CREDIT:
            chunks, size = _two_numbers(frame.data[frame.start :])
            with self._inner.news:
                self._chunks += chunks
                self._bytes += size
        elif not self._ended:
            value, failure = None, None
            try:
                value = decode(frame.data[frame.start :])
            except Exception as exc:
                failure = exc
            self._items.append((value, failure, len(frame.data)))

    def pull(self) -> tuple[Any, ...] | None:
        """What has come in: ``(value,)``, ``()`` at the end, None when there is nothing yet."""
        self.check()
        if not self._items and not self._ended:
            self._inner.poll()
        if self._items:
            return (self._pop(),)
        return () if self._ended else None

    def _pop(self) -> Any:
        value, failure, size = self._items.popleft()
        self._taken += 1
        self._taken_bytes += size
        self._grant()
        if failure is not None:
            raise failure
        return value

    def _grant(self) -> None:
        """Tells the host what the reader has taken, once it is half a window."""
        enough = 2 * self._taken >= self._window or 2 * self._taken_bytes >= self._window_bytes
        if enough and self._taken and self._has_turn():
            out = Output(HEADER_SIZE)
            encode_into(out, self._taken)
            encode_into(out, self._taken_bytes)
            self._taken = self._taken_bytes = 0
            _pack_into(out, 0, VERSION, CREDIT, 0, len(out), self._id, 0)
            self._inner.write(out)

    def __iter__(self) -> SocketStream:
        return self

    def __next__(self) -> Any:
        while True:
            self.check()
            if self._items:
                return self._pop()
            if self._ended:
                raise StopIteration
            self._grant()
            self._inner.wait(self, FOR_INBOX)

    def is_there(self, what: int) -> bool:
        """Is there credit (1), or something for the inbox's reader (2)?"""
        if what == FOR_CREDIT:
            return self._chunks > 0 and self._bytes > 0 and self._has_turn()
        return bool(self._items) or self._ended

    def _has_turn(self) -> bool:
        """Not while its call waits for a tool."""
        return self._inner.has_turn(self._id)

    def block(self, what: int) -> None:
        """Waits until ``push`` (1) or ``pull`` (2) would get on. Any thread."""
        try:
            while not self._ended_call and not self.is_there(what):
                self._inner.wait(self, what)
        except Cancelled:
            pass


def _two_numbers(payload: bytes) -> tuple[int, int]:
    found = decode(b"\x92" + payload)
    if not all(type(n) is int and n >= 0 for n in found):
        raise ProtocolError("a CREDIT that is none")
    return found[0], found[1]


# ---- the producer ----


def _drive(stream: SocketStream, it: Any) -> Any:
    """Sends what an iterator makes, and closes it; what it returned."""
    try:
        while True:
            try:
                item = next(it)
            except StopIteration as end:
                return end.value
            if type(item) is StreamChunk:
                stream.send(item.value, metadata=item.metadata, is_final=bool(item.is_final))
            else:
                stream.send(item)
    finally:
        close(it)


def _follow(lane: Any, stream: SocketStream, result: Any, takes: int, call: int) -> Any:
    kind = type(result)
    if can_be_awaited(result):
        result = lane._in_loop(call, lane._commands.settle, result)
        kind = type(result)
    if hasattr(kind, "__anext__"):
        return lane._in_loop(call, lane._commands.drive, result, stream)
    if hasattr(kind, "__next__"):
        lane._call_id = call
        if lane.listens:
            lane.hear()
        return _drive(stream, result)
    if takes & (TAKES_STREAM | TAKES_INBOX):
        return result
    raise streams_nothing(result)


def run(lane: Any, inner: Inner, data: bytes, start: int, call: int, policy: int) -> Any:
    """A STREAM_CALL up to its outcome."""
    stream = SocketStream(inner, call, field(lane._fields, FIELD_STREAM), policy)
    try:
        fn, args, keywords, takes = lane._find_stream(data, start)
        what: Any = lane._commands.attach(stream) if takes & TAKES_ASYNC else stream
        for bit, name in ((TAKES_STREAM, "stream"), (TAKES_INBOX, "inbox")):
            if takes & bit:
                keywords = keywords or {}
                if name in keywords:
                    raise given_by_caller(name)
                keywords[name] = what
        result = lane._enter(fn, args, keywords, call)
        return _follow(lane, stream, result, takes, call)
    finally:
        lane._call_id = 0
        inner.send_home(stream)
