"""The third rung in the worker: the signal, the call that it is for, and all the others."""

import re
import time

import pytest
from bridge_host import ERROR, RESULT, TIMEOUT, wait_until_started
from package_kit import not_under_tsan

pytestmark = not_under_tsan  # most of these break loops that call nothing
SIGNAL = 44

# A call counts as started before its function is entered, and one that is cancelled in between is answered without running. So each
# tool says by a file that it has come to what is to be interrupted, from where an exception finds it.
ADAPTER = """
import asyncio, os, signal, time
from snakepit_bridge import BaseAdapter, Cancelled, tool

def say(path):
    with open(path, "w"):
        pass

class C(BaseAdapter):
    @tool
    def spin(self, here):
        say(here)
        while True:
            pass

    @tool
    def doze(self, here):
        say(here)
        time.sleep(3600)  # allow-sleep: it is to be broken

    @tool
    def read(self, here):
        r, w = os.pipe()
        say(here)
        os.read(r, 1)

    @tool
    def lock(self, here):
        import threading
        held = threading.Lock()
        held.acquire()
        say(here)
        held.acquire()

    @tool
    def tidy(self, here, path):
        try:
            say(here)
            while True:
                pass
        finally:
            with open(path, "w") as f:
                f.write("tidy")

    @tool
    def stay(self, here):
        say(here)
        while os.path.exists(here):
            pass
        return "stayed"

    @tool
    def stay_twice(self, here):
        ended = "the flag"
        try:
            say(here)
            while os.path.exists(here):
                pass
            ended = "the signal"
            say(here)
            while True:
                pass
        except Cancelled:
            return ended

    @tool
    def swallow(self, here, caught):
        try:
            say(here)
            while True:
                pass
        except Cancelled:
            pass
        say(caught)
        while os.path.exists(caught):
            pass
        return "swallowed"

    @tool
    async def wait(self):
        await asyncio.sleep(3600)  # allow-sleep: it is to be broken

    @tool
    async def block(self, here):
        say(here)
        while True:
            pass

    @tool
    def block_later(self, here, began):
        say(here)
        while os.path.exists(here):
            pass
        return self.block(began)

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


def wait_for(condition):
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)  # allow-sleep: between two looks


def begin(w, command, here, *args):
    """A call that has come to what is to be interrupted."""
    id = w.send_call(command, str(here), *map(str, args))
    wait_for(here.exists)
    return id


def asleep(w):
    """Does the main thread sleep in the kernel? What comes a moment before that, it sleeps over, as all Python code does."""
    with open(f"/proc/{w.process.pid}/task/{w.process.pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0] == "S"


def taken(w):
    """Has the process been given the signals? Its handler runs before the next step of the main thread then."""
    with open(f"/proc/{w.process.pid}/status") as f:
        pending = re.search(r"^ShdPnd:\s*([0-9a-f]+)$", f.read(), re.M)
    return not int(pending[1], 16) >> (SIGNAL - 1) & 1


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
def test_what_runs_is_interrupted(cancelling, tmp_path, command):
    w = cancelling()
    id = begin(w, command, tmp_path / "here")
    if command in ("doze", "read", "lock"):
        wait_for(lambda: asleep(w))
    interrupt(w, id)
    kind, answered, _, error = w.answer()
    assert (kind, answered, error["code"]) == (ERROR, id, "cancelled")
    assert error["python"]["type"].endswith("Cancelled")
    assert w.call("add", 1, 2) == 3


def test_what_has_not_begun_is_not_begun(cancelling):
    w = cancelling()
    w.segment.cancel(1)
    error = w.error("spin", "/nowhere")
    assert (error["code"], error["message"]) == ("cancelled", "the call was cancelled before it began")
    assert w.call("add", 1, 2) == 3


def test_the_flag_alone_interrupts_nothing(cancelling, tmp_path):
    w = cancelling()
    path = tmp_path / "here"
    id = begin(w, "stay_twice", path)
    w.segment.cancel(id)
    w.process.send_signal(SIGNAL)
    wait_for(lambda: taken(w))
    path.unlink()
    wait_for(path.exists)
    interrupt(w, id)
    assert w.answer()[3] == "the signal"


def test_finally_runs(cancelling, tmp_path):
    w = cancelling()
    path = tmp_path / "out"
    id = begin(w, "tidy", tmp_path / "here", path)
    interrupt(w, id)
    assert w.answer()[3]["code"] == "cancelled"
    assert path.read_text() == "tidy"


def test_it_comes_once_a_call(cancelling, tmp_path):
    w = cancelling()
    caught = tmp_path / "caught"
    id = begin(w, "swallow", tmp_path / "here", caught)
    interrupt(w, id, times=20)
    wait_for(caught.exists)
    interrupt(w, id, times=20)
    wait_for(lambda: taken(w))
    caught.unlink()
    kind, answered, _, value = w.answer()
    assert (kind, answered, value) == (RESULT, id, "swallowed")


def test_a_task_is_cancelled_by_the_flag(cancelling):
    w = cancelling()
    w.call("start_other")
    id = w.send_call("wait")
    wait_until_started(w, id)
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


def test_a_task_that_was_cancelled_between_its_call_and_its_first_step(cancelling, tmp_path):
    """Its first step is not made: it might never come to an await, and the signal may have come too early for it."""
    w = cancelling()
    path, began = tmp_path / "here", tmp_path / "began"
    id = begin(w, "block_later", path, began)
    w.segment.cancel(id)
    path.unlink()
    kind, answered, _, error = w.answer()
    assert (kind, answered, error["code"]) == (ERROR, id, "cancelled")
    assert not began.exists()
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


def test_who_ignores_the_signal_is_not_interrupted(cancelling, tmp_path):
    w = cancelling()
    w.call("own_handler")
    path = tmp_path / "here"
    id = begin(w, "stay", path)
    interrupt(w, id)
    path.unlink()
    kind, answered, _, value = w.answer()
    assert (kind, answered, value) == (RESULT, id, "stayed")
