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
_fstat, _pread, _listdir, _setsid, _chdir, _exit = os.fstat, os.pread, os.listdir, os.setsid, os.chdir, os._exit

_HEADER = Struct("=IIIIQ")  # struct guard_request: magic, argc, envc, has_cwd, bytes of the strings behind it
_OWN = ("SNAKEPIT_FDS", "SNAKEPIT_ROOM", "SNAKEPIT_GUARD_SERIAL")
_PLACES = 5  # 0 to 4: null device, output, errors, control socket, segment


class Request:
    """What an exec'd worker would be started with."""

    def __init__(self, fd: int, magic: int) -> None:
        size = _fstat(fd).st_size
        data = _pread(fd, size, 0)
        if size < _HEADER.size or len(data) != size:
            raise ValueError("a request without a header")
        found, argc, envc, has_cwd, n = _HEADER.unpack_from(data)
        strings = data[_HEADER.size :].split(b"\0")
        if found != magic or n != size - _HEADER.size or strings.pop() or len(strings) < argc + envc + (has_cwd != 0):
            raise ValueError("a request that is none")
        texts = [os.fsdecode(part) for part in strings]
        pairs = (text.partition("=") for text in texts[argc : argc + envc])
        self.env = {name: value for name, _, value in pairs if name and name not in _OWN}
        self.cwd = texts[argc + envc] if has_cwd else None


class Birth:
    """All that a worker needs of the template, put together before the fork."""

    def __init__(self, extension: Any, request: Request, fds: dict[int, int], token: int, guard: int, worker_id: str) -> None:
        self.extension = extension
        self.request = request
        self.fds = fds  # where a descriptor belongs: which it is
        self.guard = guard
        self.worker_id = worker_id
        self.serial = f"{guard}.{token}"


def _write_room(room: memoryview | None, birth: Birth) -> None:
    """The kernel shows the template's environment block for its forks too: there a descendant that flees is looked for."""
    if room is None:
        return
    entries = f"SNAKEPIT_WORKER_ID={birth.worker_id}\0SNAKEPIT_GUARD_SERIAL={birth.serial}\0".encode()
    if len(entries) > len(room):
        raise ValueError("the worker's id is too long")
    room[:] = entries.ljust(len(room), b"\0")


def _place(fds: dict[int, int], files: list[int]) -> None:
    """The descriptors at their numbers, regular files of imports opened anew, everything else closed."""
    null = _open(os.devnull, os.O_RDWR)
    _dup2(null, 0)
    for place in (1, 2, 3, 4):
        if place in fds:
            _dup2(fds[place], place, inheritable=place < 3)
        elif place > 2:
            _dup2(null, place, inheritable=False)  # closed below; until then nothing else gets the number
    for fd in files:
        _open_anew(fd)
    keep, at = sorted(files), _PLACES
    for fd in keep:
        _closerange(at, fd)
        at = fd + 1
    _closerange(at, max(_highest() + 1, at))
    if 4 not in fds:
        _close(4)


def _highest() -> int:
    return max(int(name) for name in _listdir("/proc/self/fd"))


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


def _set_environment(birth: Birth, changed: dict[str, str | None]) -> dict[str, str]:
    """The request's, and what the imports have changed: they would have done so in an exec'd worker."""
    env = {**birth.request.env, "SNAKEPIT_WORKER_ID": birth.worker_id, "SNAKEPIT_GUARD_SERIAL": birth.serial}
    for name, value in changed.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    for name in [name for name in os.environ if name not in env]:
        del os.environ[name]
    for name, value in env.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    return env


def become_worker(
    birth: Birth, room: memoryview | None, files: list[int], changed: dict[str, str | None], widener: Widener
) -> None:
    """In the child, first of all."""
    _setsid()
    if not birth.extension.die_with(birth.guard):
        _exit(127)
    _write_room(room, birth)
    _place(birth.fds, files)
    env = _set_environment(birth, changed)
    if birth.request.cwd is not None:
        _chdir(birth.request.cwd)
    reseed()
    widener.widen(env)
