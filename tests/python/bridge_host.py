"""A host in Python for the tests of the worker: starts one, shakes hands, sends frames over the socket or the rings.

It is a second implementation of the host's side of docs/wire.md, written from that page, and uses nothing of the package but the codec.
"""

import ctypes
import mmap
import os
import select
import socket
import struct
import subprocess
import sys
import time

from package_kit import PACKAGE

# isort: split
from snakepit_bridge import _codec

# isort: split
from snakepit_bridge._decode import _take

TIMEOUT = 120.0  # ends a test that hangs; no test measures time by it

HELLO, WELCOME, READY, FAILED, STOP, CALL, RESULT, ERROR, LOG = 1, 2, 3, 4, 5, 16, 17, 18, 56
CANCEL = 19
STREAM_CALL, CHUNK, CREDIT, SEND, SEND_END = 24, 25, 26, 27, 28
TOOL_CALL, TOOL_RESULT, TOOL_ERROR, TOOL_LIST = 32, 33, 34, 35
FINAL, NESTED = 4, 8
LANE_KINDS = (CALL, STREAM_CALL, CREDIT, SEND, SEND_END, TOOL_RESULT, TOOL_ERROR, TOOL_LIST)
HEADER = struct.Struct("<BBHIQQ")
SEGMENT = struct.Struct("<QIIQIIII16s")
MAGIC = 0x31305449504B4E53
SECRET = bytes(range(16))
STATUS_BYTES, SHARED_BYTES = 128 + 8 * 256, 256
AWAKE, FUTEX, SOCKET = 0, 0x40000000, 2
MORE, PAD = 1, 2


def frame(kind, payload=b"", id=0, stamp=0, flags=0, fields=None):
    head = b""
    if fields is not None:
        flags |= 1
        body = b"".join(struct.pack("<BBH", tag, 0, len(data)) + data for tag, data in fields)
        head = struct.pack("<I", len(body)) + body
    return HEADER.pack(1, kind, flags, 24 + len(head) + len(payload), id, stamp) + head + payload


def payload_of(data):
    version, kind, flags, size, id, stamp = HEADER.unpack_from(data)
    assert version == 1 and size == len(data) and flags == 0
    return kind, id, stamp, _codec.decode(data[24:])


def values_of(data):
    """The values in the payload of a frame that has fields or not."""
    at = 24 + (4 + struct.unpack_from("<I", data, 24)[0] if HEADER.unpack_from(data)[2] & 1 else 0)
    values = []
    while at < len(data):
        value, at = _take(bytes(data), at, len(data), 0)
        values.append(value)
    return values


def call_payload(command, *args, **kwargs):
    """The payload of a CALL, its arguments in each of the forms that there are."""
    head = _codec.encode(command)
    if args and kwargs:
        inner = _codec.encode(list(args)) + _codec.encode(kwargs)
        return head + b"\xc9" + struct.pack(">I", len(inner)) + b"\x03" + inner
    if kwargs:
        return head + _codec.encode(kwargs)
    if args:
        return head + _codec.encode(list(args))
    return head + b"\xc0"


def _futex_wake(address):
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
    libc.syscall(ctypes.c_long(number), ctypes.c_void_p(address), 1, ctypes.c_int(0x7FFFFFFF), None, None, 0)


class Segment:
    """The shared memory of a worker, as the host makes it."""

    def __init__(self, lanes=1, ring_bytes=65536):
        self.ring_bytes, self.lanes = ring_bytes, lanes
        self.stride = STATUS_BYTES + 2 * (SHARED_BYTES + ring_bytes)
        self.offset = 64
        self.bytes = -(-(self.offset + lanes * self.stride) // 4096) * 4096
        self.fd = os.memfd_create("test")
        os.ftruncate(self.fd, self.bytes)
        self.map = mmap.mmap(self.fd, self.bytes)
        SEGMENT.pack_into(self.map, 0, MAGIC, 1, lanes, self.bytes, ring_bytes, self.offset, self.stride, 0, SECRET)
        self.words = memoryview(self.map).cast("Q")
        self.halves = memoryview(self.map).cast("I")

    def claim(self, id, lane=0):
        return self.words[(self.offset + lane * self.stride + 128) // 8 + id % 256]

    def set_claim(self, id, state, lane=0):
        self.words[(self.offset + lane * self.stride + 128) // 8 + id % 256] = id << 2 | state

    def finished(self, lane=0):
        return self.words[(self.offset + lane * self.stride + 64) // 8]

    def cancel(self, id, lane=0):
        self.words[(self.offset + lane * self.stride) // 8] = id

    def raise_in(self, id, lane=0):
        self.words[(self.offset + lane * self.stride) // 8 + 2] = id

    def task(self, lane=0):
        return self.words[(self.offset + lane * self.stride + 80) // 8]

    def close(self):
        self.words.release()
        self.halves.release()
        self.map.close()
        os.close(self.fd)


def wait_until_started(host, id):
    """Until the worker has marked the call as started."""
    until = time.monotonic() + TIMEOUT
    while host.segment.claim(id) != id << 2 | 1:
        assert time.monotonic() < until, "the call does not start"
        time.sleep(0)  # allow-sleep: polls


class Lane:
    """The host's end of one lane: writes the request ring, reads the reply ring."""

    def __init__(self, segment, index, control):
        self.segment, self.control = segment, control
        base = segment.offset + index * segment.stride + STATUS_BYTES
        self.request, self.reply = base, base + SHARED_BYTES + segment.ring_bytes
        self.head = self.tail = 0

    def _wake(self, ring):
        bell = ring + 128
        self.segment.halves[bell // 4] = AWAKE
        anchor = ctypes.c_char.from_buffer(self.segment.map, bell)
        _futex_wake(ctypes.addressof(anchor))
        del anchor

    def nudge(self):
        self._wake(self.request)

    def ring_bell(self):
        """After something was written to the control socket."""
        self.segment.words[(self.request - STATUS_BYTES) // 8 + 1] += 1
        self._wake(self.request)

    def _record(self, data, flags):
        size, mask = self.segment.ring_bytes, self.segment.ring_bytes - 1
        need = (8 + len(data) + 7) & ~7
        rest = size - (self.head & mask)
        at = self.request + SHARED_BYTES
        used = self.head + need + (rest if need > rest else 0) - self.segment.words[(self.request + 64) // 8]
        if used > size:
            return False
        if need > rest:
            struct.pack_into("<II", self.segment.map, at + (self.head & mask), rest - 8, PAD)
            self.head += rest
        place = at + (self.head & mask)
        struct.pack_into("<II", self.segment.map, place, len(data), flags)
        self.segment.map[place + 8 : place + 8 + len(data)] = data
        self.head += need
        return True

    def send(self, data):
        """One frame; larger than half of the ring: in fragments, as room comes."""
        piece = self.segment.ring_bytes // 2 - 8
        parts = [data[i : i + piece] for i in range(0, len(data), piece)]
        until = time.monotonic() + TIMEOUT
        for i, part in enumerate(parts):
            while not self._record(part, MORE if i + 1 < len(parts) else 0):
                assert time.monotonic() < until, "the worker makes no room"
                time.sleep(0)  # allow-sleep: polls
            self.segment.words[self.request // 8] = self.head
            self._wake(self.request)

    def recv(self):
        """One frame, in fragments or not; None when the worker has gone."""
        whole, until = b"", time.monotonic() + TIMEOUT
        mask = self.segment.ring_bytes - 1
        while True:
            head = self.segment.words[self.reply // 8]
            if head == self.tail:
                if not self._sleep(until):
                    return None
                continue
            place = self.reply + SHARED_BYTES + (self.tail & mask)
            if mask + 1 - (self.tail & mask) < 8:
                self.tail += mask + 1 - (self.tail & mask)
                continue
            n, flags = struct.unpack_from("<II", self.segment.map, place)
            if not flags & PAD:
                whole += self.segment.map[place + 8 : place + 8 + n]
            self.tail += (8 + n + 7) & ~7
            self.segment.words[(self.reply + 64) // 8] = self.tail
            anchor = ctypes.c_char.from_buffer(self.segment.map, self.reply + 192)
            self.segment.halves[(self.reply + 192) // 4] = AWAKE
            _futex_wake(ctypes.addressof(anchor))
            del anchor
            if not flags & (MORE | PAD):
                return whole

    def _sleep(self, until):
        """Until the worker rings the control socket; False when it has closed it and nothing is left."""
        bell = (self.reply + 128) // 4
        self.segment.halves[bell] = SOCKET
        if self.segment.words[self.reply // 8] == self.tail:
            left = until - time.monotonic()
            assert left > 0, "the worker does not answer"
            if select.select([self.control], [], [], left)[0]:
                seen = self.control.recv(1, socket.MSG_PEEK)
                if not seen and self.segment.words[self.reply // 8] == self.tail:
                    return False
                if seen == b"\0":
                    self.control.recv(1)
        self.segment.halves[bell] = AWAKE
        return True


class Host:
    """One worker, from its start to its exit status."""

    def __init__(self, adapter, *args, channel="socket", segment=True, pure=None, lanes=1, ring_bytes=65536, **options):
        self.channel = channel
        self.segment = Segment(lanes, ring_bytes) if segment else None
        self.control, theirs = socket.socketpair()
        self.control.settimeout(TIMEOUT)
        fds = [theirs.fileno()] + ([self.segment.fd] if segment else [])
        env = dict(os.environ)
        env["SNAKEPIT_FDS"] = f"{fds[0]},{fds[1] if segment else -1}"
        env["PYTHONPATH"] = str(PACKAGE)
        env["PYTHONUNBUFFERED"] = "1"
        env["SNAKEPIT_NO_EXTENSION"] = "1" if (channel == "socket" if pure is None else pure) else "0"
        command = [options.get("python", sys.executable), "-m", "snakepit_bridge.worker", "--adapter", str(adapter), *args]
        self.process = subprocess.Popen(
            [*command, "--snakepit-run-id", "r1", "--snakepit-instance-name", "test"],
            pass_fds=fds,
            env=env,
            cwd=options.get("cwd"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        self.buffer = b""
        self.hello = None
        self.logs = []
        self.sequence = 0
        self.lane = Lane(self.segment, 0, self.control) if channel == "ring" else None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.control.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT)
        self.process.stdout.close()
        self.process.stderr.close()
        if self.segment is not None:
            self.segment.close()

    def recv_frame(self):
        """The next frame of the control socket; None at its end."""
        while True:
            self.buffer = self.buffer.lstrip(b"\0")
            if len(self.buffer) >= 24:
                size = struct.unpack_from("<I", self.buffer, 4)[0]
                if len(self.buffer) >= size:
                    data, self.buffer = self.buffer[:size], self.buffer[size:]
                    return data
            try:
                data = self.control.recv(1 << 20)
            except ConnectionError:
                return None
            if not data:
                return None
            self.buffer += data

    def greet(self, **welcome):
        """HELLO and WELCOME."""
        kind, _, _, self.hello = payload_of(self.recv_frame())
        assert kind == HELLO
        answer = {
            "protocol": 1, "worker_id": "w1", "pool": "p", "run_id": "r1", "channel": self.channel, "lanes": 1,
            "max_frame_bytes": 64 << 20, "max_depth": 128, "call_prefix": 0xABCD1234, "now_ns": time.monotonic_ns(),
            "log_level": 4,
        }  # fmt: skip
        answer.update(welcome)
        self.control.sendall(frame(WELCOME, _codec.encode(answer)))

    def outcome(self):
        """READY or FAILED: kind and payload; None when the worker closes first."""
        while True:
            data = self.recv_frame()
            if data is None:
                return None, None
            kind, _, _, payload = payload_of(data)
            if kind != LOG:
                return kind, payload
            self.logs.append(payload)

    def ready(self, **welcome):
        self.greet(**welcome)
        kind, payload = self.outcome()
        assert kind == READY, payload
        return payload

    def failed(self):
        self.greet()
        kind, payload = self.outcome()
        assert kind == FAILED, payload
        assert self.process.wait(TIMEOUT) == 1
        return payload

    def send(self, data):
        if self.lane is not None and data[1] in LANE_KINDS:
            self.lane.send(data)
        else:
            self.control.sendall(data)

    def recv(self):
        return self.lane.recv() if self.lane is not None else self.recv_frame()

    def send_call(self, command, *args, stamp=0, flags=0, fields=None, payload=None, **kwargs):
        self.sequence += 1
        body = call_payload(command, *args, **kwargs) if payload is None else payload
        self.send(frame(CALL, body, self.sequence, stamp, flags, fields))
        return self.sequence

    def answer(self):
        """The next answer: kind, id, stamp, value. Log lines that come before it are kept."""
        while True:
            data = self.recv()
            assert data is not None, "the worker has gone"
            kind, id, stamp, value = payload_of(data)
            if kind != LOG:
                return kind, id, stamp, value
            self.logs.append(value)

    def call(self, command, *args, **kwargs):
        """One call that succeeds."""
        id = self.send_call(command, *args, **kwargs)
        kind, answered, _, value = self.answer()
        assert (kind, answered) == (RESULT, id), value
        return value

    def error(self, command, *args, **kwargs):
        """One call that fails."""
        id = self.send_call(command, *args, **kwargs)
        kind, answered, _, value = self.answer()
        assert (kind, answered) == (ERROR, id), value
        return value

    def nudge(self):
        """Wakes the worker, for it to look around."""
        if self.lane is not None:
            self.lane.nudge()
        else:
            self.control.sendall(b"\0")

    def open_stream(self, command, *args, window=(100, 8 << 20), inbox=False, fields=(), **kwargs):
        """A STREAM_CALL."""
        self.sequence += 1
        field = (7, struct.pack("<IIQ", window[0], int(inbox), window[1]))
        self.send(frame(STREAM_CALL, call_payload(command, *args, **kwargs), self.sequence, fields=[*fields, field]))
        return Stream(self, self.sequence)

    def stop(self):
        """Asks it to end; its exit status."""
        self.control.sendall(frame(STOP))
        if self.lane is not None:
            self.lane.ring_bell()
        return self.process.wait(TIMEOUT)


class Stream:
    """The host's end of a stream."""

    def __init__(self, host, id):
        self.host, self.id = host, id
        self.grants = []  # of the worker, for the inbox
        self.outcome = None

    def next(self):
        """The next chunk: value, metadata, final; None at the end, then `outcome` is (kind, value)."""
        while True:
            data = self.host.recv()
            assert data is not None, "the worker has gone"
            _, kind, flags, _, id, _ = HEADER.unpack_from(data)
            if kind == LOG:
                continue
            assert id == self.id
            values = values_of(data)
            if kind == CREDIT:
                self.grants.append(tuple(values))
                continue
            if kind == CHUNK:
                return values[0], values[1] if len(values) > 1 else None, bool(flags & FINAL)
            assert kind in (RESULT, ERROR) and len(values) == 1 and flags == 0
            self.outcome = kind, values[0]
            return None

    def all(self, grant=True):
        """Every value that is left; grants as it goes."""
        values = []
        while True:
            chunk = self.next()
            if chunk is None:
                return values
            values.append(chunk[0])
            if grant:
                self.grant(1, 1 << 20)

    def error(self):
        """What it failed with."""
        kind, value = self.outcome
        assert kind == ERROR, value
        return value

    def result(self):
        kind, value = self.outcome
        assert kind == RESULT, value
        return value

    def grant(self, chunks, size=0):
        self.host.send(frame(CREDIT, _codec.encode(chunks) + _codec.encode(size), self.id))

    def put(self, value):
        self.host.send(frame(SEND, _codec.encode(value), self.id))

    def end(self):
        self.host.send(frame(SEND_END, b"", self.id))

    def cancel(self):
        self.host.segment.cancel(self.id)
        self.host.nudge()
