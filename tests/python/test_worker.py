"""The worker from outside: calls, arguments, results, errors, in each mode."""

import json
import time
from pathlib import Path

import bridge_host
import pytest
from bridge_host import TIMEOUT
from package_kit import needs_extension, not_under_tsan
from snakepit_bridge import _codec

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "args.json"

ECHO = """
class Echo:
    def echo(self, *args, **kwargs):
        return {"args": list(args), "kwargs": kwargs}

    def one(self, x):
        return x
"""


def test_arguments(worker):
    w = worker(ECHO)
    both = {"args": [1, "a"], "kwargs": {"k": [2]}}
    assert w.call("echo") == {"args": [], "kwargs": {}}
    assert w.call("echo", 1, (2,)) == {"args": [1, (2,)], "kwargs": {}}
    assert w.call("echo", a=1, b=None) == {"args": [], "kwargs": {"a": 1, "b": None}}
    assert w.call("echo", 1, "a", k=[2]) == both
    assert w.call("echo", payload=_codec.encode("echo") + _codec.encode((1, "a"))) == {"args": [1, "a"], "kwargs": {}}
    assert w.call("one", payload=_codec.encode("one") + _codec.encode({1: 2, "x": 3})) == {1: 2, "x": 3}
    assert w.call("one", payload=_codec.encode("one") + _codec.encode("text")) == "text"
    assert w.call("one", payload=_codec.encode("one") + b"\xcb" + bytes(8)) == 0.0


@pytest.mark.parametrize("n", [15, 16, 17, 300])
def test_many_arguments(worker, n):
    w = worker(ECHO)
    named = {f"a{i}": i for i in range(n)}
    assert w.call("echo", *range(n)) == {"args": list(range(n)), "kwargs": {}}
    assert w.call("echo", **named) == {"args": [], "kwargs": named}
    assert w.call("echo", *range(n), **named) == {"args": list(range(n)), "kwargs": named}


@pytest.mark.skipif(not VECTORS.exists(), reason="the folder tests/vectors is not beside these tests")
def test_argument_vectors(worker):
    w = worker(ECHO)
    for vector in json.loads(VECTORS.read_text()):
        answer = w.call("echo", payload=b"\xa4echo" + bytes.fromhex(vector["hex"]))
        assert answer == {"args": vector["positional"] or [], "kwargs": vector["keywords"] or {}}, vector["name"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("82a16101a16102", "duplicate_key"),
        ("9201", "deserialization_failed"),
        ("c0c0", "deserialization_failed"),
        ("", "deserialization_failed"),
        ("81a161a1ff", "invalid_utf8"),
        ("d503c001", "deserialization_failed"),
        ("c70303c08101", "deserialization_failed"),
        ("c70303c0c0c0", "deserialization_failed"),
        ("d4ff00", "deserialization_failed"),
        ("de0011" + "a16101" * 17, "duplicate_key"),
    ],
)
def test_malformed_arguments_cost_one_error(worker, arguments, code):
    w = worker(ECHO)
    assert w.error("echo", payload=b"\xa4echo" + bytes.fromhex(arguments))["code"] == code
    assert w.call("one", 5) == 5


def test_a_command_that_is_no_text(worker):
    w = worker(ECHO)
    assert w.error("", payload=b"\x05\xc0")["code"] == "deserialization_failed"
    assert w.error("", payload=b"")["code"] == "deserialization_failed"


def test_every_kind_comes_back(worker):
    w = worker(ECHO)
    for value in (None, True, 0, -1, 2**64, -(2**100), 1.5, "ä", b"\0", [1, [2]], (1, ()), {"a": {1: b""}}, "x" * 3000):
        back = w.call("one", value)
        assert back == value and type(back) is type(value)


LONG = 64 * 1024  # from here on bytes go straight into their object, and out of it


def test_long_data_comes_back(worker):
    w = worker(ECHO)
    data = bytes(range(256)) * (LONG // 256 + 1)
    near, far = data[:LONG], data[:LONG][::-1]
    for value in (data[: LONG - 1], bytearray(data), "x" * LONG, (1, near), {"n": 2**70, "a": [(near, 1), far]}, {near}):
        back = w.call("one", value)
        assert back == value and type(back) is (bytes if type(value) is bytearray else type(value))
    assert w.call("echo", [["x" * 300, near]], a=far) == {"args": [[["x" * 300, near]]], "kwargs": {"a": far}}
    assert w.call("echo", front="x" * 5000, data=near) == {"args": [], "kwargs": {"front": "x" * 5000, "data": near}}


def test_long_data_that_is_malformed_costs_one_error(worker):
    w = worker(ECHO)
    long = b"\xc6" + LONG.to_bytes(4, "big") + bytes(LONG)
    beyond = b"\xc6" + (LONG + 1).to_bytes(4, "big") + bytes(LONG)
    tuple_of = b"\xc9" + (len(long) + 1).to_bytes(4, "big") + b"\x02\x91"
    for arguments in (
        beyond,
        b"\x92" + long,
        b"\x91" + long + long,
        tuple_of + long[:-1],
        b"\x82\xa1a" + long + b"\xa1a\xc0",
    ):
        code = "duplicate_key" if arguments[0] == 0x82 else "deserialization_failed"
        assert w.error("echo", payload=b"\xa4echo" + arguments)["code"] == code
        assert w.call("one", 5) == 5
    assert w.call("echo", payload=b"\xa4echo\x91" + tuple_of + long) == {"args": [(bytes(LONG),)], "kwargs": {}}


HUNGRY = """
class Hungry:
    def size(self, data):
        return len(data)

    def make(self, n):
        return bytes(n)

    def peak(self):
        with open("/proc/self/status") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))
"""


@needs_extension
@not_under_tsan
def test_long_data_is_not_held_twice(write):
    n = 16 << 20
    with bridge_host.Host(write(HUNGRY), channel="ring") as w:
        w.ready()
        before = w.call("peak")
        assert w.call("size", bytes(n)) == n
        assert w.call("peak") - before < 1.4 * n
        assert len(w.call("make", n)) == n
        assert w.call("peak") - before < 1.4 * n


def test_unknown_command(worker):
    w = worker("class C:\n" + "".join(f"    def predict{i}(self): pass\n" for i in range(12)))
    error = w.error("predcit1")
    assert error["code"] == "tool_not_found"
    assert "predcit1" in error["message"]
    assert error["details"]["command"] == "predcit1"
    assert len(error["details"]["available"]) == 10
    assert error["details"]["nearest"].startswith("predict")
    assert "did you mean" in error["suggestions"][0]
    assert "nearest" not in w.error("zzzzzz")["details"]


def test_many_commands(worker):
    """More than the lane remembers."""
    w = worker("class C:\n" + "".join(f"    def c{i}(self): return {i}\n" for i in range(50)))
    assert [w.call(f"c{i}") for _ in range(2) for i in range(50)] == list(range(50)) * 2


ERRORS = """
import asyncio

class Odd(KeyError):
    pass

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no")
    __repr__ = __str__

class C:
    def fail(self, name, *args):
        raise {**__builtins__, "Odd": Odd, "Mute": Mute, "Cancelled": asyncio.CancelledError}[name](*args)

    def noted(self):
        exc = ValueError("with notes")
        exc.__notes__ = ["first", 2, "second"]
        raise exc

    def chained(self):
        try:
            {}["k"]
        except KeyError as exc:
            raise RuntimeError("outer") from exc

    def deep(self):
        return self.deep()

    def text(self):
        raise ValueError("bad \\ud800 text")

    def long(self):
        raise ValueError("x" * 1000000)

    def needs(self, a, *, b):
        pass

    async def later(self):
        await asyncio.sleep(0)  # allow-sleep: what is timed
        raise ValueError("later")

    async def leave(self):
        raise SystemExit(3)

    def fine(self):
        return "fine"
"""


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ValueError", "value_error"),
        ("KeyError", "key_error"),
        ("Odd", "key_error"),
        ("IndexError", "index_error"),
        ("TypeError", "type_error"),
        ("AttributeError", "attribute_error"),
        ("ImportError", "import_error"),
        ("ModuleNotFoundError", "import_error"),
        ("RuntimeError", "runtime_error"),
        ("NotImplementedError", "not_implemented"),
        ("FileNotFoundError", "file_not_found"),
        ("PermissionError", "permission_error"),
        ("ZeroDivisionError", "zero_division"),
        ("TimeoutError", "python_timeout"),
        ("MemoryError", "out_of_memory"),
        ("OSError", "python_exception"),
        ("SystemExit", "python_exception"),
        ("KeyboardInterrupt", "python_exception"),
        ("GeneratorExit", "python_exception"),
        ("Cancelled", "python_exception"),
        ("Mute", "python_exception"),
    ],
)
def test_codes_of_exceptions(worker, name, code):
    w = worker(ERRORS)
    error = w.error("fail", name)
    assert error["code"] == code
    assert error["python"]["type"].endswith({"Cancelled": "CancelledError"}.get(name, name))
    assert w.call("fine") == "fine"


def test_what_an_error_carries(worker):
    w = worker(ERRORS)
    error = w.error("fail", "ValueError", "no such model")
    assert error["message"] == error["python"]["message"] == "no such model"
    assert error["python"]["type"] == "ValueError"
    trace = error["python"]["traceback"]
    assert trace.startswith("Traceback") and "in fail" in trace and trace.endswith("ValueError: no such model\n")
    assert "snakepit_bridge" not in trace
    assert w.error("fail", "Odd", "x")["python"]["type"] == "adapter.Odd"
    assert w.error("noted")["python"]["notes"] == ["first", "second"]
    chained = w.error("chained")["python"]["traceback"]
    assert "KeyError: 'k'" in chained and "direct cause" in chained
    assert "__str__" in w.error("fail", "Mute")["message"]


def test_hostile_errors(worker):
    w = worker(ERRORS)
    assert w.error("deep")["code"] == "runtime_error"
    assert w.error("text")["message"] == "bad \\ud800 text"
    error = w.error("long")
    assert len(error["message"].encode()) <= 64 * 1024
    assert len(error["python"]["traceback"].encode()) <= 256 * 1024
    assert w.call("fine") == "fine"


def test_wrong_arguments_are_named(worker):
    w = worker(ERRORS)
    assert "'a'" in w.error("needs", b=1)["message"]
    assert "'b'" in w.error("needs", 1)["message"]
    assert "'z'" in w.error("needs", 1, b=2, z=3)["message"]
    assert w.error("needs")["code"] == "type_error"


def test_async_errors(worker):
    w = worker(ERRORS)
    error = w.error("later")
    assert error["code"] == "value_error" and "in later" in error["python"]["traceback"]
    assert "snakepit_bridge" not in error["python"]["traceback"]
    assert w.error("leave")["python"]["type"] == "SystemExit"
    assert w.call("fine") == "fine"


RESULTS = """
import types
from snakepit_bridge import RemoteException

class _Bad:
    __slots__ = ()
    def __repr__(self):
        raise RuntimeError("no")

class C:
    _made = {}

    def give(self, what):
        deep = []
        for _ in range(200):
            deep = [deep]
        return {
            "set": {"a": [1, {object()}]}, "surrogate": ["\\ud800"], "deep": deep, "bad": _Bad(), "big": "x" * 2000000,
            "int": 2 ** (2 ** 21), "exception": ValueError("v"), "class": ValueError,
        }[what]

    def gen(self):
        yield 1

    async def agen(self):
        yield 1

    @types.coroutine
    def old(self):
        return 5
        yield

    async def add(self, a, b=2):
        return a + b

    def raised(self):
        raise RemoteException("other.Error", "there", "far away", ["n"])
"""


@pytest.mark.parametrize(
    ("what", "code", "key"),
    [
        ("set", "unserializable", '["a"][1][0]'),
        ("surrogate", "invalid_utf8", "[0]"),
        ("deep", "limit_exceeded", None),
        ("bad", "unserializable", None),
        ("int", "limit_exceeded", None),
        ("class", "unserializable", None),
    ],
)
def test_results_that_cannot_leave(worker, what, code, key):
    w = worker(RESULTS, welcome={"serialization": {"on_unserializable": "error"}})
    error = w.error("give", what)
    assert error["code"] == code
    if key is not None:
        assert error["details"]["key"] == key
    if what == "bad":
        assert "adapter._Bad" in error["message"]
    assert w.call("add", 1) == 3


def test_a_result_larger_than_a_frame(worker):
    w = worker(RESULTS, welcome={"max_frame_bytes": 1 << 20})
    error = w.error("give", "big")
    assert (error["code"], "1048576" in error["message"]) == ("limit_exceeded", True)
    assert w.call("add", 1) == 3


def test_returned_and_raised_exceptions(worker):
    w = worker(RESULTS)
    value = w.call("give", "exception")
    assert (value.type, value.message) == ("ValueError", "v")
    error = w.error("raised")
    assert error["python"] == {"type": "other.Error", "message": "there", "traceback": "far away", "notes": ["n"]}


def test_streams_are_refused(worker):
    w = worker(RESULTS)
    for name in ("gen", "agen"):
        assert w.error(name)["code"] == "streaming_required"
    assert {t["name"] for t in w.tools if t["streaming"]} >= {"gen", "agen"}


def test_async_methods(worker):
    w = worker(RESULTS)
    assert w.call("add", 1) == 3
    assert w.call("add", a=1, b=5) == 6
    assert w.call("old") == 5


def test_the_time_of_the_function_on_request(worker):
    w = worker("import time\nclass C:\n    def nap(self):\n        time.sleep(0.02)\n")  # allow-sleep: what is timed
    w.send_call("nap")
    assert w.answer()[2] == 0
    w.send_call("nap", flags=2)
    assert w.answer()[2] >= 15_000_000
    w.send_call("gone", flags=2)
    assert w.answer()[2] == 0


def test_a_deadline_that_has_passed(worker):
    w = worker("class C:\n    ran = 0\n    def go(self):\n        self.ran += 1\n        return self.ran\n")
    error = w.error("go", stamp=time.monotonic_ns() - 1)
    assert error["code"] == "deadline_exceeded"
    assert w.call("go", stamp=time.monotonic_ns() + 10**12) == 1


def test_output_disturbs_nothing(worker):
    w = worker(
        """
        import os, sys
        print("at import")
        class C:
            def shout(self):
                print("x" * 1000); sys.stderr.write("y"); os.write(1, b"\\x01\\x10\\0\\0"); return 1
        """
    )
    assert w.call("shout") == 1
    assert w.stop() == 0
    assert w.process.stdout.read().startswith(b"at import")


def test_what_user_code_replaces_hurts_only_itself(worker):
    w = worker(
        """
        import json, os, time, traceback, struct, sys
        class C:
            def spoil(self):
                for module, name in ((json, "dumps"), (time, "monotonic"), (time, "monotonic_ns"), (os, "read"), (os, "write"),
                                     (os, "_exit"), (traceback, "TracebackException"), (traceback, "format_exception")):
                    setattr(module, name, None)
                struct.pack = struct.unpack = None
                return True
            def fail(self):
                raise ValueError("still told")
        """
    )
    assert w.call("spoil")
    error = w.error("fail")
    assert (error["code"], "still told" in error["python"]["traceback"]) == ("value_error", True)
    assert w.stop() == 0


def test_main_thread_and_arguments_of_the_adapter(worker):
    w = worker(
        """
        import sys, threading
        ARGS = list(sys.argv)
        class C:
            def main(self):
                return threading.current_thread() is threading.main_thread()
            def args(self):
                return ARGS[1:]
        """,
        "--model",
        "m.bin",
        "--snakepit-run-id-like",
    )
    assert w.call("main") is True
    assert w.call("args") == ["--model", "m.bin", "--snakepit-run-id-like"]


def test_the_environment_is_clean(worker):
    w = worker("import os\nclass C:\n    def fds(self):\n        return os.environ.get('SNAKEPIT_FDS')\n")
    assert w.call("fds") is None


def test_hello(worker):
    w = worker(ECHO)
    hello = w.hello
    assert hello["protocol_min"] == hello["protocol_max"] == 1
    assert hello["pid"] == w.process.pid
    assert hello["secret"] == bridge_host.SECRET
    assert hello["marks"] is True
    pure = worker.mode["pure"]
    assert hello["channels"] == (["socket"] if pure else ["ring", "socket"])
    runtime = hello["runtime"]
    assert runtime["language"] == "python" and runtime["extension"] is not pure
    assert (runtime["extension_error"] is not None) is pure
    assert len(w.logs) == (1 if pure else 0)
    if pure:
        assert w.logs[0]["level"] == "warning"


def test_without_a_segment(write):
    with bridge_host.Host(write(ECHO), segment=False) as w:
        w.ready()
        assert w.hello["channels"] == ["socket"] and w.hello["secret"] == b"" and w.hello["marks"] is False
        assert w.call("one", 1) == 1
        assert w.stop() == 0


def test_stop_runs_cleanup(worker, tmp_path):
    mark = tmp_path / "cleaned"
    w = worker(
        f"""
        from snakepit_bridge import BaseAdapter, tool
        class C(BaseAdapter):
            async def initialize(self):
                self.x = 1
            async def cleanup(self):
                open({str(mark)!r}, "w").write(str(self.x))
                print("bye")
            @tool
            async def ping(self):
                return "pong"
        """
    )
    assert w.call("ping") == "pong"
    assert w.stop() == 0
    assert mark.read_text() == "1"
    assert w.process.stdout.read() == b"bye\n"


def test_a_cleanup_that_fails(worker):
    w = worker(
        """
        from snakepit_bridge import BaseAdapter
        class C(BaseAdapter):
            def cleanup(self):
                raise ValueError("in cleanup")
        """
    )
    assert w.stop() == 0
    assert b"in cleanup" in w.process.stderr.read()


def test_the_host_goes_away(worker):
    w = worker(ECHO)
    assert w.call("one", 1) == 1
    w.control.close()
    if w.lane is not None:
        w.lane.ring_bell()
    assert w.process.wait(TIMEOUT) == 0


def test_fork_in_a_call(worker):
    """A call that returns in both processes answers once; the child goes quietly."""
    w = worker(
        """
        import os
        class C:
            def __init__(self):
                self.children = []
            def twice(self):
                pid = os.fork()
                if pid:
                    self.children.append(pid)
                return {"parent": bool(pid)}
            def raises(self):
                pid = os.fork()
                if pid:
                    self.children.append(pid)
                raise ValueError("both")
            def reap(self):
                return [os.waitpid(pid, 0)[1] for pid in self.children]
        """
    )
    assert w.call("twice") == {"parent": True}
    assert w.error("raises")["code"] == "value_error"
    assert w.call("reap") == [0, 0]


def test_exit_in_a_call_ends_the_worker(worker):
    w = worker("import os\nclass C:\n    def die(self):\n        os._exit(7)\n")
    id = w.send_call("die")
    assert w.recv() is None
    assert w.process.wait(TIMEOUT) == 7
    assert w.segment.claim(id) == id << 2 | 1
    assert w.segment.finished() != id


def test_fails_before_ready(worker):
    w = worker("raise ValueError('at import')", ready=False)
    payload = w.failed()
    assert payload["code"] == "adapter_init_failed"
    assert "in <module>" in payload["python"]["traceback"]


def test_started_by_hand():
    import subprocess
    import sys

    env = {"PYTHONPATH": str(bridge_host.PACKAGE)}
    done = subprocess.run([sys.executable, "-m", "snakepit_bridge.worker"], env=env, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 2
    assert b"started by a Snakepit host" in done.stderr


def test_a_host_that_says_nonsense(write):
    for data in (b"\x02" * 40, bridge_host.frame(bridge_host.CALL, b"\xc0"), bridge_host.frame(2, b"\x05")):
        with bridge_host.Host(write(ECHO)) as w:
            w.recv_frame()
            w.control.sendall(data)
            assert w.process.wait(TIMEOUT) == 1
            assert b"protocol" in w.process.stderr.read()
