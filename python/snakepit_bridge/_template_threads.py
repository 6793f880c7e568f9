"""Which library a thread, or a process that hangs, is in: told from /proc, without a debugger.

The stack pointer stands in ``/proc/PID/task/TID/syscall``; above it on the stack lie return addresses, and the mapping that the first of them
points into, C library and interpreter aside, is the culprit. A guess, but a good one: a thread sleeps in the library that started it.

Failure: what cannot be read is told as "".
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from struct import unpack_from

_open, _close, _pread, _listdir = os.open, os.close, os.pread, os.listdir

_STACK_BYTES = 16 * 1024
# In the middle between a thread and its culprit.
_PLUMBING = (
    "libc.",
    "libc-",
    "ld-",
    "ld.",
    "libpthread",
    "libstdc++",
    "libm.",
    "libm-",
    "libgcc_s",
    "libdl",
    "libasan",
    "libubsan",
    "[",
)
_INTERPRETER = ("python3", "libpython")
_STANDARD = os.path.dirname(os.__file__) + "/"


class Culprit:
    """Where a thread is: its name, the library (a path) and the module that brought it; "" where that is not known."""

    __slots__ = ("library", "module", "name")

    def __init__(self, name: str = "", library: str = "", module: str = "") -> None:
        self.name = name
        self.library = library
        self.module = module

    def __repr__(self) -> str:
        return f"Culprit({self.name!r}, {self.library!r}, {self.module!r})"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def thread_ids(pid: int | str = "self") -> list[int]:
    """The threads of a process; OSError where /proc does not tell."""
    return sorted(int(name) for name in _listdir(f"/proc/{pid}/task"))


class _Code:
    """The executable mappings of a process, by address."""

    def __init__(self, pid: int | str) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._paths: list[str] = []
        for line in _read(f"/proc/{pid}/maps").splitlines():
            parts = line.split(None, 5)
            if len(parts) < 6 or "x" not in parts[1]:
                continue
            start, _, end = parts[0].partition("-")
            self._starts.append(int(start, 16))
            self._ends.append(int(end, 16))
            self._paths.append(parts[5].removesuffix(" (deleted)"))

    def path_at(self, address: int) -> str:
        i = bisect_right(self._starts, address) - 1
        return self._paths[i] if i >= 0 and address < self._ends[i] else ""


def _stack(pid: int | str, tid: int) -> bytes:
    """What lies above the stack pointer of a thread that sleeps."""
    words = _read(f"/proc/{pid}/task/{tid}/syscall").split()
    if len(words) < 3:  # "running"
        return b""
    try:
        memory = _open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    at, data = int(words[-2], 16), b""
    try:
        for part in range(0, _STACK_BYTES, 4096):  # the stack may end before that
            data += _pread(memory, 4096, at + part)
    except (OSError, OverflowError):
        pass
    finally:
        _close(memory)
    return data


def _library(pid: int | str, tid: int, code: _Code) -> str:
    stack = _stack(pid, tid)
    for (address,) in (unpack_from("=Q", stack, at) for at in range(0, len(stack) - 7, 8)):
        path = code.path_at(address)
        name = os.path.basename(path)
        if path.startswith("/") and not name.startswith(_PLUMBING):
            return "" if name.startswith(_INTERPRETER) else path
    return ""


def _of_distribution(name: str) -> str:
    """The module that a distribution brings, of those that are imported."""
    from importlib import metadata

    try:
        files = metadata.distribution(name).files or []
    except Exception:
        return name
    tops = {file.parts[0] for file in files if len(file.parts) > 1}
    return next((top for top in sorted(tops) if top in sys.modules), name)


def module_of(path: str) -> str:
    """The top-level module whose installation holds this file: ``.../numpy.libs/libopenblas.so`` is numpy's. "" for the system's and Python's own."""
    if path.startswith(_STANDARD) and not path[len(_STANDARD) :].startswith(("site-packages/", "dist-packages/")):
        return ""
    for folder in sorted((entry for entry in sys.path if entry), key=len, reverse=True):
        folder = folder.rstrip("/") + "/"
        if not path.startswith(folder):
            continue
        top = path[len(folder) :].split("/")[0]
        if top.endswith(".libs"):
            top = top[: -len(".libs")]
            return top if top in sys.modules else _of_distribution(top)
        return top.split(".")[0]
    return ""


def _python_thread(tid: int) -> Culprit | None:
    """A thread that Python started: its name, and the module whose code it runs."""
    threading = sys.modules.get("threading")
    if threading is None:
        return None
    for thread in threading.enumerate():
        if thread.native_id != tid:
            continue
        frame = sys._current_frames().get(thread.ident)
        module = ""
        while frame is not None:
            name = frame.f_globals.get("__name__", "")
            if name and name.split(".")[0] not in (
                "threading",
                "concurrent",
                "queue",
                "multiprocessing",
                "selectors",
                "socketserver",
            ):
                module = name.split(".")[0]
            frame = frame.f_back
        if not module:
            module = getattr(getattr(thread, "_target", None), "__module__", None) or type(thread).__module__
        return Culprit(thread.name, "", module)
    return None


def who_is(pid: int | str, tid: int) -> Culprit:
    """Where this thread is."""
    if pid == "self":
        found = _python_thread(tid)
        if found is not None:
            return found
    name = _read(f"/proc/{pid}/task/{tid}/comm").strip()
    library = _library(pid, tid, _Code(pid))
    return Culprit(name, library, module_of(library) if library else "")
