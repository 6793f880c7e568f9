"""The program snakepit: arguments, results, errors, exit codes, signals."""

from __future__ import annotations

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys

import pytest
from programs import LIMIT_S, is_alive, on_terminal, wait_for

ECHO = """
def echo(self, *args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}
"""


# ---- usage ----


def test_no_arguments_prints_usage_on_stderr(snakepit):
    done = snakepit()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: snakepit COMMAND")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(snakepit, arguments):
    done = snakepit(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("call", "doctor", "bench", "help"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", ["call", "doctor", "bench", "help"])
def test_help_of_a_command(snakepit, command):
    done = snakepit("help", command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: snakepit {command}")
    assert snakepit(command, "--help").stdout == done.stdout
    assert snakepit("--help", command).stdout == done.stdout


def test_version(snakepit):
    assert snakepit("--version").stdout.split()[0] == "snakepit"
    assert json.loads(snakepit("-o", "json", "--version").stdout)["version"] == snakepit("--version").stdout.split()[1]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["cal"], "did you mean 'call'?"),
        (["dcotor"], "did you mean 'doctor'?"),
        (["help", "bnech"], "did you mean 'bench'?"),
        (["frobnicate"], "unknown command 'frobnicate'"),
        (["--outptu", "json", "call"], "did you mean '--output'?"),
        (["call", "x", "--tiemout", "2s"], "did you mean '--timeout'?"),
        (["call", "x", "--adaptor=a.py"], "did you mean '--adapter'?"),
        (["call", "x", "-z"], "unknown option '-z'"),
        (["-o", "xml", "call"], "json or text"),
        (["-o", "json"], "command is missing"),
        (["call"], "command to call is missing"),
        (["call", ""], "command to call is missing"),
        (["call", "x", "1", "2"], "too many arguments"),
        (["call", "x", "--timeout"], "needs a value"),
        (["call", "x", "--adapter="], "needs a value"),
        (["call", "x", "--verbose=1"], "takes no value"),
        (["call", "x", "--timeout", "2"], "needs a unit"),
        (["call", "x", "--timeout=0s"], "longer than zero"),
        (["call", "x", "--timeout=2 s"], "a number with a unit"),
        (["call", "x", "--timeout=-2s"], "a number with a unit"),
        (["call", "x", "--timeout=nan"], "a number with a unit"),
        (["call", "x", "--timeout=99999999999999999999h"], "too long"),
        (["call", "x", "--timeout=1000000d"], "too long"),
        (["call", "x", "--workers", "0"], "at least 1"),
        (["call", "x", "--workers", "9x"], "at least 1"),
        (["call", "x", "--workers", "99999999999"], "at least 1"),
        (["call", "x", "{bad"], "no JSON"),
        (["call", "x", '{"a": 1, "a": 2}'], "no JSON"),
        (["call", "x", ""], "no JSON"),
        (["call", "x", "1e999"], "no JSON"),
        (["call", "x", '[{"$pit":"set"}]'], 'malformed "$pit" form: line 1, column 2: a set without an array of items'),
        (["doctor", "x"], "no argument"),
        (["help", "call", "doctor"], "one command"),
    ],
)
def test_bad_usage_exits_2(snakepit, arguments, said):
    done = snakepit(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    if arguments[:2] == ["-o", "json"]:
        assert said in json.loads(done.stderr)["message"]
    else:
        assert said in done.stderr
        assert "try: snakepit help" in done.stderr


def test_errors_are_one_json_document_when_asked(snakepit):
    done = snakepit("call", "x", "--timeout", "2", "-o", "json")
    assert (done.returncode, done.stdout) == (2, "")
    error = json.loads(done.stderr)
    assert error["category"] == "validation"
    assert error["retriable"] is False
    assert "needs a unit" in error["message"]


def test_without_daemon_and_adapter_there_is_nothing_to_call(snakepit):
    done = snakepit("call", "x")
    assert done.returncode == 3
    assert "--adapter" in done.stderr
    assert json.loads(snakepit("call", "x", "-o", "json").stderr)["code"] == "unavailable"


# ---- results ----


@pytest.mark.parametrize(
    "given, args, kwargs",
    [
        (None, [], {}),
        ('{"name": "Würld", "n": 3}', [], {"name": "Würld", "n": 3}),
        ("[1, 2.5, true]", [1, 2.5, True], {}),
        ("null", [None], {}),
        ("-7", [-7], {}),
        ('"text"', ["text"], {}),
        ("[]", [], {}),
        ("[[1]]", [[1]], {}),
        ("123456789012345678901234567890", None, {}),
    ],
)
def test_arguments_and_result(snakepit, adapter, given, args, kwargs):
    words = ["call", "echo"] + ([given] if given is not None else [])
    done = snakepit(*words, "--adapter", adapter(ECHO))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1 and done.stdout.endswith("\n")
    result = json.loads(done.stdout)
    assert result["kwargs"] == kwargs
    if args is None:  # beyond 64 bits: the tagged form
        assert result["args"] == [{"$pit": "bigint", "v": given}]
    else:
        assert result["args"] == args


def test_arguments_from_standard_input(snakepit, adapter):
    big = {"text": "x" * 300_000}
    done = snakepit("call", "echo", "-", "--adapter", adapter(ECHO), input=json.dumps(big))
    assert done.returncode == 0
    assert json.loads(done.stdout)["kwargs"] == big


@pytest.mark.parametrize("text", ["", "{", "[1]]", "\x00"])
def test_bad_standard_input_exits_2(snakepit, adapter, text):
    done = snakepit("call", "echo", "-", "--adapter", adapter(ECHO), input=text)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no JSON" in done.stderr


def test_option_forms_and_double_dash(snakepit, adapter):
    done = snakepit("call", f"--adapter={adapter(ECHO)}", "-ojson", "--timeout=1m", "--", "echo", "-3")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["args"] == [-3]


def test_relative_adapter_and_class_name(snakepit, adapter):
    adapter(ECHO, name="mine.py")
    assert snakepit("call", "echo", "--adapter", "mine.py:Adapter").returncode == 0
    assert snakepit("call", "echo", "--adapter", "mine.py").returncode == 0


def test_session_pool_and_workers(snakepit, adapter):
    path = adapter(
        """
        def who(self):
            return current_context().session_id
        """,
        before="from snakepit_bridge import current_context",
    )
    done = snakepit("call", "who", "--adapter", path, "--session", "s-1", "--pool", "mine", "--workers", "2")
    assert (done.returncode, done.stdout) == (0, '"s-1"\n')


@pytest.mark.parametrize("words", [["--session", "x" * 257], ["--pool", "a b"], ["--pool", "x" * 65]])
def test_names_that_are_bad_in_themselves_exit_2(snakepit, adapter, words):
    done = snakepit("call", "echo", "--adapter", adapter(ECHO), *words)
    assert (done.returncode, done.stdout) == (2, "")


def test_what_the_worker_prints_is_not_the_result(snakepit, adapter):
    path = adapter(
        """
        def chatty(self):
            print("noise"); sys.stderr.write("more noise"); os.system("echo from a child")
            return 1
        """,
        before="import os, sys; print('at import')",
    )
    done = snakepit("call", "chatty", "--adapter", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_verbose_shows_what_happens_when(snakepit, adapter):
    done = snakepit("call", "echo", "--adapter", adapter(ECHO), "-v")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"args": [], "kwargs": {}})
    said = [line.split(None, 2) for line in done.stderr.splitlines()]
    lines = [line for line in said if line[1] == "ms"]
    assert [line[0] for line in said if line[1] != "ms"] == ["info:", "info:", "info:"], done.stderr
    assert "the registry is kept in" in done.stderr and "it was told to end" in done.stderr
    names = [json.loads(event)["name"] for _time, _unit, event in lines]
    wanted = ["snakepit.pool.worker.spawned", "snakepit.call.start", "snakepit.call.stop", "snakepit.pool.worker.terminated"]
    assert [name for name in names if name in wanted] == wanted
    assert all(float(time) >= 0 for time, _unit, _event in lines)


# ---- errors ----


def test_a_python_error_has_its_traceback(snakepit, adapter):
    path = adapter(
        """
        def fail(self):
            raise ValueError("no such model: 'x'")
        """
    )
    done = snakepit("call", "fail", "--adapter", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "[python_error/value_error]" in done.stderr
    assert "no such model: 'x'" in done.stderr
    assert "adapter.py" in done.stderr and "in fail" in done.stderr
    error = json.loads(snakepit("call", "fail", "--adapter", path, "-o", "json").stderr)
    assert (error["category"], error["code"]) == ("python_error", "value_error")


def test_an_unknown_command_names_the_nearest(snakepit, adapter):
    done = snakepit("call", "ecko", "--adapter", adapter(ECHO))
    assert done.returncode == 1
    assert "tool_not_found" in done.stderr and "echo" in done.stderr


def test_a_crash_tells_where_to_look(snakepit, adapter, env):
    """The error and the log name the command, and the error the line of Python; faulthandler's report comes beside it."""
    path = adapter("def crash(self):\n    import ctypes\n    ctypes.string_at(0)")
    done = snakepit("call", "crash", "--adapter", path, "-v")
    assert done.returncode == 1
    assert "; it ran crash\n" in done.stderr and "\n  command: crash\n" in done.stderr
    if "exit_class: unknown" not in done.stderr:  # on a starved machine the status may come too late
        assert "died of a segmentation fault; it ran crash\n" in done.stderr
        assert f"python_at: {path}, line 4, in crash" in done.stderr or "in string_at\n" in done.stderr
    done = snakepit("call", "crash", "--adapter", path, "-o", "json", env={**env, "PYTHONFAULTHANDLER": "1"})
    said = json.loads(done.stderr)["details"]["stderr"]
    assert "Segmentation fault" in said and f'File "{path}"' in said and "in crash" in said


def test_a_crash_is_an_error_with_its_class(snakepit, adapter):
    path = adapter("def die(self):\n    import os\n    os._exit(7)")
    done = snakepit("call", "die", "--adapter", path, "-o", "json")
    assert (done.returncode, done.stdout) == (1, "")
    error = json.loads(done.stderr)
    assert error["code"] == "worker_crash"
    assert error["details"]["exit_code"] == 7


def test_a_start_that_fails_is_told_with_its_cause(snakepit, tmp_path):
    (tmp_path / "a.py").write_text("import no_such_module_anywhere\nclass A: pass\n")
    done = snakepit("call", "f", "--adapter", "a.py", "-v")
    (told,) = [line for line in done.stderr.splitlines() if "worker.spawn_failed" in line]
    metadata = json.loads(told[told.index("{") :])["metadata"]
    assert metadata["reason"] == "adapter_init_failed" and "no_such_module_anywhere" in metadata["text"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("class A:\n    def __init__(self):\n        raise RuntimeError('no licence')\n", "no licence"),
        ("def broken(:\n", "SyntaxError"),
        ("import no_such_module_anywhere\nclass A: pass\n", "no_such_module_anywhere"),
        ("class A: pass\nclass B: pass\n", "B"),
        ("x = 1\n", "class"),
        ("import os\nos._exit(3)\n", "3"),
    ],
)
def test_a_failed_start_ends_at_once_with_its_cause(snakepit, tmp_path, text, said):
    (tmp_path / "bad.py").write_text(text)
    done = snakepit("call", "x", "--adapter", "bad.py")  # no --timeout: it is the failure that ends it
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_missing_adapter_and_interpreter(snakepit, adapter):
    done = snakepit("call", "x", "--adapter", "nowhere.py")
    assert done.returncode == 1 and "nowhere.py" in done.stderr
    done = snakepit("call", "echo", "--adapter", adapter(ECHO), "--python", "/no/such/python", "-o", "json")
    assert done.returncode == 1
    assert json.loads(done.stderr)["code"] == "invalid_python"


# ---- time ----


def test_a_stream_that_died_is_made_again_as_a_stream(snakepit, adapter):
    path = adapter("def die(self, n):\n    yield n\n    os.kill(os.getpid(), signal.SIGKILL)", before="import os, signal")
    done = snakepit("call", "die", "7", "--adapter", path, "--stream")
    assert (done.returncode, done.stdout) == (1, '{"data":7,"is_final":false}\n')
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("  repro: snakepit call die --adapter ")]
    assert " --stream" in line


def test_a_final_chunk_is_printed_when_it_comes(build, env, tmp_path, adapter):
    """Its reader has it while the tool goes on; what the tool returns has a line of its own, and takes no place of the chunk's."""
    go = tmp_path / "go"
    os.mkfifo(go)
    body = """
def work(self, stream, go):
    stream.send({"result": "the chunk's"}, metadata={"n": 1}, is_final=True)
    with open(go) as f:  # until the line has been read
        f.read()
    return "the tool's"
"""
    process = start(build, env, tmp_path, "call", "work", json.dumps({"go": str(go)}), "--adapter", adapter(body), "--stream")
    try:
        assert select.select([process.stdout], [], [], LIMIT_S)[0], "the chunk waits for the tool's end"
        line = process.stdout.readline()
        go.write_text("on")
        rest, said = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert json.loads(line) == {"result": "the chunk's", "is_final": True, "_metadata": {"n": 1}}
    assert (process.returncode, rest, said) == (0, '{"result":"the tool\'s"}\n', "")


def test_each_line_of_a_stream_says_whether_it_is_the_last(snakepit, adapter):
    path = adapter("def odd(self):\n    yield {1: 'one'}\n    yield {}\n    return {2: 3}")
    done = snakepit("call", "odd", "--adapter", path, "--stream")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["is_final"] for line in lines] == [False, False, True]
    assert list(lines[0]) == ["data", "is_final"] and lines[2]["chunks_sent"] == 2 and "result" in lines[2]


def test_the_wrong_form_of_a_call_names_the_other(snakepit, adapter):
    path = adapter("def count(self, n):\n    yield from range(n)\n\ndef echo(self, n):\n    return n")
    done = snakepit("call", "count", "3", "--adapter", path)
    assert done.returncode == 1 and "[tool/streaming_required]" in done.stderr and "snakepit call --stream" in done.stderr
    done = snakepit("call", "echo", "3", "--adapter", path, "--stream", "-o", "json")
    error = json.loads(done.stderr)
    assert (done.returncode, done.stdout, error["code"]) == (1, "", "streaming_not_supported")
    assert any("snakepit call without --stream" in line for line in error["suggestions"])


def test_timeout_bounds_a_call(snakepit, adapter):
    path = adapter("def slow(self):\n    import time\n    time.sleep(600)")  # allow-sleep: it shall hang
    done = snakepit("call", "slow", "--adapter", path, "--timeout", "500ms", "-o", "json")
    assert (done.returncode, done.stdout) == (124, "")
    assert json.loads(done.stderr)["code"] == "deadline_exceeded"


def test_a_tool_may_set_the_time_of_its_calls(snakepit, tmp_path):
    adapter = tmp_path / "slow.py"
    adapter.write_text(
        "import time\nfrom snakepit_bridge import BaseAdapter, tool\n"
        "class Slow(BaseAdapter):\n"
        "    @tool(timeout_ms=50)\n"
        "    def work(self, seconds):\n        time.sleep(seconds)\n        return seconds\n"  # allow-sleep: the work that takes so long
    )
    done = snakepit("call", "work", str(LIMIT_S), "--adapter", str(adapter), "-o", "json")
    assert (done.returncode, done.stdout) == (124, "")
    assert json.loads(done.stderr)["details"]["timeout_ms"] == 50
    done = snakepit("call", "work", "0.1", "--adapter", str(adapter), f"--timeout={LIMIT_S}s")
    assert (done.returncode, done.stdout) == (0, "0.1\n"), done.stderr


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_tool_may_say_that_it_may_be_repeated(snakepit, tmp_path, repeatable):
    adapter, mark = tmp_path / "fragile.py", tmp_path / "mark"
    adapter.write_text(
        "import os\nfrom snakepit_bridge import BaseAdapter, tool\n"
        "class Fragile(BaseAdapter):\n"
        f"    @tool(idempotent={repeatable})\n"
        "    def work(self, mark):\n"
        "        if not os.path.exists(mark):\n            open(mark, 'w').close()\n            os.abort()\n"
        "        return 'good'\n"
    )
    done = snakepit("call", "work", json.dumps(str(mark)), "--adapter", str(adapter), "-o", "json")
    if repeatable:
        assert (done.returncode, done.stdout) == (0, '"good"\n'), done.stderr
    else:
        assert json.loads(done.stderr)["code"] == "worker_crash"


def test_a_timeout_is_named_as_it_was_given(snakepit, adapter):
    path = adapter("def slow(self):\n    import time\n    time.sleep(600)")  # allow-sleep: it shall hang
    done = snakepit("call", "slow", "--adapter", path, "--timeout", "700ms")
    assert done.returncode == 124
    assert "--timeout: 700 ms" in done.stderr


def test_timeout_bounds_the_start(snakepit, adapter):
    path = adapter(
        "def __init__(self):\n    import time\n    time.sleep(600)\n\ndef f(self):\n    return 1"
    )  # allow-sleep: it shall hang
    done = snakepit("call", "f", "--adapter", path, "--timeout", "300ms")
    assert (done.returncode, done.stdout) == (124, "")
    assert "deadline_exceeded" in done.stderr


def test_timeout_bounds_standard_input(snakepit, adapter):
    reader, writer = os.pipe()
    try:
        done = snakepit("call", "echo", "-", "--adapter", adapter(ECHO), "--timeout", "200ms", stdin=reader)
    finally:
        os.close(reader)
        os.close(writer)
    assert (done.returncode, done.stdout) == (124, "")


# ---- signals ----

NAP = """
def nap(self, note):
    with open(note + ".new", "w") as f:
        f.write(str(os.getpid()))
    os.rename(note + ".new", note)
    time.sleep(600)  # allow-sleep: a worker that hangs is what the test is about

def wait(self, note, go):
    with open(note + ".new", "w") as f:
        f.write(str(os.getpid()))
    os.rename(note + ".new", note)
    while not os.path.exists(go):
        time.sleep(0.01)  # allow-sleep: in the worker
    return "done"
"""


def start(build, env, tmp_path, *arguments, **options):
    return subprocess.Popen(
        [str(build / "snakepit"), *arguments],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_call_and_its_worker_first(build, env, tmp_path, adapter, number):
    note = tmp_path / "pid"
    path = adapter(NAP, before="import os, time")
    process = start(build, env, tmp_path, "call", "nap", json.dumps({"note": str(note)}), "--adapter", path)
    worker = int(wait_for(lambda: note.exists() and note.read_text(), "the call to start"))
    assert is_alive(worker)
    process.send_signal(number)
    out, _err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 128 + number
    assert out == ""
    assert not is_alive(worker)


PRODUCERS = """
    def endless(self, closed):
        try:
            while True:
                yield 1
        finally:
            open(closed, "w").close()

    def quiet(self, closed):
        try:
            yield 1
            while True:
                time.sleep(0.001)  # allow-sleep: it gives nothing more
        finally:
            open(closed, "w").close()
"""


@pytest.mark.parametrize(
    "command, leaves", [("endless", "by a signal"), ("quiet", "by a signal"), ("endless", "by its output")]
)
def test_who_leaves_a_stream_closes_its_producer(build, env, tmp_path, adapter, command, leaves):
    path = adapter(PRODUCERS, before="import time")
    for n in range(5):  # a worker that gets no CPU for the time of the ladder is killed
        closed = tmp_path / f"closed{n}"
        process = start(build, env, tmp_path, "call", command, json.dumps([str(closed)]), "--adapter", path, "--stream")
        assert process.stdout.readline() == '{"data":1,"is_final":false}\n'
        if leaves == "by a signal":
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=LIMIT_S)
            assert process.returncode == 130 and "ended by SIGINT" in err
        else:
            process.stdout.close()
            process.wait(LIMIT_S)
            with process.stderr as err:
                assert process.returncode == 1 and "could not be written" in err.read()
        if closed.exists():
            return
    raise AssertionError("nobody has closed it")


def test_a_signal_ends_a_start(build, env, tmp_path, adapter):
    note = tmp_path / "pid"
    path = adapter(
        f"""
        def __init__(self):
            with open({str(note)!r} + ".new", "w") as f:
                f.write(str(os.getpid()))
            os.rename({str(note)!r} + ".new", {str(note)!r})
            time.sleep(600)  # allow-sleep: a worker that hangs is what the test is about
        """,
        before="import os, time",
    )
    process = start(build, env, tmp_path, "call", "x", "--adapter", path)
    worker = int(wait_for(lambda: note.exists() and note.read_text(), "the start"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert not is_alive(worker)


def test_a_signal_ends_the_wait_for_standard_input(build, env, tmp_path, adapter):
    path = adapter(ECHO)
    process = subprocess.Popen(
        [str(build / "snakepit"), "call", "echo", "-", "--adapter", path],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    status = pathlib.Path(f"/proc/{process.pid}/status")
    # It watches its signals by a descriptor as soon as it has blocked them.
    wait_for(lambda: int(status.read_text().split("SigBlk:")[1].split()[0], 16) & (1 << (signal.SIGINT - 1)), "the wait")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130


def test_a_signal_that_was_ignored_stays_ignored(build, env, tmp_path, adapter):
    note, go = tmp_path / "pid", tmp_path / "go"
    path = adapter(NAP, before="import os, time")
    arguments = json.dumps({"note": str(note), "go": str(go)})
    process = start(
        build,
        env,
        tmp_path,
        *("call", "wait", arguments, "--adapter", path),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    wait_for(note.exists, "the call to start")
    process.send_signal(signal.SIGHUP)
    go.touch()
    out, _err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (0, '"done"\n')


def test_the_worker_ends_with_a_killed_program(build, env, tmp_path, adapter):
    note = tmp_path / "pid"
    path = adapter(NAP, before="import os, time")
    process = start(build, env, tmp_path, "call", "nap", json.dumps({"note": str(note)}), "--adapter", path)
    worker = int(wait_for(lambda: note.exists() and note.read_text(), "the call to start"))
    process.kill()
    process.communicate(timeout=LIMIT_S)
    wait_for(lambda: not is_alive(worker), "the guard to end the worker")


# ---- output that does not arrive ----


@pytest.mark.parametrize("arguments", [["--version"], ["help"], ["call", "echo", "--adapter", "adapter.py"], ["doctor"]])
def test_a_full_device_exits_1(snakepit, adapter, arguments):
    adapter(ECHO)
    with open("/dev/full", "w") as full:
        done = snakepit(*arguments, stdout=full)
    assert done.returncode == 1
    assert "could not be written: No space left on device" in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["call", "echo", "--adapter", "adapter.py"]])
def test_a_closed_stdout_exits_1(snakepit, adapter, arguments):
    adapter(ECHO)
    done = snakepit(*arguments, stdout=None, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert "could not be written: Bad file descriptor" in done.stderr


def test_a_reader_that_has_gone_exits_1(snakepit):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = snakepit("help", stdout=writer)
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert "could not be written" in done.stderr


def test_all_standard_streams_closed(snakepit, adapter):
    adapter(ECHO)

    def close_all():
        for fd in (0, 1, 2):
            os.close(fd)

    done = snakepit("call", "echo", "--adapter", "adapter.py", stdout=None, stderr=None, preexec_fn=close_all)
    assert done.returncode == 1


# ---- surroundings ----


def test_home_unset_and_read_only(snakepit, adapter, env, tmp_path):
    path = adapter(ECHO)
    without = {name: value for name, value in env.items() if name != "HOME"}
    assert snakepit("call", "echo", "--adapter", path, env=without).returncode == 0
    del without["XDG_STATE_HOME"]
    done = snakepit("call", "echo", "--adapter", path, env=without)
    assert (done.returncode, done.stderr.count("no registry is kept")) == (0, 1)
    sealed = tmp_path / "sealed"
    sealed.mkdir(mode=0o500)
    done = snakepit("call", "echo", "--adapter", path, env={**env, "HOME": str(sealed)})
    assert (done.returncode, done.stderr) == (0, "")
    place = str(tmp_path / "adapter.py")  # a file: root, too, makes no folder in it
    done = snakepit("call", "echo", "--adapter", path, env={**without, "HOME": place})
    assert (done.returncode, done.stderr.count("no registry is kept in " + place)) == (0, 1)
    assert list(sealed.iterdir()) == []


def test_the_virtual_environment_of_the_working_directory(snakepit, adapter, env, python, tmp_path):
    path = adapter("def prefix(self):\n    import sys\n    return sys.prefix")
    venv = tmp_path / ".venv"
    subprocess.run([python, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=LIMIT_S)
    below = tmp_path / "below"
    below.mkdir()
    plain = {name: value for name, value in env.items() if name != "SNAKEPIT_PYTHON"}
    for folder in (tmp_path, below):
        done = snakepit("call", "prefix", "--adapter", path, cwd=folder, env=plain)
        assert json.loads(done.stdout) == str(venv), done.stderr
    # What is named wins.
    done = snakepit("call", "prefix", "--adapter", path, env={**plain, "SNAKEPIT_PYTHON": python})
    assert json.loads(done.stdout) != str(venv)


def test_a_terminal_gets_an_indented_result(build, env, adapter, tmp_path):
    command = [str(build / "snakepit"), "call", "echo", "[1]", "--adapter", adapter(ECHO)]
    said, code = on_terminal(command, env, tmp_path)
    assert code == 0
    assert said.count("\n") > 1
    assert json.loads(said) == {"args": [1], "kwargs": {}}


def test_a_terminal_obeys_no_worker(build, env, adapter, tmp_path):
    path = adapter(
        "def f(self, fails):\n    text = '\\33[31m\\x7f\\x9bm\\u00fc\\u202e\\u200f\\u2066\\U000e0001'\n    if fails:\n        raise ValueError(text)\n    return text"
    )
    command = [str(build / "snakepit"), "--no-color", "call", "f", "--adapter", path]
    said, code = on_terminal([*command, "[false]"], env, tmp_path)
    assert (code, json.loads(said)) == (0, "\33[31m\x7f\x9bm\u00fc\u202e\u200f\u2066\U000e0001")
    assert not set(said) & set("\33\x7f\x9b\u202e\u200f\u2066\U000e0001") and "\u00fc" in said
    said, code = on_terminal([*command, "[true]"], env, tmp_path)
    assert code == 1 and "ValueError" in said
    assert (
        not set(said) & set("\33\x7f\x9b\u202e\u200f\u2066\U000e0001")
        and "\\u001b[31m\\u007f\\u009bm\u00fc\\u202e\\u200f\\u2066\\udb40\\udc01" in said
    )


@pytest.mark.parametrize("words, extra, colored", [([], {}, True), (["--no-color"], {}, False), ([], {"NO_COLOR": "1"}, False)])
def test_colours_only_where_they_are_wanted(build, env, tmp_path, words, extra, colored):
    said, code = on_terminal([str(build / "snakepit"), *words, "call", "x", "--timeout", "2"], {**env, **extra}, tmp_path)
    assert code == 2
    assert ("\033[" in said) == colored


# ---- bench ----


def test_bench_hands_its_arguments_over(build, env, tmp_path):
    shutil.copy(build / "snakepit", tmp_path / "snakepit")
    done = subprocess.run([tmp_path / "snakepit", "bench"], env=env, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1 and "snakepit-bench" in done.stderr
    program = tmp_path / "bench" / "snakepit-bench"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\nsys.exit(5)\n")
    program.chmod(0o755)
    command = [tmp_path / "snakepit", "bench", "--quick", "--json", "x y", "--"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.returncode, json.loads(done.stdout)) == (5, ["--quick", "--json", "x y", "--"])
