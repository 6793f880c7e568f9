"""Bad input: whatever a caller passes, an adapter is or an interpreter does costs one typed error that says what is wrong, and nothing else."""

from __future__ import annotations

import json
import os
import pathlib
import textwrap

import pytest
from hostile.host import EXEC, RING, SOCKET, Failed, Host, failure

ADAPTER = str(pathlib.Path(__file__).parent / "hostile" / "adapter.py") + ":Hostile"
WAYS = {
    "ring": {"channel": RING},
    "socket": {"channel": SOCKET},
    "pure": {"env": ["SNAKEPIT_NO_EXTENSION=1"]},
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


@pytest.fixture(scope="module", params=WAYS)
def host(request, build, module_env):
    # a template would come a second later, and bring descriptors of its own
    with Host(build, module_env, adapter=ADAPTER, start_mode=EXEC, **WAYS[request.param]) as opened:
        yield opened


@pytest.fixture(scope="module")
def module_env(python):
    left_out = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "SNAKEPIT_GUARD", "SNAKEPIT_PYTHON_PACKAGE"}
    return {**{k: v for k, v in os.environ.items() if k not in left_out}, "SNAKEPIT_PYTHON": python}


@pytest.fixture
def same_worker(host):
    """The test may not cost the worker, nor a descriptor of the host."""
    before, descriptors = host.call("pid"), host.descriptors()
    yield
    assert host.call("pid") == before
    assert host.descriptors() == descriptors
    stats = host.stats()
    assert stats["requests"] == stats["succeeded"] + stats["errors"]
    assert (stats["crashes"], stats["restarts"]) == (0, 0)


# ---- commands and arguments ----


@pytest.mark.usefixtures("same_worker")
class TestCommands:
    @pytest.mark.parametrize("command", [None, "", "x" * 257, "x" * 10_000, "é" * 129])
    def test_no_command(self, host, command):
        failed = failure(host.call_json, command, None)
        assert (failed.code, failed.error["category"], failed.error["retriable"]) == ("invalid_request", "validation", False)
        assert "command" in failed.message and len(failed.message) < 200

    def test_longest_command_is_looked_up(self, host):
        failed = failure(host.call_json, "x" * 256, None)
        assert failed.code == "tool_not_found"

    @pytest.mark.parametrize("command, nearest", [("ecko", "echo"), ("ad", "add"), ("thrown", "throw"), ("Echo", "echo")])
    def test_unknown_command_names_the_nearest(self, host, command, nearest):
        failed = host.fails(command)
        assert (failed.code, failed.error["category"]) == ("tool_not_found", "tool")
        assert failed.details["nearest"] == nearest
        assert failed.error["suggestions"] == [f"did you mean '{nearest}'?"]
        assert command in failed.message
        assert 1 <= len(failed.details["available"]) <= 10

    @pytest.mark.parametrize(
        "command", ["_hidden", "__init__", "__class__", "shout", "prop", "echo.__globals__", "add()", " ", "🐍"]
    )
    def test_what_is_no_command(self, host, command):
        assert host.fails(command).code == "tool_not_found"

    @pytest.mark.parametrize(
        "command, args, result", [("static", [7], 7), ("klass", [], "Hostile"), ("later", [3], 3), ("nothing", [], None)]
    )
    def test_every_kind_of_method(self, host, command, args, result):
        assert host.call(command, *args) == result

    @pytest.mark.parametrize("command", ["stream", "astream", "returns_stream"])
    def test_streams_are_refused(self, host, command):
        failed = host.fails(command)
        assert failed.code == "streaming_required"
        assert failed.error["suggestions"]

    @pytest.mark.parametrize(
        "text, said",
        [
            (None, "'a' and 'b'"),
            ("[1]", "'b'"),
            ('{"a": 1}', "'b'"),
            ('{"a": 1, "c": 2}', "'c'"),
            ("[1, 2, 3]", "positional"),
            ('{"a": 1, "b": 2, "scale": 3, "x": 4}', "'x'"),
            ("5", "'b'"),
        ],
    )
    def test_wrong_arguments_are_named(self, host, text, said):
        failed = failure(host.call_json, "add", text)
        assert (failed.code, failed.error["category"]) == ("type_error", "python_error")
        assert "add()" in failed.message and said in failed.message
        assert failed.error["python"]["type"] == "TypeError"
        assert "snakepit_bridge" not in failed.error["python"]["traceback"]

    @pytest.mark.parametrize(
        "text, args, kwargs",
        [
            (None, [], {}),
            ("null", [None], {}),
            ("[]", [], {}),
            ("{}", [], {}),
            ("[[]]", [[]], {}),
            ("[{}]", [{}], {}),
            ("[null]", [None], {}),
            ('{"": 1}', [], {"": 1}),
            ('{"self": 1}', None, None),
            ('{"class": 1, "a b": 2}', [], {"class": 1, "a b": 2}),
        ],
    )
    def test_forms_of_arguments(self, host, text, args, kwargs):
        if args is None:
            assert failure(host.call_json, "both", text).code == "type_error"
        else:
            assert host.call_json("both", text) == [args, kwargs]

    @pytest.mark.parametrize(
        "text, code, said",
        [
            ("", "deserialization_failed", "line 1"),
            (" ", "deserialization_failed", "line 1"),
            ("[1,]", "deserialization_failed", "column 4"),
            ("{'a': 1}", "deserialization_failed", "column 2"),
            ("[1] 2", "deserialization_failed", "column 5"),
            ("\ufeff1", "deserialization_failed", "line 1"),
            ("[NaN]", "deserialization_failed", "column 2"),
            ("[1e999]", "deserialization_failed", "no float can hold"),
            ("[\n\n01]", "deserialization_failed", "line 3"),
            ('["\t"]', "deserialization_failed", "column 3"),
            ('["\\ud800"]', "invalid_utf8", "surrogate"),
            ('{"a": 1, "b": 2, "a": 3}', "duplicate_key", "column 18: a key stands twice"),
            ('[{"$pit":"map","v":[[1,"x"],[1.0,"y"]]}]', "duplicate_key", "1"),
            ('[{"$pit":"map","v":[[true,"x"],[1,"y"]]}]', "duplicate_key", "1"),
            ('[{"$pit":"map","v":[[[1],"x"]]}]', "invalid_parameter", "key"),
            ('[{"$pit":"set","frozen":1,"v":[1]}]', "deserialization_failed", "frozen"),
            ('[{"$pit":"set"}]', "deserialization_failed", "array of items"),
            ('[{"$pit":"nonsense"}]', "deserialization_failed", "unknown"),
            ('[{"$pit":"bytes","b64":"*"}]', "deserialization_failed", "base64"),
            ("[" * 129 + "]" * 129, "limit_exceeded", "128"),
            ("[" * 200_000, "limit_exceeded", "128"),
            ("9" * 400_000, "limit_exceeded", "bits"),
        ],
    )
    def test_arguments_that_are_no_json(self, host, text, code, said):
        failed = failure(host.call_json, "echo", text)
        assert failed.code == code, failed.text
        assert said in failed.message, failed.text
        assert len(failed.text) < 1000

    @pytest.mark.parametrize(
        "options, code",
        [
            ({"timeout_ms": -2}, "invalid_timeout"),
            ({"timeout_ms": -7}, "invalid_timeout"),
            ({"session_id": ""}, "invalid_session_id"),
            ({"session_id": "x" * 257}, "invalid_session_id"),
            ({"correlation_id": ""}, "invalid_parameter"),
            ({"correlation_id": "x" * 257}, "invalid_parameter"),
        ],
    )
    def test_bad_options(self, host, options, code):
        assert failure(host.call_json, "nothing", None, **options).code == code


# ---- values ----


def nested(n):
    return "[" * n + "1" + "]" * n


@pytest.mark.usefixtures("same_worker")
class TestValues:
    @pytest.mark.parametrize("name, expected", [
        ("enum", 1), ("text", "subclass"), ("number", 5), ("table", {"a": 1}), ("ordered", {"a": 1}),
        ("point", {"x": 1, "y": 2}), ("bytearray", {"$pit": "bytes", "b64": "YWI="}),
        ("memoryview", {"$pit": "bytes", "b64": "YWM="}), ("true", True), ("nothing", None),
        ("empty", [[], {}, {"$pit": "tuple", "v": []}, "", {"$pit": "bytes", "b64": ""}]),
        ("keys", {"$pit": "map", "v": [[1, "a"], ["1", "b"], [None, "c"], [{"$pit": "tuple", "v": [1, "x"]}, "d"],
                                       [{"$pit": "bytes", "b64": "MQ=="}, "e"], [2.5, "f"]]}),
        ("set", [1, {"$pit": "set", "frozen": False, "v": [2]}, {"$pit": "set", "frozen": True, "v": ["x"]}]),
        ("frozenset key", {"m": {"$pit": "map", "v": [[{"$pit": "set", "frozen": True, "v": []}, 1]]}}),
        ("opaque", {"list": [1, {"leaf": {"__ffi_unserializable__": True, "__type__": "adapter.Opaque"}}]}),
        ("function", {"f": {"__ffi_unserializable__": True, "__type__": "builtin_function_or_method"}}),
        ("unprintable", [{"__ffi_unserializable__": True, "__type__": "adapter.Unprintable"}]),
        ("exception", {"$pit": "exception", "type": "ValueError", "message": "a value", "traceback": None, "notes": [], "cause": None}),
    ])  # fmt: skip
    def test_what_python_returns(self, host, name, expected):
        result = host.call("value", name)
        assert result == expected
        assert type(result) is type(expected)

    def test_negative_zero(self, host):
        assert json.dumps(host.call("value", "negative zero")) == "[-0.0, 0.0]"

    @pytest.mark.parametrize("name, code, path", [
        ("too deep", "limit_exceeded", "[0][0]"),
        ("huge", "limit_exceeded", None),
        ("surrogate", "invalid_utf8", '["a"][1]'),
        ("surrogate key", "invalid_utf8", '["a"]'),
        ("opaque key", "unserializable", '["m"][...]'),
        ("set of opaques", "unserializable", "[1][0]"),
        ("exception key", "invalid_parameter", '["m"][...]'),
        ("too large", "limit_exceeded", None),
        ("cycle", "limit_exceeded", "[0][0]"),
    ])  # fmt: skip
    def test_results_that_cannot_be_sent(self, host, name, code, path):
        failed = host.fails("value", name)
        assert failed.code == code, failed.text
        assert (failed.details.get("key") or "").startswith(path or "")
        if path is not None and code != "limit_exceeded":
            assert failed.details["key"].startswith(path) and path in failed.text
        if code == "unserializable":
            assert "Opaque" in failed.message  # the type that cannot be sent
        assert host.call("nothing") is None

    def test_depth_both_ways(self, host):
        # 127 levels in the list of arguments are 128 in all
        assert host.call_json("echo", f"[{nested(127)}]") is not None
        failed = failure(host.call_json, "echo", f"[{nested(128)}]")
        assert failed.code == "limit_exceeded" and "128" in failed.message
        assert json.dumps(host.call("value", "deep")).count("[") == 128

    def test_huge_integers_both_ways(self, host):
        most = {"$pit": "bigint", "v": str_of(2**1048575)}
        assert host.call("echo", most) == most == host.call("value", "bigint")
        failed = host.fails("echo", {"$pit": "bigint", "v": str_of(1 << (1 << 20))})
        assert failed.code == "limit_exceeded"

    @pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
    def test_no_finite_number(self, host, text):
        assert host.call("echo", [{"$pit": "float", "v": text}]) == [{"$pit": "float", "v": text}]

    @pytest.mark.parametrize("kind, size", [("bytes", 10 << 20), ("str", 10 << 20), ("list", 500_000), ("bytes", 60 << 20)])
    def test_large_values_come_back(self, host, kind, size):
        answer = host.ask("echo", kind=kind, size=size)
        assert (answer["rc"], answer["equal"]) == (0, True), answer

    def test_too_large_a_call(self, host):
        failed = Failed(host.ask("echo", kind="bytes", size=(64 << 20) + 1))
        assert failed.code == "limit_exceeded"
        assert "max_frame_bytes" in failed.message and failed.error["suggestions"]
        assert host.call("echo", "next") == "next"


def str_of(n):
    """Decimal digits, without the limit that newer Pythons put on str()."""
    import decimal

    with decimal.localcontext() as context:
        context.prec = 400_000
        context.Emax = decimal.MAX_EMAX
        return format(decimal.Decimal(n), "f")


# ---- exceptions ----

CODES = {
    "ValueError": "value_error", "KeyError": "key_error", "IndexError": "index_error", "TypeError": "type_error",
    "AttributeError": "attribute_error", "ImportError": "import_error", "ModuleNotFoundError": "import_error",
    "RuntimeError": "runtime_error", "RecursionError": "runtime_error", "NotImplementedError": "not_implemented",
    "FileNotFoundError": "file_not_found", "PermissionError": "permission_error", "ZeroDivisionError": "zero_division",
    "TimeoutError": "python_timeout", "MemoryError": "out_of_memory", "UnicodeDecodeError": "value_error", "Below": "file_not_found",
    "KeyError2": "python_exception", "OSError": "python_exception", "StopIteration": "python_exception",
    "StopAsyncIteration": "python_exception", "SystemExit": "python_exception", "KeyboardInterrupt": "python_exception",
    "GeneratorExit": "python_exception", "CancelledError": "python_exception", "BadText": "python_exception",
    "surrogates": "value_error", "long": "value_error", "empty": "value_error",
}  # fmt: skip


@pytest.mark.usefixtures("same_worker")
class TestExceptions:
    @pytest.mark.parametrize("command", ["throw", "athrow"])
    @pytest.mark.parametrize("name", CODES)
    def test_raised(self, host, command, name):
        failed = host.fails(command, name)
        if command == "athrow" and name == "StopIteration":
            assert failed.code == "runtime_error"  # so does Python itself with a coroutine
            return
        assert failed.code == CODES[name], failed.text
        assert failed.error["worker_id"].startswith("default/0.") and failed.error["pool"] == "default"
        python = failed.error["python"]
        if name in CODES and name[0].isupper():
            assert python["type"].rpartition(".")[2] == name
        assert f"in {command}" in python["traceback"] and "snakepit_bridge" not in python["traceback"]
        assert len(failed.message) <= 64 * 1024
        assert failed.message  # never an empty line at three in the morning

    def test_cause_and_notes(self, host):
        failed = host.fails("chained")
        assert failed.code == "value_error"
        assert "KeyError: 'inner'" in failed.text and "direct cause" in failed.text
        failed = host.fails("noted")
        assert failed.error["python"]["notes"] == ["first note", "second note"]
        assert "first note" in failed.text

    def test_real_recursion(self, host):
        failed = host.fails("endless")
        assert failed.code == "runtime_error"
        assert failed.error["python"]["type"] == "RecursionError"
        assert "more times" in failed.error["python"]["traceback"]


# ---- what user code does to its own process ----

REPLACED = [
    "json.dumps", "json.loads", "time.monotonic", "time.monotonic_ns", "time.time", "os._exit", "os.read", "os.write", "os.getpid",
    "os.close", "os.fork", "struct.pack", "struct.unpack", "struct.Struct", "socket.socket", "sys.exc_info", "threading.get_ident",
    "threading.Thread", "signal.signal", "sys.exit",
]  # fmt: skip


class TestVandalism:
    @pytest.mark.parametrize("what", REPLACED)
    def test_replaced_functions(self, build, env, way, what):
        with Host(build, env, adapter=ADAPTER, **way) as host:
            assert host.call("replace", what) == what
            for n in range(3):
                assert host.call("echo", {"n": n}) == {"n": n}
            assert host.fails("throw", "ValueError").code == "value_error"
            assert host.fails("no_such").code == "tool_not_found"
            assert host.stats()["crashes"] == 0

    @pytest.mark.parametrize(
        "command, args, result",
        [
            ("delete_modules", [], None),
            ("close_output", [], "closed"),
            ("replace_stdout", [], "replaced"),
            ("change_folder", [], "/"),
            ("signals", [], "ignored"),
            ("timer", [], "ticking"),
            ("threads", [], 9),
            ("exit_in_thread", [], "still here"),
            ("print_much", [8], 8),
            ("recursion_limit", [], "low"),
            ("environment", [], 0),
            ("fork_and_wait", [], 7),
        ],
    )
    def test_the_worker_goes_on(self, build, env, way, command, args, result):
        with Host(build, env, adapter=ADAPTER, **way) as host:
            before = host.call("pid")
            assert host.call(command, *args) == result
            for n in range(3):
                assert host.call("echo", n) == n
            assert host.fails("throw", "KeyError").code == "key_error"
            assert host.call("pid") == before

    def test_fork_that_returns_twice(self, build, env, way):
        """Only the worker answers; the child ends."""
        with Host(build, env, adapter=ADAPTER, **way) as host:
            for n in range(5):
                assert host.call("fork_and_return") is False
                assert host.call("echo", n) == n
            assert host.stats()["crashes"] == 0


# ---- adapters ----

BROKEN = {
    "constructor": (
        "class A:\n    def __init__(self):\n        raise ValueError('no model here')\n",
        "adapter_init_failed",
        "ValueError: no model here",
    ),
    "constructor exits": (
        "class A:\n    def __init__(self):\n        raise SystemExit(3)\n",
        "adapter_init_failed",
        "SystemExit: 3",
    ),
    "constructor arguments": ("class A:\n    def __init__(self, path):\n        pass\n", "adapter_init_failed", "path"),
    "syntax": ("class A:\n    def f(self)\n        pass\n", "adapter_init_failed", "SyntaxError"),
    "encoding": ("class A:\n    x = '\xff'\n", "adapter_init_failed", "SyntaxError"),
    "nul": ("class A:\n    x = '\0'\n", "adapter_init_failed", "null bytes"),
    "missing module": ("import no_such_module\nclass A:\n    pass\n", "adapter_init_failed", "no_such_module"),
    "module exits": ("import sys\nsys.exit(4)\n", "adapter_init_failed", "SystemExit: 4"),
    "two classes": ("class A:\n    pass\nclass B:\n    pass\n", "adapter_invalid", "A, B"),
    "no class": ("x = 1\n", "adapter_invalid", "no public class"),
    "hidden class": ("class _A:\n    pass\n", "adapter_invalid", "no public class"),
    "only exceptions": ("class E(Exception):\n    pass\n", "adapter_invalid", "no public class"),
    "empty": ("", "adapter_invalid", "no public class"),
    "initialize": (
        "from snakepit_bridge import BaseAdapter\nclass A(BaseAdapter):\n    async def initialize(self):\n        raise RuntimeError('no GPU')\n",
        "adapter_init_failed",
        "no GPU",
    ),
}


class TestAdapters:
    @pytest.mark.parametrize("name", BROKEN)
    def test_broken_files(self, build, env, tmp_path, name, snakepit):
        text, code, said = BROKEN[name]
        path = tmp_path / "broken.py"
        path.write_bytes(text.encode("latin-1"))
        host = Host(build, env, adapter=str(path))
        failed = failure(host.open)
        host.end()
        assert failed.code == "no_workers_started"
        assert failed.cause["code"] == code, failed.text
        assert any("python_path" in told for told in failed.cause["suggestions"]) == (name == "missing module")
        assert said in failed.cause["message"], failed.text
        assert said in failed.text
        done = snakepit("call", "f", "--adapter", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr

    def test_where_the_constructor_raised(self, build, env, tmp_path):
        path = tmp_path / "broken.py"
        path.write_text(BROKEN["constructor"][0])
        host = Host(build, env, adapter=str(path))
        failed = failure(host.open)
        host.end()
        assert f'"{path}", line 3, in __init__' in failed.text
        assert "snakepit_bridge" not in failed.cause["python"]["traceback"]
        assert failed.cause["python"]["type"] == "ValueError"

    @pytest.mark.parametrize(
        "adapter, codes, said",
        [
            ("{tmp}/missing.py", {"adapter_invalid"}, "missing.py"),
            ("{tmp}", {"adapter_invalid"}, "{tmp}"),
            ("{tmp}/folder.py", {"adapter_invalid"}, "folder.py' is no file"),
            ("{tmp}/binary.py", {"adapter_init_failed"}, "binary.py"),
            ("{tmp}/good.py:Missing", {"adapter_invalid"}, "Missing"),
            ("{tmp}/good.py:good", {"adapter_invalid"}, "good"),
            ("no_such_module_here", {"adapter_invalid"}, "no_such_module_here"),
            ("no_such_module_here:A", {"adapter_invalid"}, "no_such_module_here"),
            ("json:Missing", {"adapter_invalid"}, "Missing"),
            ("a b c", {"adapter_invalid"}, "a b c"),
            ("", {"adapter_invalid"}, "adapter"),
            (":A", {"adapter_invalid"}, "adapter"),
            ("--help", {"adapter_invalid"}, "--help"),
        ],
    )
    def test_names_of_no_adapter(self, build, env, tmp_path, adapter, codes, said):
        (tmp_path / "folder.py").mkdir()
        (tmp_path / "binary.py").write_bytes(b"x = 1\0\0")
        (tmp_path / "good.py").write_text("class Good:\n    def f(self):\n        return 1\n\ndef good():\n    pass\n")
        host = Host(build, env, adapter=adapter.format(tmp=tmp_path))
        failed = failure(host.open)
        host.end()
        assert {failed.code, failed.cause.get("code")} & codes, failed.text
        assert said.format(tmp=tmp_path) in failed.text

    def test_a_class_that_is_not_there_names_those_that_are(self, build, env, tmp_path):
        (tmp_path / "good.py").write_text("class Hello:\n    pass\n\nclass Other:\n    pass\n\nclass _Hidden:\n    pass\n")
        host = Host(build, env, adapter=f"{tmp_path}/good.py:Hallo")
        failed = failure(host.open)
        host.end()
        assert "Hello, Other" in failed.cause["message"] and "_Hidden" not in failed.text
        assert failed.cause["suggestions"] == [f"did you mean {tmp_path}/good.py:Hello?"]

    def test_forms_of_an_adapter(self, build, env, tmp_path):
        (tmp_path / "good.py").write_text("class One:\n    def f(self): return 1\nclass Two:\n    def f(self): return 2\n")
        (tmp_path / "odd-name.v2.py").write_text("class One:\n    def f(self): return 3\n")
        for adapter, result in ((f"{tmp_path}/good.py:Two", 2), ("good:One", 1), (f"{tmp_path}/odd-name.v2.py", 3)):
            with Host(build, env, adapter=adapter, cwd=str(tmp_path), env=[f"PYTHONPATH={tmp_path}"]) as host:
                assert host.call("f") == result


# ---- interpreters ----


class TestInterpreters:
    SCRIPTS = {
        "nonsense": ("#!/bin/sh\necho hello\n", "invalid_python", "does not run as a Python interpreter"),
        "fails": ("#!/bin/sh\necho no shared libpython >&2\nexit 127\n", "invalid_python", "no shared libpython"),
        "dies": ("#!/bin/sh\nkill -SEGV $$\n", "invalid_python", "segfault"),
        "too old": ("#!/bin/sh\nprintf '/usr/bin/python3.8\\n3.8.18\\nlinux\\n'\n", "python_too_old", "3.8"),
        "Python 2": ("#!/bin/sh\nprintf '/usr/bin/python2\\n2.7.18\\nlinux2\\n'\n", "python_too_old", "2.7"),
        "floods": ("#!/bin/sh\nyes | head -c 10000000\n", "invalid_python", "does not run"),
        "no interpreter": ("#!/no/such/shell\n", "invalid_python", "No such file"),
        "binary": ("\x7fELF nonsense", "invalid_python", ""),
    }

    @pytest.mark.parametrize("name", SCRIPTS)
    def test_what_is_no_python(self, build, env, tmp_path, name):
        text, code, said = self.SCRIPTS[name]
        path = tmp_path / "python"
        path.write_text(text)
        path.chmod(0o755)
        for options, extra in (({"python": str(path)}, {}), ({}, {"SNAKEPIT_PYTHON": str(path)})):
            host = Host(build, {**env, **extra}, adapter=ADAPTER, **options)
            failed = failure(host.open)
            host.end()
            assert failed.code == code, failed.text
            assert said in failed.text and str(path) in failed.text
            assert "SNAKEPIT_PYTHON" in failed.text  # where to look

    @pytest.mark.parametrize(
        "make, said", [("missing", "does not exist"), ("plain", "not executable"), ("folder", "Permission denied")]
    )
    def test_what_cannot_run(self, build, env, tmp_path, make, said, snakepit):
        path = tmp_path / "python"
        if make == "plain":
            path.write_text("#!/bin/sh\n")
        elif make == "folder":
            path.mkdir()
        host = Host(build, env, adapter=ADAPTER, python=str(path))
        failed = failure(host.open)
        host.end()
        assert failed.code == "invalid_python"
        assert said in failed.message and str(path) in failed.message
        done = snakepit("call", "nothing", "--adapter", ADAPTER, "--python", str(path))
        assert done.returncode == 1 and str(path) in done.stderr

    def test_a_name_is_looked_up(self, build, env, tmp_path, python):
        (tmp_path / "my-python").write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
        (tmp_path / "my-python").chmod(0o755)
        with Host(build, {**env, "PATH": f"{tmp_path}:{env['PATH']}"}, adapter=ADAPTER, python="my-python") as host:
            assert host.call("echo", 1) == 1
        host = Host(build, {**env, "PATH": ""}, adapter=ADAPTER, python="my-python")
        failed = failure(host.open)
        host.end()
        assert failed.code == "invalid_python" and "is not on the PATH" in failed.message

    def test_none_at_all(self, build, env, tmp_path):
        bare = {k: v for k, v in env.items() if k != "SNAKEPIT_PYTHON"}
        host = Host(build, {**bare, "PATH": str(tmp_path)}, adapter=ADAPTER)
        failed = failure(host.open)
        host.end()
        assert failed.code == "python_not_found"
        assert failed.error["suggestions"]


# ---- the Python package ----


class TestPackage:
    @pytest.mark.parametrize("place, said", [("missing", "cannot be read"), ("empty", "does not hold snakepit_bridge")])
    def test_a_wrong_place(self, build, env, tmp_path, place, said):
        (tmp_path / "empty").mkdir()
        host = Host(build, {**env, "SNAKEPIT_PYTHON_PACKAGE": str(tmp_path / place)}, adapter=ADAPTER)
        failed = failure(host.open)
        host.end()
        assert failed.code == "package_error"
        assert (
            "SNAKEPIT_PYTHON_PACKAGE" in failed.message and str(tmp_path / place) in failed.message and said in failed.message
        )
        assert failed.error["suggestions"]

    def test_a_place_relative_to_the_program(self, build, env, tmp_path):
        place = os.path.relpath(build / "python")
        with Host(build, {**env, "SNAKEPIT_PYTHON_PACKAGE": place}, adapter=ADAPTER, cwd=str(tmp_path)) as host:
            assert host.call("echo", 1) == 1


# ---- pools ----


def test_unknown_pool_names_the_nearest(host):
    failed = failure(host.call_json, "nothing", None, pool="defualt")
    assert (failed.code, failed.details["nearest"]) == ("pool_not_found", "default")
    assert failed.details["available"] == ["default"]
    assert failed.error["suggestions"] == ["did you mean 'default'?"]


@pytest.mark.parametrize(
    "options, code",
    [
        ({"workers": -1}, "invalid_pool_size"),
        ({"adapter": None}, "missing_key"),
        ({"cwd": "/no/such/folder"}, "start_failed"),
        ({"command": ["/no/such/program"], "adapter": None}, "start_failed"),
        ({"command": [], "adapter": None}, "missing_key"),
    ],
)
def test_bad_pools(build, env, options, code):
    host = Host(build, env, **{"adapter": ADAPTER, **options})
    failed = failure(host.open)
    host.end()
    assert code in (failed.code, failed.cause.get("code")), failed.text


def test_hello_of_the_guide_is_good(build, env, tmp_path):
    """The positive control of this file: a small class works on every channel."""
    path = tmp_path / "hello.py"
    path.write_text(
        textwrap.dedent("""
        class Hello:
            def greet(self, name):
                return f"Hello, {name}"
    """)
    )
    for options in WAYS.values():
        with Host(build, env, adapter=str(path), **options) as host:
            assert host.call("greet", name="Wörld") == "Hello, Wörld"
