"""A worker that speaks docs/wire.md and breaks it when it is told to; it shares no code with snakepit_bridge but the codec.

    python worker.py [--start HOW [--always]]

HOW names what it does wrong while it starts (only slot 0's first process, unless --always). Later the command "evil" with the name of a
misdeed does that one; "echo" and "pid" are honest. It uses rings where the host offers them, and polls: it is slow and simple.
"""

import contextlib
import ctypes
import mmap
import os
import random
import resource
import signal
import struct
import sys
import termios
import threading
import time
from functools import partialmethod

from snakepit_bridge._codec import decode, encode

CONTROL, SEGMENT = 3, 4
HELLO, WELCOME, READY, FAILED, STOP, CALL, RESULT, ERROR, LOG = 1, 2, 3, 4, 5, 16, 17, 18, 56
CHUNK, CREDIT, SEND, TOOL_CALL, TOOL_RESULT, TOOL_LIST = 25, 26, 27, 32, 33, 35
HEADER = struct.Struct("<BBHIQQ")
CLAIMS, SLOTS = 128, 256
LIBC = ctypes.CDLL(None, use_errno=True)
SYS_FUTEX = 202 if os.uname().machine == "x86_64" else 98
FUTEX, SOCKET = 0x40000000, 2  # values of a bell: src/ring/segment.h


def frame(kind, payload=b"", call=0, flags=0, version=1, size=None):
    return HEADER.pack(version, kind, flags, HEADER.size + len(payload) if size is None else size, call, 0) + payload


class Segment:
    """The shared memory: marks, and the two rings of a lane."""

    def __init__(self, lane=0):
        self.map = mmap.mmap(SEGMENT, os.fstat(SEGMENT).st_size)
        _, _, _, self.bytes, self.ring_bytes, self.lane, stride = struct.unpack_from("<QIIQIII", self.map)
        self.lane += lane * stride
        self.words, self.halves = memoryview(self.map).cast("Q"), memoryview(self.map).cast("I")
        self.secret = self.map[40:56]
        self.request = self.lane + CLAIMS + 8 * SLOTS
        self.reply = self.request + 256 + self.ring_bytes
        self.seen = self.head = 0  # of the request ring, of the reply ring

    def get(self, at):
        return self.words[at // 8]

    def put(self, at, value):
        """One store. struct.pack_into would first write zeros, which the host could see."""
        self.words[at // 8] = value & 0xFFFFFFFFFFFFFFFF

    def put_half(self, at, value):
        self.halves[at // 4] = value

    def mark(self, call, state):
        self.put(self.lane + CLAIMS + 8 * (call % SLOTS), call << 2 | state)
        if state == 3:
            self.put(self.lane + 64, call)

    def read(self):
        """The next frame of the request ring; None: not yet."""
        parts = b""
        while True:
            if self.get(self.request) == self.seen:
                if not parts:
                    return None
                time.sleep(0.0002)  # allow-sleep: it polls
                continue
            at = self.seen % self.ring_bytes
            if self.ring_bytes - at < 8:
                self.seen += self.ring_bytes - at
                continue
            n, flags = struct.unpack_from("<II", self.map, self.request + 256 + at)
            if flags == 2:
                self.seen += self.ring_bytes - at
                continue
            start = self.request + 256 + at + 8
            parts += self.map[start : start + n]
            self.seen += (8 + n + 7) & ~7
            self.put(self.request + 64, self.seen)
            self.ring_bell(self.request + 192)
            if flags == 0:
                return parts

    def write(self, data, flags=0, length=None):
        """One frame into the reply ring, in fragments where it is large."""
        data = memoryview(data)
        while len(data) > self.ring_bytes // 4:
            at = self.head % self.ring_bytes
            part = min(self.ring_bytes // 4 - 8, self.ring_bytes - at - 8)
            if part > 0:
                self.record(data[:part], 1)
                data = data[part:]
            else:
                self.record(b"", 2, pad=8)
        at = self.head % self.ring_bytes
        if at + 8 + len(data) + 7 > self.ring_bytes:
            self.record(b"", 2, pad=self.ring_bytes - at)
        self.record(data, flags, length=length)

    def record(self, data, flags, pad=0, length=None):
        size = pad or (8 + len(data) + 7) & ~7
        while self.ring_bytes - (self.head - self.get(self.reply + 64)) < size:
            time.sleep(0.0002)  # allow-sleep: it polls
        at = self.reply + 256 + self.head % self.ring_bytes
        n = pad - 8 if pad else len(data) if length is None else length
        struct.pack_into("<II", self.map, at, n, flags)
        self.map[at + 8 : at + 8 + len(data)] = data
        self.head += size
        self.publish()

    def publish(self, head=None):
        self.put(self.reply, self.head if head is None else head)
        self.ring_bell(self.reply + 128)

    def ring_bell(self, at):
        bell = self.halves[at // 4]
        self.put_half(at, 0)
        if bell == FUTEX:
            word = ctypes.c_uint32.from_buffer(self.map, at)
            LIBC.syscall(SYS_FUTEX, ctypes.byref(word), 1, 1, None, None, 0)
            del word
        elif bell == SOCKET:
            os.write(CONTROL, b"\0")


class Worker:
    def __init__(self, lane=0):
        self.data = b""
        self.segment = Segment(lane)
        self.is_ring = False
        self.prefix = 0

    # ---- talking ----

    def say(self, *frames):
        for whole in frames:
            data = memoryview(whole)
            while data:
                data = data[os.write(CONTROL, data) :]

    def hear(self, block=True):
        """The next frame of the control socket."""
        while True:
            self.data = self.data.lstrip(b"\0") if self.data[:1] == b"\0" else self.data
            if len(self.data) >= HEADER.size:
                size = HEADER.unpack_from(self.data)[3]
                if len(self.data) >= size:
                    got, self.data = self.data[:size], self.data[size:]
                    return got
            if not block:
                os.set_blocking(CONTROL, False)
            try:
                more = os.read(CONTROL, 1 << 20)
            except BlockingIOError:
                return None
            finally:
                if not block:
                    os.set_blocking(CONTROL, True)
            if not more:
                os._exit(0)
            self.data += more

    def hello(self, **changed):
        return frame(HELLO, encode({
            "protocol_min": 1, "protocol_max": 1, "pid": os.getpid(), "secret": self.segment.secret,
            "channels": ["ring", "socket"], "marks": True, "runtime": {"language": "python"}, **changed,
        }))  # fmt: skip

    def start(self):
        self.say(self.hello())
        welcome = decode(self.hear()[HEADER.size :])
        self.is_ring = welcome["channel"] == "ring"
        for lane in range(1, welcome["lanes"]):
            other = OtherLane(lane)
            threading.Thread(target=other.serve, daemon=True).start()
        self.say(frame(READY, encode({"tools": [], "capabilities": [], "gil_enabled": True})))

    def next_call(self):
        while True:
            got = self.hear(block=not self.is_ring)
            if got is not None:
                if got[1] == STOP:
                    os._exit(0)
                return got
            got = self.segment.read()
            if got is not None:
                return got
            time.sleep(0.0005)  # allow-sleep: it polls

    def answer(self, data):
        if self.is_ring:
            self.segment.write(data)
        else:
            self.say(data)

    def wait_until_heard(self):
        unread = ctypes.c_int(1)
        while unread.value:
            if self.is_ring:
                unread.value = self.segment.get(self.segment.reply + 64) != self.segment.head
            else:
                LIBC.ioctl(CONTROL, termios.TIOCOUTQ, ctypes.byref(unread))

    def serve(self):
        while True:
            got = self.next_call()
            _, _, flags, _, call, _ = HEADER.unpack_from(got)
            at = HEADER.size + (4 + struct.unpack_from("<I", got, HEADER.size)[0] if flags & 1 else 0)
            command, argument = self.arguments(got[at:])
            self.segment.mark(call, 1)
            if command == "evil":
                result = getattr(Evil(self, call), argument)()
            else:
                result = {"echo": argument, "pid": os.getpid()}[command]
            self.segment.mark(call, 3)
            if result is not NotImplemented:
                self.answer(frame(RESULT, encode(result), call))

    @staticmethod
    def arguments(payload):
        n = payload[0] & 31 if payload[0] < 0xC0 else payload[1]
        head = 1 if payload[0] < 0xC0 else 2
        arguments = decode(payload[head + n :])
        return payload[head : head + n].decode(), arguments[0] if arguments else None


class OtherLane(Worker):
    """Of a worker of the profile thread, on a thread of its own; lane 0 has the control socket."""

    def __init__(self, lane):
        super().__init__(lane)
        self.is_ring = True

    def next_call(self):
        while (got := self.segment.read()) is None:
            time.sleep(0.0005)  # allow-sleep: it polls
        return got


class Evil:
    """What it does in the middle of a call. NotImplemented: it has answered, or never will."""

    def __init__(self, worker, call):
        self.worker, self.call, self.segment = worker, call, worker.segment

    def result(self, payload, **changed):
        self.worker.answer(frame(RESULT, payload, changed.pop("call", self.call), **changed))
        return NotImplemented

    def raw(self, data):
        self.worker.answer(data)
        return NotImplemented

    # ---- ends ----

    def exit0(self):
        sys.stderr.write("last words\n")
        sys.stderr.flush()
        os._exit(0)

    def exit3(self):
        os.write(2, b"last words\nnot \xff utf-8\n")
        os._exit(3)

    def exit1(self):
        raise RuntimeError("uncaught last words")

    def abort(self):
        os.write(2, b"last words\n")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.abort()

    def segfault(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(8)

    def signal(self, number):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), number)
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def fpe(self):
        self.signal(signal.SIGFPE)

    def ill(self):
        self.signal(signal.SIGILL)

    def bus(self):
        self.signal(signal.SIGBUS)

    def kill(self):
        self.signal(signal.SIGKILL)

    def term(self):
        self.signal(signal.SIGTERM)

    def usr1(self):
        self.signal(signal.SIGUSR1)

    def kill_group(self):
        os.killpg(0, signal.SIGKILL)

    def flood_then_exit(self):
        for _ in range(2000):
            os.write(2, b"noise " * 2000 + b"\n")
        os.write(2, b"last words\n")
        os._exit(3)

    # ---- silence ----

    def stop(self):
        os.kill(os.getpid(), signal.SIGSTOP)
        self.wait()  # with several threads the one that says so goes on for a moment

    def hang(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def promise_more(self):
        """Half of a frame."""
        if self.worker.is_ring:
            self.segment.record(frame(RESULT, b"\xc0", self.call, size=4096), 1)
        else:
            self.worker.say(frame(RESULT, b"\xc0", self.call, size=4096))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    # ---- descriptors ----

    def close(self, fd):
        with contextlib.suppress(OSError):
            os.close(fd)
        return "closed"

    def close0(self):
        return self.close(0)

    def close1(self):
        return self.close(1)

    def close2(self):
        return self.close(2)

    def close_control(self):
        os.close(CONTROL)
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def shut_control(self):
        LIBC.shutdown(CONTROL, 1)
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def close_segment(self):
        return self.close(SEGMENT)

    def shrink_segment(self):
        try:
            os.ftruncate(SEGMENT, 0)
        except PermissionError:
            return "sealed"
        return "shrunk"

    # ---- answers ----

    def wrong_id(self):
        return self.result(b"\xc0", call=self.call + 1)

    def id_zero(self):
        return self.result(b"\xc0", call=0)

    def twice(self):
        self.result(b"\xc0")
        return self.result(b"\xc0")

    def unasked(self):
        self.result(b"\xc0", call=self.call + 1)
        return self.result(b"\xc0")

    def unasked_and_heard(self):
        """The host has read what is wrong before the right answer comes."""
        self.result(b"\xc0", call=self.call + 1)
        self.worker.wait_until_heard()
        return self.result(b"\xc0")

    def version(self):
        return self.result(b"\xc0", version=2)

    def flags(self):
        return self.result(b"\xc0", flags=16)

    def size_zero(self):
        return self.result(b"\xc0", size=0)

    def size_small(self):
        return self.result(b"\xc0", size=23)

    def size_large(self):
        return self.result(b"\xc0", size=(64 << 20) + 1)

    def size_huge(self):
        return self.result(b"\xc0", size=0xFFFFFFFF)

    def no_kind(self):
        return self.raw(frame(0, b"", self.call))

    def unknown_kind(self):
        return self.raw(frame(200, b"", self.call))

    def stray(self, kind, payload=b"\xc0", answered=False):
        """A frame that has no place in a plain call, or behind it."""
        if answered:
            self.result(b"\xc0")
        return self.raw(frame(kind, payload, self.call))

    reserved_kind = partialmethod(stray, CHUNK)
    unasked_credit = partialmethod(stray, CREDIT, b"\1\1")
    unasked_send = partialmethod(stray, SEND)
    unasked_tool_result = partialmethod(stray, TOOL_RESULT)
    later_chunk = partialmethod(stray, CHUNK, answered=True)
    later_credit = partialmethod(stray, CREDIT, b"\1\1", answered=True)
    later_tool_call = partialmethod(stray, TOOL_CALL, b"\xa1x\xc0", answered=True)
    later_tool_list = partialmethod(stray, TOOL_LIST, b"", answered=True)

    def hosts_kind(self):
        return self.raw(frame(CALL, b"\xa4echo\xc0", self.call))

    def ready_again(self):
        return self.raw(frame(READY, encode({})))

    def hello_again(self):
        return self.raw(self.worker.hello())

    def fields_overrun(self):
        return self.result(struct.pack("<I", 1000) + b"\xc0", flags=1)

    def field_broken(self):
        return self.result(struct.pack("<I", 4) + struct.pack("<BBH", 1, 0, 9) + b"\xc0", flags=1)

    def no_fields(self):
        return self.raw(frame(RESULT, b"\0", self.call, flags=1))

    def rubbish(self):
        return self.raw(random.Random(self.call).randbytes(4096))

    def rubbish_control(self):
        self.worker.say(b"\1" + random.Random(1).randbytes(4096))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def log_rubbish(self):
        self.worker.say(frame(LOG, b"\xc1"))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    # ---- values ----

    def payload_empty(self):
        return self.result(b"")

    def payload_cut(self):
        return self.result(b"\x93\x01")

    def payload_trailing(self):
        return self.result(b"\xc0\xc0")

    def payload_reserved(self):
        return self.result(b"\xc1")

    def payload_utf8(self):
        return self.result(b"\xa2\xff\xff")

    def payload_ext(self):
        return self.result(b"\xc7\x01\x63\x00")

    def payload_count(self):
        return self.result(b"\xdd\xff\xff\xff\xff")

    def payload_deep(self):
        return self.result(b"\x91" * 129 + b"\xc0")

    def payload_deeper(self):
        return self.result(b"\x91" * 1000000 + b"\xc0")

    def payload_deep_maps(self):
        return self.result(b"\x81\xc0" * 1000000 + b"\xc0")

    def payload_nils(self):
        n = (64 << 20) - HEADER.size - 5
        return self.result(b"\xdd" + struct.pack(">I", n) + b"\xc0" * n)

    def payload_lists(self):
        n = (64 << 20) - HEADER.size - 5
        return self.result(b"\xdd" + struct.pack(">I", n) + b"\x90" * n)

    def payload_maps(self):
        n = ((64 << 20) - HEADER.size - 5) // 3
        return self.result(b"\xdd" + struct.pack(">I", n) + b"\x81\xc0\xc0" * n)

    def payload_same_key(self):
        n = 1 << 20
        return self.result(b"\xdf" + struct.pack(">I", n) + b"\x01\xc0" * n)

    def payload_many_keys(self):
        """Descending: what an insertion into a sorted map would find worst. Good, and answered in time."""
        n = 300_000
        pairs = b"".join(b"\xce" + struct.pack(">I", n - i) + b"\xc0" for i in range(n))
        self.result(b"\xdf" + struct.pack(">I", n) + pairs)
        return NotImplemented

    def payload_list_key(self):
        return self.result(b"\x81\x90\xc0")

    def payload_exceptions(self):
        """Causes of causes."""
        value = b"\xc0"
        for _ in range(200):
            body = b"\x82" + encode("type") + encode("E") + encode("cause") + value
            value = b"\xc9" + struct.pack(">I", len(body)) + b"\x04" + body
        return self.result(value)

    # ---- errors ----

    def error(self, payload):
        return self.raw(frame(ERROR, payload, self.call))

    def error_nil(self):
        return self.error(b"\xc0")

    def error_cut(self):
        return self.error(b"\x8f")

    def error_types(self):
        return self.error(encode({"code": 7, "message": ["x"], "python": "no", "details": 3, "suggestions": {"a": 1}}))

    def error_forged(self):
        return self.error(encode({"code": "worker_crash", "message": "I crashed"}))

    def error_control(self):
        return self.error(encode({"code": "ok", "message": "\x1b[2J\x07\0"}))

    def error_huge(self):
        notes = ["n" * 100000] * 50
        python = {"type": "T" * 100000, "message": "m" * (4 << 20), "traceback": "t" * (4 << 20), "notes": notes}
        return self.error(
            encode({"code": "value_error", "message": "m" * (4 << 20), "python": python, "suggestions": ["s"] * 1000})
        )

    # ---- the ring's words ----

    def wait(self):
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def head_ahead(self):
        self.segment.publish(self.segment.head + (1 << 40))
        self.wait()

    def head_back(self):
        self.segment.publish(self.segment.head - 8)
        self.wait()

    def head_odd(self):
        self.segment.publish(self.segment.head + 3)
        self.wait()

    def head_nothing(self):
        """Published, and never written: the bytes of the answer before."""
        self.segment.publish(self.segment.head + self.segment.ring_bytes)
        self.wait()

    def record_long(self):
        self.segment.record(b"12345678", 0, length=1 << 20)
        self.wait()

    def record_max(self):
        self.segment.record(b"12345678", 0, length=0xFFFFFFFF)
        self.wait()

    def record_flags(self):
        self.segment.record(b"12345678", 0x80)
        self.wait()

    def record_empty_more(self):
        self.segment.record(b"", 1)
        self.wait()

    def record_short(self):
        self.segment.record(b"1234", 0)
        self.wait()

    def fragments_endless(self):
        """More than a frame may be."""
        self.segment.write(frame(RESULT, bytes(65 << 20), self.call))
        self.wait()

    def tail_ahead(self):
        self.segment.put(self.segment.request + 64, self.segment.seen + (1 << 40))
        return "tail"

    def tail_back(self):
        self.segment.put(self.segment.request + 64, 0)
        return "tail"

    def bells(self):
        for ring in (self.segment.request, self.segment.reply):
            for bell in (128, 192):
                self.segment.put_half(ring + bell, 0xDEADBEEF)
        return "rung"

    def header(self):
        self.segment.map[: self.segment.lane] = b"\xff" * self.segment.lane
        return "overwritten"

    def cpus(self):
        for ring in (self.segment.request, self.segment.reply):
            for word in (8, 72):
                self.segment.put_half(ring + word, 0xFFFFFFF0)
        return "nowhere"

    def claims_all(self):
        """Every slot says started, and finished, for calls that never were."""
        for slot in range(SLOTS):
            self.segment.put(self.segment.lane + CLAIMS + 8 * slot, (1 << 40 | slot) << 2 | 3)
        self.segment.put(self.segment.lane + 64, 1 << 60)
        return "claimed"

    def forget(self):
        """It dies, and has never begun anything."""
        for slot in range(SLOTS):
            self.segment.put(self.segment.lane + CLAIMS + 8 * slot, 0)
        os._exit(9)

    def rewrite(self):
        """Another thread scribbles over the answers while the host reads them."""
        place = self.segment.reply + 256

        def scribble():
            chance = random.Random(3)
            while True:
                self.segment.map[place + chance.randrange(self.segment.ring_bytes)] = chance.randrange(256)

        threading.Thread(target=scribble, daemon=True).start()
        for n in range(200):
            self.result(encode(["x" * n, {"k": n}]), call=self.call if n == 0 else self.call + n)
        self.wait()


class Start:
    """What it does instead of a proper start."""

    def __init__(self, worker):
        self.worker = worker

    def exit0(self):
        os._exit(0)

    def exit3(self):
        os.write(2, b"no licence for this library\n")
        os._exit(3)

    def abort(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.abort()

    def rubbish(self):
        self.worker.say(random.Random(5).randbytes(64).replace(b"\0", b"\7"))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def text(self):
        self.worker.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def secret(self):
        self.worker.say(self.worker.hello(secret=b"\0" * 16))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def no_secret(self):
        self.worker.say(self.worker.hello(secret=None))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def newer(self):
        self.worker.say(self.worker.hello(protocol_min=2, protocol_max=5))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def older(self):
        self.worker.say(self.worker.hello(protocol_min=0, protocol_max=0))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def upside_down(self):
        self.worker.say(self.worker.hello(protocol_min=7, protocol_max=-3))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def versions_text(self):
        self.worker.say(self.worker.hello(protocol_min="1", protocol_max=None))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def hello_list(self):
        self.worker.say(frame(HELLO, encode([1, 2])))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def hello_cut(self):
        self.worker.say(frame(HELLO, b"\xdf\xff\xff\xff\xff"))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def hello_twice(self):
        self.worker.say(self.worker.hello(), self.worker.hello())
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def hello_huge(self):
        self.worker.say(frame(HELLO, b"", size=0x7FFFFFFF))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def ready_first(self):
        self.worker.say(frame(READY, encode({})))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def ready_list(self):
        self.worker.say(self.worker.hello(), frame(READY, encode([])))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def ready_negative_time(self):
        self.worker.say(self.worker.hello(), frame(READY, encode({"tools": [{"name": "echo", "timeout_ms": -5}]})))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def ready_nameless_time(self):
        self.worker.say(self.worker.hello(), frame(READY, encode({"tools": [{"name": 7, "timeout_ms": 5}]})))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def ready_cut(self):
        self.worker.say(self.worker.hello(), frame(READY, b"\xa5"))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def result_first(self):
        self.worker.say(self.worker.hello(), frame(RESULT, b"\xc0", 1))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def failed_nonsense(self):
        self.worker.say(frame(FAILED, b"\xc1\xc1"))
        os._exit(1)

    def failed_lies(self):
        self.worker.say(frame(FAILED, encode({"code": "ok", "message": 5})))
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def silent(self):
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def never_ready(self):
        self.worker.say(self.worker.hello())
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def dribble(self):
        """A byte now and then, for ever."""
        for byte in self.worker.hello():
            os.write(CONTROL, bytes([byte]))
            time.sleep(0.05)  # allow-sleep: slowness is the misdeed
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def bells(self):
        """A zero byte between frames is a bell; nobody asked for a million."""
        while True:
            os.write(CONTROL, bytes(65536))

    def log_flood(self):
        self.worker.say(self.worker.hello())
        line = frame(LOG, encode({"level": "error", "text": "x" * 1000, "logger": "l", "correlation_id": None}))
        while True:
            self.worker.say(line * 100)

    def close_control(self):
        os.close(CONTROL)
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about

    def flood_output(self):
        while True:
            os.write(2, b"starting... " * 1000)


def main():
    worker = Worker()
    if "--ignore-term" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    how = sys.argv[sys.argv.index("--start") + 1] if "--start" in sys.argv else None
    if how is not None and ("--always" in sys.argv or os.environ["SNAKEPIT_WORKER_ID"] == "default/0.1"):
        getattr(Start(worker), how)()
    worker.start()
    if "--deaf" in sys.argv:
        time.sleep(3600)  # allow-sleep: a worker that hangs is what the test is about
    worker.serve()


main()
