"""Dossiers of real deaths: what the error says is checked against what was done."""

from __future__ import annotations

import json

import pytest

ADAPTER = """
import ctypes
import faulthandler
import mmap
import os
import sys
import threading
import time

C = ctypes.PyDLL(os.environ["CRASH_LIBRARY"])  # keeps the interpreter locked
FREE = ctypes.CDLL(os.environ["CRASH_LIBRARY"])


def segment():
    for fd in range(3, 20):
        try:
            if "memfd:snakepit" in os.readlink(f"/proc/self/fd/{fd}"):
                return mmap.mmap(fd, os.fstat(fd).st_size)
        except OSError:
            pass


class Adapter:
    def write(self, at):
        return C.crash_below(ctypes.c_long(at))

    def write_unlocked(self, at):
        return FREE.crash_below(ctypes.c_long(at))

    def python_thread(self):
        def in_thread():
            C.crash_below(ctypes.c_long(8))

        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()

    def foreign_thread(self):
        return C.crash_in_a_thread(ctypes.c_long(24))

    def malloc(self):
        return C.crash_in_malloc()

    def illegal(self):
        return C.crash_illegal()

    def bus(self):
        return C.crash_bus()

    def fpe(self):
        return C.crash_fpe(0)

    def spoilt_stack(self):
        return C.crash_with_a_spoilt_stack()

    def spoilt_thread_state(self):
        ctypes.pythonapi.PyThreadState_Get.restype = ctypes.c_void_p
        ctypes.memset(ctypes.pythonapi.PyThreadState_Get() + 16, 0x41, 160)

    def abort(self):
        print("these are my last words, and my password=hunter2", file=sys.stderr, flush=True)
        os.abort()

    def much(self, kept):
        print("password=" + 30 * "H" + "hunter2", (kept - 10) * "x", sep=chr(10), file=sys.stderr, flush=True)
        os.abort()

    def fatal_error(self):
        ctypes.pythonapi.Py_FatalError(b"nothing goes any more")

    def jump(self):
        return ctypes.CFUNCTYPE(None)(0)()

    def overflow(self):
        return C.crash_overflow(0)

    def sent(self):
        os.kill(os.getpid(), 11)
        time.sleep(100)

    def replaced(self):
        C.replace_handler()
        return C.crash_below(ctypes.c_long(8))

    def faulthandler(self):
        faulthandler.enable()
        return C.crash_below(ctypes.c_long(8))

    def in_a_fork(self):
        pid = os.fork()
        if pid == 0:
            C.crash_below(ctypes.c_long(8))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if sys.version_info >= (3, 9) else None

    def rubbish(self, byte):
        area = segment()
        area[len(area) - 16384 :] = bytes([byte]) * 16384
        C.replace_handler()
        return C.crash_below(ctypes.c_long(8))

    def no_descriptors(self):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        try:
            while True:
                os.dup(2)
        except OSError:
            pass
        return C.crash_below(ctypes.c_long(8))

    def exit(self):
        os._exit(7)

    def exit_0(self):
        os._exit(0)

    def exit_1(self):
        os._exit(1)

    def kill(self):
        os.kill(os.getpid(), 9)
        time.sleep(100)

    def terminate(self):
        os.kill(os.getpid(), 15)
        time.sleep(100)
"""


@pytest.fixture
def die(snakepit, tmp_path, env, library):
    """die("write", {"at": 8}) is the error of that call."""
    path = tmp_path / "adapter.py"
    path.write_text(ADAPTER)

    def run(command: str, arguments: dict | None = None, more: dict | None = None) -> dict:
        words = ["call", command, json.dumps(arguments or {}), "--adapter", str(path), "-o", "json"]
        for _ in range(5):
            done = snakepit(*words, env={**env, "CRASH_LIBRARY": library, **(more or {})})
            assert done.returncode == 1, done.stdout + done.stderr
            error = json.loads(done.stderr)
            assert error["dossier"] is not None, done.stderr
            if error["dossier"]["exit_class"] != "unknown":  # on a starved machine the status may come too late
                break
        return error

    return run


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(ADAPTER.splitlines(), 1) if text in line)


def crashed(dossier: dict) -> list[dict]:
    (thread,) = [thread for thread in dossier["python"] if thread["crashed"]]
    return thread["frames"]


def symbols(dossier: dict) -> list[str]:
    return [frame.get("symbol", "") for frame in dossier["native"]]


@pytest.mark.parametrize("command", ["write", "write_unlocked"])
def test_a_segfault_in_c(die, tmp_path, library, command):
    error = die(command, {"at": 4664})
    dossier = error["dossier"]
    assert error["code"] == "worker_crash" and error["details"]["exit_class"] == dossier["exit_class"] == "segfault"
    assert dossier["fault"]["signal"] == dossier["signal"] == "SIGSEGV"
    assert (dossier["fault"]["code"], dossier["fault"]["address"]) == ("SEGV_MAPERR", hex(4664))
    assert dossier["fault"]["main_thread"] is True
    top = crashed(dossier)[0]
    assert (top["file"], top["function"]) == (str(tmp_path / "adapter.py"), command)
    assert top["line"] == line_of(f"def {command}(") + 1
    assert symbols(dossier)[:2] == ["crash_write", "crash_below"]
    frame = dossier["native"][0]
    assert frame["module"] == library and frame["build_id"] == "00112233445566778899aabbccddeeff00112233"
    assert frame["pc"] == dossier["fault"]["pc"]
    assert int(frame["pc"], 16) % 4096 == int(frame["offset"], 16) % 4096
    assert [call["command"] for call in dossier["calls"]] == [command]
    assert dossier["calls"][0]["id"] == error["correlation_id"] or error["correlation_id"] is None
    assert dossier["usage"]["peak_memory_bytes"] > 1 << 20
    assert (dossier["partial"], dossier["missing"]) == (False, [])
    assert error["details"]["native_at"] == "crash_write() of libcrash.so"
    assert error["details"]["python_at"] == f"{tmp_path}/adapter.py, line {top['line']}, in {command}"


@pytest.mark.parametrize(
    ("command", "exit_class", "signal", "code", "symbol"),
    [
        ("illegal", "illegal_instruction", "SIGILL", "ILL_ILLOPN", "crash_illegal"),
        ("bus", "bus_error", "SIGBUS", "BUS_ADRERR", "crash_bus"),
        ("fpe", "fpe", "SIGFPE", "FPE_INTDIV", "crash_fpe"),
        ("abort", "abort", "SIGABRT", "SI_TKILL", "abort"),
        ("malloc", "abort", "SIGABRT", "SI_TKILL", "crash_in_malloc"),
        ("fatal_error", "abort", "SIGABRT", "SI_TKILL", "Py_FatalError"),
        ("sent", "segfault", "SIGSEGV", "SI_USER", "kill"),
    ],
)
def test_each_signal(die, command, exit_class, signal, code, symbol):
    dossier = die(command)["dossier"]
    assert (dossier["exit_class"], dossier["fault"]["signal"], dossier["fault"]["code"]) == (exit_class, signal, code)
    assert any(symbol in name for name in symbols(dossier)), symbols(dossier)
    assert crashed(dossier)[0]["function"] == command
    assert dossier["missing"] == []
    if code.startswith("SI_"):
        assert dossier["fault"]["sender_pid"] == dossier["pid"]


def test_last_words(die):
    said = die("abort")["dossier"]["stderr"]
    assert "these are my last words, and my password=<REDACTED>" in said and "hunter2" not in said
    assert "nothing goes any more" in die("fatal_error")["dossier"]["stderr"]


@pytest.mark.parametrize(("kept", "whose"), [(8192, "dossier"), (65536, "details")])
def test_a_secret_that_is_cut_off(die, kept, whose):
    said = die("much", {"kept": kept})[whose]["stderr"]
    assert "hunter2" not in said and "HHH" not in said and 0 <= said.find("xxx") < 10


def test_a_thread_of_python(die):
    dossier = die("python_thread")["dossier"]
    assert crashed(dossier)[0]["function"] == "in_thread"
    assert dossier["fault"]["main_thread"] is False
    assert any(frame["function"] == "python_thread" for thread in dossier["python"] for frame in thread["frames"])


def test_a_thread_that_python_does_not_know(die):
    dossier = die("foreign_thread")["dossier"]
    assert symbols(dossier)[:2] == ["crash_write", "crash_below"] and dossier["fault"]["address"] == "0x18"
    assert any(frame["function"] == "foreign_thread" for thread in dossier["python"] for frame in thread["frames"])


def test_a_jump_to_nowhere_names_who_jumped(die):
    dossier = die("jump")["dossier"]
    assert dossier["fault"]["pc"] == dossier["fault"]["address"] == "0x0"
    assert "ffi" in dossier["native"][1]["module"]
    assert crashed(dossier)[0]["function"] == "jump"


def test_an_overflow_of_the_stack(die):
    dossier = die("overflow")["dossier"]
    assert dossier["exit_class"] == "segfault"
    assert crashed(dossier)[0]["function"] == "overflow"
    assert all(name.startswith("crash_overflow") for name in symbols(dossier))
    assert dossier["partial"] is True and "native: the stack is deeper" in dossier["missing"]


def test_a_fault_while_the_report_is_made(die):
    """The other parts are told all the same, and the signal is still the true one."""
    dossier = die("spoilt_stack")["dossier"]
    assert dossier["exit_class"] == "segfault" and dossier["fault"]["address"] == "0x10"
    assert dossier["native"][0]["symbol"] == "crash_write"
    assert crashed(dossier)[0]["function"] == "spoilt_stack"
    dossier = die("spoilt_thread_state")["dossier"]
    assert dossier["exit_class"] in ("segfault", "bus_error") and dossier["native"][0]["pc"] == dossier["fault"]["pc"]
    assert dossier["partial"] is True


def test_handlers_of_others(die):
    dossier = die("replaced")["dossier"]
    assert dossier["exit_class"] == "segfault" and dossier["partial"] is True and "fault" not in dossier
    assert "was replaced" in dossier["missing"][0]
    dossier = die("faulthandler")["dossier"]
    assert crashed(dossier)[0]["function"] == "faulthandler" and "crash_below" in symbols(dossier)
    assert "Segmentation fault" in dossier["stderr"]
    dossier = die("write", {"at": 8}, {"PYTHONFAULTHANDLER": "1"})["dossier"]
    assert dossier["fault"]["address"] == "0x8" and "Segmentation fault" in dossier["stderr"]


def test_a_crash_of_a_fork_is_not_the_workers(snakepit, tmp_path, env, library):
    path = tmp_path / "adapter.py"
    path.write_text(ADAPTER)
    done = snakepit("call", "in_a_fork", "--adapter", str(path), env={**env, "CRASH_LIBRARY": library})
    assert (done.returncode, done.stdout.strip()) == (0, "-11"), done.stderr


@pytest.mark.parametrize("byte", [0, 1, 2, 3, 0x0B, 0x41, 0xFF])
def test_a_page_full_of_rubbish(die, byte):
    dossier = die("rubbish", {"byte": byte})["dossier"]
    assert dossier["exit_class"] == "segfault" and dossier["partial"] is True
    assert [call["command"] for call in dossier["calls"]] == ["rubbish"]


def test_no_descriptor_is_left(die):
    dossier = die("no_descriptors")["dossier"]
    assert crashed(dossier)[0]["function"] == "no_descriptors" and dossier["missing"] == []


@pytest.mark.parametrize(
    ("command", "exit_class", "code", "signal"),
    [
        ("exit", "exit_code", 7, None),
        ("exit_0", "unexpected_exit", 0, None),
        ("exit_1", "python_error", 1, None),
        ("kill", "killed", 137, "SIGKILL"),
        ("terminate", "signal", 143, "SIGTERM"),
    ],
)
def test_deaths_without_a_last_word(die, command, exit_class, code, signal):
    dossier = die(command)["dossier"]
    assert (dossier["exit_class"], dossier["exit_code"], dossier.get("signal")) == (exit_class, code, signal)
    assert [call["command"] for call in dossier["calls"]] == [command]
    assert dossier["partial"] is True and "fault" not in dossier
    assert dossier.get("out_of_memory") == ("no" if command == "kill" else None)


def test_without_the_extension(die):
    dossier = die("write", {"at": 8}, {"SNAKEPIT_NO_EXTENSION": "1"})["dossier"]
    assert dossier["exit_class"] == "segfault" and "no handler for crashes" in dossier["missing"][0]


def test_a_crash_while_it_starts(snakepit, tmp_path, env, library):
    (tmp_path / "a.py").write_text("import ctypes\nctypes.string_at(0)\nclass A: pass\n")
    done = snakepit("call", "f", "--adapter", "a.py", "-o", "json")
    assert done.returncode == 1
    error = json.loads(done.stderr)
    while error["dossier"] is None:
        error = error["cause"]
    frames = crashed(error["dossier"])
    assert any(frame["file"].endswith("a.py") and frame["line"] == 2 for frame in frames)
    assert error["dossier"]["calls"] == []


@pytest.mark.parametrize("moment", ["initialize", "cleanup"])
def test_a_crash_of_a_hook(snakepit, tmp_path, env, moment):
    """Before the first call, where it is the error; behind the last one, where nobody waits for it: it is kept on disk."""
    (tmp_path / "a.py").write_text(
        "import ctypes\nfrom snakepit_bridge import BaseAdapter, tool\n\nclass A(BaseAdapter):\n"
        f"    def {moment}(self):\n        ctypes.string_at(0)\n\n    @tool\n    def f(self):\n        return 1\n"
    )
    env = {**env, "XDG_STATE_HOME": str(tmp_path / "state")}
    for _ in range(5):  # on a starved machine the status may come too late
        done = snakepit("call", "f", "--adapter", "a.py", "-o", "json", env=env)
        assert (done.returncode, done.stdout) == ((0, "1\n") if moment == "cleanup" else (1, "")), done.stderr
        told = [json.loads(path.read_text()) for path in (tmp_path / "state/snakepit/crashes").glob("*.json")]
        dossier = next((each for each in told if each["exit_class"] != "unknown"), None)
        if dossier is not None:
            break
    assert dossier["exit_class"] == "segfault" and dossier["fault"]["address"] == "0x0"
    assert any(frame["function"] == moment and frame["line"] == 6 for frame in crashed(dossier))
    assert dossier["calls"] == [] and dossier["missing"] == []
