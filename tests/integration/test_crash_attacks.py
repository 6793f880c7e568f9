"""Crashes at bad moments and in bad company, in every place that a worker has: what is told must be what was done, and nobody else may notice."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import re
import subprocess

import pytest
from programs import LIMIT_S, wait_for

HERE = pathlib.Path(__file__).resolve().parent
PLACES = [("process", "exec"), ("process", "zygote"), ("thread", "exec"), ("thread", "zygote")]


class Host:
    """A C program with one worker, which gets a successor whenever it dies. No two calls are the same: `n` differs."""

    def __init__(self, build: pathlib.Path, python: str, env: dict[str, str], profile: str, start: str) -> None:
        adapter = f"{HERE / 'crash_attacks.py'}:Attacks"
        command = [
            build / "tests/integration/c/crash_host",
            python,
            adapter,
            f"profile={profile}",
            f"start={start}",
            "workers=1",
        ]
        self.profile = profile
        self._numbers = itertools.count(4096, 16)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def _say(self, line: str) -> dict:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def call(self, command: str, timeout_ms: int = 1000 * LIMIT_S, **arguments) -> dict:
        arguments.setdefault("n", next(self._numbers))
        answer = self._say(f"{command} {timeout_ms} {json.dumps(arguments)}")
        return {**answer, "n": arguments["n"]}

    def death(self, command: str, **arguments) -> dict:
        """Of a call that ends its worker, the dossier; on a starved machine the status of the process may come too late: then once more."""
        for _ in range(5):
            answer = self.call(command, **arguments)
            assert answer.get("error", {}).get("code") == "worker_crash", answer
            dossier = answer["error"]["dossier"]
            if dossier["exit_class"] != "unknown":
                break
        assert [call["command"] for call in dossier["calls"]] == [command]
        return {**dossier, "n": answer["n"], "text": answer["text"]}

    def held(self) -> dict:
        return self._say("!")

    def end(self) -> int:
        self._process.stdin.close()
        status = self._process.wait(timeout=LIMIT_S)
        self._process.stdout.close()
        return status


@pytest.fixture(scope="module")
def hosts(build, python, library, tmp_path_factory):
    """hosts("process", "exec") is that host."""
    running: dict[tuple[str, str], Host] = {}
    env = {**os.environ, "CRASH_LIBRARY": library, "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}

    def give(profile: str, start: str) -> Host:
        if (profile, start) not in running:
            running[profile, start] = Host(build, python, env, profile, start)
        return running[profile, start]

    yield give
    assert [host.end() for host in running.values()] == [0] * len(running)


@pytest.fixture(params=PLACES, ids="-".join)
def host(hosts, request):
    """One in each place: where the call runs on the main thread, or in a lane's; after an exec, or a fork."""
    host = hosts(*request.param)
    yield host
    answer = host.call("echo")  # whatever happened, the next call is answered
    assert answer.get("result") == answer["n"], answer


def crashed(dossier: dict) -> list[str]:
    """The functions of Python that ran, the innermost first."""
    threads = [thread for thread in dossier["python"] if thread["crashed"]]
    assert len(threads) == 1 and threads[0] is dossier["python"][0]
    return [frame["function"] for frame in threads[0]["frames"]]


def symbols(dossier: dict) -> list[str]:
    return [frame.get("symbol", "?") for frame in dossier["native"]]


def last_line_of(method: str) -> int:
    lines = (HERE / "crash_attacks.py").read_text().splitlines()
    at = lines.index(f"    def {method}(self, n):")
    return next(i for i in range(at, len(lines)) if lines[i] == "")


def is_well_told(dossier: dict, command: str, exit_class: str, signal: str, code: str) -> None:
    fault = dossier["fault"]
    assert (dossier["exit_class"], dossier["signal"], fault["signal"], fault["code"]) == (exit_class, signal, signal, code)
    assert crashed(dossier)[0] == command
    assert int(dossier["native"][0]["pc"], 16) == int(fault["pc"], 16)


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("write", ["crash_write", "crash_below"]),  # holding the interpreter
        ("write_unlocked", ["crash_write", "crash_below"]),  # without it
        ("static_function", ["crash_write", "crash_hidden", "crash_static"]),
        # A handler that was put over ours, and then leaves it to us: the fault is still the first one.
        ("passed_on", ["crash_write", "crash_below"]),
        ("passed_on_later", ["crash_write", "crash_below"]),
        ("called", ["crash_write", "crash_below"]),
        ("faulthandler_after", ["crash_write", "crash_below"]),
        ("faulthandler_twice", ["crash_write", "crash_below"]),
    ],
)
def test_the_place_of_a_fault(host, library, command, names):
    dossier = host.death(command)
    is_well_told(dossier, command, "segfault", "SIGSEGV", "SEGV_MAPERR")
    assert dossier["fault"]["address"] == hex(dossier["n"])
    assert dossier["fault"]["main_thread"] is (host.profile == "process")
    top = dossier["python"][0]["frames"][0]
    assert (top["file"], top["line"]) == (str(HERE / "crash_attacks.py"), last_line_of(command))
    assert symbols(dossier)[: len(names)] == names
    assert dossier["native"][0]["module"] == library
    assert dossier["missing"] == []


@pytest.mark.parametrize(
    ("command", "exit_class", "signal", "code", "symbol"),
    [
        ("alloca", "segfault", "SIGSEGV", None, "crash_alloca"),  # over the guard of the stack
        ("inside_malloc", "segfault", "SIGSEGV", "SEGV_ACCERR", "crash_inside_malloc"),  # its locks are held
        ("heap", "abort", "SIGABRT", "SI_TKILL", "crash_heap"),  # glibc has found it damaged
        ("user_handler", "segfault", "SIGSEGV", "SEGV_MAPERR", "on_user_signal"),
        ("blocked_abort", "abort", "SIGABRT", "SI_TKILL", "abort"),
        ("leaves", "segfault", "SIGSEGV", "SEGV_MAPERR", "crash_at_the_end"),  # a destructor, while the process exits
    ],
)
def test_bad_moments(host, command, exit_class, signal, code, symbol):
    dossier = host.death(command)
    is_well_told(dossier, command, exit_class, signal, code or dossier["fault"]["code"])
    assert symbol in symbols(dossier)
    assert dossier["missing"] == []
    if command == "heap":
        assert "free(): invalid pointer" in dossier["stderr"]
        assert re.search(r"native_at: abort\(\) of libc\S*, below crash_heap\(\) of libcrash.so\n", dossier["text"])


@pytest.mark.parametrize("command", ["overflow", "python_overflow"])
def test_no_stack_is_left(host, command):
    if command == "python_overflow" and host.call("version")["result"] >= [3, 12]:
        pytest.skip("this version of Python ends a recursion through C by itself")
    dossier = host.death(command)
    assert (dossier["exit_class"], dossier["fault"]["signal"]) == ("segfault", "SIGSEGV")
    innermost = "overflow" if command == "overflow" else "__repr__"
    assert crashed(dossier)[0] == innermost
    assert "native: the stack is deeper" in dossier["missing"]


def test_a_handler_of_python(hosts):
    """In a handler for a signal, written in Python: that runs on the main thread alone."""
    for start in ("exec", "zygote"):
        dossier = hosts("process", start).death("python_handler")
        is_well_told(dossier, "<lambda>", "segfault", "SIGSEGV", "SEGV_MAPERR")
        assert crashed(dossier)[1] == "python_handler"


@pytest.mark.parametrize(
    ("command", "exit_class"), [("blocked", "segfault"), ("ignored_abort", "abort"), ("crashes_again", "segfault")]
)
def test_what_no_handler_can_tell(host, command, exit_class):
    dossier = host.death(command)
    assert dossier["exit_class"] == exit_class and dossier["partial"] is True
    assert "fault" not in dossier and "handler did not run" in dossier["missing"][0]


def test_a_signal_of_another_process(host):
    """kill -SEGV: it says who has sent it, and where the worker was."""
    dossier = host.death("killed_by_another")
    is_well_told(dossier, dossier["python"][0]["frames"][0]["function"], "segfault", "SIGSEGV", "SI_USER")
    assert dossier["fault"]["sender_pid"] not in (0, dossier["pid"])
    if host.profile == "process":
        assert crashed(dossier)[0] == "killed_by_another"


@pytest.mark.parametrize(
    ("command", "reason"),
    [("killed_by_another", "died of a segmentation fault"), ("aborted_by_another", "aborted")],
)
def test_what_another_process_sends_is_no_poison(host, command, reason):
    """Nor is it the call's doing, however often: it says whose it was."""
    n = host.call("echo")["n"]
    for _ in range(3):
        dossier = host.death(command, n=n)
        assert dossier["reason"] == f"{reason}, sent by process {dossier['fault']['sender_pid']}"
        assert f"{dossier['reason']}\n" in dossier["text"]


@pytest.mark.parametrize(("command", "reason"), [("kills_itself", "died of a segmentation fault"), ("aborts", "aborted")])
def test_what_it_sends_itself_is_poison(host, command, reason):
    n = host.call("echo")["n"]
    for _ in range(2):
        assert host.death(command, n=n)["reason"] == reason
    answer = host.call(command, n=n)
    assert answer["error"]["code"] == "poison_call", answer


@pytest.mark.parametrize("how", ["deleted", "short", "rubbish", "sections"])
def test_a_library_that_is_damaged(host, tmp_path, how):
    """Its names are missing, or wrong, and nothing else is."""
    dossier = host.death("library", folder=str(tmp_path), how=how)
    is_well_told(dossier, "library", "segfault", "SIGSEGV", "SEGV_MAPERR")
    assert dossier["fault"]["address"] == hex(dossier["n"])
    assert f"/lib{how}" in dossier["native"][0]["module"]
    assert "ffi_call" in symbols(dossier)
    assert not any(name.startswith("crash_") for name in symbols(dossier)) or how == "rubbish"


def test_threads_that_crash_at_once(host):
    """Python knows none of them. One of them is told of, and it is the one whose signal the process died of."""
    dossier = host.death("together")
    assert dossier["fault"]["signal"] == dossier["signal"]
    assert dossier["exit_class"] == {"SIGSEGV": "segfault", "SIGABRT": "abort"}[dossier["signal"]]
    assert dossier["fault"]["main_thread"] is False and "run_together" in symbols(dossier)
    assert [thread for thread in dossier["python"] if thread["crashed"]] == []
    assert dossier["missing"] == []


def test_a_small_stack_of_others(host):
    """A library's own stack for handlers is not written beyond; what has no room on it is not told."""
    for size in (8192, 16384, 32768, 65536):
        dossier = host.death("small_stack", size=size)
        assert (dossier["fault"]["code"], dossier["fault"]["address"]) == ("SEGV_MAPERR", "0x8"), size
        assert dossier["partial"] is (dossier["missing"] != [])
        if size >= 65536:
            assert crashed(dossier)[0] == "small_stack" and symbols(dossier)[0] == "crash_write"


def test_faults_that_are_survived(host):
    """What a library lives from is its own; a later fault that it does not want is told."""
    answer = host.call("survived")
    assert answer.get("result") == 1, answer
    dossier = host.death("write")
    assert dossier["fault"]["address"] == hex(dossier["n"]) and dossier["missing"] == []


def test_a_handler_that_does_not_return(host):
    """Only the deadline ends that."""
    answer = host.call("stays", timeout_ms=500)
    assert answer["error"]["code"] == "deadline_exceeded", answer


def test_a_handler_of_python_does_not_end_a_fault(hosts):
    """It would run when the instruction has been done, which never comes."""
    answer = hosts("process", "zygote").call("python_signal", timeout_ms=500)
    assert answer["error"]["code"] == "deadline_exceeded", answer


def test_a_child_of_a_call(host):
    assert host.call("in_a_fork").get("result") == 11


def test_ten_thousand_frames(host):
    dossier = host.death("deep")
    assert crashed(dossier)[:3] == ["nest", "nest", "nest"] and len(crashed(dossier)) >= 90
    assert symbols(dossier)[:2] == ["crash_write", "crash_below"]


def test_more_threads_than_can_be_told(host):
    """The one that crashed is told before all others."""
    dossier = host.death("many_threads", threads=150)
    assert crashed(dossier)[0] == "many_threads" and len(dossier["python"]) > 1
    assert dossier["partial"] is True and "python: not all stacks had room" in dossier["missing"]
    assert symbols(dossier)[:2] == ["crash_write", "crash_below"]


@pytest.mark.parametrize("state", [0, 1, 2, 3, 4])
def test_pages_that_lie(host, state):
    """Of another signal: not believed. A worker that has told of its own death before it dies has spoilt its own dossier, and no more."""
    dossier = host.death("lies", sig=7, state=state)
    assert (dossier["exit_class"], dossier["signal"], dossier["partial"]) == ("segfault", "SIGSEGV", True)
    assert "fault" not in dossier
    dossier = host.death("lies", sig=11, state=state)
    assert (dossier["exit_class"], dossier["signal"], dossier["partial"]) == ("segfault", "SIGSEGV", True)


def test_a_page_that_is_written_to_meanwhile(host):
    assert host.death("scribbles")["exit_class"] == "segfault"


def test_text_that_a_terminal_would_obey(host):
    dossier = host.death("escapes")
    frame = dossier["python"][0]["frames"][0]
    assert (frame["file"], frame["line"], frame["function"]) == ("/\x1b[31m\x9b\ufffd.py", 3, "\x1b]0;x\x07")
    assert "/\\u001b[31m\\u009b\ufffd.py, line 3, in \\u001b]0;x\\u0007" in dossier["text"]
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in dossier["text"])


@pytest.mark.parametrize("profile", ["process", "thread"])
def test_a_hundred_deaths_leave_nothing(hosts, profile):
    """Descriptors, blocks of memory: as many as after the first few."""
    host = hosts(profile, "zygote")
    kinds = ["write", "overflow", "heap", "together", "faulthandler_after", "blocked", "lies", "leaves"]

    def die(rounds: int) -> dict:
        for _ in range(rounds):
            for kind in kinds:
                host.death(kind, **({"sig": 11} if kind == "lies" else {}))
        assert "result" in host.call("echo")
        return host.held()

    before = die(2)

    def is_as_before() -> bool:
        now = host.held()
        return now["descriptors"] <= before["descriptors"] and now["blocks"] <= before["blocks"] + 16

    die(12)
    wait_for(is_as_before, "the blocks and descriptors of 96 deaths to be given back")
