"""What the integration tests share: the built programs, the interpreter, and a way to run the one with the other."""

from __future__ import annotations

import functools
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import textwrap

import pytest
from programs import LIMIT_S, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Whoever runs the tests in the background may have had these ignored, and programs inherit that: here they are what a terminal gives.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session")
def build() -> pathlib.Path:
    folder = pathlib.Path(os.environ.get("SNAKEPIT_BUILD", ROOT / "build")).resolve()
    if not (folder / "snakepit").exists():
        pytest.fail(f"{folder}/snakepit is not there: build the tree first (./dev build)")
    return folder


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter of the workers: the one with scikit-learn."""
    named = os.environ.get("SNAKEPIT_PYTHON")
    if named:
        return named
    venv = ROOT / ".venv" / "bin" / "python"
    return str(venv) if venv.exists() else sys.executable


@pytest.fixture
def env(python: str, build: pathlib.Path) -> dict[str, str]:
    """The environment of a program under test: nothing of a virtual environment that happens to be active, no colour by accident."""
    left_out = {"VIRTUAL_ENV", "NO_COLOR", "PYTHONPATH", "PYTHONHOME", "SNAKEPIT_GUARD", "SNAKEPIT_PYTHON_PACKAGE"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "SNAKEPIT_PYTHON": python, "TERM": "xterm", "XDG_STATE_HOME": str(build / "state")}


@pytest.fixture
def snakepit(build: pathlib.Path, env: dict[str, str], tmp_path: pathlib.Path):
    """snakepit("call", ...) runs the program in tmp_path and returns what it said."""

    def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
        options = {"cwd": tmp_path, "env": env, "text": True, "timeout": LIMIT_S, "stdin": subprocess.DEVNULL, **options}
        if "input" in options:
            del options["stdin"]
        for stream in ("stdout", "stderr"):
            options.setdefault(stream, subprocess.PIPE)
        return subprocess.run([str(build / "snakepit"), *arguments], **options)

    return run


@pytest.fixture
def adapter(tmp_path: pathlib.Path):
    """adapter("def f(self): ...") writes a class with these methods to a file and returns its path."""

    def write(body: str, name: str = "adapter.py", before: str = "") -> str:
        path = tmp_path / name
        text = textwrap.dedent(before) + "\n\nclass Adapter:\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
        path.write_text(text + "\n")
        return str(path)

    return write


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> str:
    """Ways to die in C."""
    path = tmp_path_factory.mktemp("crash") / "libcrash.so"
    compiler = shlex.split(os.environ.get("CC") or "cc")
    source = str(ROOT / "tests/integration/crash.c")
    flags = ["-O1", "-g", "-fPIC", "-shared", "-pthread", "-w", "-Wl,--build-id=0x00112233445566778899aabbccddeeff00112233"]
    subprocess.run([*compiler, *flags, "-o", str(path), source], check=True)
    return str(path)


@pytest.fixture
def waiting_host(build, env, adapter, tmp_path):
    """Of an adapter's source: what starts a program whose call of `wait` waits in its worker; it gives the process, and what the worker has written into
    the file TEST_HERE, its number, once the call has begun."""
    running = []

    def start(work, argument="{}"):
        here = tmp_path / f"here{len(running)}"
        path = adapter(work, before="import mmap, os, random, signal, threading\n")
        command = [str(build / "snakepit"), "call", "wait", argument, "--adapter", path, "--timeout", "10m"]
        process = subprocess.Popen(
            command, env={**env, "TEST_HERE": str(here)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
        )
        running.append(process)
        wait_for(lambda: here.exists() and here.read_text() != "", "the call", LIMIT_S)
        return process, int(here.read_text())

    yield lambda work: functools.partial(start, work)
    for process in running:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=LIMIT_S)
