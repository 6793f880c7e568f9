"""Signs of life: pings in the segment and in frames, and health checks, in each mode of a worker."""

import os
import select
import struct
import time

import pytest
from bridge_host import TIMEOUT, frame, payload_of

PING, PONG, HEALTH, HEALTH_REPLY = 48, 49, 50, 51
WORD_PING, WORD_PONG, WORD_PONG_NS, WORD_TICKS = 60, 108, 112, 120

PLAIN = """
    class Adapter:
        def add(self, a, b):
            return a + b

        def hold(self, fifo):
            import ctypes, os
            fd = os.open(fifo, os.O_WRONLY)
            ctypes.PyDLL(None).write(fd, bytes(1 << 20), 1 << 20)  # more than it takes while nobody reads

        def health(self):
            return "a command"
    """

ADAPTER = """
    from snakepit_bridge import BaseAdapter, tool

    class Adapter(BaseAdapter):
        said = {"status": "ok", "loaded_models": ["m"], "memory_mb": 2.5}

        async def health(self):
            if isinstance(self.said, Exception):
                raise self.said
            return self.said

        @tool
        def say(self, what):
            self.said = RuntimeError(what[6:]) if isinstance(what, str) and what.startswith("raise ") else what
    """


def send(host, kind, id):
    host.control.sendall(frame(kind, b"", id))
    if host.lane is not None:
        host.lane.ring_bell()


def wait_for(condition, what):
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.002)  # allow-sleep: between two looks


def word(host, at, form="<I"):
    return struct.unpack_from(form, host.segment.map, host.segment.offset + at)[0]


def ping(host, number):
    host.segment.halves[(host.segment.offset + WORD_PING) // 4] = number
    import ctypes

    import bridge_host

    anchor = ctypes.c_char.from_buffer(host.segment.map, host.segment.offset + WORD_PING)
    bridge_host._futex_wake(ctypes.addressof(anchor))
    del anchor


def check(host, id):
    """The answer to a health check."""
    send(host, HEALTH, id)
    while True:
        kind, answered, _, value = payload_of(host.recv_frame())
        if kind == HEALTH_REPLY:
            assert answered == id
            return value


def test_pings_between_calls(worker):
    host = worker(PLAIN)
    assert "ping" in host.greeting["capabilities"] and "health" not in host.greeting["capabilities"]
    for id in (1, 7, 0xFFFFFFFF):
        send(host, PING, id)
        data = host.recv_frame()
        assert data[1] == PONG and len(data) == 24 and struct.unpack_from("<Q", data, 8)[0] == id
        assert host.call("add", id, 1) == id + 1
    assert host.call("health") == "a command"
    assert host.stop() == 0


def has_heart(host):
    return "heart" in host.greeting["capabilities"]


def test_the_heart_beats_while_c_holds_the_gil(worker, tmp_path):
    host = worker(PLAIN, welcome={"heartbeat": True})
    if not has_heart(host):
        assert not host.hello["runtime"]["extension"]
        return
    ping(host, 1)
    wait_for(lambda: word(host, WORD_PONG) == 1, "no answer while idle")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    host.send_call("hold", str(fifo))
    assert select.select([reader], [], [], TIMEOUT)[0], "the call did not come to C"
    ticks = word(host, WORD_TICKS, "<Q")
    for number in range(2, 6):
        before = time.monotonic_ns()
        ping(host, number)
        wait_for(lambda number=number: word(host, WORD_PONG) == number, "no answer while C holds the GIL")
        assert before <= word(host, WORD_PONG_NS, "<Q") <= time.monotonic_ns()
    assert word(host, WORD_TICKS, "<Q") == ticks
    os.close(reader)


def test_no_heart_unless_it_is_wanted(worker):
    host = worker(PLAIN)
    assert not has_heart(host)
    assert host.stop() == 0


@pytest.mark.parametrize(
    ("said", "ok", "reason"),
    [
        ({"status": "ok", "more": 1}, True, None),
        ({"status": "healthy"}, True, None),
        ({}, True, None),
        (None, True, None),
        (True, True, None),
        (False, False, "health() returned False"),
        ({"status": "tired"}, False, "its status is tired"),
        ({"status": 7}, False, "its status is 7"),
        ([1], False, "health() returned no dict but list"),
        ("raise gone", False, "RuntimeError: gone"),
    ],
)
def test_health(worker, said, ok, reason):
    host = worker(ADAPTER)
    assert "health" in host.greeting["capabilities"]
    assert check(host, 1) == {"ok": True, "reason": None, "report": {"status": "ok", "loaded_models": ["m"], "memory_mb": 2.5}}
    host.call("say", said)
    assert check(host, 2) == {"ok": ok, "reason": reason, "report": said if isinstance(said, dict) else None}
    assert host.stop() == 0


def test_a_report_that_is_too_large_is_left_out(worker):
    host = worker(ADAPTER)
    host.call("say", {"status": "ok", "blob": b"x" * (1 << 17)})
    assert check(host, 3) == {"ok": True, "reason": None, "report": None}
    assert host.stop() == 0
