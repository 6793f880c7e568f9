"""snakepit worker stack: what a worker is doing, of hosts that are busy, stopped or gone, and of workers that cannot answer, or lie."""

from __future__ import annotations

import json
import os
import signal

import pytest
from programs import LIMIT_S, wait_for

WORK = """
def wait(self, spoil=None):
    if spoil is not None:
        self.spoil(spoil)
    with open(os.environ["TEST_HERE"], "w") as here:
        here.write(str(os.getpid()))
    self.hang()

def hang(self):
    threading.Semaphore(0).acquire(timeout=3600)

def spoil(self, how):
    folder = "/proc/self/fd"
    fd = next(int(n) for n in os.listdir(folder) if "memfd:snakepit" in os.readlink(f"{folder}/{n}"))
    area = mmap.mmap(fd, os.fstat(fd).st_size)
    at = int.from_bytes(area[60:64], "little")
    if how == "header":
        area[0:8] = bytes(8)
    elif how == "offset":
        area[60:64] = b"\\xc0\\xff\\xff\\xff"
    elif how == "never":
        area[at + 4 : at + 8] = bytes(4)
    elif how == "claimed":
        area[at + 8 : at + 16] = b"\\xff" * 8
"""


@pytest.fixture
def env(env, tmp_path):
    """A registry of its own: hosts of other tests live at the same time."""
    return {**env, "SNAKEPIT_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def host(waiting_host):
    return waiting_host(WORK)


@pytest.fixture
def stack(snakepit):
    def run(*arguments):
        done = snakepit("worker", "stack", "default/0.1", "-o", "json", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return run


def functions(told):
    return [f["function"] for t in told.get("python", []) if t.get("main") for f in t["frames"]]


def hangs(told):
    """On a machine under load an answer may be late, and then not whole."""
    return "hang" in functions(told) and "called from" in told["summary"]


def await_hang(stack, *arguments):
    found = []
    wait_for(lambda: found.append(stack(*arguments)) or hangs(found[-1]), "an answer", LIMIT_S)
    return found[-1]


def test_a_call_that_hangs(host, stack, snakepit):
    process, pid = host()
    told = await_hang(stack)
    assert (told["worker_id"], told["pid"], told["state"]) == ("default/0.1", pid, "sleeping")
    assert told["host"]["pid"] == process.pid
    assert functions(told)[:3] == ["acquire", "hang", "wait"] or functions(told)[:4] == ["wait", "acquire", "hang", "wait"]
    (main,) = (t for t in told["threads"] if t["main"])
    assert (main["tid"], main["syscall"], main["lane"]) == (pid, "futex", 0)

    def seen():
        done = snakepit("worker", "stack", "default/0.1", "--pid", str(process.pid))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout if "called from" in done.stdout and ", in hang\n" in done.stdout else None

    said = wait_for(seen, "the stack as text", LIMIT_S)
    assert f"worker default/0.1, pid {pid}, of the host with pid {process.pid}\n" in said
    assert f"thread {pid} " in said


def test_a_host_that_is_stopped(host, stack):
    process, pid = host()
    process.send_signal(signal.SIGSTOP)
    assert await_hang(stack)["pid"] == pid


def test_a_worker_that_is_stopped(host, stack):
    _, pid = host()
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: stack()["state"] == "stopped", "the stop", LIMIT_S)
        told = stack()
        assert told["missing"] == ["python: the process is stopped"]
        assert "stopped" in told["summary"]
    finally:
        os.kill(pid, signal.SIGCONT)
    await_hang(stack)  # (restart_syscall): what the stop has interrupted goes on


def test_several_hosts(host, stack, snakepit):
    first, second = host(), host()
    done = snakepit("worker", "stack", "default/0.1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "2 hosts have a worker default/0.1" in done.stderr
    for process, pid in (first, second):
        assert stack("--pid", str(process.pid))["pid"] == pid


def test_no_such_worker(host, snakepit):
    host()
    done = snakepit("worker", "stack", "default/0.2")
    assert (done.returncode, done.stdout) == (1, "")
    assert "did you mean default/0.1?" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--pid", "1"]])
def test_nobody_lives(snakepit, arguments):
    done = snakepit("worker", "stack", "default/0.1", *arguments)
    assert (done.returncode, done.stdout) == (3, "")


def test_a_host_that_has_gone(host, snakepit):
    process, _ = host()
    process.kill()
    process.wait(LIMIT_S)
    assert snakepit("worker", "stack", "default/0.1").returncode == 3


@pytest.mark.parametrize(
    "how, missing",
    [
        ("header", "python: the worker has no memory for answers"),
        ("offset", "python: the worker has no memory for answers"),
        ("never", "python: nothing in it answers"),
        ("claimed", None),
    ],
)
def test_a_worker_that_spoils_its_page(host, stack, how, missing):
    _, pid = host(json.dumps({"spoil": how}))
    if missing is None:
        await_hang(stack)
        return
    told = stack()
    assert (told["pid"], told["partial"]) == (pid, True)
    assert told["missing"][0].startswith(missing)
    assert any(t["main"] for t in told["threads"])


@pytest.mark.parametrize(
    "arguments", [[], ["stack"], ["show", "x"], ["stack", "a", "b"], ["stack", "a", "--pid", "-1"], ["stack", "a", "--all"]]
)
def test_bad_usage(snakepit, arguments):
    done = snakepit("worker", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
