"""How calls travel: pipelining, bells, large frames, marks, the end of the connection."""

import os
import socket
import threading

import bridge_host
import pytest
from bridge_host import CALL, RESULT, STOP, TIMEOUT, call_payload, frame, payload_of
from snakepit_bridge._channel import Control
from snakepit_bridge._wire import ProtocolError

ECHO = "class C:\n    def one(self, x):\n        return x\n    def size(self, x):\n        return len(x)\n"


# ---- the control socket by itself ----


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield ours, Control(theirs.fileno())
    ours.close()
    theirs.close()


def test_frames_in_any_pieces(pair):
    ours, control = pair
    frames = [frame(CALL, bytes([i]) * i, i) for i in range(1, 20)]
    stream = b"\0".join(frames) + b"\0\0"

    def send():
        for i in range(0, len(stream), 7):
            ours.sendall(stream[i : i + 7])

    sender = threading.Thread(target=send)
    sender.start()
    assert [control.recv() for _ in frames] == frames
    sender.join()
    ours.close()
    assert control.recv() is None


def test_frames_in_one_piece(pair):
    ours, control = pair
    frames = [frame(CALL, b"x" * i, i + 1) for i in range(50)]
    ours.sendall(b"\0\0" + b"".join(frames) + frames[0][:10])
    assert [control.recv() for _ in frames] == frames
    assert control.next() is None
    ours.sendall(frames[0][10:])
    assert control.recv() == frames[0]


def test_large_frames_both_ways(pair):
    ours, control = pair
    big = frame(CALL, bytes(range(256)) * 8192, 1)
    sender = threading.Thread(target=ours.sendall, args=(big + frame(STOP),))
    sender.start()
    assert control.recv() == big
    assert control.recv() == frame(STOP)
    sender.join()
    got = bytearray()

    def receive():
        while len(got) < len(big):
            got.extend(ours.recv(1 << 16))

    receiver = threading.Thread(target=receive)
    receiver.start()
    control.send(big)
    receiver.join()
    assert bytes(got) == big


@pytest.mark.parametrize("head", [b"\x02\x05", b"\x01\x05"])
def test_a_size_that_cannot_be(pair, head):
    ours, control = pair
    ours.sendall(head + b"\0\0" + (5 if head[0] == 1 else 24).to_bytes(4, "little") + bytes(16))
    with pytest.raises(ProtocolError):
        control.recv()


def test_the_end_in_the_middle_of_a_frame(pair):
    ours, control = pair
    ours.sendall(frame(CALL, b"x" * (1 << 20), 1)[: 100 * 1024])
    ours.close()
    assert control.recv() is None


def test_sending_to_nobody(pair):
    ours, control = pair
    ours.close()
    with pytest.raises(ConnectionError):
        control.send(frame(RESULT, b"\xc0", 1))


# ---- through a worker, in each mode ----


def test_many_calls_in_flight(worker):
    w = worker(ECHO)
    ids = [w.send_call("one", i) for i in range(100)]
    for i, id in enumerate(ids):
        kind, answered, _, value = payload_of(w.recv())
        assert (kind, answered, value) == (RESULT, id, i)


@pytest.mark.parametrize("size", [100, 2000, 2100, 32 * 1024 - 100, 32 * 1024, 65536, 300_000, 3_000_000])
def test_sizes(worker, size):
    w = worker(ECHO)
    text = "x" * size
    assert w.call("one", text) == text
    assert w.call("one", text.encode()) == text.encode()
    assert w.call("size", text) == size
    assert w.call("one", size) == size


def test_large_answers_wait_for_room(worker):
    w = worker("class C:\n    def give(self, n):\n        return bytes(n)\n")
    ids = [w.send_call("give", 200_000) for _ in range(5)]
    for id in ids:
        kind, answered, _, value = w.answer()
        assert (kind, answered, len(value)) == (RESULT, id, 200_000)


def test_marks(worker):
    w = worker("class C:\n    def one(self):\n        return 1\n")
    assert w.call("one") == 1
    assert w.segment.claim(1) == 1 << 2 | 3
    assert w.segment.finished() == 1
    w.sequence = 300
    assert w.call("one") == 1
    assert w.segment.claim(301) == 301 << 2 | 3


def test_started_is_marked_before_and_finished_after(worker, tmp_path):
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    w = worker(
        """
        class C:
            def wait(self, path):
                with open(path) as f:
                    return f.read()
        """
    )
    id = w.send_call("wait", str(fifo))
    with open(fifo, "w") as f:  # opens when the function runs
        assert w.segment.claim(id) == id << 2 | 1
        assert w.segment.finished() == 0
        f.write("go")
    assert w.answer()[3] == "go"
    assert w.segment.finished() == id


def test_a_call_that_was_taken_back_is_skipped(worker):
    w = worker(ECHO)
    w.segment.set_claim(1, 2)
    w.send_call("one", "never")
    assert w.call("one", "runs") == "runs"
    assert w.segment.claim(1) == 1 << 2 | 2
    assert w.segment.claim(2) == 2 << 2 | 3


def test_stop_behind_calls(worker):
    """What was sent before STOP on the same way is answered; the exit status is 0."""
    w = worker(ECHO)
    if w.lane is None:
        ids = [w.send_call("one", i) for i in range(10)]
        w.control.sendall(frame(STOP))
        assert [w.answer()[1] for _ in ids] == ids
        assert w.process.wait(TIMEOUT) == 0
    else:
        assert w.call("one", 1) == 1
        assert w.stop() == 0


def test_stop_right_after_ready(worker):
    for _ in range(3):
        w = worker(ECHO)
        assert w.stop() == 0


def test_a_kind_that_has_no_place(worker):
    w = worker(ECHO)
    w.control.sendall(frame(RESULT, b"\xc0", 1))
    if w.lane is not None:
        w.lane.ring_bell()
    assert w.process.wait(TIMEOUT) == 1
    assert b"broke the protocol" in w.process.stderr.read()


def test_fields_and_unknown_fields(worker):
    w = worker(ECHO)
    assert w.call("one", 1, fields=[(200, b"later"), (1, b"s")]) == 1


@pytest.mark.parametrize("damage", ["kind", "version", "flags", "size"])
def test_a_malformed_frame_in_the_ring(write, damage):
    pytest.importorskip("snakepit_bridge._snakepit")
    data = bytearray(frame(CALL, call_payload("one", 1), 1))
    data[{"kind": 1, "version": 0, "flags": 2, "size": 4}[damage]] ^= 0x40
    with bridge_host.Host(write(ECHO), channel="ring") as w:
        w.ready()
        w.lane.send(bytes(data))
        assert w.process.wait(TIMEOUT) == 1
        assert b"broke the protocol" in w.process.stderr.read()


def test_a_broken_ring(write):
    pytest.importorskip("snakepit_bridge._snakepit")
    with bridge_host.Host(write(ECHO), channel="ring") as w:
        w.ready()
        w.segment.words[w.lane.request // 8] = 3
        w.lane.ring_bell()
        assert w.process.wait(TIMEOUT) == 1
        assert b"ring is broken" in w.process.stderr.read()
