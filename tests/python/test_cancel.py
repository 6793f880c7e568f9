"""The third rung in the worker: the signal, the call that it is for, and all the others."""

import os
import signal
import time

import pytest
from bridge_host import ERROR, RESULT, wait_until_started

SIGNAL = 44
LIMIT_S = 30

ADAPTER = """
import asyncio, os, signal, time
from snakepit_bridge import BaseAdapter, Cancelled, tool

class C(BaseAdapter):
    @tool
    def spin(self):
        while True:
            pass

    @tool
    def doze(self):
        time.sleep(3600)  # allow-sleep: it is to be broken

    @tool
    def read(self):
        r, w = os.pipe()
        os.read(r, 1)

    @tool
    def lock(self):
        import threading
        held = threading.Lock()
        held.acquire()
        held.acquire()

    @tool
    def tidy(self, path):
        try:
            while True:
                pass
        finally:
            with open(path, "w") as f:
                f.write("tidy")

    @tool
    def swallow(self, path):
        with open(path, "w"):
            pass
        try:
            while True:
                pass
        except Cancelled:
            pass
        while os.path.exists(path):
            pass
        return "swallowed"

    @tool
    async def wait(self):
        await asyncio.sleep(3600)  # allow-sleep: it is to be broken

    @tool
    async def block(self):
        while True:
            pass

    @tool
    async def start_other(self):
        async def other():
            await asyncio.sleep(3600)  # allow-sleep: it is not broken
        self.other = asyncio.ensure_future(other())

    @tool
    async def other_lives(self):
        return not self.other.done()

    @tool
    def own_handler(self):
        signal.signal(44, signal.SIG_IGN)

    @tool
    def add(self, a, b):
        return a + b
"""

SURVIVOR = ADAPTER.replace("class C(BaseAdapter):", "class C(BaseAdapter):\n    survives_cancel = True\n")


@pytest.fixture
def cancelling(worker):
    return lambda adapter=ADAPTER: worker(adapter, welcome={"cancel_signal": SIGNAL})


def interrupt(w, id, times=1):
    """What the host does on rung 3."""
    w.segment.cancel(id)
    w.segment.raise_in(id)
    for _ in range(times):
        w.process.send_signal(SIGNAL)


def begin(w, command, *args):
    id = w.send_call(command, *args)
    wait_until_started(w, id)
    return id


def wait_for(condition):
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)  # allow-sleep: between two looks


def test_it_says_that_it_takes_the_signal(cancelling):
    found = cancelling().greeting["capabilities"]
    assert "cancel_signal" in found and "survives_cancel" not in found


def test_it_says_that_it_survives(cancelling):
    assert {"cancel_signal", "survives_cancel"} <= set(cancelling(SURVIVOR).greeting["capabilities"])


def test_a_host_that_names_no_signal(worker):
    w = worker(ADAPTER)
    assert "cancel_signal" not in w.greeting["capabilities"]
    assert w.call("add", 1, 2) == 3


@pytest.mark.parametrize("number", ["44", True, -1, 9, 4711])
def test_a_signal_that_cannot_be_taken(worker, number):
    assert "cancel_signal" not in worker(ADAPTER, welcome={"cancel_signal": number}).greeting["capabilities"]


@pytest.mark.parametrize("command", ["spin", "doze", "read", "lock", "block"])
def test_what_runs_is_interrupted(cancelling, command):
    w = cancelling()
    id = begin(w, command)
    interrupt(w, id)
    kind, answered, _, error = w.answer()
    assert (kind, answered, error["code"]) == (ERROR, id, "cancelled")
    assert error["python"]["type"].endswith("Cancelled")
    assert w.call("add", 1, 2) == 3


def test_the_flag_alone_interrupts_nothing(cancelling, tmp_path):
    w = cancelling()
    path = tmp_path / "here"
    id = begin(w, "swallow", str(path))
    wait_for(path.exists)
    w.segment.cancel(id)
    w.process.send_signal(SIGNAL)
    path.unlink()
    interrupt(w, id)
    assert w.answer()[3] == "swallowed"


def test_finally_runs(cancelling, tmp_path):
    w = cancelling()
    path = tmp_path / "out"
    id = begin(w, "tidy", str(path))
    interrupt(w, id)
    assert w.answer()[3]["code"] == "cancelled"
    assert path.read_text() == "tidy"


def test_it_comes_once_a_call(cancelling, tmp_path):
    w = cancelling()
    path = tmp_path / "here"
    id = begin(w, "swallow", str(path))
    wait_for(path.exists)
    interrupt(w, id, times=20)
    path.unlink()
    kind, answered, _, value = w.answer()
    assert (kind, answered, value) == (RESULT, id, "swallowed")


def test_a_task_is_cancelled_by_the_flag(cancelling):
    w = cancelling()
    w.call("start_other")
    id = begin(w, "wait")
    wait_for(lambda: w.segment.task() == id)
    w.segment.cancel(id)
    w.process.send_signal(SIGNAL)
    kind, answered, _, error = w.answer()
    assert (kind, answered, error["code"]) == (ERROR, id, "cancelled")
    assert w.segment.task() == 0
    assert w.call("other_lives") is True


def test_a_task_that_was_cancelled_before_it_began(cancelling):
    w = cancelling()
    w.segment.cancel(1)
    assert w.error("wait")["code"] == "cancelled"
    assert w.call("add", 1, 2) == 3


def test_late_and_early_signals_do_nothing(cancelling):
    w = cancelling()
    for n in range(200):
        interrupt(w, w.sequence)  # of the call that has ended
        assert w.call("add", n, 1) == n + 1
        interrupt(w, w.sequence + 3)  # of one that will come
        w.segment.cancel(0)
        assert w.call("add", n, 2) == n + 2
    for _ in range(200):  # while it sleeps between two calls
        w.process.send_signal(SIGNAL)
    assert w.call("add", 1, 2) == 3


def test_who_ignores_the_signal_is_not_interrupted(cancelling):
    w = cancelling()
    w.call("own_handler")
    id = begin(w, "spin")
    interrupt(w, id)
    assert w.process.poll() is None
    os.kill(w.process.pid, signal.SIGKILL)
