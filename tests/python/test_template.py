"""The template: what its workers are, and how it ends. What it refuses is in test_template_refusals.py."""

import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from bridge_host import STOP, TIMEOUT, frame
from template_guard import HAS_STDOUT, MESSAGE, Template, Worker, memfd, needs_fork, request_bytes

pytestmark = needs_fork

SOURCE = """
    import ctypes, os, random, sys, threading
    IMPORTED_IN = os.getpid()
    WARMED = []
    libc = ctypes.CDLL(None)
    class Adapter:
        def __init__(self):
            self.made_in = os.getpid()
        @classmethod
        def warm_up(cls):
            WARMED.append(os.getpid())
        def facts(self):
            signal = ctypes.c_int()
            libc.prctl(2, ctypes.byref(signal))  # PR_GET_PDEATHSIG
            return {
                "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgrp(), "session": os.getsid(0), "imported": IMPORTED_IN,
                "made": self.made_in, "warmed": WARMED, "signal": signal.value, "main": threading.main_thread().ident,
                "stdin": os.readlink("/proc/self/fd/0"), "fds": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1],
                "argv": sys.argv,
            }
        def thread_ids(self):
            place = ctypes.POINTER(ctypes.c_int)()
            assert libc.prctl(40, ctypes.byref(place)) == 0  # PR_GET_TID_ADDRESS
            head, size = ctypes.c_void_p(), ctypes.c_size_t()
            libc.syscall(ctypes.c_long(self.robust()), ctypes.c_long(0), ctypes.byref(head), ctypes.byref(size))
            return [place.contents.value, threading.get_native_id(), bool(head.value)]
        def robust(self):
            return {"x86_64": 274, "aarch64": 100}[os.uname().machine]
        def environment(self):
            return dict(os.environ)
        def say(self, text):
            print(text, flush=True)
    """


@pytest.fixture
def adapter(write):
    return write(SOURCE)


def test_a_worker_is_a_sibling_of_its_template(adapter):
    with Template(adapter, "one", "two") as template:
        verdict = template.ready()
        assert (
            verdict["threads"] == 1 and verdict["modules"] > 10 and verdict["rss_bytes"] > 1 << 20 and verdict["prepare_ms"] > 0
        )
        assert template.hello["template"] and template.hello["pid"] == template.process.pid
        with Worker(template) as worker:
            worker.ready()
            facts = worker.call("facts")
            assert facts["pid"] == worker.process.pid == worker.hello["pid"] and worker.hello["forked"]
            assert facts["parent"] == os.getpid()
            assert facts["group"] == facts["session"] == facts["pid"]
            assert facts["imported"] == template.process.pid and facts["warmed"] == [template.process.pid]
            assert facts["made"] == facts["pid"]
            assert facts["signal"] == signal.SIGKILL
            assert facts["stdin"] == "/dev/null" and facts["fds"] == [0, 1, 2, 3, 4]
            assert facts["argv"] == [str(adapter), "one", "two"]
            assert worker.call("thread_ids") == [facts["pid"], facts["pid"], True]
            assert worker.stop() == 0


@pytest.mark.parametrize("channel", ["ring", "socket"])
def test_a_worker_has_descriptors_of_its_own(adapter, channel):
    with Template(adapter) as template:
        template.ready()
        with (
            Worker(template, "p/1.1", channel=channel) as first,
            Worker(template, "p/2.1", channel=channel, segment=channel == "ring") as second,
        ):
            for worker in (first, second):
                worker.ready()
            first.call("say", "first")
            second.call("say", "second")
            # the segment, or both ends of the pipe that wakes who waits on the socket
            assert second.call("facts")["fds"] == [0, 1, 2, 3, *([4] if channel == "ring" else [4, 5])]
            assert (first.stop(), second.stop()) == (0, 0)
            assert first.process.stdout.read() == b"first\n" and second.process.stdout.read() == b"second\n"


def test_without_pipes_a_worker_keeps_the_templates_output(adapter):
    with Template(adapter) as template:
        template.ready()
        with Worker(template, output=False) as worker:
            worker.ready()
            worker.call("say", "by the template's pipe")
            assert worker.stop() == 0
        assert b"by the template's pipe" in os.read(template.output, 4096)


def test_the_environment(write):
    adapter = write(
        """
        import os
        os.environ["BY_IMPORT"] = "1"
        os.environ.pop("TAKEN_AWAY", None)
        class Adapter:
            def environment(self):
                return dict(os.environ)
            def of_a_child(self):
                import subprocess, sys
                code = "import os; print(os.environ['SNAKEPIT_WORKER_ID'], os.environ['SNAKEPIT_GUARD_SERIAL'], 'SNAKEPIT_ROOM' in os.environ)"
                return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        """
    )
    with Template(adapter, env={"TAKEN_AWAY": "1", "OF_THE_POOL": "1"}) as template:
        template.ready()
        with Worker(template, "p/7.3", env={"OF_THE_WORKER": "a=b", "OMP_NUM_THREADS": "2"}) as worker:
            worker.ready()
            env = worker.call("environment")
            serial = f"{os.getpid()}.{template.sequence}"
            assert (env["SNAKEPIT_WORKER_ID"], env["SNAKEPIT_GUARD_SERIAL"]) == ("p/7.3", serial)
            assert (env["BY_IMPORT"], env["OF_THE_POOL"], env["OF_THE_WORKER"], env["OMP_NUM_THREADS"]) == (
                "1",
                "1",
                "a=b",
                "2",
            )
            assert not {"TAKEN_AWAY", "SNAKEPIT_FDS", "SNAKEPIT_ROOM", "JE_ARROW_MALLOC_CONF"} & set(env)
            with open(f"/proc/{worker.process.pid}/environ", "rb") as file:
                entries = [entry for entry in file.read().split(b"\0") if entry]
            assert entries[:2] == [b"SNAKEPIT_WORKER_ID=p/7.3", b"SNAKEPIT_GUARD_SERIAL=" + serial.encode()]
            assert not any(entry.startswith(b"SNAKEPIT_ROOM") for entry in entries)
            assert worker.call("of_a_child") == ["p/7.3", serial, "False"]


def test_random_numbers_differ(write):
    adapter = write(
        """
        import random, uuid
        random.random()
        class Adapter:
            def numbers(self):
                return [random.random(), str(uuid.uuid4())]
        """
    )
    with Template(adapter) as template:
        template.ready()
        drawn = set()
        for _ in range(3):
            with Worker(template) as worker:
                worker.ready()
                drawn.update(worker.call("numbers"))
        assert len(drawn) == 6


def test_a_file_that_an_import_has_opened_is_opened_anew(write, tmp_path):
    (tmp_path / "data").write_bytes(b"0123456789")
    adapter = write(
        f"""
        import os
        FILE = open({str(tmp_path / "data")!r}, "rb", buffering=0)
        FILE.read(2)
        class Adapter:
            def read(self, n):
                return FILE.read(n).decode()
        """
    )
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as first, Worker(template) as second:
            first.ready()
            second.ready()
            assert (first.call("read", 3), second.call("read", 2), first.call("read", 1)) == ("234", "23", "5")


def test_what_a_worker_can_do(write):
    """Threads, processes and event loops work as in a process that was exec'd."""
    adapter = write(
        """
        import asyncio, concurrent.futures, multiprocessing, os, subprocess, sys, threading
        def double(n):
            return 2 * n
        class Adapter:
            def threads(self):
                with concurrent.futures.ThreadPoolExecutor(4) as pool:
                    return sum(pool.map(double, range(10)))
            def processes(self):
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    return sum(pool.map(double, range(10)))
            def program(self):
                return subprocess.run([sys.executable, "-c", "print(7)"], capture_output=True, check=True).stdout
            async def later(self):
                await asyncio.sleep(0)  # allow-sleep: gives the loop its turn
                return 8
        """
    )
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            assert [worker.call(name) for name in ("threads", "processes", "program", "later")] == [90, 90, b"7\n", 8]
            assert worker.stop() == 0


def test_nothing_is_said_twice(write):
    """What stands in a buffer when the template forks is the template's."""
    adapter = write(
        """
        import sys
        print("imported", end="")
        class Adapter:
            def say(self):
                print("called")
        """
    )
    with Template(adapter, env={"PYTHONUNBUFFERED": ""}) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            worker.call("say")
            assert worker.stop() == 0
            assert worker.process.stdout.read() == b"called\n"
        assert os.read(template.output, 4096) == b"imported"


def test_the_garbage_collector_leaves_the_templates_memory_alone(write):
    adapter = write("import gc\nclass Adapter:\n    def frozen(self): return gc.get_freeze_count(), gc.isenabled()")
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            count, enabled = worker.call("frozen")
            assert count > 1000 and enabled


@pytest.mark.parametrize("kind", ["async", "static"])
def test_forms_of_warm_up(write, kind):
    head = "@classmethod\n    async def warm_up(cls)" if kind == "async" else "@staticmethod\n    def warm_up()"
    adapter = write(f"DONE = []\nclass Adapter:\n    {head}:\n        DONE.append(1)\n    def done(self): return len(DONE)")
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            assert worker.call("done") == 1


def test_a_method_called_warm_up_is_a_command(write):
    adapter = write("class Adapter:\n    def warm_up(self): return 'called'")
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            assert worker.call("warm_up") == "called"


def test_preload(write):
    adapter = write("import sys\nLOADED = 'decimal' in sys.modules\nclass Adapter:\n    def loaded(self): return LOADED")
    for preload in ([], ["decimal"]):
        with Template(adapter, welcome={"preload": preload}) as template:
            template.ready()
            with Worker(template) as worker:
                worker.ready()
                assert worker.call("loaded") == bool(preload)


@pytest.mark.parametrize("what", ["preload", "adapter", "warm_up"])
def test_what_fails_to_load_is_told(write, what):
    source = {"adapter": "raise RuntimeError('no adapter')\nclass A: pass", "preload": "class A: pass"}
    adapter = write(source.get(what, "class A:\n    @classmethod\n    def warm_up(cls): raise RuntimeError('no warmth')"))
    with Template(adapter, welcome={"preload": ["no_such_module"] if what == "preload" else []}) as template:
        error = template.failed()
        expected = {"preload": "no_such_module", "adapter": "no adapter", "warm_up": "no warmth"}[what]
        assert expected in error["message"] and expected in error["python"]["traceback"]
        step = {
            "preload": "no_such_module: ModuleNotFoundError: ",
            "adapter": f"{adapter}: RuntimeError: ",
            "warm_up": "warm_up(): RuntimeError: ",
        }
        assert error["message"].startswith(step[what])


def test_workers_outlive_their_template(adapter):
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            template.process.kill()
            assert template.process.wait() == -signal.SIGKILL
            assert worker.call("facts")["parent"] == os.getpid()
            assert worker.stop() == 0


@pytest.mark.parametrize("how", ["stop", "control", "guard"])
def test_the_end(adapter, how):
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            if how == "stop":
                template.control.sendall(frame(STOP))
            else:
                (template.control if how == "control" else template.guard).shutdown(socket.SHUT_RDWR)
            assert template.process.wait() == 0
            assert worker.call("facts")["pid"] == worker.process.pid


def test_a_host_that_wants_no_template(adapter):
    with Template(adapter) as template:
        template.recv_frame()
        template.control.sendall(frame(STOP))
        assert template.process.wait() == 0


def test_a_worker_whose_guard_is_gone_ends(adapter):
    with Template(adapter) as template:
        template.ready()
        worker = Worker(template, guard=1)
        assert worker.process.wait() == 127
        worker.__exit__()


def test_requests_are_answered_in_their_order(adapter):
    with Template(adapter) as template:
        template.ready()
        asked = []
        for i in range(8):
            ours, theirs = socket.socketpair()
            request = memfd(request_bytes(["python"], {**template.environment}))
            asked.append((template.ask([request, theirs.fileno()], 0, f"p/{i}.1"), ours, request, theirs))
        for token, ours, request, theirs in asked:
            process, error, _ = template.answer(token)
            assert error == 0
            theirs.close()
            ours.close()  # the worker ends with its connection
            os.close(request)
            assert process.wait() == 0


BAD_REQUESTS = {
    "empty": b"",
    "header": struct.pack("=IIIIQ", 0x51524753, 9, 9, 1, 2) + b"a\0",
    "magic": struct.pack("=IIIIQ", 0x12345678, 1, 0, 0, 2) + b"a\0",
    "unterminated": struct.pack("=IIIIQ", 0x51524753, 1, 0, 0, 2) + b"ab",
}


@pytest.mark.parametrize("what", [*BAD_REQUESTS, "descriptors"])
def test_a_request_that_is_none_is_refused(adapter, what):
    with Template(adapter) as template:
        template.ready()
        request = memfd(BAD_REQUESTS.get(what, b""))
        fds = [request] if what == "descriptors" else [request, request]
        process, error, text = template.answer(template.ask(fds, HAS_STDOUT if what == "descriptors" else 0))
        os.close(request)
        assert (process, text) == (None, "request") and error > 0
        with Worker(template) as worker:
            worker.ready()
            assert worker.call("facts")["pid"] == worker.process.pid
        template.keeps_only_its_own()


@pytest.mark.parametrize("what", ["short", "kind"])
def test_a_message_that_is_none_ends_the_template(adapter, what):
    with Template(adapter) as template:
        template.ready()
        template.ask([], 0, size=10 if what == "short" else MESSAGE.size, kind=99 if what == "kind" else 7)
        assert template.process.wait() == 1
        assert "Error" in template.said()


def test_a_frame_that_is_none_ends_the_template(adapter):
    with Template(adapter) as template:
        template.ready()
        template.control.sendall(frame(99))
        assert template.process.wait() == 1


def test_a_worker_that_cannot_be_settled_says_why(adapter, tmp_path):
    with Template(adapter) as template:
        template.ready()
        worker = Worker(template, cwd=str(tmp_path / "nowhere"))
        assert worker.process.wait() == 1
        assert b"FileNotFoundError" in worker.process.stderr.read()
        worker.__exit__()
        with Worker(template) as worker:
            worker.ready()


def test_what_user_code_replaces_hurts_only_itself(write):
    adapter = write(
        """
        import os, select, sys, time
        def refuse(*args, **kwargs):
            raise RuntimeError("replaced")
        for name in "fork waitpid kill _exit pipe open close read write dup2 fstat listdir readlink setsid closerange pread".split():
            setattr(os, name, refuse)
        select.poll = time.monotonic = time.sleep = refuse
        sys.stdout = sys.stderr = None
        class Adapter:
            def call(self):
                return "called"
        """
    )
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            assert worker.call("call") == "called"
            assert worker.stop() == 0


def test_the_guides_adapter(write):
    """The first program of docs/guide-zygote.md."""
    pytest.importorskip("numpy", reason="NumPy is not installed")
    guide = (Path(__file__).resolve().parents[2] / "docs" / "guide-zygote.md").read_text()
    with Template(write(guide.split("```python\n")[1].split("```")[0])) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            assert worker.call("norm", 2) == pytest.approx(2 * worker.call("norm", scale=1))


def test_by_hand_it_says_what_it_is():
    command = [sys.executable, "-m", "snakepit_bridge.worker", "--template", "--adapter", "x"]
    env = {**os.environ, "PYTHONPATH": os.environ["SNAKEPIT_PYTHON_PACKAGE"]}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 2 and "started by a Snakepit host" in done.stderr


def test_huge_pages(write):
    """A template that holds much memory is quick to fork."""
    with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
        if "[never]" in file.read():
            pytest.skip("the system allows no huge pages")
    with mmap.mmap(-1, 128 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        try:
            memory.madvise(23)  # MADV_POPULATE_WRITE
            memory.madvise(mmap.MADV_HUGEPAGE)
            memory.madvise(25)  # MADV_COLLAPSE
        except OSError as exc:
            pytest.skip(f"the kernel does not move memory to huge pages now: {exc.strerror}")
    adapter = write("BLOCK = bytearray(b'x') * (256 << 20)\nclass Adapter:\n    def last(self): return BLOCK[-1]")
    with Template(adapter) as template:
        assert template.ready()["huge_bytes"] >= 32 << 20
        with Worker(template) as worker:
            worker.ready()
            assert worker.call("last") == ord("x")
