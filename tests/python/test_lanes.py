"""A worker with several lanes, as a host sees it that was written from docs/wire.md."""

import time

import pytest
from bridge_host import ERROR, FAILED, RESULT, TIMEOUT, Host, Lane, call_payload, frame, payload_of

CALL, STOP, LOG = 16, 5, 56
SIGNAL = 44

ADAPTER = """
import os, threading, time
from snakepit_bridge import BaseAdapter, current_context, tool

class C(BaseAdapter):
    __thread_safe__ = True
    both = threading.Barrier(2)

    @tool
    def meet(self, word):
        self.both.wait(100)
        return [word, threading.current_thread().name, current_context().correlation_id]

    @tool
    def big(self, n):
        return b"x" * n

    @tool
    def odd(self):
        return object()

    @tool
    def spin(self, here):
        with open(here, "w"):
            pass
        while True:
            pass

    @tool
    def stay(self, here):
        with open(here, "w"):
            pass
        while os.path.exists(here):
            pass
        return "stayed"

    def cleanup(self):
        print("cleaned up")
"""


class Lanes:
    """A host with two lanes of one worker."""

    def __init__(self, host):
        self.host = host
        self.lanes = [host.lane, Lane(host.segment, 1, host.control)]
        self.sequences = [0, 1 << 48]

    def send(self, i, command, *args):
        self.sequences[i] += 1
        self.lanes[i].send(frame(CALL, call_payload(command, *args), self.sequences[i]))
        return self.sequences[i]

    def answer(self, i):
        """Its kind, id and value. Lanes share the control socket and with it the bells: so the ring itself is looked at."""
        lane = self.lanes[i]
        until = time.monotonic() + TIMEOUT
        while self.host.segment.words[lane.reply // 8] == lane.tail:
            assert time.monotonic() < until, "the lane does not answer"
            time.sleep(0.001)  # allow-sleep: between two looks
        kind, id, _, value = payload_of(lane.recv())
        return kind, id, value


@pytest.fixture
def start(tmp_path):
    hosts = []

    def make(adapter=ADAPTER, **welcome):
        path = tmp_path / "adapter.py"
        path.write_text(adapter)
        host = Host(path, channel="ring", lanes=2)
        hosts.append(host)
        host.greet(lanes=2, profile="thread", cancel_signal=SIGNAL, **welcome)
        return host

    yield make
    for host in hosts:
        host.__exit__()


def ready(host):
    kind, payload = host.outcome()
    assert kind == 3, payload
    return Lanes(host)


def test_calls_on_both_lanes_run_at_the_same_time(start):
    w = ready(start())
    ids = [w.send(0, "meet", "a"), w.send(1, "meet", "b")]
    answers = [w.answer(0), w.answer(1)]
    assert [a[:2] for a in answers] == [(RESULT, ids[0]), (RESULT, ids[1])]
    assert [a[2][:2] for a in answers] == [["a", "snakepit-lane-0"], ["b", "snakepit-lane-1"]]
    assert [a[2][2] for a in answers] == [f"sp-abcd1234{id:016x}" for id in ids]


def test_an_adapter_that_has_not_said_that_it_can(start):
    host = start(ADAPTER.replace("__thread_safe__ = True", "__thread_safe__ = 1"))
    kind, payload = host.outcome()
    assert (kind, payload["code"]) == (FAILED, "adapter_not_thread_safe")
    assert "__thread_safe__ = True" in payload["suggestions"][0]
    assert host.process.wait(TIMEOUT) == 1


def test_stop_waits_for_what_runs(start, tmp_path):
    host = start()
    w = ready(host)
    here = tmp_path / "here"
    id = w.send(1, "stay", str(here))
    until = time.monotonic() + TIMEOUT
    while not here.exists():
        assert time.monotonic() < until
    host.control.sendall(frame(STOP))
    here.unlink()
    assert w.answer(1) == (RESULT, id, "stayed")
    assert host.process.wait(TIMEOUT) == 0
    assert b"cleaned up" in host.process.stdout.read()


def test_the_end_of_the_socket_ends_it_at_once(start, tmp_path):
    host = start()
    w = ready(host)
    here = tmp_path / "here"
    w.send(0, "spin", str(here))
    until = time.monotonic() + TIMEOUT
    while not here.exists():
        assert time.monotonic() < until
    host.control.close()
    assert host.process.wait(TIMEOUT) == 0


def test_the_exception_comes_to_the_lane_that_it_is_for(start, tmp_path):
    host = start()
    w = ready(host)
    here, there = tmp_path / "here", tmp_path / "there"
    ids = [w.send(0, "spin", str(here)), w.send(1, "stay", str(there))]
    until = time.monotonic() + TIMEOUT
    while not (here.exists() and there.exists()):
        assert time.monotonic() < until
    host.segment.cancel(ids[0])
    host.segment.raise_in(ids[0])
    host.process.send_signal(SIGNAL)
    kind, id, error = w.answer(0)
    assert (kind, id, error["code"]) == (ERROR, ids[0], "cancelled")
    there.unlink()
    assert w.answer(1) == (RESULT, ids[1], "stayed")


def test_frames_and_bells_do_not_mix(start):
    """Both lanes ring while both log: what comes by the socket are whole frames and zero bytes between them."""
    host = start()
    w = ready(host)
    for n in range(20):
        for i in (0, 1):
            host.segment.halves[(w.lanes[i].reply + 128) // 4] = 2  # a bell by the socket is wanted
            w.send(i, "odd" if n % 2 else "big", *([] if n % 2 else [100_000]))
        for i in (0, 1):
            assert w.answer(i)[0] == RESULT
    host.control.sendall(frame(STOP))
    while (data := host.recv_frame()) is not None:
        assert payload_of(data)[0] == LOG
    assert host.process.wait(TIMEOUT) == 0
