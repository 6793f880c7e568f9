"""Calls over the control socket: the pure-Python lane.

Invariants
 1. Each CALL is answered by one RESULT or ERROR, whatever the function does; a child that a function forked never answers.
 2. The marks in the segment are set in the order started, finished, answer.
 3. A CANCEL counts like the word ``cancel`` of the marks, and where there are none like ``raise``, too: SIGIO has it read while user code runs.

Failure: ``ProtocolError``. Thread: the lane's.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, get_ident
from time import monotonic_ns

from . import _wire
from ._channel import Control
from ._codec import Output, decode_call, encode_into
from ._commands import Commands, failure_payload
from ._errors import Cancelled, SnakepitError
from ._kinds import cut
from ._refusals import bad_bytes, too_large
from ._registry import POLICY_DEFAULT, policy_of_options
from ._segment import Marks
from ._wire import (
    CALL,
    CANCEL,
    CREDIT,
    ERROR,
    FIELD_OPTIONS,
    FLAG_TIMED,
    HEADER,
    HEADER_SIZE,
    RESULT,
    SEND,
    SEND_END,
    STREAM_CALL,
    TOOL_CALL,
    TOOL_CHUNK,
    TOOL_ERROR,
    TOOL_LIST,
    TOOL_RESULT,
    VERSION,
    field,
)
from .context import SessionContext, handed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_unpack, _pack_into = HEADER.unpack_from, HEADER.pack_into
_exit, _now_ns = os._exit, monotonic_ns
_STRAYS = (CANCEL, CREDIT, SEND, SEND_END, TOOL_RESULT, TOOL_ERROR, TOOL_LIST, TOOL_CHUNK)
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})


_OF_A_CALL = "_call_id _stamp _fields _begun _policy _cut _asked _current _live _level _made _task".split()


class Aside:
    """A call that waits while another one is nested in it."""

    def __init__(self, runner: int, values: dict[str, Any]) -> None:
        self.runner = runner
        self.values = values


class SocketLane:
    """Serves calls over the control socket."""

    def __init__(
        self, control: Control, marks: Marks, commands: Commands, prefix: int, on_frame: Callable[[bytes], bool]
    ) -> None:
        self._control = control
        self._on_frame = on_frame  # for what is no call; True: STOP
        self._marks = marks
        self._commands = commands
        self._prefix = prefix
        self._known: dict[bytes, Callable[..., Any]] = {}
        self._call_id = 0  # of the synchronous call that runs; 0: none
        self._stamp = 0
        self._fields = b""
        self._asked = False  # its context was made, and left for copies of the thread's
        self._cut = False  # an argument of it lost its nanoseconds
        self._raised = 0  # the last call into which Cancelled was raised
        self._begun = 0  # when its function was entered, if the host wants to know how long it takes
        self._forked = False
        self._streams: dict[bytes, tuple[Callable[..., Any], int]] = {}
        self._inner: Any = None  # with the first stream, or question
        self._current = 0  # the innermost call, whether it is synchronous or not
        self._live = False  # code of it may run
        self._level: Any = None  # what it asks of the host, once it has
        self._made: SessionContext | None = None
        self._task = 0
        self._thread = self._runner = get_ident()
        self._guard = allocate_lock()
        self._policy = POLICY_DEFAULT
        self._told: set[int] = set()  # calls that CANCEL frames have named
        self.listens = False  # SIGIO tells of frames

    def abandon(self) -> None:
        """After a fork, in the child: what runs there is no worker."""
        self._forked = True

    def make_context(self) -> SessionContext | None:
        """The context of the synchronous call that runs."""
        return self._context() if self._call_id else None

    def raising(self, call: int) -> bool:
        """Shall the call with this id end by an exception?"""
        if self._marks.raising(call):
            return True
        made = self._made
        return self.listens and call in self._told and (made is None or made._id != call or not made._ending)

    def interrupted(self) -> bool:
        """Shall ``Cancelled`` be raised in the synchronous call that runs? True once a call."""
        call = self._call_id
        if call == 0 or call == self._raised or self._runner != get_ident() or not self.raising(call):
            return False
        self._raised = call
        return True

    def serve(self) -> bool:
        """Until STOP (True) or the end of the stream (False)."""
        control = self._control
        try:
            while True:
                data = control.recv() if self._inner is None or not self._inner.later else self._inner.later.popleft()
                if data is None:
                    return False
                kind = data[1]
                if self._told:
                    self._told = {call for call in self._told if call > self._current}  # the others have been answered
                if kind == CALL:
                    self._serve_call(data, self._run)
                elif kind == STREAM_CALL:
                    self._serve_call(data, self._run_stream)
                elif kind in _STRAYS:
                    _wire.parse(data)  # of a call that has been answered
                elif self._on_frame(data):
                    return True
        except ConnectionError:
            return False

    def _serve_call(self, data: bytes, run: Callable[[bytes, int, int, int], Any]) -> None:
        _, _, flags, _, call, stamp = _unpack(data)
        fields, start = b"", HEADER_SIZE
        if flags:
            frame = _wire.parse(data)
            fields, start = frame.fields, frame.start
        if not self._marks.started(call):
            return
        self._stamp, self._fields, self._begun, self._current = stamp, fields, 0, call
        out = Output(HEADER_SIZE)
        kind = RESULT
        try:
            if stamp and _now_ns() >= stamp:
                raise SnakepitError("deadline_exceeded", "the call's deadline had passed before it started")
            if fields:
                options = field(fields, FIELD_OPTIONS)
                out.policy = POLICY_DEFAULT if options is None else policy_of_options(options)
            try:
                self._policy = out.policy
                result = run(data, start, call, flags & FLAG_TIMED)
            finally:
                self._call_id = 0  # from here on no signal raises
                self._live = False
                if self._asked:
                    self._leave()
            took = _now_ns() - self._begun if self._begun else 0
            self._marks.finished(call)
            encode_into(out, result)
            if len(out) > self._control.max_frame:
                raise too_large(self._control.max_frame)
        except BaseException as exc:
            took = _now_ns() - self._begun if self._begun else 0
            self._marks.finished(call)
            kind = ERROR
            out[HEADER_SIZE:] = failure_payload(exc)
        if self._forked:
            _exit(0)
        _pack_into(out, 0, VERSION, kind, 0, len(out), call, took)
        self._control.send(out)

    def _run(self, data: bytes, start: int, call: int, timed: int) -> Any:
        times = cut
        times.seen = False
        name, args, keywords = decode_call(data, start)
        self._cut = times.seen
        fn = self._known.get(name)
        if fn is None:
            fn = self._resolve(name)
        if timed:
            self._begun = _now_ns()
        result = self._enter(fn, args, keywords, call)
        if type(result) not in _PLAIN:
            result = self._in_loop(call, self._commands.complete, result)
        return result

    def _enter(self, fn: Callable[..., Any], args: Any, keywords: Any, call: int) -> Any:
        self._call_id = call
        self._live = True
        if self.listens:
            self.hear()
        if self._is_cancelled(call):
            raise Cancelled("the call was cancelled before it began")
        return fn(*args, **keywords) if keywords else fn(*args)

    def _in_loop(self, call: int, method: Callable[..., Any], *args: Any) -> Any:
        self._call_id = call
        made = self._context()
        self._call_id = 0
        self._marks.task(call)
        self._task = call
        try:
            if self.listens:
                self.hear()
            return method(args[0], made, *args[1:])
        finally:
            self._task = 0
            self._marks.task(0)

    # ---- streams: _socket_stream.py ----

    def _run_stream(self, data: bytes, start: int, call: int, timed: int) -> Any:
        from . import _socket_stream

        if timed:
            self._begun = _now_ns()
        return _socket_stream.run(self, self._with_inner(), data, start, call, self._policy)

    def _find_stream(self, data: bytes, start: int) -> tuple[Callable[..., Any], Any, Any, int]:
        times = cut
        times.seen = False
        name, args, keywords = decode_call(data, start)
        self._cut = times.seen
        found = self._streams.get(name)
        if found is None:
            fn, keep, takes = self._commands.resolve_stream(_text(name))
            found = fn, takes
            if keep:
                self._streams[name] = found
        return found[0], args, keywords, found[1]

    def _is_cancelled(self, call: int) -> bool:
        return self._marks.cancelled(call) or call in self._told

    def take_cancel(self, data: bytes) -> None:
        """The call with this id shall end, now or as soon as it begins."""
        self._told.add(_wire.parse(data).id)

    def listen(self) -> int:
        """From here on somebody calls ``hear`` when there is something to read, for there are no marks to look at: the descriptor."""
        self._with_inner()
        self.listens = True
        return self._control.fd

    def hear(self) -> None:
        """Reads what has come while user code runs, on the lane's thread."""
        if self._call_id or self._task:
            self._inner.hear()
        else:
            self._inner.missed = True

    def _context(self) -> SessionContext:
        made = self._made
        if made is None:
            self._asked = True
            made = self._made = SessionContext(
                self._call_id, self._stamp, self._fields, self._prefix, self._is_cancelled, self._cut, self
            )
        return made

    def _leave(self) -> None:
        """The call ends: what its context was asked for ends with it."""
        self._asked = False
        if self._level is not None:
            self._level.end()
        self._level = self._made = None
        handed.set(None)

    # ---- tools of the host: _socket_tools.py ----

    @property
    def commands(self) -> Commands:
        """What it was made with."""
        return self._commands

    def _with_inner(self) -> Any:
        if self._inner is None:
            from ._socket_stream import Inner

            with self._guard:  # several threads may be the first
                if self._inner is None:
                    self._inner = Inner(self, self._thread)
        return self._inner

    def ask(self, call: int, name: str, parameters: Any, binary: bytes | None) -> Any:
        """Calls a tool of the host for the call with this id."""
        from . import _socket_tools

        if not isinstance(name, str):
            raise TypeError("the name of a tool is a text")
        return _socket_tools.ask(self._with_inner(), call, TOOL_CALL, name, parameters, binary)

    def ask_stream(self, call: int, name: str, parameters: Any, binary: bytes | None, chunks: int, size: int) -> Any:
        """The same of a tool that streams: what its values come out of. Of so many chunks and bytes it holds what is not taken yet."""
        from . import _socket_tool_stream

        if not isinstance(name, str):
            raise TypeError("the name of a tool is a text")
        return _socket_tool_stream.open_stream(self._with_inner(), call, name, parameters, binary, chunks, size)

    def list_tools(self, call: int) -> Any:
        """The tools of the host that the call with this id sees."""
        from . import _socket_tools

        return _socket_tools.ask(self._with_inner(), call, TOOL_LIST, None, None, None)

    def serve_inner(self, data: bytes) -> None:
        """A call that is nested in the one that runs."""
        self._serve_call(data, self._run if data[1] == CALL else self._run_stream)

    def set_aside(self) -> Aside:
        """What is known of the call that runs, which waits for a tool while another one is nested in it."""
        aside = Aside(self._runner, {name: getattr(self, name) for name in _OF_A_CALL})
        self._call_id = self._current = self._task = 0
        self._asked = self._live = False
        self._level = self._made = None
        self._runner = get_ident()
        return aside

    def take_up(self, aside: Aside) -> None:
        """It goes on."""
        for name, value in aside.values.items():
            setattr(self, name, value)
        self._runner = aside.runner
        self._marks.task(self._task)

    def _resolve(self, name: bytes) -> Callable[..., Any]:
        fn, keep = self._commands.resolve_call(_text(name))
        if keep:
            self._known[name] = fn
        return fn


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_bytes(name) from None
