"""The template: a process that has imported everything, and of which workers are forked.

``python -m snakepit_bridge.worker --template --adapter X ...``: descriptor 3 is the host's control socket (frames of docs/wire.md), 4 the
guard's (messages of src/guard/guard_msg.h). HELLO, WELCOME, preparation, READY that says whether workers can be forked; then one child
for each request of the guard, which is the guard's child, not the template's. From the first request on one is kept ahead (_template_ahead.py).

Invariants
 1. One thread, none of its own; between requests it sleeps in poll().
 2. Each request of the guard is answered once, in order.
 3. A template that cannot be forked says so and ends; nothing fails by it: workers are started by exec.

Exit status: 0 after STOP, the end of a socket, or when it is not safe; 1 after FAILED or a broken protocol.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import select
import sys
import time

from . import _coder, _template_libraries, _wire
from ._channel import Control
from ._errors import SnakepitError, cut, describe, message_of, traceback_of, type_name
from ._loader import load
from ._template_ahead import IDLE_MS, Ahead, fork_ahead, wait_for_request
from ._template_check import Unsafe, canary, check_before_fork, check_gpu, check_names, check_threads, open_files, probe
from ._template_child import Birth, Requests, become_worker
from ._template_memory import huge_bytes, resident_bytes
from ._template_threads import thread_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn

# User code may replace any of these (gevent does) before they are used.
_close, _exit, _write, _poll, _monotonic, _import = (
    os.close,
    os._exit,
    os.write,
    select.poll,
    time.monotonic,
    importlib.import_module,
)

_memfd = getattr(os, "memfd_create", None)  # not where Python was built for an older C library

CONTROL, SEGMENT = 3, 4  # of a worker
_CANARY_MS = 2000
_TEXT = 200  # bytes of a text in READY


def warm_up_of(cls: type) -> Callable[[], Any] | None:
    """The class method ``warm_up`` of an adapter, as a function; None without one."""
    for base in cls.__mro__:
        raw = vars(base).get("warm_up")
        if raw is None:
            continue
        return cls.warm_up if isinstance(raw, (classmethod, staticmethod)) else None
    return None


def _settled(fn: Callable[[], Any]) -> Callable[[], Any]:
    """Waits for what an ``async`` warm_up() returns, on a loop that is closed again."""

    def run() -> None:
        result = fn()
        if hasattr(type(result), "__await__"):
            import asyncio

            asyncio.run(result)

    return run


class Template:
    """One template, from HELLO to its end."""

    def __init__(
        self,
        control_fd: int,
        fork_fd: int,
        adapter: str,
        extension: Any,
        runtime: dict[str, Any],
        rehearse: Callable[[], None],
    ) -> None:
        self._fork_fd = fork_fd
        self._adapter = adapter
        self._extension = extension
        self._runtime = runtime
        self._control = Control(control_fd)
        self._since: dict[int, str] = {}
        self._files: list[int] = []
        self._requests: Any = None
        self._room: memoryview | None = None
        self._widener: Any = None
        self._rehearse = rehearse
        self._ahead: Ahead | None = None
        self._wants_ahead = False
        self._doing = "the preparation"
        self._kept: tuple[Any, ...] = ()  # what a child would free on its way out of here, and copy pages for that
        # of a worker:
        self.adapter_class: type | None = None
        self.segment_fd = -1

    def run(self) -> int | None:
        """The exit status of the template; None in a child, which is a worker from here on."""
        _coder.choose(self._extension)
        try:
            welcome = self._shake_hands()
            if welcome is None:
                return 0
            return self._live(welcome)
        except ConnectionError:
            return 0

    def _send(self, kind: int, payload: Any) -> None:
        self._control.send(_wire.build(kind, _coder.encode(payload)))

    def _shake_hands(self) -> dict[str, Any] | None:
        """WELCOME; None: the host does not want it any more."""
        self._send(
            _wire.HELLO,
            {
                "protocol_min": _wire.PROTOCOL_MIN,
                "protocol_max": _wire.PROTOCOL_MAX,
                "pid": os.getpid(),
                "secret": b"",
                "channels": [],
                "marks": False,
                "runtime": self._runtime,
                "template": True,
            },
        )
        data = self._control.recv()
        if data is None:
            return None
        frame = _wire.parse(data)
        if frame.kind == _wire.STOP:
            return None
        welcome = _coder.decode(data[frame.start :]) if frame.kind == _wire.WELCOME else None
        if type(welcome) is not dict or not welcome.get("template"):
            raise _wire.ProtocolError("no WELCOME for a template")
        return welcome

    def _live(self, welcome: dict[str, Any]) -> int | None:
        begun = _monotonic()
        try:
            facts = self._prepare(welcome)
        except Unsafe as exc:
            self._send(_wire.READY, self._verdict(begun, exc))
            return 0
        except ConnectionError:
            raise
        except BaseException as exc:
            self._send(_wire.FAILED, self._failure(exc))
            return 1
        self._send(_wire.READY, {**self._verdict(begun, None), **facts})
        self._kept = (welcome, facts)
        return self._serve(begun)

    def _failure(self, exc: BaseException) -> dict[str, Any]:
        """As of any exception, and which step it ended: neither a preload nor warm_up() is run for a worker by exec."""
        payload = describe(exc)
        if not isinstance(exc, SnakepitError):
            payload["message"] = cut(f"{self._doing}: {type_name(type(exc))}: {message_of(exc)}", _TEXT)
        return payload

    def _verdict(self, begun: float, unsafe: Unsafe | None) -> dict[str, Any]:
        def text(part: str) -> str:
            return cut(part, _TEXT)

        return {
            "safe": unsafe is None,
            "threads": len(thread_ids()),
            "modules": len(sys.modules),
            "rss_bytes": resident_bytes(),
            "prepare_ms": (_monotonic() - begun) * 1000,
            "reason": unsafe.reason if unsafe else "",
            "library": text(unsafe.library) if unsafe else "",
            "module": text(unsafe.module) if unsafe else "",
            "text": text(unsafe.text) if unsafe else "",
        }

    def _import(self, what: str, load_it: Callable[[], Any]) -> Any:
        """Imports, and remembers what it does and of each new thread what it came with."""
        self._doing = what
        found = load_it()
        for tid in thread_ids():
            self._since.setdefault(tid, what)
        return found

    def _prepare(self, welcome: dict[str, Any]) -> dict[str, Any]:
        if self._extension is None:
            raise Unsafe("no_extension", "this interpreter has no C extension of snakepit_bridge, which makes the fork")
        try:
            self._extension.clone_check()
        except OSError as exc:
            raise Unsafe("clone", f"the C library keeps the thread's id where the kernel does not find it: {exc.strerror}")
        self._room = self._extension.room("SNAKEPIT_ROOM")
        os.environ.pop("SNAKEPIT_ROOM", None)
        os.environ.update(_template_libraries.LIMITS)
        before = dict(os.environ)
        begun = _monotonic()
        for name in welcome.get("preload") or []:
            self._import(name, lambda name=name: _import(name))
        cls = self.adapter_class = self._import(self._adapter, lambda: load(self._adapter))
        import_ms = (_monotonic() - begun) * 1000
        warm_up = warm_up_of(cls)
        if warm_up is not None:
            warm_up = _settled(warm_up)
            self._import("warm_up()", warm_up)
        self._doing = "the check whether it can be forked"
        self._prove(warm_up, int(welcome.get("canary_timeout_ms") or _CANARY_MS) / 1000)
        after = dict(os.environ)
        changed = {name: after.get(name) for name in {**before, **after} if before.get(name) != after.get(name)}
        self._requests = Requests(self._extension.REQUEST_MAGIC, changed)
        self._widener = _template_libraries.Widener(self._extension)
        gc.collect()
        gc.freeze()
        return {"import_ms": import_ms, "huge_bytes": huge_bytes(self._extension)}

    def _prove(self, warm_up: Callable[[], Any] | None, timeout_s: float) -> None:
        check_names()
        check_gpu()
        _template_libraries.pause_openmp(self._extension)
        probe(timeout_s)
        check_threads(self._since, patient=True)
        self._files = open_files()
        canary(self._extension, warm_up, timeout_s)
        check_before_fork(self._since)

    def _serve(self, begun: float) -> int | None:
        poller = _poll()
        poller.register(self._fork_fd, select.POLLIN)
        poller.register(self._control.fd, select.POLLIN)
        self._kept += (poller,)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()  # what is left in a buffer would be said by each child again
            except Exception:  # none, closed, or one of the adapter's own
                pass
        while True:
            ready = dict(poller.poll(IDLE_MS if self._wants_ahead else None))
            try:
                if self._fork_fd in ready:
                    request = self._receive()
                    if request is None:
                        return 0
                    if request is not True and self._fork(*request):
                        return None
                elif ready:
                    if self._stopped():
                        return 0
                elif self._fork_ahead():
                    return None
            except Unsafe as exc:
                self._send(_wire.READY, self._verdict(begun, exc))
                return 0

    def _receive(self) -> Any:
        """The guard's next request; True: the process that was forked ahead has it, None: the end."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return self._extension.receive_request(self._fork_fd)
        try:
            request = self._extension.pass_on(self._fork_fd, ahead.fd, ahead.pid)
        finally:
            ahead.forget()
        self._wants_ahead = request is True
        return request

    def _fork_ahead(self) -> bool:
        """True in the child, when it has become a worker."""
        self._wants_ahead = False
        try:
            highest = check_before_fork(self._since)
            self._ahead, own = fork_ahead(self._extension)
        except (Unsafe, OSError):  # the next request will hear of it
            return False
        if self._ahead is not None:
            return False
        _, guard, token, mask, worker_id, fds = wait_for_request(
            self._extension, own, self._files, max(highest, own), self._rehearse_all
        )
        try:
            birth = self._birth(guard, token, mask, worker_id, fds)
        except BaseException as exc:
            self._give_up(exc)
        birth.highest = max(fds)
        self._be_born(birth, True)
        return True

    def _rehearse_birth(self) -> None:
        """The last request once more, by the way that the next one will take."""
        if _memfd is None:
            return
        data, worker_id = self._requests.last_read
        extension = self._extension
        fd = _memfd("snakepit-rehearsal")
        try:
            _write(fd, data)
            whole = extension.HAS_SEGMENT | extension.HAS_STDOUT | extension.HAS_STDERR
            self._birth(0, 0, whole, worker_id, [fd] * 5).take_name()
        finally:
            _close(fd)

    def _rehearse_all(self) -> None:
        self._rehearse_birth()
        if self._room is not None:
            self._room[:] = bytes(self._room)
        self._widener.widen(_template_libraries.LIMITS)  # to one thread, which they have
        self._rehearse()

    def _stopped(self) -> bool:
        data = self._control.recv()
        if data is None:
            return True
        kind = _wire.parse(data).kind
        if kind != _wire.STOP:
            raise _wire.ProtocolError(f"a frame of kind {kind}, which has no place here")
        return True

    def _refuse(self, token: int, error: int, text: str) -> None:
        self._extension.send_forked(self._fork_fd, token, 0, error, text)

    def _fork(self, kind: int, guard: int, token: int, mask: int, worker_id: bytes, fds: list[int]) -> bool:
        """True in the child. ``Unsafe`` when it has been answered, and is the last."""
        child = False
        try:
            if kind != self._extension.GUARD_FORK:
                raise _wire.ProtocolError(f"a message of kind {kind} from the guard")
            child = self._answer(token, guard, mask, worker_id, fds)
        finally:
            if not child:
                for fd in fds:
                    _close(fd)
        return child

    def _answer(self, token: int, guard: int, mask: int, worker_id: bytes, fds: list[int]) -> bool:
        try:
            birth = self._birth(guard, token, mask, worker_id, fds)
        except (ValueError, OSError):
            self._refuse(token, errno.EPROTO, "request")
            return False
        try:
            birth.highest = check_before_fork(self._since, fds)
        except Unsafe as exc:
            self._refuse(token, errno.ENOTSUP, exc.reason)
            raise
        try:
            pid, pidfd = self._extension.clone_process(True)
        except OSError as exc:
            self._refuse(token, exc.errno or errno.EIO, "clone")
            return False
        if pid == 0:
            self._be_born(birth, False)
            return True
        self._wants_ahead = True
        _close(pidfd)  # the guard opens one of its own
        self._extension.send_forked(self._fork_fd, token, pid, 0, "")
        return False

    def _be_born(self, birth: Birth, settled: bool) -> None:
        try:
            become_worker(birth, self._room, self._files, self._widener, settled)
        except BaseException as exc:
            self._give_up(exc)
        self.segment_fd = SEGMENT if SEGMENT in birth.fds else -1

    def _give_up(self, exc: BaseException) -> NoReturn:
        """In a child: whatever it has of the template's by now, it may not act for it."""
        try:
            _write(2, f"snakepit_bridge: a forked worker could not start\n{traceback_of(exc)}".encode("utf-8", "replace"))
        finally:
            _exit(1)

    def _birth(self, guard: int, token: int, mask: int, worker_id: bytes, fds: list[int]) -> Birth:
        extension = self._extension
        places = [
            place
            for bit, place in ((extension.HAS_SEGMENT, 4), (extension.HAS_STDOUT, 1), (extension.HAS_STDERR, 2))
            if mask & bit
        ]
        if len(fds) != 2 + len(places):
            raise ValueError("descriptors are missing")
        request = self._requests.read(fds[0], worker_id)
        return Birth(extension, request, dict(zip([CONTROL, *places], fds[1:])), token, guard, os.fsdecode(worker_id))
