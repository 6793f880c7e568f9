"""The worker: ``python -m snakepit_bridge.worker --adapter X [arguments of the adapter] --snakepit-run-id R``.

Started by the host with its control socket and shared memory in SNAKEPIT_FDS ("3,4"; the second may be -1). It says HELLO, reads
WELCOME, loads the adapter, says READY or FAILED, and serves calls until STOP or the end of the socket.

Invariants
 1. Calls run on the main thread; in a worker of the ``thread`` profile each lane has a thread for them (_threads.py).
 2. Whatever the adapter raises becomes a FAILED or ERROR frame; only the host, the adapter's own exit or a signal ends the worker.
 3. Standard output belongs to the adapter: the protocol does not use it.

With ``--template`` before ``--adapter`` it is a template (_template.py), of which workers are forked: they go on here.

Exit status: 0 after STOP or when the host has gone, 1 after FAILED or a broken protocol, 2 when it was not started by a host.
"""

from __future__ import annotations

import os
import sys

from . import _cancel, _coder, _heart, _registry, _segment, _wire, context
from ._channel import Control
from ._commands import Commands, describe_tools
from ._errors import CodecError, SnakepitError, cut, describe, message_of, traceback_of, type_name
from ._loader import load
from .adapter import has_hook, hook_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_exit, _register_at_fork, _set_inheritable, _close = os._exit, os.register_at_fork, os.set_inheritable, os.close
_excepthook = sys.__excepthook__
_ENV = "SNAKEPIT_FDS"
_LOG_TEXT = 8192  # characters: the host takes no LOG above 64 KiB


def _load_extension() -> tuple[Any, str | None]:
    """The extension, or why there is none."""
    if os.environ.get("SNAKEPIT_NO_EXTENSION", "") not in ("", "0"):
        return None, "switched off by SNAKEPIT_NO_EXTENSION"
    try:
        from . import _snakepit  # type: ignore[attr-defined]
    except ImportError as exc:
        if "_snakepit" in str(exc) and "cannot import name" in str(exc):
            return None, f"not built for {sys.implementation.cache_tag}"
        return None, message_of(exc)
    return _snakepit, None


def _gil_enabled() -> bool:
    check = getattr(sys, "_is_gil_enabled", None)
    return True if check is None else bool(check())


def _runtime(extension: Any, error: str | None) -> dict[str, Any]:
    return {
        "language": "python",
        "version": ".".join(str(part) for part in sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "platform": sys.platform,
        "executable": sys.executable or "",
        "extension": extension is not None,
        "extension_error": error,
        "gil": _gil_enabled(),
    }


class _Rehearsal:
    """An adapter that nobody calls."""

    def command(self, text: str = "") -> str:
        """Says it again."""
        return text


class Worker:
    """One run of the worker, from HELLO to the exit status."""

    def __init__(self, control_fd: int, segment_fd: int, adapter: str) -> None:
        self._segment_fd = segment_fd
        self._control = Control(control_fd)
        self._adapter = adapter
        self._class: type | None = None  # a template has loaded it
        self._extension, self._extension_error = _load_extension()
        _coder.choose(self._extension)
        if self._extension is not None:
            self._extension.prepare_crash_watch()
        self._welcome: dict[str, Any] = {}
        self._scope = "worker"
        self._instances: list[Any] = []  # those that live as long as their lane, or the worker
        self._commands: Any = None
        self._lane: Any = None

    def means(self) -> tuple[Any, dict[str, Any]]:
        """The extension, if there is one, and what HELLO says of the interpreter."""
        return self._extension, _runtime(self._extension, self._extension_error)

    def adopt(self, segment_fd: int, cls: type | None) -> None:
        """In a process that a template has forked."""
        self._segment_fd = segment_fd
        self._class = cls

    def rehearse(self) -> None:
        """In a process that a template has forked ahead, and that still waits: what a start will run, without effect. Each page that is written
        to for the first time after a fork is copied, 2 us apiece, and a start writes to some hundreds."""
        hello = _wire.build(_wire.HELLO, _coder.encode(self._hello(bytes(_segment.SECRET_SIZE))))
        _coder.decode(hello[_wire.parse(hello).start :])
        instance = _Rehearsal()
        Commands(_Rehearsal, instance)
        _coder.encode(self._ready(instance, _heart.start(None, -1, {}, [instance])))

    def run(self) -> int:
        """The exit status."""
        if self._extension is not None and self._segment_fd >= 0:
            self._extension.watch_crashes(self._segment_fd)
        try:
            if not self._shake_hands():
                return 0
            try:
                ready = _coder.encode(self._prepare())
            except BaseException as exc:
                self._send(_wire.FAILED, self._failure(exc))
                return 1
            self._control.send(_wire.build(_wire.READY, ready))
            context.bind_thread(self._lane.make_context)
            if self._lane.serve():
                self._clean_up()
        except _wire.ProtocolError as exc:
            print(f"snakepit_bridge: the host broke the protocol: {exc}", file=sys.stderr)
            return 1
        except ConnectionError:
            pass
        return 0

    def _send(self, kind: int, payload: Any) -> None:
        self._control.send(_wire.build(kind, _coder.encode(payload)))

    def _hello(self, secret: bytes) -> dict[str, Any]:
        rings = self._extension is not None and self._segment_fd >= 0
        return {
            "protocol_min": _wire.PROTOCOL_MIN,
            "protocol_max": _wire.PROTOCOL_MAX,
            "pid": os.getpid(),
            "secret": secret,
            "channels": ["ring", "socket"] if rings else ["socket"],
            "marks": self._segment_fd >= 0,
            "runtime": _runtime(self._extension, self._extension_error),
            "forked": self._class is not None,
        }

    def _shake_hands(self) -> bool:
        """False: the host has closed the connection."""
        self._send(_wire.HELLO, self._hello(_segment.secret(self._segment_fd)))
        data = self._control.recv()
        if data is None:
            return False
        frame = _wire.parse(data)
        if frame.kind == _wire.STOP:
            return False
        if frame.kind != _wire.WELCOME:
            raise _wire.ProtocolError(f"a frame of kind {frame.kind} instead of WELCOME")
        welcome = _coder.decode(data[frame.start :])
        if type(welcome) is not dict or welcome.get("channel", "socket") not in ("ring", "socket"):
            raise _wire.ProtocolError("a WELCOME that is none")
        self._welcome = welcome
        serialization = welcome.get("serialization")
        if type(serialization) is dict:
            _registry.SETTINGS.update(serialization)
        _registry.REPORTERS.append(self._log)
        self._control.max_frame = int(welcome.get("max_frame_bytes", _wire.MAX_FRAME))
        _registry.SETTINGS["max_frame_bytes"] = self._control.max_frame
        return True

    def _failure(self, exc: BaseException) -> dict[str, Any]:
        payload = describe(exc)
        if isinstance(exc, CodecError):
            payload["code"] = "adapter_invalid"  # a description of a tool that cannot be sent
        elif not isinstance(exc, SnakepitError):
            payload["code"] = "adapter_init_failed"
            payload["message"] = cut(f"{type_name(type(exc))}: {message_of(exc)}", 4096)
            if isinstance(exc, ModuleNotFoundError):
                payload["suggestions"] = [
                    f"install what provides it for {sys.executable} (-m pip install ...), name its folder in the pool's python_path, "
                    "or run another interpreter"
                ]
        return payload

    def _prepare(self) -> dict[str, Any]:
        """Loads and initialises the adapter and makes the lane; READY's payload."""
        if self._extension_error is not None:
            self._log(f"no C extension, calls go over the socket: {self._extension_error}")
        cls = self._class or load(self._adapter)
        threaded = self._welcome.get("profile") == "thread"
        if threaded:
            from ._threads import check_adapter

            check_adapter(cls)
        self._scope = self._find_scope(cls, threaded)
        self._commands = self._make_commands(cls)
        instance = None if self._scope == "lane" else cls()
        self._commands.instance = instance
        if self._scope == "worker":
            self._begin(self._commands)
        lanes = self._make_lanes(cls) if threaded else None
        self._lane = lanes or self._make_lane()
        _register_at_fork(after_in_child=self._after_fork)
        if lanes is not None:

            def begin(commands: Commands) -> None:
                commands.instance = cls()
                self._begin(commands)

            lanes.start(begin if self._scope == "lane" else None, self._end)
        wake_fd = lanes.wake_fd if lanes is not None else -1
        capabilities = _heart.start(self._extension, self._segment_fd, self._welcome, self._instances, wake_fd)
        described = self._instances[0] if instance is None else instance
        return self._ready(described, [*capabilities, *self._cancel_capabilities(described)])

    def _find_scope(self, cls: type, threaded: bool) -> str:
        asked = self._welcome.get("adapter_scope")
        if asked is None and getattr(cls, "adapter_scope", "worker") == "worker":
            return "worker"
        from ._scope import scope_of

        scope = scope_of(cls, asked)
        return "worker" if scope == "lane" and not threaded else scope  # the same where there is one lane

    def _make_commands(self, cls: type) -> Commands:
        commands = Commands(cls)
        if self._scope == "request":
            from ._scope import Requests

            commands.around = Requests(cls, commands)
        elif has_hook(cls, "reset"):
            from ._scope import Resets

            commands.around = Resets(commands)
        return commands

    def _begin(self, commands: Commands) -> None:
        """Starts the life of an instance that lives as long as its lane, or the worker."""
        initialize = hook_of(commands.instance, "initialize")
        if initialize is not None:
            _settle(commands, initialize())
        self._instances.append(commands.instance)

    def _end(self, commands: Commands) -> None:
        """Of a lane that has served its last call."""
        try:
            cleanup = hook_of(commands.instance, "cleanup")
            if self._scope == "lane" and cleanup is not None:
                _settle(commands, cleanup())
            commands.close()
        except BaseException as exc:
            _tell_cleanup(exc)

    def _ready(self, instance: Any, capabilities: list[str]) -> dict[str, Any]:
        return {"tools": describe_tools(instance), "capabilities": capabilities, "gil_enabled": _gil_enabled()}

    def _settle(self, result: Any) -> Any:
        return _settle(self._commands, result)

    def _cancel_capabilities(self, instance: Any) -> list[str]:
        found = []
        number = self._welcome.get("cancel_signal")
        if type(number) is int and _cancel.install(number, self._lane, self._commands):
            found.append("cancel_signal")
        if getattr(instance, "survives_cancel", False) is True:
            found.append("survives_cancel")
        if self._hears_cancel():
            found.append("cancel")
        return found

    def _hears_cancel(self) -> bool:
        """CANCEL frames, where calls go over the socket."""
        if self._welcome.get("channel") == "ring":
            return False
        return self._segment_fd >= 0 or _cancel.listen(self._lane, self._commands)

    def _make_lane(self) -> Any:
        prefix = int(self._welcome.get("call_prefix", 0))
        if self._welcome.get("channel") == "ring":
            return self._make_ring_lane(0, self._commands, on_control=self._on_control)
        from ._socket_lane import SocketLane

        return SocketLane(self._control, _segment.Marks(self._segment_fd), self._commands, prefix, self._on_frame)

    def _make_ring_lane(self, index: int, commands: Commands, **how: Any) -> Any:
        return self._extension.Lane(
            self._segment_fd,
            index,
            self._control.fd,
            commands=commands,
            max_frame=self._control.max_frame,
            prefix=int(self._welcome.get("call_prefix", 0)),
            **how,
        )

    def _make_lanes(self, cls: type) -> Any:
        from ._threads import ThreadLanes

        if self._welcome.get("channel") != "ring":
            raise SnakepitError(
                "profile_unavailable", "the profile thread needs rings, and with them the extension of snakepit_bridge"
            )

        def make(index: int, commands: Commands) -> Any:
            return self._make_ring_lane(index, commands, threaded=True)

        commands = [self._make_commands(cls) for _ in range(int(self._welcome.get("lanes", 1)))]
        for each in commands:
            each.instance = self._commands.instance
        return ThreadLanes(make, commands, self._control, self._on_frame, self._welcome.get("cancel_signal"))

    def _on_control(self, data: bytes) -> bool:
        """Ring mode: what came by the control socket. True: STOP."""
        self._control.feed(data)
        while True:
            frame = self._control.next()
            if frame is None:
                return False
            if self._on_frame(frame):
                return True

    def _on_frame(self, data: bytes) -> bool:
        """A frame that is no call. True: STOP."""
        frame = _wire.parse(data)
        if frame.kind == _wire.PING:
            self._control.send(_wire.build(_wire.PONG, b"", frame.id))
        elif frame.kind == _wire.HEALTH:
            self._control.send(_wire.build(_wire.HEALTH_REPLY, _heart.examine(self._instances, self._settle), frame.id))
        elif frame.kind != _wire.STOP:
            raise _wire.ProtocolError(f"a frame of kind {frame.kind}, which has no place here")
        return frame.kind == _wire.STOP

    def _after_fork(self) -> None:
        # The child of a call is no worker: it shall neither answer nor keep the connection open, nor write to what has its number next.
        _registry.REPORTERS.clear()
        self._lane.abandon()
        try:
            _close(self._control.fd)
        except OSError:
            pass

    def _log(self, text: str, level: str = "warning") -> None:
        self._send(_wire.LOG, {"level": level, "text": text[:_LOG_TEXT], "logger": "snakepit_bridge", "correlation_id": None})

    def _clean_up(self) -> None:
        context.bind_thread(None)
        try:
            cleanup = hook_of(self._commands.instance, "cleanup")
            if self._scope == "worker" and cleanup is not None:
                self._settle(cleanup())
            self._commands.close()
        except BaseException as exc:
            _tell_cleanup(exc)


def _settle(commands: Commands, result: Any) -> Any:
    """Waits for what initialize(), cleanup() or health() returned."""
    return commands.run(result) if hasattr(type(result), "__await__") else result


def _tell_cleanup(exc: BaseException) -> None:
    print(f"snakepit_bridge: cleanup failed\n{traceback_of(exc)}", file=sys.stderr)


def _parse(argv: list[str]) -> tuple[str, list[str]] | None:
    """Adapter and its own arguments: all that stands between it and the first option of ours, seen from the end."""
    if len(argv) < 2 or argv[0] != "--adapter":
        return None
    rest = argv[2:]
    while len(rest) >= 2 and rest[-2] in ("--snakepit-run-id", "--snakepit-instance-name"):
        del rest[-2:]
    return argv[1], rest


def _descriptors() -> tuple[int, int] | None:
    try:
        control, segment = (int(part) for part in os.environ.pop(_ENV, "").split(","))
        for fd in (control, segment):
            if fd >= 0:
                _set_inheritable(fd, False)
    except (ValueError, OSError):
        return None
    return (control, segment) if control >= 0 else None


def _run_template(fds: tuple[int, int], adapter: str) -> int:
    """The exit status of the template, or of the worker that this process has become."""
    from ._template import CONTROL, Template

    worker = Worker(CONTROL, -1, adapter)  # made once, for all
    template = Template(*fds, adapter, *worker.means(), worker.rehearse)
    status = template.run()
    if status is None:
        worker.adopt(template.segment_fd, template.adapter_class)
        status = worker.run()
    return status


def main(argv: list[str] | None = None) -> None:
    """Does not return."""
    args = sys.argv[1:] if argv is None else argv
    template = args[:1] == ["--template"]
    parsed = _parse(args[1:] if template else args)
    fds = _descriptors()
    if parsed is None or fds is None:
        print(
            "snakepit_bridge.worker is started by a Snakepit host:\n"
            "  SNAKEPIT_FDS=CONTROL,SEGMENT python -m snakepit_bridge.worker --adapter X [...] --snakepit-run-id R",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.argv = [parsed[0], *parsed[1]]
    try:
        status = _run_template(fds, parsed[0]) if template else Worker(*fds, parsed[0]).run()
    except BaseException as exc:
        status = 1
        try:
            _excepthook(type(exc), exc, exc.__traceback__)
        except BaseException:
            pass
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass
    _exit(status)


if __name__ == "__main__":
    main()
