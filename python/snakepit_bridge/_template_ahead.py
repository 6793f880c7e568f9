"""The next worker, forked ahead of the request for it: of a start only the handing over of descriptors and the worker's own preparation are left.

The template makes it when it has been idle for a moment after a fork. It does at once what needs no request (session, random numbers, descriptors
of its own), rehearses what it will say, and waits at a packet socket of which the template has the other end; the template passes the
guard's next message on to it, as it is.

Invariants
 1. There is one at most, and it has none of the template's descriptors: neither its sockets nor its output.
 2. It ends with the template, by the end of its socket, and with the guard.
 3. Its number is its own when the guard is told of it: its socket took the request, so it had not ended then, and from the asking to the
    answer the guard reaps nobody whom it does not know.
 4. It costs nothing that a fork on request would not have cost: where it is not there (any more), that one is made.

Failure: an exception in the template, before there is a process; the process itself ends, silently until it has an output.
"""

from __future__ import annotations

import os

from ._template_child import settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_close, _exit, _getppid, _dup2 = os.close, os._exit, os.getppid, os.dup2

IDLE_MS = 2  # so long without a request: then nobody waits for a CPU that is taken for it
_SOCKET = 3  # where it waits: the place of the control socket to come


class Ahead:
    """What the template has of it."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self.fd = fd

    def forget(self) -> None:
        """It has been given away, or is to end."""
        _close(self.fd)


def fork_ahead(extension: Any) -> tuple[Ahead | None, int]:
    """What the template has of it; in the process itself None and its end of the socket."""
    fd, own = extension.packet_pair()
    try:
        pid, pidfd = extension.clone_process(True)
    except BaseException:
        _close(fd)
        _close(own)
        raise
    if pid == 0:
        return None, own
    _close(own)
    _close(pidfd)  # whether it is still there is told by its socket
    return Ahead(pid, fd), -1


def wait_for_request(
    extension: Any, own: int, files: list[int], highest: int, rehearse: Callable[[], None]
) -> tuple[int, int, int, int, bytes, list[int]]:
    """In the process that is ahead: the request that it was given. Does not return when there is none any more."""
    try:
        guard = _getppid()
        settle(extension, guard, {1: 0, 2: 0, _SOCKET: own}, files, highest)
        rehearse()
        request = extension.receive_request(_SOCKET)
        if request is None:
            _exit(0)
        _dup2(request[5][-1], 2)  # its errors: pass_on() sees to it that they are there, and last
        if request[1] != guard:
            _exit(127)
        return request
    except BaseException:
        _exit(1)
