"""Workers in other languages: each reference worker keeps to docs/wire.md as snakepit worker-check sees it, a worker that does not is found out, and in
a pool they are called, cancelled, killed and replaced as any."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest
from hostile.host import Host
from programs import LIMIT_S, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOREIGN = str(ROOT / "tests" / "integration" / "hostile" / "foreign.py")
NO_NODE = "there is no node here"
NO_SHELL = "there is no bash here, or no od of the GNU tools"
CONFORMANCE = """
    def echo(self, value):
        return value

    def add(self, a: int, b: int):
        return a + b

    def fail(self, message: str):
        raise RuntimeError(message)

    def count(self, n: int):
        for i in range(n):
            yield i
        return n

    def talk(self, inbox):
        n = 0
        for value in inbox:
            yield value
            n += 1
        return n

    def ask(self, name, arguments):
        return current_context().call_host_tool(name, arguments)

    def tools(self):
        return list(current_context().host_tools)

    def sleep(self, ms):  # allow-sleep: worker-check cancels it
        time.sleep(ms / 1000)  # allow-sleep
"""


@pytest.fixture
def check(snakepit, env, build):
    """Runs worker-check; environment: also for the worker."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = {"PYTHONPATH": str(build / "python")}
        return snakepit("worker-check", *arguments, env={**env, **path, **environment}, timeout=4 * LIMIT_S)

    return run


def command_of(name: str, build: pathlib.Path, python: str) -> list[str]:
    folder = build / "examples" / "workers"
    if name == "js":
        node = shutil.which("node")
        if node is None:
            pytest.skip(NO_NODE)
        return [node, str(folder / "worker.js")]
    if name == "sh":
        bash, od = shutil.which("bash"), shutil.which("od")
        if bash is None or od is None or "GNU" not in subprocess.run([od, "--version"], capture_output=True, text=True).stdout:
            pytest.skip(NO_SHELL)
        return [bash, str(folder / "worker.sh")]
    return {"c": [str(folder / "worker")], "python": [python, FOREIGN]}[name]


def failures(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^FAILED  (.*)$", done.stdout, re.M)


SKIPPED = {
    "python": ["inbox: READY names no tool `talk`", "tool: what tools there are: READY names no tool `tools`"],
    "sh": [
        "cancel: of a call that runs: not among its capabilities: such a call is ended with its worker",
        "stream: READY names no tool `count`",
        "inbox: READY names no tool `talk`",
        "tool: READY names no tool `ask`",
    ],
}


@pytest.mark.parametrize("name", ["c", "js", "sh", "python"])
def test_a_reference_worker_keeps_to_the_protocol(check, build, python, name):
    done = check("--timeout", "60s", "--", *command_of(name, build, python))
    assert (done.returncode, failures(done)) == (0, []), done.stdout
    skipped = re.findall(r"^skipped (.*)$", done.stdout, re.M)
    assert skipped == ["health: not among its capabilities", *SKIPPED.get(name, [])], done.stdout
    assert re.search(rf"^\d{{3}} ok, 0 failed, {len(skipped)} skipped$", done.stdout, re.M), done.stdout


@pytest.mark.parametrize("extension", ["", "1"], ids=["extension", "pure"])
def test_the_python_worker_keeps_to_it_over_its_socket(check, adapter, extension):
    path = adapter(CONFORMANCE, before="import time\nfrom snakepit_bridge import current_context\n")
    done = check("--timeout", "60s", "--adapter", path, SNAKEPIT_NO_EXTENSION=extension)
    assert (done.returncode, failures(done)) == (0, []), done.stdout + done.stderr
    assert re.findall(r"^skipped (.*)$", done.stdout, re.M) == ["health: not among its capabilities"]
    for part in ("value", "call", "cancel", "stream", "inbox", "tool", "end", "broken", "pool"):
        assert re.search(rf"^ok      {part}: ", done.stdout, re.M), (part, done.stdout)


LIES = {
    "is too new": "handshake",
    "has no secret": "handshake",
    "has no socket": "handshake",
    "says READY first": "handshake",
    "adds badly": "arguments: a list",
    "shortens": "value: float 1.5",
    "forgets the message": "error: of a tool",
    "fails instead": "cancel: of a call that runs",
    "invents codes": "error: of an unknown tool",
    "says nothing": "error: of an unknown tool",
    "answers another": "error: of an unknown tool",
    "answers no map": "error: of an unknown tool",
    "works late": "call: a deadline that has passed",
    "takes no time": "call: told how long it took",
    "ignores the window": "stream: no more chunks than there is credit for",
    "loses a chunk": "stream: chunks in order, then the result",
    "streams anything": "stream: a tool that does not, called as one that streams",
    "asks twice by one number": "tool: no number is used twice",
    "takes errors for results": "tool: its error ends the call",
    "does not stop": "end: STOP",
    "stops in anger": "end: STOP",
    "outlives the socket": "end: of the socket",
    "swallows garbage": "broken: a frame of version 2",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_worker_that_does_not_is_found_out(check, python, lie):
    for limit_s in (3, 20, LIMIT_S):  # of each answer: some of them never come
        done = check("--timeout", f"{limit_s}s", "--", python, FOREIGN, lie)
        if any(row.startswith(LIES[lie]) for row in failures(done)):
            break
    else:
        raise AssertionError(done.stdout)
    assert done.returncode == 1


def test_what_came_is_shown(check, python):
    done = check("--", python, FOREIGN, "is too new")
    found = re.search(
        r"^FAILED  handshake.*: expected HELLO of a worker that speaks version 1\n +received  01 01( [0-9a-f]{2})+",
        done.stdout,
        re.M,
    )
    assert found, done.stdout
    said = json.loads(check("-o", "json", "--", python, FOREIGN, "is too new").stdout)
    assert (said["ok"], said["skipped"]) == (0, 0)
    assert said["checks"][0]["verdict"] == "FAILED"
    assert said["checks"][0]["received"].startswith("01 01 00 00")


def test_a_program_that_is_no_worker(check):
    done = check("--", "/bin/cat")
    assert done.returncode == 1
    assert "expected HELLO as the first frame\n        received  the end of its socket" in done.stdout
    done = check("--", "/nonexistent/worker")
    assert done.returncode == 1
    assert "No such file or directory" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--adapter", "x.py", "--", "/bin/true"], ["--timeout", "0s", "--", "/bin/true"]])
def test_bad_usage(check, arguments):
    assert check(*arguments).returncode == 2


def test_an_interrupt_ends_it_and_its_worker(build, env, python, tmp_path):
    here = tmp_path / "here"
    script = tmp_path / "mute.py"
    script.write_text(
        f"import os, time\nopen({str(here)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )  # allow-sleep: it says nothing
    command = [str(build / "snakepit"), "worker-check", "--timeout", "10m", "--", python, str(script)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: here.exists() and here.read_text() != "", "the worker")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    wait_for(lambda: not os.path.exists(f"/proc/{here.read_text()}"), "the end of the worker")


def test_the_vectors_are_up_to_date():
    made = subprocess.run([sys.executable, str(ROOT / "tests/vectors/make.py"), "--check"], capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")


# ---- in a pool ----


@pytest.fixture(params=["c", "js"])
def command(request, build, python):
    return command_of(request.param, build, python)


def test_values_go_both_ways(build, env, command):
    with Host(build, env, command=command) as host:
        assert host.call("add", 1, 2) == 3
        assert host.call("add", a=1, b=-(2**40)) == 1 - 2**40
        value = {"a": [1, 2.5, None, True, "ä", {"$pit": "bytes", "b64": "AAE="}], "b": {"$pit": "tuple", "v": [2.0, -(2**63)]}}
        assert host.call_json("echo", json.dumps([value])) == value
        failed = host.fails("fail", "that is how it is")
        assert (failed.code, failed.message) == ("tool_execution_failed", "that is how it is")
        assert host.fails("nothing").code == "tool_not_found"


def test_a_worker_in_shell_in_a_pool(build, env, python):
    with Host(build, env, command=command_of("sh", build, python)) as host:
        pid = host.workers()[0]["pid"]
        for a, b in ((1, 2), (-(2**63), 2**63 - 1), (255, -128), (65536, -32769), (2**32, 2**31)):
            assert host.call("add", a, b) == host.call("add", a=a, b=b) == a + b
        assert host.fails("add", 2**63 - 1, 1).code == "limit_exceeded"
        assert host.fails("add", 2**63, 1).code == "invalid_parameter"
        assert host.call("words", "of a text, and 'quoted' $HOME `ls` \0 \\n\n") == 8
        value = {"a": [1, 2.5, None, True, "ä" * 300, list(range(40))]}
        assert host.call("echo", value) == value
        failed = host.fails("fail", "nö $(ls)")
        assert (failed.code, failed.message) == ("tool_execution_failed", "nö $(ls)")
        assert [worker["pid"] for worker in host.workers()] == [pid]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: host.stats()["restarts"] == 1 and host.is_whole(), "the worker to be replaced")
        assert host.call("add", 1, 2) == 3


@pytest.mark.parametrize("how", ["call", "submit"])
def test_a_deadline_is_told_and_the_worker_lives_on(build, env, command, how):
    with Host(build, env, command=command, cancel_grace_ms=LIMIT_S * 1000) as host:
        pid = host.workers()[0]["pid"]
        answer = host.ask(how, command="sleep", json="[3600000]", timeout_ms=100)
        if how == "submit":
            answer = host.ask("wait", index=answer["index"])
        assert answer["name"] == "deadline_exceeded"
        assert host.call("add", 1, 2) == 3  # which the same worker answers: it has been told
        assert [worker["pid"] for worker in host.workers()] == [pid]


def test_one_that_does_not_listen_is_killed_and_replaced(build, env, python):
    env["PYTHONPATH"] = str(build / "python")
    with Host(build, env, command=[python, FOREIGN, "says nothing"], cancel_grace_ms=50) as host:
        pid = host.workers()[0]["pid"]
        assert host.ask("call", command="add", json="[1, 2]", timeout_ms=100)["name"] == "deadline_exceeded"
        host.wait_until_whole()
        assert host.workers()[0]["pid"] != pid


def test_one_that_is_killed_is_replaced(build, env, command):
    with Host(build, env, command=command) as host:
        pending = host.start("submit", "sleep", 3600000)
        wait_for(lambda: host.stats()["busy"] == 1, "the call")
        os.kill(host.workers()[0]["pid"], signal.SIGALRM)
        failed = pending.fails()
        assert (failed.code, failed.details["exit_class"]) == ("worker_crash", "signal")
        host.wait_until_whole()
        assert host.call("add", 1, 2) == 3
