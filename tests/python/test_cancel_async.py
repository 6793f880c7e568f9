"""Async code that is on its way to its end: what it awaits there is cut by the third rung alone, and by no second word before it."""

import time

import pytest
from bridge_host import CANCEL, CREDIT, ERROR, TIMEOUT, Host, _codec, frame, wait_until_started
from package_kit import MODES, needs_extension, not_under_tsan

pytestmark = not_under_tsan  # it defers signals
SIGNAL = 44
AT_LARGE = (1 << 32) - 1, 1 << 62

# Each tool says by a file that it has come to a place, and goes on when the file is gone.
ADAPTER = """
import asyncio, os
from snakepit_bridge import BaseAdapter, current_context, tool

async def pause(path):
    with open(path, "w"):
        pass
    while os.path.exists(path):
        await asyncio.sleep(0)  # allow-sleep: lets the event loop turn
    for _ in range(100):  # what was asked for before that comes up here
        await asyncio.sleep(0)  # allow-sleep: lets the event loop turn

class C(BaseAdapter):
    adapter_scope = "{scope}"
    __thread_safe__ = True
    ended = []

    async def last(self, path):
        try:
            await pause(path)
        except BaseException as exc:
            C.ended.append(type(exc).__name__)
            raise
        C.ended.append("whole")

    async def cleanup(self):
        if self.adapter_scope == "request" and hasattr(self, "cleaning"):
            await self.last(self.cleaning)

    @tool
    def how_it_ended(self):
        ended, C.ended = C.ended, []
        return ended

    @tool
    async def checks(self, here, there):
        try:
            await pause(here)
            current_context().check()
        finally:
            await self.last(there)

    @tool
    async def checks_beside(self, here, there):
        def beside(context):
            while True:
                context.check()
        try:
            await pause(here)
            await asyncio.to_thread(beside, current_context())
        finally:
            await self.last(there)

    @tool
    async def waits(self, here, there):
        try:
            with open(here, "w"):
                pass
            await asyncio.sleep(3600)  # allow-sleep: it is to be broken
        finally:
            await self.last(there)

    @tool
    async def makes(self, here, there):
        try:
            yield 0
            await pause(here)
            yield 1
        finally:
            await self.last(there)

    @tool
    async def sends(self, here, there, stream):
        try:
            await stream.send(0)
            await pause(here)
            await stream.send(1)
        finally:
            await self.last(there)

    @tool
    async def reads(self, here, there, stream, inbox):
        try:
            await stream.send(0)
            await pause(here)
            async for word in inbox:
                pass
        finally:
            await self.last(there)

    @tool
    async def cleaned(self, there):
        self.cleaning = there

    @tool
    async def makes_cleaned(self, there):
        self.cleaning = there
        yield 0
"""
CALLS = ["checks", "checks_beside", "waits"]
STREAMS = ["makes", "sends", "reads"]


@pytest.fixture
def start(worker):
    return lambda scope="worker": worker(ADAPTER.replace("{scope}", scope), welcome={"cancel_signal": SIGNAL})


def wait_for(condition):
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)  # allow-sleep: between two looks


def pending(w):
    """Has the process been given the signals? Its handler runs before the next step of the main thread then."""
    with open(f"/proc/{w.process.pid}/status") as f:
        found = [int(line.split()[1], 16) for line in f if line.startswith("ShdPnd:")]
    return found[0] >> (SIGNAL - 1) & 1


def signal(w):
    w.process.send_signal(SIGNAL)
    wait_for(lambda: not pending(w))


def begin(w, command, *paths):
    """A call that is to be cancelled: its id, and the stream if it is one."""
    if command not in STREAMS and command != "makes_cleaned":
        return w.send_call(command, *map(str, paths)), None
    s = w.open_stream(command, *map(str, paths), window=AT_LARGE, inbox=command == "reads")
    assert s.next()[0] == 0
    return s.id, s


def come_to_the_end(w, command, here, there):
    """The call has heard that it shall end, and is in its ``finally``."""
    id, s = begin(w, command, here, there)
    wait_for(here.exists)
    if command == "waits":
        wait_until_started(w, id)
        wait_for(lambda: w.segment.task() == id)
        w.segment.cancel(id)
        signal(w)
        here.unlink()
    else:
        w.segment.cancel(id)
        here.unlink()
    wait_for(there.exists)
    return id, s


def error_of(w, id, s):
    if s is not None:
        assert s.all(grant=False) == []
        return s.error()
    kind, answered, _, error = w.answer()
    assert (kind, answered) == (ERROR, id)
    return error


def whole(w, tmp_path, command):
    here, there = tmp_path / "here", tmp_path / "there"
    id, s = come_to_the_end(w, command, here, there)
    for _ in range(5):
        signal(w)
    there.unlink()
    assert error_of(w, id, s)["code"] == "cancelled"
    assert w.call("how_it_ended") == ["whole"], command


def test_what_is_unwinding_is_not_cancelled_again(start, tmp_path):
    w = start()
    for command in CALLS + STREAMS:
        whole(w, tmp_path, command)


@needs_extension
def test_on_a_lane_of_several(write, tmp_path):
    with Host(write(ADAPTER.replace("{scope}", "worker")), channel="ring", lanes=2) as w:
        w.ready(lanes=2, profile="thread", cancel_signal=SIGNAL)
        for command in CALLS + STREAMS:
            whole(w, tmp_path, command)


def test_the_third_rung_cuts_it(start, tmp_path):
    w = start()
    for command in ("checks", "waits", "makes"):
        here, there = tmp_path / "here", tmp_path / "there"
        id, s = come_to_the_end(w, command, here, there)
        w.segment.raise_in(id)
        for _ in range(5):
            signal(w)
        assert error_of(w, id, s)["code"] == "cancelled"
        assert w.call("how_it_ended")[0] in ("CancelledError", "Cancelled"), command
        there.unlink()


@pytest.mark.parametrize("raising", [False, True], ids=["second", "third"])
def test_cleanup_of_a_request_is_not_cut_before_the_third_rung(start, tmp_path, raising):
    w = start("request")
    there = tmp_path / "there"
    for command in ("cleaned", "makes_cleaned"):
        id, s = begin(w, command, there)
        wait_for(there.exists)
        w.segment.cancel(id)
        if raising:
            w.segment.raise_in(id)
        for _ in range(5):
            signal(w)
        there.unlink()
        if s is None:
            assert w.answer()[1] == id
        else:
            s.all(grant=False)
        ended = w.call("how_it_ended")
        assert len(ended) == 1 and (ended[0] == "whole") is not raising, command


@pytest.mark.parametrize("worker", MODES[:2], indirect=True)
def test_without_marks_each_frame_that_comes_asks_again(worker, tmp_path):
    w = worker(ADAPTER.replace("{scope}", "worker"), segment=False)
    for command in ("waits", "makes"):
        here, there = tmp_path / "here", tmp_path / "there"
        id, s = begin(w, command, here, there)
        wait_for(here.exists)
        w.send(frame(CANCEL, b"", id))
        wait_for(there.exists)
        for _ in range(5):
            w.send(frame(CREDIT, _codec.encode(1) + _codec.encode(1), 4711))  # of no call
        here.unlink()
        there.unlink()
        assert error_of(w, id, s)["code"] == "cancelled"
        assert w.call("how_it_ended") == ["whole"], command
