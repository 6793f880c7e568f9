"""May workers be forked from this process? Each no has a reason that the host knows, and names the library and the module.

Invariants
 1. "Yes" was tried: a probe by libc's fork, whose handlers end threads (OpenBLAS) and which costs nothing but itself, then a canary by the
    very clone that workers are made with, which warms the adapter up again under a time limit.
 2. What can change is looked at again before each fork: one thread, no GPU.
Failure: ``Unsafe``.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import time

from . import _template_libraries
from ._template_threads import Culprit, module_of, thread_ids, who_is

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Callable

# User code may replace any of these (gevent does) before they are used.
_fork, _pidfd_open, _waitpid, _kill, _exit, _pipe = os.fork, os.pidfd_open, os.waitpid, os.kill, os._exit, os.pipe
_open, _close, _read, _write, _dup2, _fstat = os.open, os.close, os.read, os.write, os.dup2, os.fstat
_listdir, _readlink, _getpid = os.listdir, os.readlink, os.getpid
_poll, _monotonic, _sleep = select.poll, time.monotonic, time.sleep

_GPU = ("/dev/nvidia", "/dev/kfd", "/dev/dri/render", "/dev/accel")
_SHARED = ("socket:", "pipe:", "anon_inode:")
_FIRST_FREE = 5  # below: what a worker has at its start
_QUIET_S = 0.5  # a thread that has slept for so long is not about to end
_SETTLE_S = 5.0  # nor one that has not ended by then
_WORDS_S = 1.0  # how long a canary that hangs may take to say where
_PATIENCE = 10  # a canary that gets no CPU has this many times its time
_KEPT = 16 * 1024  # bytes of what a canary says


class Unsafe(Exception):
    """Workers are not forked from this process."""

    def __init__(self, reason: str, text: str, library: str = "", module: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.library = os.path.basename(library)
        self.module = module


def check_names() -> None:
    found = _template_libraries.refused()
    if found is not None:
        raise Unsafe("refused_library", f"{found[1]}; workers that use it are started by exec", "", found[0])


def _numbers() -> list[int]:
    return [int(name) for name in _listdir("/proc/self/fd")]


def _target(fd: int) -> str:
    """Where a descriptor leads; "" for that of the list itself."""
    try:
        return _readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def check_gpu(known: Sequence[int] = ()) -> int:
    """`known`: descriptors that came with a request. The highest of all."""
    numbers = _numbers()
    for fd in numbers:
        if fd < _FIRST_FREE or fd in known:
            continue
        target = _target(fd)
        if target.startswith(_GPU):
            raise Unsafe(
                "gpu_context", f"{target} is open: a GPU's driver does not survive a fork; use the GPU in initialize()"
            )
    return max(numbers)


def open_files() -> list[int]:
    """The regular files that imports have left open. A socket, a pipe or the like would be shared by all workers: ``Unsafe``."""
    files = []
    for fd in _numbers():
        target = _target(fd)
        if fd < _FIRST_FREE or not target:
            continue
        if target.startswith(_SHARED):
            raise Unsafe(
                "descriptor",
                f"an import or warm_up() has left {target} open (descriptor {fd}): open connections in initialize()",
            )
        if stat.S_ISREG(_fstat(fd).st_mode):
            files.append(fd)
    return files


def _thread_left(tid: int, since: dict[int, str]) -> Unsafe:
    who = who_is("self", tid)
    during = since.get(tid, "")
    owner = who.module or during
    name = os.path.basename(who.library)
    text = f"a thread of {owner} is left" if owner else "a thread is left"
    details = [part for part in (name, f"named {who.name!r}" if who.name else "") if part]
    if details:
        text += f" ({', '.join(details)})"
    if during:
        text += f"; it came with {during}"
    return Unsafe("thread", text, who.library, owner)


def _rest(tid: int) -> str:
    """The same text as long as a thread sleeps; "" while it runs, or wants to."""
    try:
        with open(f"/proc/self/task/{tid}/stat", encoding="utf-8", errors="replace") as file:
            state = file.read().rpartition(")")[2].split()[0]
        with open(f"/proc/self/task/{tid}/schedstat", encoding="ascii") as file:
            return file.read() if state in "SD" else ""
    except (OSError, IndexError):
        return ""


def check_threads(since: dict[int, str], patient: bool = False) -> None:
    """Exactly one thread. `since` says of a thread which import it came with. `patient`: threads have been told to end, and may take as long
    as they still move."""
    begun = still = _monotonic()
    last: list[str] = []
    while True:
        others = [tid for tid in thread_ids() if tid != _getpid()]
        if not others:
            return
        now, rest = _monotonic(), [_rest(tid) for tid in others]
        if "" in rest or rest != last:
            last, still = rest, now
        if not patient or now - still >= _QUIET_S or now - begun >= _SETTLE_S:
            raise _thread_left(others[0], since)
        _sleep(0.001)


def check_before_fork(since: dict[int, str], known: Sequence[int] = ()) -> int:
    """Before each fork. The highest descriptor."""
    check_threads(since)
    return check_gpu(known)


class _Words:
    """What a process says into a pipe, which it may leave to children of its own: the end of the process counts, not that of the pipe."""

    def __init__(self) -> None:
        self.read_end, self.write_end = _pipe()
        os.set_blocking(self.read_end, False)
        self.data = b""

    def take(self) -> bool:
        """False when there is nothing (more)."""
        try:
            data = _read(self.read_end, 4096)
        except BlockingIOError:
            return False
        self.data = (self.data + data)[-_KEPT:]
        return bool(data)

    def until(self, pidfd: int, deadline: float, enough: Callable[[bytes], bool] | None = None) -> bool:
        """True: the process has ended or has said enough. False: the time is up."""
        poller = _poll()
        poller.register(self.read_end, select.POLLIN)
        poller.register(pidfd, select.POLLIN)
        while True:
            left = deadline - _monotonic()
            ready = dict(poller.poll(max(0.0, left) * 1000))
            if self.read_end in ready and not self.take():
                poller.unregister(self.read_end)
            if pidfd in ready or (enough is not None and enough(self.data)):
                while self.take():
                    pass
                return True
            if not ready and left <= 0:
                return False

    def text(self) -> str:
        return self.data.decode("utf-8", "replace").strip()

    def close(self) -> None:
        for fd in (self.read_end, self.write_end):
            if fd >= 0:
                _close(fd)


def _reap(pid: int) -> int:
    while True:
        try:
            return _waitpid(pid, 0)[1]
        except InterruptedError:
            continue


def _waited_s(pid: int) -> float:
    """How long a process was ready to run and did not get a CPU: the thread that waited longest."""
    longest = 0
    try:
        for tid in thread_ids(pid):
            with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as file:
                longest = max(longest, int(file.read().split()[1]))
    except (OSError, ValueError, IndexError):
        pass
    return longest / 1e9


def _ends_in_time(until: Callable[[float], bool], pid: int, timeout_s: float) -> bool:
    """What it waits for a CPU does not count, within reason: a machine that starts all its services is no reason to do without templates."""
    begun, before = _monotonic(), _waited_s(pid)
    while not until(_monotonic() + timeout_s / 10):
        passed = _monotonic() - begun
        if passed - (_waited_s(pid) - before) >= timeout_s or passed >= _PATIENCE * timeout_s:
            return False
    return True


def probe(timeout_s: float) -> None:
    """One fork with all its handlers; the child does nothing."""
    pid = _fork()
    if pid == 0:
        _exit(0)
    try:
        pidfd = _pidfd_open(pid)
    except OSError:  # an old kernel or a sandbox: then the canary's clone is refused as well
        pidfd = -1
    ended = True
    if pidfd >= 0:
        poller = _poll()
        poller.register(pidfd, select.POLLIN)
        ended = _ends_in_time(lambda deadline: bool(poller.poll(max(0.0, deadline - _monotonic()) * 1000)), pid, timeout_s)
        _close(pidfd)
    who = Culprit()
    if not ended:
        who = who_is(pid, pid)
        _kill(pid, signal.SIGKILL)
    status = _reap(pid)
    if not ended:
        raise Unsafe("probe", f"a forked process hung in a handler of fork{_where(who)}", who.library, who.module)
    if status != 0:
        raise Unsafe("probe", f"a forked process died in a handler of fork: {_fate(status)}")


def _where(who: Culprit) -> str:
    return f", in {os.path.basename(who.library)}" if who.library else ""


def _fate(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"exit status {os.WEXITSTATUS(status)}"
    try:
        return signal.Signals(os.WTERMSIG(status)).name
    except ValueError:
        return f"signal {os.WTERMSIG(status)}"


def _sing(extension: Any, parent: int, words: int, warm_up: Callable[[], Any] | None) -> int:
    """The canary. Its output goes to the template, which passes on what explains an early end."""
    import faulthandler
    import resource

    if not extension.die_with(parent):
        return 1
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = _open(os.devnull, os.O_WRONLY)
    _dup2(null, 1)
    _dup2(words, 2)
    faulthandler.enable(file=2, all_threads=False)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
    try:
        _template_libraries.reseed()
        if warm_up is not None:
            warm_up()
    except BaseException:
        import traceback

        _write(2, traceback.format_exc().encode("utf-8", "replace"))
        return 1
    return 0


def canary(extension: Any, warm_up: Callable[[], Any] | None, timeout_s: float) -> None:
    """Runs warm_up() in a process that was made as a worker is."""
    words, parent = _Words(), _getpid()
    try:
        try:
            pid, pidfd = extension.clone_process(False)
        except OSError as exc:
            raise Unsafe("clone", f"clone is refused: {exc.strerror}")
        if pid == 0:
            status = 1
            try:
                status = _sing(extension, parent, words.write_end, warm_up)
            finally:
                _exit(status)
        _close(words.write_end)
        words.write_end = -1
        try:
            _judge(words, pid, pidfd, timeout_s)
        finally:
            _close(pidfd)
    finally:
        words.close()


def _last_frames() -> tuple[bytes, ...]:
    """How faulthandler's traceback of the canary ends: with the outermost frame, which is the template's, or with what stands for the rest."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return f" in {frame.f_code.co_name}\n".encode(), b"\n  ...\n"


def _judge(words: _Words, pid: int, pidfd: int, timeout_s: float) -> None:
    who = Culprit()
    ended = _ends_in_time(lambda deadline: words.until(pidfd, deadline), pid, timeout_s)
    if not ended:
        who = who_is(pid, pid)
        _kill(pid, signal.SIGUSR1)
        last = _last_frames()
        _ends_in_time(
            lambda deadline: words.until(pidfd, deadline, lambda data: any(end in data for end in last)), pid, _WORDS_S
        )
        _kill(pid, signal.SIGKILL)
    status = _reap(pid)
    told = words.text()
    frame = _innermost(told)
    module = who.module or frame[1]
    if not ended:
        text = f"warm_up() did not end in a forked process within {timeout_s * 1000:.0f} ms{_where(who)}{frame[0]}"
        raise Unsafe("canary_timeout", text, who.library, module)
    if status != 0:
        raise Unsafe(
            "canary_died", f"warm_up() failed in a forked process: {_fate(status)}{_last_words(told)}{frame[0]}", "", module
        )


def _innermost(told: str) -> tuple[str, str]:
    """The innermost frame of a traceback by faulthandler (which begins with it) or by Python (which ends with it), and its module."""
    frames = [line.strip() for line in told.splitlines() if line.startswith("  File ")]
    if not frames:
        return "", ""
    dumped = "most recent call first" in told
    for line in frames if dumped else reversed(frames):
        parts = line.split('"')
        module = module_of(parts[1]) if len(parts) > 2 else ""
        if module and module != "snakepit_bridge":
            return f", at {line}", module
    return "", ""


def _last_words(told: str) -> str:
    """What it said that is no frame: the exception, or a library's own complaint."""
    lines = [
        line.strip() for line in told.splitlines() if line.strip() and not line.startswith((" ", "Traceback", "Current thread"))
    ]
    lines = [line for line in lines if not line.startswith(("Fatal Python error", "Extension modules"))]
    return f": {lines[-1]}" if lines else ""
