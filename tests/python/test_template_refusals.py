"""What a template refuses, each with its reason, library and module: then workers are started by exec."""

import errno
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from template_guard import Template, Worker, memfd, needs_fork, request_bytes

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")

# A library with a thread that sleeps in it, and a function that sleeps in it.
NOISY = """
    #include <pthread.h>
    #include <unistd.h>
    static void *sleeper(void *p) { for (;;) pause(); return p; }
    int noisy_start(void) { pthread_t t; return pthread_create(&t, NULL, sleeper, NULL); }
    int noisy_hang(void) { for (;;) pause(); return 0; }
    static void hang(void) { for (;;) pause(); }
    static void die(void) { _exit(3); }
    int noisy_at_fork(int dies) { return pthread_atfork(NULL, NULL, dies ? die : hang); }
    """


@pytest.fixture
def noisy(tmp_path):
    """A package "noisy" whose library stands in "noisy.libs", as wheels have it; the folder for PYTHONPATH."""
    (tmp_path / "noisy").mkdir()
    (tmp_path / "noisy.libs").mkdir()
    (tmp_path / "noisy.c").write_text(NOISY)
    library = tmp_path / "noisy.libs" / "libnoisy-1a2b.so.1"
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(library), str(tmp_path / "noisy.c"), "-lpthread"], check=True
    )
    (tmp_path / "noisy" / "__init__.py").write_text(f"import ctypes\nlibrary = ctypes.CDLL({str(library)!r})\n")
    return tmp_path


def path_of(folder):
    return {"PYTHONPATH": f"{os.environ['SNAKEPIT_PYTHON_PACKAGE']}{os.pathsep}{folder}"}


@needs_fork
@needs_compiler
def test_a_thread_of_a_library(write, noisy):
    adapter = write("import noisy\nnoisy.library.noisy_start()\nclass A: pass")
    with Template(adapter, env=path_of(noisy)) as template:
        verdict = template.refused()
        assert (verdict["reason"], verdict["library"], verdict["module"]) == ("thread", "libnoisy-1a2b.so.1", "noisy")
        assert verdict["threads"] == 2
        assert "noisy" in verdict["text"] and "libnoisy-1a2b.so.1" in verdict["text"]


@needs_fork
def test_a_thread_of_python(write):
    adapter = write(
        """
        import threading
        threading.Thread(target=threading.Event().wait, name="the ticker", daemon=True).start()
        class A: pass
        """
    )
    with Template(adapter) as template:
        verdict = template.refused()
        assert (verdict["reason"], verdict["library"]) == ("thread", "")
        assert "the ticker" in verdict["text"] and str(adapter) in verdict["text"]


@needs_fork
def test_a_thread_of_a_module(write, tmp_path):
    (tmp_path / "ticking.py").write_text(
        "import threading\ndef tick():\n    threading.Event().wait()\nthreading.Thread(target=tick, daemon=True).start()\n"
    )
    with Template(write("import ticking\nclass A: pass"), welcome={"preload": ["json"]}) as template:
        verdict = template.refused()
        assert (verdict["reason"], verdict["module"]) == ("thread", "ticking")


@needs_fork
def test_a_thread_that_ends_is_waited_for(write):
    """A pool that is told to end takes a moment."""
    adapter = write(
        """
        import threading, time
        threading.Thread(target=time.sleep, args=(0.1,)).start()
        class A:
            def call(self): return 1
        """
    )
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            assert worker.call("call") == 1


LATER = {
    "thread": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "gpu_context": "KEPT.append(open('/dev/zero'))",
}


@needs_fork
@pytest.mark.parametrize("reason", LATER)
def test_what_comes_later(write, reason):
    """Looked for before each fork: the request is refused, then the template says so and ends. What was forked before is as good as ever."""
    adapter = write(
        f"""
        import os, signal, threading
        from snakepit_bridge import _template_check
        _template_check._GPU = ("/dev/zero",)
        KEPT = []
        def start(*unused):
            {LATER[reason]}
            os.write(1, b"started")
        signal.signal(signal.SIGUSR1, start)
        class A:
            def call(self): return 1
        """
    )
    with Template(adapter) as template:
        template.ready()
        with Worker(template) as worker:
            worker.ready()
            ahead = template.awaits_ahead()
            os.kill(template.process.pid, signal.SIGUSR1)
            assert os.read(template.output, 100) == b"started"
            with Worker(template) as last:
                last.ready()
                assert last.process.pid == ahead and last.call("call") == 1
            ours, theirs = socket.socketpair()
            request = memfd(request_bytes(["python"], template.environment))
            process, error, text = template.answer(template.ask([request, theirs.fileno()], 0))
            assert process is None and error > 0 and text == reason
            _, verdict = template.outcome()
            assert not verdict["safe"] and verdict["reason"] == reason
            assert template.process.wait() == 0
            assert worker.call("call") == 1
            for thing in (ours, theirs):
                thing.close()
            os.close(request)


@needs_fork
def test_a_c_library_that_hides_its_threads_id(write, tmp_path):
    """As musl does."""
    (tmp_path / "sitecustomize.py").write_text(
        "import errno\nfrom snakepit_bridge import _snakepit\n"
        "def refuse():\n    raise OSError(errno.ENOTSUP, 'not there')\n_snakepit.clone_check = refuse\n"
    )
    with Template(write("class A: pass"), env=path_of(tmp_path)) as template:
        verdict = template.refused()
        assert verdict["reason"] == "clone" and "not there" in verdict["text"]


@needs_fork
@needs_compiler
def test_a_canary_that_hangs_in_a_library(write, noisy):
    adapter = write(
        """
        import os, noisy
        TEMPLATE = os.getpid()
        class A:
            @classmethod
            def warm_up(cls):
                if os.getpid() != TEMPLATE:
                    noisy.library.noisy_hang()
        """
    )
    with Template(adapter, env=path_of(noisy), welcome={"canary_timeout_ms": 1000}) as template:
        verdict = template.refused()
        assert (verdict["reason"], verdict["library"], verdict["module"]) == ("canary_timeout", "libnoisy-1a2b.so.1", "noisy")
        assert "1000 ms" in verdict["text"] and "libnoisy-1a2b.so.1" in verdict["text"]


@needs_fork
def test_a_canary_that_hangs_in_python(write, tmp_path):
    (tmp_path / "slow.py").write_text("import threading\ndef wait():\n    threading.Event().wait()\n")
    adapter = write(
        """
        import os, slow
        TEMPLATE = os.getpid()
        class A:
            @classmethod
            def warm_up(cls):
                if os.getpid() != TEMPLATE:
                    slow.wait()
        """
    )
    with Template(adapter, welcome={"canary_timeout_ms": 1000}) as template:
        verdict = template.refused()
        assert (verdict["reason"], verdict["module"]) == ("canary_timeout", "slow")
        assert "slow.py" in verdict["text"] and "line 3 in wait" in verdict["text"]


@needs_fork
def test_a_canary_that_gets_no_cpu_has_more_time(write):
    """It ends when it has waited for the CPU longer than its limit."""
    if not os.path.exists("/proc/self/schedstat"):
        pytest.skip("the kernel does not count how long a process waits for a CPU")
    # What takes its CPU is of its own session: between sessions autogroups share a CPU evenly, whatever is nice.
    adapter = write(
        f"""
        import os, signal
        TEMPLATE = os.getpid()
        class A:
            @classmethod
            def warm_up(cls):
                canary = os.getpid()
                if canary == TEMPLATE:
                    return
                os.sched_setaffinity(0, {{{max(os.sched_getaffinity(0))}}})
                if os.fork() == 0:
                    signal.alarm(240)
                    while os.getppid() == canary:
                        pass
                    os._exit(0)
                os.nice(10)
                waited = 0
                while waited < 1.5e9:
                    with open("/proc/self/schedstat") as file:
                        waited = int(file.read().split()[1])
        """
    )
    with Template(adapter, welcome={"canary_timeout_ms": 1000}) as template:
        template.ready()


DEATHS = {
    "signal": ("os.kill(os.getpid(), signal.SIGABRT)", "SIGABRT"),
    "exit": ("os._exit(7)", "exit status 7"),
    "exception": ("raise LookupError('not here')", "LookupError: not here"),
    "words": ("os.write(2, b'fork() is unsafe with me\\n'); os._exit(1)", "fork() is unsafe with me"),
}


@needs_fork
@pytest.mark.parametrize("how", DEATHS)
def test_a_canary_that_dies(write, how):
    adapter = write(
        f"""
        import os, signal
        TEMPLATE = os.getpid()
        class A:
            @classmethod
            def warm_up(cls):
                if os.getpid() != TEMPLATE:
                    {DEATHS[how][0]}
        """
    )
    with Template(adapter) as template:
        verdict = template.refused()
        assert verdict["reason"] == "canary_died" and DEATHS[how][1] in verdict["text"], verdict


@needs_fork
def test_a_canary_that_leaves_a_process_behind(write):
    """Its end counts, not that of the pipe into which it speaks, and which a process of its own may keep open."""
    adapter = write(
        """
        import os, signal, subprocess, sys
        TEMPLATE = os.getpid()
        class A:
            @classmethod
            def warm_up(cls):
                if os.getpid() != TEMPLATE:
                    subprocess.Popen([sys.executable, "-c", "import signal; signal.alarm(60); signal.pause()"], start_new_session=True)
            def call(self): return 1
        """
    )
    with Template(adapter) as template:
        template.ready()


@needs_fork
@needs_compiler
@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_a_handler_of_fork(write, noisy, how):
    adapter = write(f"import noisy\nnoisy.library.noisy_at_fork({int(how == 'dies')})\nclass A: pass")
    with Template(adapter, env=path_of(noisy), welcome={"canary_timeout_ms": 1000}) as template:
        verdict = template.refused()
        assert verdict["reason"] == "probe"
        if how == "hangs":
            assert (verdict["library"], verdict["module"]) == ("libnoisy-1a2b.so.1", "noisy")


@needs_fork
@pytest.mark.parametrize("what", ["socket.socket()", "os.pipe()", "select.epoll()"])
def test_an_open_connection(write, what):
    with Template(write(f"import os, select, socket\nKEPT = {what}\nclass A: pass")) as template:
        verdict = template.refused()
        assert verdict["reason"] == "descriptor" and "initialize()" in verdict["text"]


@needs_fork
def test_a_gpu(write):
    """No machine needs to have one for this: another device stands for it."""
    adapter = write(
        """
        from snakepit_bridge import _template_check
        _template_check._GPU = ("/dev/zero",)
        DEVICE = open("/dev/zero")
        class A: pass
        """
    )
    with Template(adapter) as template:
        verdict = template.refused()
        assert verdict["reason"] == "gpu_context" and "/dev/zero" in verdict["text"]


REFUSES = """
    import errno, os
    from snakepit_bridge import _snakepit
    clone = _snakepit.clone_process
    def refuse(sibling):
        if sibling == {sibling}:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return clone(sibling)
    _snakepit.clone_process = refuse
    class A: pass
    """


@needs_fork
def test_a_sandbox_that_refuses_the_clone(write):
    with Template(write(REFUSES.format(sibling=False))) as template:
        verdict = template.refused()
        assert verdict["reason"] == "clone" and os.strerror(errno.EPERM) in verdict["text"]


@needs_fork
def test_a_clone_that_fails_later(write):
    """No child, and the error: the template is ready for the next request."""
    with Template(write(REFUSES.format(sibling=True))) as template:
        template.ready()
        for _ in range(2):
            request = memfd(request_bytes(["python"], template.environment))
            answer = template.answer(template.ask([request, request], 0))
            os.close(request)
            assert answer == (None, errno.EPERM, "clone")
        template.keeps_only_its_own()


@needs_fork
@pytest.mark.parametrize("name", ["numba", "polars"])
def test_libraries_that_are_refused_by_name(write, tmp_path, name):
    (tmp_path / f"{name}.py").write_text("")
    with Template(write(f"import {name}\nclass A: pass")) as template:
        verdict = template.refused()
        assert (verdict["reason"], verdict["module"]) == ("refused_library", name) and name in verdict["text"]


def test_without_the_extension(write):
    with Template(write("class A: pass"), env={"SNAKEPIT_NO_EXTENSION": "1"}) as template:
        verdict = template.refused()
        assert verdict["reason"] == "no_extension"


def test_the_host_knows_each_reason():
    """The list of the host has a remedy for each reason that a template gives, and no other ones."""
    root = Path(__file__).parents[2]
    given = set()
    for page in (root / "python" / "snakepit_bridge").glob("_template*.py"):
        given |= set(re.findall(r'Unsafe\(\s*"(\w+)"', page.read_text()))
    known = re.findall(r"X\(\w+, (\w+), unsafe,", (root / "src" / "worker" / "zygote.h").read_text())
    assert given and given == set(known)


def test_a_compiler_is_there_when_it_is_asked_for():
    """CI builds C: there these tests may not skip."""
    if os.environ.get("SNAKEPIT_BUILD") and os.environ.get("CC"):
        assert shutil.which(shlex.split(os.environ["CC"])[0])
