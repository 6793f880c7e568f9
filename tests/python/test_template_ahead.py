"""The worker that a template forks ahead: it is like any other, and nothing depends on it."""

import os
import signal

import pytest
from bridge_host import STOP, frame
from template_guard import Template, Worker, needs_fork

pytestmark = needs_fork

SOURCE = """
    import ctypes, os, random, sys
    FILE = open(__file__, "rb", buffering=0)
    libc = ctypes.CDLL(None)
    class Adapter:
        def __init__(self):
            self.made_in = os.getpid()
            self.environment_then = dict(os.environ)
        def facts(self):
            signal = ctypes.c_int()
            libc.prctl(2, ctypes.byref(signal))  # PR_GET_PDEATHSIG
            return {
                "pid": os.getpid(), "group": os.getpgrp(), "session": os.getsid(0), "made": self.made_in, "signal": signal.value,
                "fds": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.lexists("/proc/self/fd/" + n)),
                "fourth": os.readlink("/proc/self/fd/4") if os.path.lexists("/proc/self/fd/4") else "", "file": FILE.fileno(), "cwd": os.getcwd(),
            }
        def environment(self):
            assert self.environment_then == dict(os.environ)
            return dict(os.environ)
        def number(self):
            return random.random()
        def read(self, n):
            return FILE.read(n).decode()
        def say(self, text):
            print(text, flush=True)
            print(text + "!", file=sys.stderr, flush=True)
    """


@pytest.fixture
def template(write):
    with Template(write(SOURCE)) as template:
        template.ready()
        assert template.ahead() == []  # not before the first request: it is known then what a worker's environment is
        with Worker(template) as first:
            first.ready()
        yield template


def test_it_is_a_worker_like_any_other(template):
    drawn = set()
    for i in range(3):
        pid = template.awaits_ahead()
        with Worker(template, f"p/1.{i}") as worker:
            worker.ready()
            assert worker.process.pid == worker.hello["pid"] == pid and worker.hello["forked"]
            facts = worker.call("facts")
            assert facts["pid"] == facts["group"] == facts["session"] == facts["made"] == pid
            assert facts["signal"] == signal.SIGKILL
            assert facts["fds"] == [0, 1, 2, 3, 4, facts["file"]]
            serial = f"{os.getpid()}.{template.sequence}"
            env = worker.call("environment")
            assert (env["SNAKEPIT_WORKER_ID"], env["SNAKEPIT_GUARD_SERIAL"]) == (f"p/1.{i}", serial)
            with open(f"/proc/{pid}/environ", "rb") as file:
                entries = file.read().split(b"\0")[:2]
            assert entries == [f"SNAKEPIT_WORKER_ID=p/1.{i}".encode(), f"SNAKEPIT_GUARD_SERIAL={serial}".encode()]
            assert worker.call("read", 8) == "\nimport "
            drawn.add(worker.call("number"))
            worker.call("say", "aloud")
            assert worker.stop() == 0
            assert (worker.process.stdout.read(), worker.process.stderr.read()) == (b"aloud\n", b"aloud!\n")
    assert len(drawn) == 3


@pytest.mark.parametrize("channel", ["ring", "socket"])
def test_another_environment_and_folder(template, channel, tmp_path):
    pid = template.awaits_ahead()
    with Worker(template, env={"OTHER": "1"}, cwd=str(tmp_path), channel=channel, segment=channel == "ring") as worker:
        worker.ready()
        assert worker.process.pid == pid
        assert worker.call("environment")["OTHER"] == "1"
        facts = worker.call("facts")
        assert facts["cwd"] == str(tmp_path) and facts["fourth"].startswith("/memfd:") == (channel == "ring")
        assert worker.stop() == 0


def test_who_has_no_output_of_his_own_is_forked_on_request(template):
    pid = template.awaits_ahead()
    with Worker(template, output=False) as worker:
        worker.ready()
        assert worker.process.pid != pid
        worker.call("say", "by the template's pipe")
        assert worker.stop() == 0
    assert b"by the template's pipe" in os.read(template.output, 4096)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_its_death_costs_nothing(template, how):
    pid = template.awaits_ahead()
    os.kill(pid, how)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -how
    for _ in range(2):
        with Worker(template) as worker:
            worker.ready()
            assert worker.process.pid != pid
            assert worker.call("facts")["pid"] == worker.process.pid
    template.awaits_ahead()


@pytest.mark.parametrize("how", ["stop", "control", "guard", "kill"])
def test_it_ends_with_the_template(template, how):
    pid = template.awaits_ahead()
    if how == "kill":
        template.process.kill()
    elif how == "stop":
        template.control.sendall(frame(STOP))
    else:
        getattr(template, how).shutdown(2)
    template.process.wait()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_guard_that_is_another(template):
    pid = template.awaits_ahead()
    worker = Worker(template, guard=1)
    assert (worker.process.pid, worker.process.wait()) == (pid, 127)
    worker.__exit__()


def test_a_folder_that_is_not_there(template, tmp_path):
    pid = template.awaits_ahead()
    worker = Worker(template, cwd=str(tmp_path / "nowhere"))
    assert (worker.process.pid, worker.process.wait()) == (pid, 1)
    assert b"FileNotFoundError" in worker.process.stderr.read()
    worker.__exit__()


def test_requests_that_come_together(template):
    """Who asks at once is served at once: by what is there, and by forks."""
    pid = template.awaits_ahead()
    workers = [Worker(template, f"p/{i}.1") for i in range(4)]
    try:
        assert workers[0].process.pid == pid
        for worker in workers:
            worker.ready()
        assert len({worker.call("number") for worker in workers}) == 4
    finally:
        for worker in workers:
            worker.__exit__()
    template.awaits_ahead()
