"""Exceptions on their way to the host, and values that are exceptions.

Invariants
 1. Nothing here raises because of what user code defined: a ``__str__`` that raises, a hostile ``__notes__``, a cycle of causes.
 2. Every text that leaves is valid UTF-8 and cut at the limits of docs/wire.md.
 3. The frames of this package (and of the import system, above the adapter's) are not part of a traceback that is shown.

Thread: any; no state.
"""

from __future__ import annotations

from os.path import abspath, dirname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MESSAGE_LIMIT = 64 * 1024
TRACEBACK_LIMIT = 256 * 1024
NOTES_LIMIT = 100
PLAIN_FRAMES = 1000

# What stands at the top of a traceback and is not the adapter's.
_HERE = dirname(abspath(__file__))
_OURS = (_HERE, "<frozen importlib")
_ADAPTERS = f"{_HERE}/adapters/"

_CODES = {
    "ValueError": "value_error",
    "KeyError": "key_error",
    "IndexError": "index_error",
    "TypeError": "type_error",
    "AttributeError": "attribute_error",
    "ImportError": "import_error",
    "RuntimeError": "runtime_error",
    "NotImplementedError": "not_implemented",
    "FileNotFoundError": "file_not_found",
    "PermissionError": "permission_error",
    "ZeroDivisionError": "zero_division",
    "TimeoutError": "python_timeout",
    "MemoryError": "out_of_memory",
}


class SnakepitError(Exception):
    """An error with a code of its own, as the host will see it."""

    def __init__(
        self,
        code: str,
        message: str,
        details: dict[str, Any] | None = None,
        suggestions: list[str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details if details is not None else {}
        self.suggestions = suggestions if suggestions is not None else []


class CodecError(SnakepitError, ValueError):
    """A value that cannot be encoded, or bytes that are no value. ``path`` leads to the leaf: ``["a"][3]``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.path = ""

    def at(self, key: object) -> CodecError:
        """Called by each container on the way out. Returns itself."""
        if len(self.path) < 256:
            self.path = _step(key) + self.path
        return self

    def __str__(self) -> str:
        return f"{self.message} at {self.path}" if self.path else self.message


class Cancelled(BaseException):
    """The call shall end. Not an ``Exception``, so that ``except Exception`` does not swallow it."""

    def __init__(self, message: str = "the call was cancelled", code: str = "cancelled") -> None:
        super().__init__(message)
        self.code = code


class HostToolError(RuntimeError):
    """A tool of the host has failed. ``tool`` is its name, ``code`` and ``details`` are those of its error.

    Who lets it pass fails with ``tool_execution_failed`` for his own caller: an error of the tool, and none of Python's."""

    def __init__(
        self,
        message: str,
        code: str = "tool_execution_failed",
        details: dict[str, Any] | None = None,
        tool: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = details if details is not None else {}
        self.tool = tool


class RemoteException(Exception):
    """An exception that came as a value. It keeps what was sent, and leaves again as it came."""

    def __init__(
        self,
        type: str,
        message: str = "",
        traceback: str | None = None,
        notes: list[str] | None = None,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(type, message)
        self.type = type
        self.message = message
        self.traceback = traceback
        self.__notes__ = list(notes) if notes else []
        self.__cause__ = cause

    @property
    def notes(self) -> list[str]:
        return self.__notes__

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


def _step(key: object) -> str:
    kind = type(key)
    if kind is str:
        text = clean(key[:64])  # type: ignore[index]
        return '["' + text.replace("\\", "\\\\").replace('"', '\\"') + '"]'
    if key is None or kind is bool or kind is float or (kind is int and -(1 << 63) <= key < 1 << 64):  # type: ignore[operator]
        return f"[{key!r}]"
    return "[...]"


def clean(text: str) -> str:
    """The text without lone surrogates."""
    try:
        str.encode(text, "utf-8")
        return text
    except UnicodeEncodeError:
        return str.encode(text, "utf-8", "backslashreplace").decode("utf-8")


def cut(text: str, limit: int, keep_end: bool = False) -> str:
    """The text as valid UTF-8 of at most ``limit`` bytes. ``keep_end``: what is left out stood in the middle, after the first quarter."""
    data = str.encode(text, "utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode("utf-8")
    mark = b"[...]"
    room = limit - len(mark)
    head = room // 4 if keep_end else room
    data = data[:head] + mark + data[len(data) - (room - head) :]
    return data.decode("utf-8", "ignore")


def type_name(kind: type) -> str:
    """``ValueError``, ``pkg.mod.Error``."""
    try:
        module, name = type.__getattribute__(kind, "__module__"), type.__getattribute__(kind, "__qualname__")
    except BaseException:
        module, name = None, kind.__name__
    if not isinstance(module, str) or module == "builtins":
        return clean(name)
    return clean(f"{module}.{name}")


def message_of(exc: BaseException) -> str:
    """``str(exc)``, whatever its ``__str__`` does."""
    try:
        text = str(exc)
        return str.__str__(text)
    except BaseException:
        return f"<{type_name(type(exc))} whose __str__ raised>"


def notes_of(exc: BaseException) -> list[str]:
    try:
        notes = getattr(exc, "__notes__", None)
        if not isinstance(notes, (list, tuple)):
            return []
        return [cut(str.__str__(n), MESSAGE_LIMIT) for n in list(notes)[:NOTES_LIMIT] if isinstance(n, str)]
    except BaseException:
        return []


def _is_ours(file: str) -> bool:
    return file.startswith(_OURS) and not file.startswith(_ADAPTERS)


def traceback_of(exc: BaseException) -> str:
    """The traceback as Python prints it, without the frames of this package at its top; "" when it cannot be made."""
    try:
        tb = exc.__traceback__
        while tb is not None and _is_ours(tb.tb_frame.f_code.co_filename):
            tb = tb.tb_next
        try:
            # Imported by the first exception: it brings ten modules along, a third of what a small worker would consist of.
            from traceback import TracebackException

            return "".join(TracebackException(type(exc), exc, tb).format())
        except BaseException:  # no descriptor or memory left for the import, or user code has replaced what is needed
            return _plain_traceback(exc, tb)
    except BaseException:
        return ""


def _plain_traceback(exc: BaseException, tb: Any) -> str:
    """What can be said without any help: no lines of source, and neither causes nor notes, which travel by themselves."""
    lines = ["Traceback (most recent call last):\n"] if tb is not None else []
    while tb is not None and len(lines) < PLAIN_FRAMES:
        code = tb.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {tb.tb_lineno}, in {code.co_name}\n')
        tb = tb.tb_next
    return "".join([*lines, f"{type_name(type(exc))}: {message_of(exc)}\n"])


def code_of(exc: BaseException) -> str:
    if isinstance(exc, (SnakepitError, Cancelled)):
        return exc.code
    if isinstance(exc, HostToolError):
        return "tool_execution_failed"  # not its code: that deadline, or lane, was the tool's
    kind = exc.type if isinstance(exc, RemoteException) else type(exc).__name__
    code = _CODES.get(kind)
    if code is not None:
        return code
    for base in type(exc).__mro__:
        code = _CODES.get(base.__name__) if base.__module__ == "builtins" else None
        if code is not None:
            return code
    return "python_exception"


def describe(exc: BaseException) -> dict[str, Any]:
    """The payload of an ERROR or FAILED frame."""
    if isinstance(exc, SnakepitError):
        details = dict(exc.details)
        if isinstance(exc, CodecError) and exc.path:
            details["key"] = cut(exc.path, 255)
        return {
            "code": exc.code,
            "message": cut(message_of(exc), MESSAGE_LIMIT),
            "details": details,
            "suggestions": exc.suggestions,
        }
    name = exc.type if isinstance(exc, RemoteException) else type_name(type(exc))
    message = exc.message if isinstance(exc, RemoteException) else message_of(exc)
    text = exc.traceback if isinstance(exc, RemoteException) and exc.traceback else traceback_of(exc)
    message = cut(message, MESSAGE_LIMIT)
    code = code_of(exc)
    told = message
    if code == "python_exception" and message:  # the code does not say what it was: "2" alone is no news of a SystemExit
        told = cut(f"{name}: {message}", MESSAGE_LIMIT)
    payload: dict[str, Any] = {
        "code": code,
        "message": told if told else name,
        "python": {
            "type": name,
            "message": message,
            "traceback": cut(text, TRACEBACK_LIMIT, keep_end=True),
            "notes": notes_of(exc),
        },
    }
    if isinstance(exc, HostToolError):
        payload["details"] = {"host_tool": {"name": exc.tool, "code": exc.code, "details": exc.details}}
    return payload


def exception_fields(exc: BaseException) -> tuple[str, str, str | None, list[str], BaseException | None]:
    """What an exception is as a value: type, message, traceback, notes, cause."""
    if isinstance(exc, RemoteException):
        notes = [clean(n) for n in exc.notes if isinstance(n, str)]
        text = exc.traceback
        return clean(str(exc.type)), clean(str(exc.message)), None if text is None else clean(str(text)), notes, exc.__cause__
    has_traceback = exc.__traceback__ is not None
    return (
        type_name(type(exc)),
        cut(message_of(exc), MESSAGE_LIMIT),
        cut(traceback_of(exc), TRACEBACK_LIMIT, keep_end=True) if has_traceback else None,
        notes_of(exc),
        exc.__cause__,
    )
