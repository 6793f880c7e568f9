"""From a forked process to a worker: everything that exec would have given it, and that it must not share with its siblings.

Invariant: after ``become_worker`` nothing is left of the template but its memory: own session, group and descriptors, the request's
environment, random numbers of its own. Failure: whatever is raised; the process ends then, and says why on its stderr.
"""

from __future__ import annotations

import os
import stat
from struct import Struct

from ._template_libraries import reseed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._template_libraries import Widener

# User code may replace any of these before they are used.
_open, _close, _closerange, _dup2, _lseek = os.open, os.close, os.closerange, os.dup2, os.lseek
_fstat, _pread, _setsid, _chdir, _exit = os.fstat, os.pread, os.setsid, os.chdir, os._exit

_HEADER = Struct("=IIIIQ")  # struct guard_request: magic, argc, envc, has_cwd, bytes of the strings behind it
_OWN = ("SNAKEPIT_FDS", "SNAKEPIT_ROOM", "SNAKEPIT_WORKER_ID", "SNAKEPIT_GUARD_SERIAL")
_PLACES = 5  # 0 to 4: null device, output, errors, control socket, segment


class Request:
    """What an exec'd worker would be started with, and what imports have changed of that."""

    def __init__(self, body: bytes, argc: int, envc: int, has_cwd: bool, changed: dict[str, str | None]) -> None:
        strings = body.split(b"\0")
        if strings.pop() or len(strings) < argc + envc + has_cwd:
            raise ValueError("a request whose strings are cut off")
        pairs = (text.partition("=") for text in map(os.fsdecode, strings[argc : argc + envc]))
        env = {name: value for name, _, value in pairs if name and name not in _OWN}
        for name, value in changed.items():  # by imports, which would have done so in an exec'd worker
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        self.env = env
        self.cwd = os.fsdecode(strings[argc + envc]) if has_cwd else None


class Requests:
    """Reads requests. They differ in the worker's id, most often in nothing else: then the last one serves again."""

    def __init__(self, magic: int, changed: dict[str, str | None]) -> None:
        self._magic = magic
        self._changed = changed
        self._last: tuple[Any, Request] | None = None
        self.last_read = b"", b""  # a request, and the worker's id

    def read(self, fd: int, worker_id: bytes) -> Request:
        size = _fstat(fd).st_size
        data = _pread(fd, size, 0)
        if size < _HEADER.size or len(data) != size:
            raise ValueError("a request without a header")
        return self._understand(data, worker_id)

    def _understand(self, data: bytes, worker_id: bytes) -> Request:
        size = len(data)
        magic, argc, envc, has_cwd, n = _HEADER.unpack_from(data)
        if magic != self._magic or n != size - _HEADER.size:
            raise ValueError("a request that is none")
        key = (
            argc,
            envc,
            has_cwd,
            data[_HEADER.size :].replace(b"\0SNAKEPIT_WORKER_ID=" + worker_id + b"\0", b"\0SNAKEPIT_WORKER_ID=\0", 1),
        )
        if self._last is None or self._last[0] != key:
            request = Request(key[3], argc, envc, has_cwd != 0, self._changed)
            _take_over(request.env)
            self._last = key, request
        self.last_read = data, worker_id
        return self._last[1]


def _take_over(env: dict[str, str]) -> None:
    """The template itself takes the environment of its workers: it has no more use for its own, and what it writes no worker has to."""
    for name in [name for name in os.environ if name not in env]:
        del os.environ[name]
    for name, value in env.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


class Birth:
    """All that a worker needs of the template, put together before the fork: each page that the child writes to is copied."""

    def __init__(self, extension: Any, request: Request, fds: dict[int, int], token: int, guard: int, worker_id: str) -> None:
        self.extension = extension
        self.request = request
        self.fds = fds  # where a descriptor belongs: which it is
        self.guard = guard
        self.highest = 0  # of all descriptors
        self._own = {"SNAKEPIT_WORKER_ID": worker_id, "SNAKEPIT_GUARD_SERIAL": f"{guard}.{token}"}
        self.entries = "".join(f"{name}={value}\0" for name, value in self._own.items()).encode()

    def take_name(self) -> None:
        """In the child alone: the C library keeps whatever an entry of its environment has ever been, and the template has many workers."""
        for name, value in self._own.items():
            os.environ[name] = value


def _write_room(room: memoryview | None, birth: Birth) -> None:
    """The kernel shows the template's environment block for its forks too: there a descendant that flees is looked for."""
    if room is None:
        return
    if len(birth.entries) > len(room):
        raise ValueError("the worker's id is too long")
    room[:] = birth.entries.ljust(len(room), b"\0")


def _place(fds: dict[int, int], files: list[int], highest: int) -> None:
    """The descriptors at their numbers, everything but `files` closed."""
    for place in (1, 2, 3, 4):
        if place in fds:
            _dup2(fds[place], place, inheritable=place < 3)
        elif place > 2:
            _close(place)
    at = _PLACES
    for fd in sorted(files):
        _closerange(at, fd)
        at = fd + 1
    _closerange(at, highest + 1)


def _open_anew(fd: int) -> None:
    """An offset of its own, where it was; a file that cannot be opened again stays as it is."""
    import fcntl

    try:
        if not stat.S_ISREG(_fstat(fd).st_mode):
            return
        own = _open(f"/proc/self/fd/{fd}", fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_CLOEXEC)
        _lseek(own, _lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
        _dup2(own, fd, inheritable=os.get_inheritable(fd))
        _close(own)
    except OSError:
        pass


def settle(extension: Any, guard: int, fds: dict[int, int], files: list[int], highest: int) -> None:
    """In the child, first of all: what it needs no request for."""
    _setsid()
    if not extension.die_with(guard):
        _exit(127)
    for fd in files:
        _open_anew(fd)
    _place(fds, files, highest)
    reseed()


def become_worker(birth: Birth, room: memoryview | None, files: list[int], widener: Widener, settled: bool) -> None:
    """In the child. `settled`: it was forked ahead, and has waited."""
    if settled:
        _place(birth.fds, files, birth.highest)
    else:
        settle(birth.extension, birth.guard, birth.fds, files, birth.highest)
    birth.take_name()
    _write_room(room, birth)
    if birth.request.cwd is not None:
        _chdir(birth.request.cwd)
    widener.widen(birth.request.env)
