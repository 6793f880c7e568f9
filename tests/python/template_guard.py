"""A guard in Python for the tests of the template: starts one, shakes hands as the host would, and asks it for workers.

It is a second implementation of what src/guard/guard_msg.h says, and uses nothing of the package but the codec. The test's process is the
parent of the template, so it becomes the parent of the workers too.
"""

import array
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time

import bridge_host
import pytest
from bridge_host import FAILED, HELLO, READY, TIMEOUT, WELCOME, frame, payload_of
from package_kit import _snakepit
from snakepit_bridge import _codec

MESSAGE = struct.Struct("@IiQiiiIQ24x192s")  # src/guard/guard_msg.h; what was used is no template's business
REQUEST = struct.Struct("=IIIIQ")
MAGIC = 0x51524753
FORK, FORKED = 7, 8
HAS_SEGMENT, HAS_STDOUT, HAS_STDERR = 1, 2, 4
ROOM = "SNAKEPIT_ROOM"
ROOM_BYTES = 320
PREPARE = 240.0  # seconds that an import may take on a machine that does other things

# ThreadSanitizer has a thread of its own in each process: with it no template is safe.
_tsan = "libtsan" in os.environ.get("LD_PRELOAD", "")
needs_fork = pytest.mark.skipif(
    _snakepit is None or _tsan,
    reason="ThreadSanitizer starts a thread in each process" if _tsan else "the extension is not built for this interpreter",
)


class Process:
    """A child of this process, known by its pidfd."""

    def __init__(self, pid, pidfd):
        self.pid, self.pidfd, self.returncode = pid, pidfd, None
        self.stdout = self.stderr = None

    def poll(self):
        return self.wait(0)

    def wait(self, timeout=TIMEOUT):
        """The exit status, negative for a signal; None: it runs."""
        if self.returncode is None and select.select([self.pidfd], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.pidfd)
        assert self.returncode is not None or timeout == 0, "the process does not end"
        return self.returncode

    def kill(self):
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


def request_bytes(argv, env, cwd=None):
    strings = [*argv, *(f"{name}={value}" for name, value in env.items()), *([cwd] if cwd else [])]
    data = b"".join(os.fsencode(text) + b"\0" for text in strings)
    return REQUEST.pack(MAGIC, len(argv), len(env), 1 if cwd else 0, len(data)) + data


def memfd(data):
    fd = os.memfd_create("request")
    os.write(fd, data)
    return fd


def high(fd):
    """A copy above the numbers that the template has its own at."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20)


def inherited():
    """What this process would hand on; a guard closes it."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 4 and os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # that of the list itself
            continue
    return found


def children():
    """The children of this process."""
    found = []
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
        except OSError:  # the thread has ended
            continue
    return found


def environ_of(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


def is_waiting(pid):
    """It has given up what it has not opened itself, and sleeps."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            asleep = file.read().rpartition(")")[2].split()[0] == "S"
        return asleep and "4" not in os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False


class Template:
    """One template, from its start to its end."""

    def __init__(self, adapter, *args, python=None, env=None, welcome=None, cwd=None):
        self.environment = {**os.environ, "PYTHONPATH": str(bridge_host.PACKAGE), "PYTHONUNBUFFERED": "1", **(env or {})}
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
            self.environment.setdefault(name, "1")
        self.cwd = cwd
        self.buffer, self.logs, self.sequence = b"", [], 0
        self.control, theirs = socket.socketpair()
        self.control.settimeout(PREPARE)
        self.guard, guards = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guard.settimeout(TIMEOUT)
        self.output, out = os.pipe()
        places = {0: os.open(os.devnull, os.O_RDWR), 1: out, 2: out, 3: theirs.fileno(), 4: guards.fileno()}
        sources = {place: high(fd) for place, fd in places.items()}
        self.argv = ["--adapter", str(adapter), *args, "--snakepit-run-id", "r1"]
        executable = python or sys.executable
        pid = os.posix_spawn(
            executable,
            [executable, "-m", "snakepit_bridge.worker", "--template", *self.argv],
            {ROOM: "." * ROOM_BYTES, **self.environment, "SNAKEPIT_FDS": "3,4"},
            file_actions=[
                *((os.POSIX_SPAWN_CLOSE, fd) for fd in inherited()),
                *((os.POSIX_SPAWN_DUP2, fd, place) for place, fd in sources.items()),
            ],
            setsid=True,
        )
        self.process = Process(pid, os.pidfd_open(pid))
        for fd in (*sources.values(), places[0], out):
            os.close(fd)
        theirs.close()
        guards.close()
        self.welcome = {"protocol": 1, "template": True, "worker_id": "p/template", "pool": "p", "run_id": "r1", "preload": [],
                        "canary_timeout_ms": 20_000, **(welcome or {})}  # fmt: skip
        self.hello = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        ahead = self.ahead() if self.process.poll() is None else []
        self.control.close()
        self.guard.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.output)
        for pid in ahead:  # it ends with the template, if it has not become a worker
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass

    recv_frame = bridge_host.Host.recv_frame
    outcome = bridge_host.Host.outcome

    def verdict(self):
        """HELLO, WELCOME, and what READY says."""
        kind, _, _, self.hello = payload_of(self.recv_frame())
        assert kind == HELLO
        self.control.sendall(frame(WELCOME, _codec.encode(self.welcome)))
        kind, payload = self.outcome()
        assert kind == READY, payload
        return payload

    def ready(self):
        verdict = self.verdict()
        assert verdict["safe"], verdict
        return verdict

    def refused(self):
        """The verdict of a template that may not be forked; it has ended."""
        verdict = self.verdict()
        assert not verdict["safe"], verdict
        assert self.process.wait() == 0
        return verdict

    def failed(self):
        kind, _, _, self.hello = payload_of(self.recv_frame())
        assert kind == HELLO
        self.control.sendall(frame(WELCOME, _codec.encode(self.welcome)))
        kind, payload = self.outcome()
        assert kind == FAILED, payload
        assert self.process.wait() == 1
        return payload

    def ask(self, fds, mask, worker_id="p/1.1", kind=FORK, size=MESSAGE.size, guard=None):
        """Sends a request; its token."""
        self.sequence += 1
        data = MESSAGE.pack(kind, guard or os.getpid(), self.sequence, 0, 0, 0, mask, 0, worker_id.encode())[:size]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.guard.sendmsg([data], rights)
        return self.sequence

    def answer(self, token):
        """Process, error and text of the answer to a request."""
        data, ancillary, _, _ = self.guard.recvmsg(MESSAGE.size, socket.CMSG_SPACE(64))
        assert len(data) == MESSAGE.size, "the template has gone"
        kind, pid, answered, error, _, _, _, _, text = MESSAGE.unpack(data)
        assert (kind, answered) == (FORKED, token)
        assert not ancillary and (error != 0) == (pid == 0)
        return (Process(pid, os.pidfd_open(pid)) if pid else None), error, text.rstrip(b"\0").decode()

    def ahead(self):
        """The processes that were forked ahead, one at most: they show the template's environment still."""
        environment = environ_of(self.process.pid)
        return [pid for pid in children() if pid != self.process.pid and environment and environ_of(pid) == environment]

    def awaits_ahead(self):
        """The next worker is there, and waits: its number."""
        until = time.monotonic() + TIMEOUT
        while not (found := self.ahead()) or not is_waiting(found[0]):
            assert time.monotonic() < until, f"the template has not forked ahead: {found}"
            time.sleep(0.002)  # allow-sleep: between two looks
        return found[0]

    def keeps_only_its_own(self):
        """It answers before it closes what came with a request. Of a process that it has forked ahead it keeps a socket."""
        until = time.monotonic() + TIMEOUT
        while left := sorted(self._foreign()):
            assert time.monotonic() < until, f"the template keeps descriptors: {left}"
            time.sleep(0.002)  # allow-sleep: between two looks

    def _foreign(self):
        folder, sockets = f"/proc/{self.process.pid}/fd", 0
        for name in os.listdir(folder):
            try:
                target = os.readlink(f"{folder}/{name}")
            except FileNotFoundError:
                continue
            sockets += target.startswith("socket:")
            if int(name) > 4 and (not target.startswith("socket:") or sockets > 3):
                yield f"{name}: {target}"

    def said(self):
        """All that it has written, when it has ended."""
        with open(os.dup(self.output), "rb") as file:
            return file.read().decode("utf-8", "replace")


class Worker(bridge_host.Host):
    """A worker that a template has forked."""

    def __init__(self, template, worker_id="p/1.1", env=None, channel="ring", segment=True, output=True, cwd=None, guard=None):
        self.channel = channel
        self.segment = bridge_host.Segment(1, 65536) if segment else None
        self.control, theirs = socket.socketpair()
        self.control.settimeout(TIMEOUT)
        self.buffer, self.hello, self.logs, self.sequence = b"", None, [], 0
        self.lane = bridge_host.Lane(self.segment, 0, self.control) if channel == "ring" else None
        request = memfd(request_bytes(["python", *template.argv], {**template.environment, "SNAKEPIT_WORKER_ID": worker_id,
                                                                   "SNAKEPIT_FDS": "3,4", **(env or {})}, cwd or template.cwd))  # fmt: skip
        fds, mask = [request, theirs.fileno()], 0
        if segment:
            fds.append(self.segment.fd)
            mask |= HAS_SEGMENT
        self.outputs = [os.pipe(), os.pipe()] if output else []
        if output:
            fds += [write for _, write in self.outputs]
            mask |= HAS_STDOUT | HAS_STDERR
        token = template.ask(fds, mask, worker_id, guard=guard)
        self.process, self.error, self.text = template.answer(token)
        for fd in (request, *(write for _, write in self.outputs)):
            os.close(fd)
        theirs.close()
        if self.process is not None and output:
            self.process.stdout, self.process.stderr = (os.fdopen(read, "rb") for read, _ in self.outputs)

    def __exit__(self, *unused):
        self.control.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        if self.segment is not None:
            self.segment.close()
