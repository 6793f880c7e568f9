"""A worker of the ``thread`` profile: each lane is served by a thread of its own, all on one instance of the adapter, or each on its own.

The main thread runs no calls. It reads the control socket, asks ``health()``, takes the cancel signal, and is woken by the heart, so that
whether Python code can run is seen although nothing of it does here.

Invariants
 1. A lane's calls run on its thread and nowhere else; each has an event loop of its own.
 2. Only the main thread reads the control socket. Who writes to it, writes whole frames (``Lane.send_control``).
 3. After STOP the calls that run end, then the threads do, and ``serve`` returns.

Failure: what ends one lane (a broken protocol, no memory for an error) ends the worker, with status 1. Thread: the main one, but for ``_run``.
"""

from __future__ import annotations

import os
import select
import sys
import threading

from . import context
from ._commands import Commands
from ._errors import SnakepitError, traceback_of, type_name
from ._wire import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ._channel import Control

# Not the module `signal`, which brings `enum` along.
try:
    from _signal import pthread_kill as _kill_thread
except ImportError:  # pragma: no cover
    from signal import pthread_kill as _kill_thread

_exit, _read = os._exit, os.read
_CHUNK = 32 * 1024


def check_adapter(cls: type) -> None:
    """Refuses an adapter that has not said that it can be called from several threads at once."""
    if getattr(cls, "__thread_safe__", False) is True:
        return
    name = type_name(cls)
    raise SnakepitError(
        "adapter_not_thread_safe",
        f"{name} has not declared that its methods may run in several threads at once",
        {"adapter": name},
        ["guard what its methods share and set __thread_safe__ = True in the class, or use the profile process"],
    )


class _Begun:
    """The first thing that a lane's thread does, for which the main thread waits."""

    def __init__(self, begin: Callable[[Commands], None] | None) -> None:
        self._begin = begin
        self._over = threading.Event()
        self._failure: BaseException | None = None

    def run(self, commands: Commands) -> bool:
        """False: it has failed, and so does the worker."""
        try:
            if self._begin is not None:
                self._begin(commands)
        except BaseException as exc:
            self._failure = exc
        self._over.set()
        return self._failure is None

    def wait(self) -> None:
        if self._begin is None:
            return
        self._over.wait()
        if self._failure is not None:
            raise self._failure


class ThreadLanes:
    """What ``Worker`` has in the place of a lane: all of them."""

    def __init__(
        self,
        make: Callable[[int, Commands], Any],
        commands: list[Commands],
        control: Control,
        on_frame: Callable[[bytes], bool],
        cancel_signal: Any,
    ) -> None:
        self._control = control
        self._on_frame = on_frame
        self._cancel_signal = cancel_signal if type(cancel_signal) is int else 0
        self._commands = commands
        self._lanes = [make(i, commands) for i, commands in enumerate(self._commands)]
        self._threads: list[threading.Thread] = []
        self._woken, self.wake_fd = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self.wake_fd, False)
        control.send = self._lanes[0].send_control  # type: ignore[method-assign]

    def start(self, begin: Callable[[Commands], None] | None, end: Callable[[Commands], None]) -> None:
        """The threads wait for calls from now on. ``begin``: what each does first, one after the other; what it raises is raised here."""
        for i, (lane, commands) in enumerate(zip(self._lanes, self._commands)):
            begun = _Begun(begin)
            thread = threading.Thread(
                target=self._run, args=(lane, commands, begun, end), name=f"snakepit-lane-{i}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
            begun.wait()

    def _run(self, lane: Any, commands: Commands, begun: _Begun, end: Callable[[Commands], None]) -> None:
        try:
            if not begun.run(commands):
                return
            context.bind_thread(lane.make_context)
            lane.serve()
            context.bind_thread(None)
            end(commands)
        except ConnectionError:
            pass
        except ProtocolError as exc:
            _die(f"the host broke the protocol: {exc}")
        except BaseException as exc:
            _die(f"a lane has ended\n{traceback_of(exc)}")

    def serve(self) -> bool:
        """True after STOP, when every call has ended; False when the host has gone."""
        poll = select.poll()
        poll.register(self._control.fd, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            frame = self._control.next()
            if frame is None:
                if not self._wait(poll):
                    return False
            elif self._on_frame(frame):
                break
        for lane in self._lanes:
            lane.stop()
        for thread in self._threads:
            thread.join()
        return True

    def _wait(self, poll: select.poll) -> bool:
        for fd, _ in poll.poll():
            try:
                data = _read(fd, _CHUNK)
            except BlockingIOError:
                continue
            except ConnectionError:
                return False
            if fd == self._control.fd:
                if not data:
                    return False
                self._control.feed(data)
        return True

    # What ``_cancel``, ``context`` and the worker ask of a lane.

    def make_context(self) -> None:
        """The main thread runs no calls."""

    def interrupted(self) -> bool:
        """The cancel signal has come: throws ``Cancelled`` at the thread that it is for. False: nothing is to be raised here."""
        for i, (lane, commands) in enumerate(zip(self._lanes, self._commands)):
            if lane.throw() or commands.thrown(lane):
                self._break_calls(i)
        return False

    def _break_calls(self, i: int) -> None:
        # Python's own calls go on after EINTR, since the exception is not theirs to see; those of C code may end.
        ident = self._threads[i].ident if i < len(self._threads) else None
        if ident is not None and self._cancel_signal:
            try:
                _kill_thread(ident, self._cancel_signal)
            except OSError:
                pass

    def abandon(self) -> None:
        """After a fork, in the child."""
        for lane in self._lanes:
            lane.abandon()


def _die(text: str) -> None:
    try:
        print(f"snakepit_bridge: {text}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        _exit(1)
