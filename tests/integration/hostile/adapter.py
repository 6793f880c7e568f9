"""An adapter that returns, raises and does what one would rather not meet. Commands are grouped as the tests are."""

import asyncio
import collections
import contextlib
import enum
import json
import os
import signal
import socket
import struct
import sys
import threading
import time


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    pass


class Number(int):
    pass


class Table(dict):
    pass


class BadText(Exception):
    def __str__(self):
        raise RuntimeError("no text today")


class Below(FileNotFoundError):
    pass


class KeyError2(Exception):
    pass


class Opaque:
    pass


Point = collections.namedtuple("Point", "x y")


class Unprintable:
    def __repr__(self):
        raise SystemExit(9)


def _chained():
    try:
        raise KeyError("inner")
    except KeyError as inner:
        raise ValueError("outer") from inner


def _noted():
    error = ValueError("noted")
    error.__notes__ = ["first note", "second note"]
    raise error


def _deep(n):
    value = None
    for _ in range(n):
        value = [value]
    return value


VALUES = {
    "enum": lambda: Colour.RED,
    "text": lambda: Text("subclass"),
    "number": lambda: Number(5),
    "table": lambda: Table(a=1),
    "ordered": lambda: collections.OrderedDict(a=1),
    "point": lambda: Point(1, 2),
    "bytearray": lambda: bytearray(b"ab"),
    "memoryview": lambda: memoryview(b"abcd")[::2],
    "exception": lambda: ValueError("a value"),
    "empty": lambda: [[], {}, (), "", b""],
    "true": lambda: True,
    "negative zero": lambda: [-0.0, 0.0],
    "keys": lambda: {1: "a", "1": "b", None: "c", (1, "x"): "d", b"1": "e", 2.5: "f"},
    "deep": lambda: _deep(128),
    "bigint": lambda: 2**1048575,
    "nothing": lambda: None,
    "set": lambda: [1, {2}, frozenset({"x"})],
    "frozenset key": lambda: {"m": {frozenset(): 1}},
    # a marker goes in the place of these
    "opaque": lambda: {"list": [1, {"leaf": Opaque()}]},
    "function": lambda: {"f": len},
    "unprintable": lambda: [Unprintable()],
    # what cannot be sent
    "too deep": lambda: _deep(129),
    "huge": lambda: 1 << (1 << 20),
    "surrogate": lambda: {"a": ["x", "\ud800"]},
    "surrogate key": lambda: {"a": {"\udfff": 1}},
    "opaque key": lambda: {"m": {Opaque(): 1}},
    "set of opaques": lambda: [1, {Opaque()}],
    "exception key": lambda: {"m": {ValueError(): 1}},
    "nan keys": lambda: {float("nan"): 1, float("nan") * 1: 2},
    "too large": lambda: bytes(65 << 20),
    "cycle": lambda: (lambda a: a.append(a) or a)([]),
}

RAISED = {
    "ValueError": lambda: ValueError("v"),
    "KeyError": lambda: KeyError("k"),
    "IndexError": lambda: IndexError("i"),
    "TypeError": lambda: TypeError("t"),
    "AttributeError": lambda: AttributeError("a"),
    "ImportError": lambda: ImportError("m"),
    "ModuleNotFoundError": lambda: ModuleNotFoundError("m"),
    "RuntimeError": lambda: RuntimeError("r"),
    "RecursionError": lambda: RecursionError("r"),
    "NotImplementedError": lambda: NotImplementedError("n"),
    "FileNotFoundError": lambda: FileNotFoundError(2, "gone", "x"),
    "PermissionError": lambda: PermissionError("p"),
    "ZeroDivisionError": lambda: ZeroDivisionError("z"),
    "TimeoutError": lambda: TimeoutError("t"),
    "MemoryError": lambda: MemoryError("m"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "Below": lambda: Below("sub"),
    "KeyError2": lambda: KeyError2("only the name is like it"),
    "OSError": lambda: OSError("o"),
    "StopIteration": lambda: StopIteration(3),
    "StopAsyncIteration": lambda: StopAsyncIteration(),
    "SystemExit": lambda: SystemExit(4),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("k"),
    "GeneratorExit": lambda: GeneratorExit("g"),
    "CancelledError": lambda: asyncio.CancelledError("c"),
    "BadText": lambda: BadText("hidden"),
    "surrogates": lambda: ValueError("\ud800 and \x00"),
    "long": lambda: ValueError("x" * 1_000_000),
    "empty": lambda: ValueError(),
}


class Hostile:
    shout = "an attribute, no command"

    # ---- calls ----

    def echo(self, *args, **kwargs):
        return args[0] if args else kwargs

    def both(self, *args, **kwargs):
        return [list(args), kwargs]

    def add(self, a, b, *, scale=1):
        return (a + b) * scale

    def nothing(self):
        return None

    def value(self, name):
        return VALUES[name]()

    def throw(self, name):
        raise RAISED[name]()

    async def athrow(self, name):
        await asyncio.sleep(0)  # allow-sleep: a turn of the loop
        raise RAISED[name]()

    def chained(self):
        _chained()

    def noted(self):
        _noted()

    def endless(self):
        return self.endless()

    async def later(self, x):
        await asyncio.sleep(0)  # allow-sleep: a turn of the loop
        return x

    def stream(self):
        yield 1

    async def astream(self):
        yield 1

    def returns_stream(self):
        return (n for n in [1])

    def _hidden(self):
        return "hidden"

    @staticmethod
    def static(x):
        return x

    @classmethod
    def klass(cls):
        return cls.__name__

    @property
    def prop(self):
        return 1

    # ---- vandalism: each hurts only itself ----

    def replace(self, what):
        def broken(*args, **kwargs):
            raise RuntimeError("replaced")

        module, _, name = what.rpartition(".")
        target = {
            "json": json,
            "time": time,
            "os": os,
            "struct": struct,
            "socket": socket,
            "sys": sys,
            "threading": threading,
            "signal": signal,
        }[module]
        setattr(target, name, broken)
        return what

    def delete_modules(self):
        for name in [n for n in sys.modules if n.startswith(("snakepit_bridge", "json", "struct", "os", "asyncio", "difflib"))]:
            del sys.modules[name]

    def print_much(self, megabytes):
        for _ in range(megabytes):
            sys.stdout.write("x" * 1048576 + "\n")
        sys.stdout.flush()
        return megabytes

    def close_output(self):
        for fd in (1, 2):
            with contextlib.suppress(OSError):
                os.close(fd)
        return "closed"

    def replace_stdout(self):
        sys.stdout = None
        sys.stderr = None
        return "replaced"

    def change_folder(self):
        os.chdir("/")
        return os.getcwd()

    def signals(self):
        for number in range(1, 32):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_IGN)
        return "ignored"

    def timer(self):
        def handler(*_):
            self.ticks += 1

        self.ticks = 0
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        return "ticking"

    def threads(self):
        for _ in range(8):
            threading.Thread(target=time.sleep, args=(3600,)).start()
        return threading.active_count()

    def exit_in_thread(self):
        thread = threading.Thread(target=sys.exit, args=(5,))
        thread.start()
        thread.join()
        return "still here"

    def fork_and_return(self):
        return os.fork() == 0

    def fork_and_wait(self):
        child = os.fork()
        if child == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def trace(self):
        def tracer(*_):
            raise RuntimeError("traced")

        sys.settrace(tracer)

    def recursion_limit(self):
        sys.setrecursionlimit(max(60, len(__import__("inspect").stack()) + 30))
        return "low"

    def environment(self):
        os.environ.clear()
        return len(os.environ)

    def pid(self):
        return os.getpid()
