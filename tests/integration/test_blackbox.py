"""snakepit blackbox dump: what workers did last, of hosts that are busy, stopped or gone, and of workers that spoil their recorders."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime

import pytest
from programs import LIMIT_S, wait_for

WORK = """
def wait(self, spoil=None):
    if spoil is not None:
        self.spoil(spoil)
    print("here", flush=True)
    with open(os.environ["TEST_HERE"], "w") as here:
        here.write(str(os.getpid()))
    signal.pause()

def spoil(self, how):
    folder = "/proc/self/fd"
    fd = next(int(n) for n in os.listdir(folder) if "memfd:snakepit" in os.readlink(f"{folder}/{n}"))
    area = mmap.mmap(fd, os.fstat(fd).st_size)
    at = int.from_bytes(area[56:60], "little")
    if how == "header":
        area[at : at + 4096] = b"\\xff" * 4096
    elif how == "offset":
        area[56:60] = b"\\xff" * 4
    elif how == "rings":
        n = len(area) - at - 4096
        area[at + 4096 :] = random.Random(7).randbytes(n)
    elif how == "nearly":
        record = (1 << 32 | 1).to_bytes(8, "little") + b"\\xff" * 24
        n = (len(area) - at - 4096) // 32
        area[at + 4096 :] = record * n
"""


@pytest.fixture
def env(env, tmp_path):
    """A registry of its own: hosts of other tests live at the same time."""
    return {**env, "SNAKEPIT_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def host(waiting_host):
    return waiting_host(WORK)


@pytest.fixture
def dump(snakepit):
    def run(*arguments):
        done = snakepit("blackbox", "dump", "-o", "json", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return run


def only_worker(document, process):
    (host,) = (h for h in document["hosts"] if h["pid"] == process.pid)
    (worker,) = host["workers"]
    return host, worker


def check_running(worker):
    calls = [e for e in worker["events"] if e["event"] == "call"]
    assert [(e["command"], e["outcome"], e["lane"]) for e in calls] == [("wait", "running", 0)]
    assert {"spawned", "serving", "ready"} <= {e["event"] for e in worker["events"]}
    times = [datetime.strptime(e["time"], "%Y-%m-%dT%H:%M:%S.%fZ") for e in worker["events"]]
    assert times == sorted(times)


def test_a_call_that_runs(host, dump, snakepit):
    process, pid = host()
    told, worker = only_worker(dump(), process)
    assert (told["state"], worker["state"], worker["pid"]) == ("alive", "alive", pid)
    check_running(worker)
    assert only_worker(dump("--pid", str(process.pid), "--instance", told["instance"]), process)[1]["pid"] == pid
    few = only_worker(dump("--last", "1"), process)[1]["events"]
    assert [e["event"] for e in few] == ["call"]
    done = snakepit("blackbox", "dump")
    assert done.returncode == 0
    assert f"worker {worker['worker_id']}, pid {pid}, alive" in done.stdout
    assert " call             wait running sp-" in done.stdout


def test_stopped_host_and_worker(host, dump):
    process, pid = host()
    process.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: only_worker(dump(), process)[1]["state"] == "stopped", "the stop", LIMIT_S)
        told, worker = only_worker(dump(), process)
        assert told["state"] == "stopped"
        check_running(worker)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_several_hosts(host, dump):
    first, second = host(), host()
    document = dump()
    for process, pid in (first, second):
        assert only_worker(document, process)[1]["pid"] == pid


@pytest.mark.parametrize("arguments", [[], ["--pid", "1"], ["--instance", "nobody"]])
def test_nobody_lives(snakepit, arguments):
    done = snakepit("blackbox", "dump", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert "snakepit crash list" in done.stderr


def test_a_host_that_has_gone_is_not_told(host, snakepit):
    process, _ = host()
    process.kill()
    process.wait(LIMIT_S)
    assert snakepit("blackbox", "dump").returncode == 3


@pytest.mark.parametrize(
    "how, missing",
    [
        ("header", "its recorder has no layout that this program knows"),
        ("offset", "its recorder is off"),
        ("rings", None),
        ("nearly", None),
    ],
)
def test_a_worker_that_spoils_its_recorder(host, dump, snakepit, how, missing):
    process, pid = host(json.dumps({"spoil": how}))
    worker = only_worker(dump(), process)[1]
    assert (worker["pid"], worker.get("missing")) == (pid, missing)
    assert len(worker.get("events", [])) <= 100
    assert snakepit("blackbox", "dump").returncode == 0


@pytest.mark.parametrize(
    "arguments", [[], ["show"], ["dump", "more"], ["dump", "--last", "0"], ["dump", "--last", "x"], ["dump", "--pid", "-1"]]
)
def test_bad_usage(snakepit, arguments):
    done = snakepit("blackbox", *arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_absurd_numbers(snakepit):
    assert snakepit("blackbox", "dump", "--last", "100001").returncode != 0
