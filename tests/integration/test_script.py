"""The example `script`: how a program leaves, whatever became of its stdout."""

from __future__ import annotations

import os
import subprocess

import pytest
from programs import LIMIT_S, sanitizers

MODES = [None, "none", "stop", "halt", "AUTO"]


@pytest.fixture
def script(build, env, tmp_path):
    def run(*texts: str, mode: str | None = None, **options) -> subprocess.Popen:
        changed = dict(env)
        for name in ("SNAKEPIT_SCRIPT_EXIT", "SNAKEPIT_SCRIPT_HALT"):
            changed.pop(name, None)
        if mode is not None:
            changed["SNAKEPIT_SCRIPT_EXIT"] = mode
        command = [str(build / "examples" / "script"), *texts]
        options = {"cwd": build / "examples", "env": changed, "stdin": subprocess.DEVNULL, **options}
        return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, **options)

    return run


@pytest.fixture
def plain_exit(build):
    if sanitizers(build) == "thread":
        pytest.skip("ThreadSanitizer makes _exit() flush what is still in a buffer")


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "halt"])
def test_what_it_counts(script, mode):
    process = script("a b c", "d", mode=mode, stdout=subprocess.PIPE)
    out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out, err) == (0, "3: a b c\n1: d\n", "")


def test_who_halts_flushes_before(script, plain_exit):
    process = script("a b c", "d", mode="halt", stdout=subprocess.PIPE)
    out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out, err) == (0, "", "")  # _exit writes nothing that is still in a buffer


def test_a_failing_script_is_status_1(script, tmp_path):
    process = script(stdout=subprocess.PIPE)
    assert process.communicate(timeout=LIMIT_S) == ("", "")
    assert process.returncode == 1
    process = script("a", stdout=subprocess.PIPE, cwd=tmp_path)  # there is no script.py
    out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (1, "")
    assert "script.py" in err


@pytest.mark.parametrize("mode", MODES)
def test_a_closed_stdout_does_not_hang_the_exit(build, script, mode):
    for texts in (["a b"], ["word " * 50] * 40):
        process = script(*texts, mode=mode, preexec_fn=lambda: os.close(1))
        process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_reader_that_has_left_does_not_hang_the_exit(script, mode):
    read, write = os.pipe()
    os.close(read)
    process = script("a b", mode=mode, stdout=write)
    os.close(write)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode in (0, -13)  # what is left in the buffer meets SIGPIPE


def test_a_full_pipe_does_not_hang_who_halts(script, plain_exit):
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(write, True)
    process = script("a b", mode="halt", stdout=write)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    os.close(read)
    os.close(write)
