"""CANCEL frames: what a worker without rings hears of a call that shall end, with the marks of shared memory beside it and without."""

import struct
import time

import pytest
from bridge_host import CALL, CANCEL, ERROR, NESTED, RESULT, TIMEOUT, TOOL_CALL, TOOL_RESULT, _codec, call_payload, frame
from package_kit import MODES, not_under_tsan

pytestmark = [
    not_under_tsan,  # some of these break loops that call nothing
    pytest.mark.parametrize("worker", MODES[:2], indirect=True),
]
HEADER = struct.Struct("<BBHIQQ")

ADAPTER = """
    import asyncio, os, threading, time
    from snakepit_bridge import BaseAdapter, Cancelled, current_context, tool

    def say(path):
        with open(path, "w"):
            pass

    class C(BaseAdapter):
        ended = ""

        @tool
        def add(self, a, b):
            return a + b

        @tool
        def how_it_ended(self):
            ended, self.ended = self.ended, ""
            return ended

        @tool
        def count(self, n):
            try:
                for i in range(n):
                    yield i
            finally:
                self.ended = "closed"

        @tool
        async def acount(self, n):
            try:
                for i in range(n):
                    yield i
            finally:
                self.ended = "closed"

        @tool
        def total(self, inbox):
            return sum(inbox)

        @tool
        async def atotal(self, inbox):
            return sum([n async for n in inbox])

        @tool
        def ask(self, name):
            return current_context().call_host_tool(name)

        @tool
        async def aask(self, name):
            return await current_context().acall_host_tool(name)

        @tool
        def polls(self, here):
            context = current_context()
            say(here)
            while not context.cancelled():
                pass
            return "saw it"

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
        async def wait(self, here):
            say(here)
            await asyncio.sleep(3600)  # allow-sleep: it is to be broken

        @tool
        async def block(self, here):
            say(here)
            while True:
                pass

        @tool
        def spins_between(self, n, here):
            yield 0
            say(here)
            while True:
                pass

        @tool
        def asks_and_dozes(self, name, here):
            current_context().call_host_tool(name)
            say(here)
            time.sleep(3600)  # allow-sleep: it is to be broken

        @tool
        def tidy(self, here):
            try:
                self.spin(here)
            except Cancelled:
                self.ended = "tidy"
                raise
"""
BOTH = pytest.mark.parametrize("segment", [True, False], ids=["marks", "bare"])


@pytest.fixture
def host(worker, segment):
    return worker(ADAPTER, segment=segment)


@pytest.fixture
def bare(worker):
    return worker(ADAPTER, segment=False)


def cancel(host, id):
    host.send(frame(CANCEL, b"", id))


def wait_for(path):
    until = time.monotonic() + TIMEOUT
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.001)  # allow-sleep: between two looks


def hear(host, kind):
    """The id of the next frame, which is of this kind."""
    data = host.recv()
    assert data is not None and data[1] == kind, data
    return HEADER.unpack_from(data)[4]


def is_cancelled(host, id):
    kind, answered, _, error = host.answer()
    assert (kind, answered, error["code"]) == (ERROR, id, "cancelled")
    assert host.call("add", 1, 2) == 3


@BOTH
def test_it_says_that_it_hears_them(host):
    assert "cancel" in host.greeting["capabilities"]


@BOTH
@pytest.mark.parametrize("command", ["count", "acount", "total", "atotal"])
def test_who_waits_for_credit_or_the_inbox(host, command):
    args = [1000] if command.endswith("count") else []
    s = host.open_stream(command, *args, window=(2, 1 << 20), inbox=not args)
    if args:
        assert [s.next()[0], s.next()[0]] == [0, 1]
    cancel(host, s.id)
    assert s.all(grant=False) == []
    assert s.error()["code"] == "cancelled"
    assert host.call("how_it_ended") == ("closed" if args else "")


@BOTH
@pytest.mark.parametrize("command", ["ask", "aask"])
def test_who_waits_for_a_tool(host, command):
    id = host.send_call(command, "slow")
    asked = hear(host, TOOL_CALL)
    cancel(host, id)
    is_cancelled(host, id)
    host.send(frame(TOOL_RESULT, _codec.encode(1), asked))  # nobody's
    assert host.call("add", 1, 2) == 3


@BOTH
def test_the_inner_call_alone(host):
    outer = host.send_call("ask", "nest")
    asked = hear(host, TOOL_CALL)
    host.sequence += 1
    inner = host.sequence
    host.send(frame(CALL, call_payload("ask", "slow"), inner, flags=NESTED))
    asked_inside = hear(host, TOOL_CALL)
    cancel(host, inner)
    kind, answered, _, error = host.answer()
    assert (kind, answered, error["code"]) == (ERROR, inner, "cancelled")
    for id in (asked_inside, asked):
        host.send(frame(TOOL_RESULT, _codec.encode("it goes on"), id))
    assert host.answer()[:2] == (RESULT, outer)
    assert host.call("add", 1, 2) == 3


@BOTH
def test_of_calls_that_have_ended_they_are_dropped(host):
    for n in range(300):
        cancel(host, host.sequence)
        assert host.call("add", n, 1) == n + 1
        cancel(host, host.sequence)
    id = host.send_call("ask", "x")
    asked = hear(host, TOOL_CALL)
    for n in range(id):
        cancel(host, n)
    host.send(frame(TOOL_RESULT, _codec.encode(5), asked))
    assert host.answer()[1::2] == (id, 5)


@BOTH
def test_of_a_call_that_has_not_begun(host):
    """Two calls at once: the second has been put aside, where it was met, when its CANCEL comes."""
    first = host.send_call("ask", "x")
    asked = hear(host, TOOL_CALL)
    second = host.send_call("spin", "/nowhere")
    cancel(host, second)
    host.send(frame(TOOL_RESULT, _codec.encode(5), asked))
    assert host.answer()[1::2] == (first, 5)
    is_cancelled(host, second)


@pytest.mark.parametrize("command", ["spin", "doze", "read", "wait", "block", "tidy", "polls"])
def test_without_marks_what_runs_is_interrupted(bare, tmp_path, command):
    for n in range(3):
        here = tmp_path / f"here{n}"
        id = bare.send_call(command, str(here))
        wait_for(here)
        cancel(bare, id)
        is_cancelled(bare, id)
    assert bare.call("how_it_ended") == ("tidy" if command == "tidy" else "")


def test_without_marks_before_it_has_begun(bare, tmp_path):
    """Both frames at once: whenever the second is seen, it is not lost."""
    for n in range(100):
        bare.sequence += 1
        command = ("spin", "wait")[n % 2]
        both = frame(CALL, call_payload(command, str(tmp_path / "here")), bare.sequence) + frame(CANCEL, b"", bare.sequence)
        bare.send(both)
        is_cancelled(bare, bare.sequence)


def test_without_marks_between_two_chunks(bare, tmp_path):
    s = bare.open_stream("spins_between", 1, str(tmp_path / "here"))
    assert s.next()[0] == 0
    wait_for(tmp_path / "here")
    cancel(bare, s.id)
    assert s.all() == []
    assert s.error()["code"] == "cancelled"
    s = bare.open_stream("acount", 10**9, window=((1 << 32) - 1, 1 << 62))
    assert s.next()[0] == 0
    cancel(bare, s.id)
    s.all(grant=False)
    assert s.error()["code"] == "cancelled"
    assert bare.call("how_it_ended") == "closed"


def test_without_marks_after_an_answer(bare, tmp_path):
    """The CANCEL may be read together with the answer that the call waited for."""
    for n in range(30):
        here = tmp_path / f"here{n}"
        id = bare.send_call("asks_and_dozes", "x", str(here))
        answer = frame(TOOL_RESULT, _codec.encode(5), hear(bare, TOOL_CALL))
        if n % 2:
            bare.send(answer + frame(CANCEL, b"", id))
        else:
            bare.send(answer)
            wait_for(here)
            cancel(bare, id)
        is_cancelled(bare, id)


def test_without_marks_a_nested_call_is_interrupted(bare, tmp_path):
    outer = bare.send_call("ask", "nest")
    asked = hear(bare, TOOL_CALL)
    bare.sequence += 1
    inner = bare.sequence
    bare.send(frame(CALL, call_payload("doze", str(tmp_path / "here")), inner, flags=NESTED))
    wait_for(tmp_path / "here")
    cancel(bare, inner)
    assert bare.answer()[:2] == (ERROR, inner)
    bare.send(frame(TOOL_RESULT, _codec.encode(None), asked))
    assert bare.answer()[:2] == (RESULT, outer)
