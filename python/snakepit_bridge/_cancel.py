"""The third rung of the ladder: ``Cancelled`` raised inside the code that runs.

The host writes the call's id into a status word of the shared memory and sends the process a real-time signal (WELCOME names it, 44).
The handler runs on the main thread between two bytecodes, and breaks sleeps, waits and reads. It raises only if the call in the status
word is the one that runs, and once; what comes late, early or twice does nothing. A method that is ``async`` is not interrupted: its task
is cancelled, and no other; only where it blocks the event loop itself the exception is raised there.

In a worker whose lanes have threads the handler throws the exception at the thread of the call (_threads.py): it comes up at that thread's next
step of Python code, and breaks no sleep and no wait.

A worker that has no shared memory is told by CANCEL frames alone. While its code runs nobody reads the socket: SIGIO tells that there is something to
read, and the exception is raised as soon as the frame is there.

Code that holds the interpreter in C, has blocked the signal, replaced its handler or swallows the exception does not react.

Thread: the handler is installed on the main thread, and runs there.
"""

from __future__ import annotations

from ._errors import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._commands import Commands

# Not the module `signal`, which brings `enum` along.
try:
    from _signal import signal as _set_handler
except ImportError:  # pragma: no cover
    from signal import signal as _set_handler


def install(number: int, lane: Any, commands: Commands) -> bool:
    """Takes the signal from now on. False: it cannot be taken here."""

    def on_signal(signum: int, frame: object) -> None:
        if lane.interrupted() or commands.interrupted(lane):
            raise Cancelled()

    try:
        _set_handler(number, on_signal)
    except (ValueError, OSError, OverflowError):  # no main thread, or no such signal
        return False
    return True


def listen(lane: Any, commands: Commands) -> bool:
    """Takes SIGIO, for the socket of a lane without marks. False: it cannot be taken here."""
    from _signal import SIGIO
    from fcntl import F_GETFL, F_SETFL, F_SETOWN, fcntl
    from os import O_ASYNC, getpid

    def on_input(signum: int, frame: object) -> None:
        lane.hear()
        if lane.interrupted() or commands.interrupted(lane):
            raise Cancelled()

    try:
        _set_handler(SIGIO, on_input)
        fd = lane.listen()
        fcntl(fd, F_SETOWN, getpid())
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC)
    except (ValueError, OSError):  # no main thread, or a system without
        return False
    return True


def absorb() -> None:
    """What was thrown at this thread for a call that has ended meanwhile comes up here."""
    try:
        for _ in range(3):
            pass
    except Cancelled:
        pass
