"""The lane in C, in this process: two of them at once, misuse, sleeping, leaks."""

import datetime
import gc
import inspect
import os
import socket
import sys
import threading
import time
from decimal import Decimal

import bridge_host
import pytest
from bridge_host import CALL, ERROR, RESULT, STOP, TIMEOUT, call_payload, frame, payload_of
from package_kit import _snakepit, needs_extension
from snakepit_bridge import context
from snakepit_bridge._channel import Control
from snakepit_bridge._commands import Commands
from snakepit_bridge._registry import POLICY_MARKER
from snakepit_bridge.values import Tensor, Unserializable

pytestmark = needs_extension


class Adapter:
    """Shared by all lanes, as the instance of a thread worker is."""

    def inc(self, x):
        return {"x": x + 1}

    def who(self):
        return threading.current_thread().name

    def ids(self):
        c = context.current_context()
        return [c.session_id, c.correlation_id]

    def meet(self, barrier):
        BARRIERS[barrier].wait(TIMEOUT)
        return barrier

    def bad(self):
        raise ValueError("bad")

    def nested(self, lane):
        LANES[lane].serve()


BARRIERS = {}
LANES = {}


class Server:
    """Lanes of one segment, each served by a thread of this process; the test is their host."""

    def __init__(self, lanes=1, ring_bytes=65536, **options):
        self.segment = bridge_host.Segment(lanes, ring_bytes)
        self.ours, self.theirs = socket.socketpair()
        self.stopped = {}
        self.control = Control(self.theirs.fileno())
        self.lanes = [
            _snakepit.Lane(
                self.segment.fd,
                i,
                self.theirs.fileno(),
                Commands(Adapter, Adapter()),
                self.on_control,
                prefix=0xAB + i,
                **options,
            )
            for i in range(lanes)
        ]
        self.hosts = [bridge_host.Lane(self.segment, i, self.ours) for i in range(lanes)]
        self.threads = [threading.Thread(target=self.body, args=(i,), name=f"lane-{i}") for i in range(lanes)]
        for thread in self.threads:
            thread.start()

    def body(self, i):
        context.bind_thread(self.lanes[i].make_context)
        try:
            self.stopped[i] = self.lanes[i].serve()
        except BaseException as exc:
            self.stopped[i] = exc

    def on_control(self, data):
        self.control.feed(data)
        found = self.control.next()
        return found is not None and found[1] == STOP

    def call(self, lane, id, command, *args, fields=None, **kwargs):
        self.hosts[lane].send(frame(CALL, call_payload(command, *args, **kwargs), id, fields=fields))

    def answer(self, lane):
        kind, id, _, value = payload_of(self.hosts[lane].recv())
        return kind, id, value

    def close(self):
        self.ours.shutdown(socket.SHUT_RDWR)
        for host in self.hosts:
            host.ring_bell()
        for thread in self.threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def serve():
    servers = []

    def make(*args, **kwargs):
        servers.append(Server(*args, **kwargs))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def test_two_lanes_at_once(serve):
    s = serve(lanes=2)
    BARRIERS["both"] = threading.Barrier(2)
    for lane in (0, 1):
        s.call(lane, 1, "meet", "both")
    assert [s.answer(lane) for lane in (0, 1)] == [(RESULT, 1, "both")] * 2
    for id in range(2, 500):
        for lane in (0, 1):
            s.call(lane, id, "inc", x=id * (lane + 1))
        for lane in (0, 1):
            assert s.answer(lane) == (RESULT, id, {"x": id * (lane + 1) + 1})
    for lane in (0, 1):
        s.call(lane, 500, "who")
        assert s.answer(lane)[2] == f"lane-{lane}"
        s.call(lane, 501, "ids", fields=[(1, b"s%d" % lane)])
        assert s.answer(lane)[2] == [f"s{lane}", f"sp-{0xAB + lane:08x}{501:016x}"]


def test_stop_and_end(serve):
    s = serve()
    s.ours.sendall(frame(STOP)[:10])
    s.hosts[0].ring_bell()
    s.call(0, 1, "inc", 1)
    assert s.answer(0)[0] == RESULT
    s.ours.sendall(frame(STOP)[10:])
    s.hosts[0].ring_bell()
    s.threads[0].join(TIMEOUT)
    assert s.stopped[0] is True
    other = serve()
    other.ours.shutdown(socket.SHUT_WR)
    other.hosts[0].ring_bell()
    other.threads[0].join(TIMEOUT)
    assert other.stopped[0] is False


def test_stop_is_never_lost(serve):
    """STOP and its bell at the very moment at which the lane goes to sleep."""
    for i in range(60):
        s = serve()
        s.call(0, 1, "inc", i)
        s.answer(0)
        for _ in range(i * 40):
            pass
        s.ours.sendall(frame(STOP))
        s.hosts[0].ring_bell()
        s.threads[0].join(TIMEOUT)
        assert s.stopped[0] is True


def test_a_lane_is_served_once(serve):
    s = serve()
    LANES["own"] = s.lanes[0]
    s.call(0, 1, "nested", "own")
    kind, _, value = s.answer(0)
    assert (kind, value["code"]) == (ERROR, "runtime_error")


def test_a_callback_that_fails_ends_the_lane(serve):
    s = serve()
    s.control.feed = None
    s.ours.sendall(frame(STOP))
    s.hosts[0].ring_bell()
    s.threads[0].join(TIMEOUT)
    assert isinstance(s.stopped[0], TypeError)


def test_small_rings(serve):
    s = serve(ring_bytes=4096)
    for id, size in enumerate((10, 1000, 2020, 2040, 4096, 10000, 100000), 1):
        s.call(0, id, "inc", "x" * size)
        assert s.answer(0)[2]["code"] == "type_error"
    for id in range(100, 300):
        s.call(0, id, "inc", id)
        assert s.answer(0) == (RESULT, id, {"x": id + 1})


def test_it_sleeps_when_there_is_nothing(serve):
    s = serve()
    s.call(0, 1, "inc", 1)
    s.answer(0)
    bell = (s.hosts[0].request + 128) // 4

    def falls_asleep():
        deadline = time.monotonic() + TIMEOUT
        while s.segment.halves[bell] != bridge_host.FUTEX:
            assert time.monotonic() < deadline
            time.sleep(0.001)  # allow-sleep: polls

    falls_asleep()
    sleeps, began = s.lanes[0].waits()["sleeps"], time.monotonic()
    time.sleep(0.3)  # allow-sleep: the time in which nothing may happen
    # no sleep is longer than a second
    assert s.lanes[0].waits()["sleeps"] - sleeps <= time.monotonic() - began + 1
    falls_asleep()


def test_no_spinning_when_told_so(serve):
    s = serve(spin_ns=0)
    for id in range(1, 50):
        s.call(0, id, "inc", 1)
        s.answer(0)
    assert s.lanes[0].waits()["spun_ns"] == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.__setitem__(slice(0, 1), b"x"),
        lambda m: m.__setitem__(slice(8, 9), b"\x09"),
        lambda m: m.__setitem__(slice(24, 28), b"\x01\0\0\0"),
        lambda m: m.__setitem__(slice(24, 28), b"\0\0\0\x40"),
        lambda m: m.__setitem__(slice(28, 32), b"\xff\xff\xff\x0f"),
        lambda m: m.__setitem__(slice(28, 32), b"\x41\0\0\0"),
    ],
    ids=["magic", "version", "ring bytes", "huge ring", "offset", "alignment"],
)
def test_a_segment_of_another_layout(change):
    segment = bridge_host.Segment()
    change(segment.map)
    with pytest.raises(ValueError, match="layout"):
        _snakepit.Lane(segment.fd, 0, -1, None)
    segment.close()


def test_lanes_that_cannot_be_made():
    segment = bridge_host.Segment()
    with pytest.raises(ValueError, match="layout"):
        _snakepit.Lane(segment.fd, 1, -1, None)
    with pytest.raises(ValueError, match="negative"):
        _snakepit.Lane(segment.fd, -1, -1, None)
    with pytest.raises(OSError, match=r"."):
        _snakepit.Lane(-1, 0, -1, None)
    with pytest.raises(TypeError):
        _snakepit.Lane()
    read, write = os.pipe()
    with pytest.raises((OSError, ValueError)):
        _snakepit.Lane(read, 0, -1, None)
    os.close(read)
    os.close(write)
    lane = _snakepit.Lane(segment.fd, 0, -1, None)
    with pytest.raises(ValueError, match="once"):
        lane.__init__(segment.fd, 0, -1, None)
    assert lane.make_context() is None
    assert lane.cancelled(5) is False
    segment.cancel(5)
    assert lane.cancelled(5) is True
    with pytest.raises(OverflowError):
        lane.cancelled(-1)
    segment.close()


def test_a_lane_goes_with_what_it_knows(serve):
    s = serve()
    s.call(0, 1, "inc", 1)
    s.answer(0)
    s.close()
    commands, lane = s.lanes[0].__class__, s.lanes.pop()
    assert commands is _snakepit.Lane
    gone = []
    import weakref

    class Canary(Commands):
        pass

    canary = Canary(Adapter, Adapter())
    weakref.finalize(canary, gone.append, 1)
    cycle = []
    cycle.append(_snakepit.Lane(s.segment.fd, 0, -1, canary, cycle.append))
    del canary, cycle, lane
    gc.collect()
    assert gone == [1]
    s.close = lambda: None


def growth(work):
    """By how many blocks of memory: the least of three, for other threads of this process take some now and then, and a leak does always."""

    def once():
        gc.collect()
        before = sys.getallocatedblocks()
        work()
        gc.collect()
        return sys.getallocatedblocks() - before

    return min(once() for _ in range(3))


def test_nothing_leaks(serve):
    s = serve()

    def work(n):
        for id in range(1, n):
            for command, args, kwargs in (
                ("inc", (), {"x": id}),
                ("inc", (id,), {}),
                ("inc", (), {}),
                ("bad", (), {}),
                ("ids", (), {}),
                ("gone", (), {}),
                ("inc", (1,), {"y": "z" * 3000}),
            ):
                s.call(0, id, command, *args, **kwargs)
                s.answer(0)

    work(50)
    assert growth(lambda: work(150)) < 100


def test_the_codec_leaks_nothing():
    class Offers:
        def to_dict(self):
            return {"n": 1}

    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    values = [{"a": [1, (2.5, b"x")], "e": ValueError("v")}, {1: {2}}, ["\ud800"], [2**100, {"k" * 40: None}], {object(): 1}]
    values += [[1j, moment, Decimal("1.5"), Offers(), object()], {(1, frozenset({moment})): {Decimal(1), ()}}, [{1, object()}]]
    values += [Tensor("bf16", (1,), b"ab"), memoryview(b"abcd").cast("H"), Unserializable("t"), {ValueError(): 1}]
    data = [_snakepit.encode(v, POLICY_MARKER) for v in values[:2] + values[3:4] + values[5:7] + values[8:11]] + [
        b"\xd5\x05\x91",
        b"\xc7\x03\x05\x92\x01\x01",
        b"\xc7\x02\x05\x91\x90",
        b"\xd6\x08\0\0\0\0",
        b"\xd4\x0d\x80",
        b"\x92\x01",
        b"\x82\x01\x02\x01\x02",
        b"\x81\x90\xc0",
        b"\xd4\x04\x80",
    ]

    def work():
        for value in values:
            try:
                _snakepit.encode(value, POLICY_MARKER)
            except ValueError:
                pass
        for piece in data:
            try:
                _snakepit.decode(piece)
            except ValueError:
                pass

    def work_long():
        for _ in range(2000):
            work()

    work()
    assert growth(work_long) < 1000


def test_in_a_subinterpreter():
    interpreters = pytest.importorskip("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
    if sys.version_info < (3, 12):
        pytest.skip("interpreters share one GIL")
    id = interpreters.create()
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from snakepit_bridge import _snakepit; assert _snakepit.decode(b'\\x05') == 5"
    )
    try:
        assert interpreters.run_string(id, code) is None
    finally:
        interpreters.destroy(id)


def test_the_context_calls_tools_without_python_in_between():
    method = context.SessionContext.call_host_tool
    assert inspect.isbuiltin(method) and context.SessionContext.call_elixir_tool is method
    assert str(inspect.signature(method)) == "(self, name, parameters=None, binary=None, /, **named)"
    bound = context.SessionContext(1, 0, b"", 0, bool).call_host_tool
    assert str(inspect.signature(bound)) == "(name, parameters=None, binary=None, /, **named)"
    with pytest.raises(RuntimeError, match="no host"):
        bound("x", y=1)
