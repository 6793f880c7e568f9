"""Dossiers on disk, as `snakepit crash` shows them: real ones, and files that somebody else has put there."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex

import pytest
from programs import on_terminal

ESCAPE = "\x1b]0;PWN\x07"

ADAPTER = """
import ctypes, os, sys, threading, time

class Adapter:
    def boom(self, at):
        print("loading; api_key=abc123 \\x1b[31mred\\x1b[0m", file=sys.stderr, flush=True)
        ctypes.string_at(at)

    def kill(self):
        os.kill(os.getpid(), 9)
        time.sleep(100)

    def use_and_kill(self):
        block = bytearray(b"x") * (64 << 20)
        end = time.process_time() + 0.15
        while time.process_time() < end:
            pass
        self.kill()

    def with_a_thread(self):
        ready = threading.Event()
        def wait_here():
            ready.set()
            time.sleep(1000)
        threading.Thread(target=wait_here, daemon=True).start()
        ready.wait()
        ctypes.string_at(8)
"""


@pytest.fixture
def die(snakepit, tmp_path, env):
    """die("boom", {"at": 8}) is the error of that call; its host keeps dossiers in tmp_path/data/crashes."""
    (tmp_path / "adapter.py").write_text(ADAPTER)

    def run(command: str, arguments: dict | None = None, pool: str = "default", data: str = "data") -> dict:
        words = ["call", command, json.dumps(arguments or {}), "--adapter", "adapter.py", "-o", "json", "--pool", pool]
        for _ in range(5):
            done = snakepit(*words, env={**env, "SNAKEPIT_DATA_DIR": str(tmp_path / data)})
            assert done.returncode == 1, done.stdout + done.stderr
            error = json.loads(done.stderr)
            if error["dossier"]["exit_class"] != "unknown":  # on a starved machine the status may come too late
                break
            (tmp_path / data / "crashes" / f"{error['dossier']['id']}.json").unlink()
        return error

    return run


@pytest.fixture
def crash(snakepit, tmp_path, env):
    def run(*words: str, code: int = 0, **more: str):
        done = snakepit("crash", *words, env={**env, "SNAKEPIT_DATA_DIR": str(tmp_path / "data"), **more})
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def forge(tmp_path):
    """Puts a file among the dossiers."""
    folder = tmp_path / "data" / "crashes"

    def put(name: str, content: bytes | str | dict) -> pathlib.Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        if isinstance(content, dict):
            content = json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


def test_what_is_kept_is_what_the_caller_got(die, crash, tmp_path):
    dossier = die("boom", {"at": 4664})["dossier"]
    path = tmp_path / "data" / "crashes" / f"{dossier['id']}.json"
    assert json.loads(path.read_text()) == dossier
    assert (path.stat().st_mode & 0o7777, path.parent.stat().st_mode & 0o7777) == (0o600, 0o700)
    assert json.loads(crash("show", dossier["id"], "-o", "json").stdout) == dossier
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_list(die, crash):
    first, second, third = die("boom", {"at": 8})["dossier"], die("kill")["dossier"], die("kill", pool="other")["dossier"]
    head, *rows = crash("list").stdout.splitlines()
    assert head.split() == ["ID", "WHEN", "WORKER", "CLASS", "WHERE"]
    assert [row.split()[0] for row in rows] == [third["id"], second["id"], first["id"]]
    line = ADAPTER.splitlines().index("        ctypes.string_at(at)") + 1
    assert rows[2].split(None, 4)[1:4] == [first["time"], "default/0.1", first["exit_class"]]
    assert rows[2].endswith(f"adapter.py, line {line}, in boom")
    only = crash("list", "--pool", "other").stdout.splitlines()[1:]
    assert [row.split() for row in only] == [rows[0].split()]
    done = crash("list", "--count", "1")
    assert [row.split() for row in done.stdout.splitlines()[1:]] == [rows[0].split()] and "2 older" in done.stderr
    listed = json.loads(crash("list", "-o", "json").stdout)
    assert [row["commands"] for row in listed] == [["kill"], ["kill"], ["boom"]]
    assert listed[2]["python_at"] == first["python_at"] and listed[0]["pool"] == "other"


def test_one_for_a_person(die, crash):
    error = die("boom", {"at": 4664})
    dossier = error["dossier"]
    text = crash("show", dossier["id"][:9]).stdout
    assert text.startswith("worker default/0.1 died of a segmentation fault: SEGV_MAPERR at 0x1238\n")
    python, native = text.index("Python, where it crashed"), text.index("\nC (the innermost first)\n")
    assert 0 < python < native < text.index("It wrote last")
    frames = re.findall(r"^  (.*), line (\d+), in (.*)$", text[python:native], re.M)
    kept = next(thread for thread in dossier["python"] if thread["crashed"])["frames"]
    assert [(file, int(line), function) for file, line, function in frames] == [
        (frame["file"], frame["line"], frame["function"]) for frame in kept
    ]
    assert "api_key=<REDACTED> \\u001b[31mred" in text and "abc123" not in text and "\x1b" not in text
    assert re.search(rf"^  call +boom\n +id {dossier['calls'][0]['id']}", text, re.M)
    assert all(frame["build_id"] in text for frame in dossier["native"] if "build_id" in frame)


def test_the_other_threads_come_last(die, crash):
    text = crash("show", die("with_a_thread")["dossier"]["id"]).stdout
    crashed, other = text.index("in with_a_thread"), text.index("in wait_here")
    assert crashed < text.index("\nC (the") < text.index("Python, another thread") < other


def test_what_it_did_last(die, crash, forge):
    dossier = die("boom", {"at": 8})["dossier"]
    text = crash("show", dossier["id"]).stdout
    section = text[text.index("\nWhat it did last\n") : text.index("\nIt wrote last\n")]
    call = next(event for event in dossier["events"] if event["event"] == "call")
    assert re.search(rf"^  {call['time'][11:-1]}  call boom: running, lane 0, call {call['call']}$", section, re.M)
    assert len(section.strip().splitlines()) == 1 + len(dossier["events"]) and "events\n" not in text
    events = [{"time": f"T{i}", "event": "call", "command": "f", "outcome": "ok", "took_us": 1.5} for i in range(64)]
    forge("0abc9zz-default-0.1.json", {"id": "0abc9zz-default-0.1", "events": [*events, {"time": 7, "event": None}, 1]})
    text = crash("show", "0abc9zz").stdout
    assert "(42 events before" in text and "  63  call f: ok after 1.5 us\n" in text and "  41  " not in text


def test_a_death_without_stacks(die, crash):
    dossier = die("kill")["dossier"]
    text = crash("show", dossier["id"]).stdout
    assert "SIGKILL" in text and "Missing\n" in text and "Python, where" not in text
    kept = json.loads(crash("show", dossier["id"], "-o", "json").stdout)
    for word in kept["missing"]:
        assert word in text


def test_what_the_parent_was_told_is_on_disk(die, crash):
    """Of a process that left no report: the guard learns it when it reaps, which may be after the callers have their errors."""
    dossier = die("use_and_kill")["dossier"]
    kept = json.loads(crash("show", dossier["id"], "-o", "json").stdout)
    usage = kept["usage"]
    assert 64 << 20 <= usage["peak_memory_bytes"] < 4 << 30 and usage["cpu_user_ms"] + usage["cpu_system_ms"] >= 140
    assert not any(word.startswith("usage") for word in kept["missing"]) and kept["partial"] is True
    assert ("usage" in dossier) != any(word.startswith("usage") for word in dossier["missing"])
    same = set(kept) - {"usage", "missing"}
    assert {key: kept[key] for key in same} == {key: dossier[key] for key in same}


def test_the_error_ends_with_the_next_step(die, crash, snakepit, tmp_path, env):
    error = die("boom", {"at": 8}, data="a folder; $HOME")
    step = error["suggestions"][-1]
    assert step == f"snakepit crash show {error['dossier']['id']} --dir '{tmp_path}/a folder; $HOME/crashes'"
    *_, quoted = step.split("--dir ")
    assert "Python, where" in crash("show", error["dossier"]["id"], "--dir", quoted.strip("'")).stdout
    words = ["call", "boom", '{"at": 8}', "--adapter", "adapter.py", "-o", "json"]
    done = snakepit(*words, env={**env, "XDG_STATE_HOME": str(tmp_path / "state")})
    error = json.loads(done.stderr)
    assert error["suggestions"][-1] == f"snakepit crash show {error['dossier']['id']}"
    assert (tmp_path / "state" / "snakepit" / "crashes" / f"{error['dossier']['id']}.json").exists()


def test_a_place_that_cannot_be_used(snakepit, tmp_path, env):
    """The caller's error is the same; it is said once why nothing was kept."""
    (tmp_path / "adapter.py").write_text(ADAPTER)
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "crashes").write_text("a file in the way")
    words = ["call", "boom", '{"at": 8}', "--adapter", "adapter.py"]
    done = snakepit(*words, "--verbose", env={**env, "SNAKEPIT_DATA_DIR": str(tmp_path / "data")})
    assert done.returncode == 1 and "died of a segmentation fault" in done.stderr
    (told,) = [line for line in done.stderr.splitlines() if '"name":"snakepit.worker.dossier_lost"' in line]
    event = json.loads(told[told.index("{") :])
    assert event["measurements"] == {"count": 1}
    assert event["metadata"]["dir"] == str(tmp_path / "data" / "crashes")
    assert event["metadata"]["reason"] == os.strerror(20)
    assert sum("could not be kept in" in line for line in done.stderr.splitlines()) == 1
    assert "crash show" not in done.stderr


@pytest.mark.parametrize("wrong", ["a file", "for all", "above"])
def test_the_first_error_names_no_dossier_that_is_not_there(snakepit, tmp_path, env, wrong):
    """A host knows before anything has crashed whether it can keep a dossier."""
    (tmp_path / "adapter.py").write_text(ADAPTER)
    folder = tmp_path / "data" / "crashes"
    folder.parent.mkdir(mode=0o700)
    if wrong == "a file":
        folder.write_text("in the way")
    elif wrong == "for all":
        folder.mkdir()
        folder.chmod(0o777)
    state = {"XDG_STATE_HOME": str(tmp_path / "adapter.py")} if wrong == "above" else {"SNAKEPIT_DATA_DIR": str(folder.parent)}
    words = ["call", "boom", '{"at": 8}', "--adapter", "adapter.py"]
    done = snakepit(*words, env={**env, **state})
    assert done.returncode == 1 and "died of a segmentation fault" in done.stderr and "crash show" not in done.stderr
    (told,) = [line for line in done.stderr.splitlines() if "could not be kept in" in line]
    assert told.startswith("warning: ") and told.endswith(
        "does not belong to this user alone" if wrong == "for all" else os.strerror(20)
    )
    error = json.loads(snakepit(*words, "-o", "json", env={**env, **state}).stderr.splitlines()[-1])
    assert not any("crash show" in step for step in error["suggestions"]) and error["dossier"]["id"]


# ---- the line that makes it happen again ----


@pytest.mark.parametrize(
    "arguments",
    [
        {"at": 4664, "note": 'it\'s $HOME `id` \\ "x" ä'},
        {"at": 4664},
        [4664],
        {"at": 4664, "more": [1.5, None, True, {"a": []}]},
    ],
)
def test_the_same_call_again(snakepit, tmp_path, env, arguments):
    (tmp_path / "adapter.py").write_text(ADAPTER.replace("def boom(self, at)", "def boom(self, at, note='', more=None)"))
    done = snakepit("call", "boom", json.dumps(arguments), "--adapter", "adapter.py", "-o", "json", env=env)
    repro = json.loads(done.stderr)["details"]["repro"]
    assert repro.startswith(f"snakepit call boom --adapter {tmp_path}/adapter.py ")
    words = shlex.split(repro)
    assert (json.loads(words[-1]), words[0]) == (arguments, "snakepit")
    again = json.loads(snakepit(*words[1:], "-o", "json", env=env).stderr)
    assert again["dossier"]["fault"]["address"] == "0x1238" and again["details"]["repro"] == repro


def test_the_same_call_has_the_same_digest(die):
    digests = [die("boom", {"at": at})["dossier"]["calls"][0]["digest"] for at in (8, 8, 16)]
    assert digests[0] == digests[1] != digests[2] and re.fullmatch("[0-9a-f]{64}", digests[0])


def test_no_secrets_and_no_end(snakepit, tmp_path, env):
    (tmp_path / "adapter.py").write_text(ADAPTER)
    secret = {"at": 8, "password": "hunter2", "header": "Bearer abcdef"}
    done = snakepit("call", "kill", json.dumps(secret), "--adapter", "adapter.py", "-o", "json", env=env)
    assert json.loads(done.stderr)["code"] == "type_error"  # Python tells by itself, and repeats no call
    (tmp_path / "adapter.py").write_text(ADAPTER.replace("def kill(self)", "def kill(self, **more)"))
    done = snakepit("call", "kill", json.dumps(secret), "--adapter", "adapter.py", "-o", "json", env=env)
    repro = json.loads(done.stderr)["details"]["repro"]
    assert "hunter2" not in repro and "abcdef" not in repro and "<REDACTED>" in repro
    for size in (1500, 3000, 300000):
        done = snakepit(
            "call", "kill", "-", "--adapter", "adapter.py", "-o", "json", env=env, input=json.dumps({"x": "y" * size})
        )
        repro = json.loads(done.stderr)["details"]["repro"]
        assert len(repro) < 4096 and repro.endswith(" - < arguments.json") == (size > 2048)


# ---- names ----


def test_an_unknown_id(crash, forge):
    done = crash("show", "0abc9zz-default-0.1", code=1)
    assert "there is no dossier" in done.stderr and "crash list" in done.stderr
    forge("0abc9zz-default-0.1.json", {"id": "0abc9zz-default-0.1"})
    forge("0abc9zz-default-0.2.json", {"id": "0abc9zz-default-0.2"})
    assert "did you mean '0abc9zz-default-0." in crash("show", "0abc9zy-default-0.1", code=1).stderr
    assert "2 dossiers begin with" in crash("show", "0abc", code=1).stderr
    assert "0abc9zz-default-0.1" in crash("show", "0abc9zz-default-0.1").stdout
    error = json.loads(crash("show", "nothing", "-o", "json", code=1).stderr)
    assert error["code"] == "not_found"


@pytest.mark.parametrize(
    "name", ["0abc9zz-default-0.1" + ESCAPE, f"0abc9zz-def{ESCAPE}ault-0.1", "0abc9zz-default-0.1\n  try: rm"]
)
def test_no_advice_to_obey_a_name(build, env, crash, forge, tmp_path, name):
    """The name of a file is anybody's work, too: it is neither suggested nor sent to a terminal as it is."""
    forge(name + ".json", {"id": "x"})
    done = crash("show", "0abc9zz-default-0.2", code=1)
    assert "there is no dossier" in done.stderr and "\x1b" not in done.stderr and "rm" not in done.stderr
    forge(name + "2.json", {"id": "x"})
    done = crash("show", "0abc", code=1)
    assert "2 dossiers begin with" in done.stderr and "\x1b" not in done.stderr and "rm" not in done.stderr
    command = [str(build / "snakepit"), "--no-color", "crash", "show", "0abc9zz-default-0.2" + ESCAPE]
    said, code = on_terminal(command, {**env, "SNAKEPIT_DATA_DIR": str(tmp_path / "data")}, tmp_path)
    assert code == 1 and not set(said) & set("\x1b\x07") and "\\u001b" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (b"\xff", "\ufffd"),
        (b"a\xed\xa0\x80\xc3\xa4\xf0\x9f", "a\ufffd\ufffd\ufffd\u00e4\ufffd\ufffd"),
        (b"\xf4\x90\x80\x80\xc0\xaf\xf0\x9f\x90\x8d", "\ufffd" * 6 + "\U0001f40d"),
    ],
)
def test_an_error_in_json_of_any_bytes(crash, forge, name, said):
    forge("x.json", {"id": "x"})
    error = json.loads(crash("-o", "json", "show", os.fsdecode(name), code=1).stderr)
    assert error["code"] == "not_found" and f"there is no dossier '{said}' in" in error["message"]


@pytest.mark.parametrize("words", [[], ["show"], ["what"], ["list", "x"], ["show", "a", "b"], ["show", "../x"], ["show", ""]])
def test_usage(crash, words):
    assert "snakepit help crash" in crash(*words, code=2).stderr


def test_the_nearest_word(crash):
    assert "did you mean 'list'?" in crash("lst", code=2).stderr and "did you mean 'show'?" in crash("shwo", code=2).stderr
    assert "did you mean" not in crash("what", code=2).stderr


def test_folders(crash, tmp_path):
    done = crash("list")
    assert (done.stdout, "no dossiers" in done.stderr) == ("", True)
    assert json.loads(crash("list", "-o", "json").stdout) == []
    assert "cannot be read" in crash("list", "--dir", str(tmp_path / "nowhere"), code=1).stderr


def test_no_place_at_all(snakepit, env):
    bare = {name: value for name, value in env.items() if name not in ("HOME", "XDG_STATE_HOME", "SNAKEPIT_DATA_DIR")}
    done = snakepit("crash", "list", env=bare)
    assert done.returncode == 3 and "--dir" in done.stderr


# ---- files of anybody ----

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\r\nFORGED LINE"


def test_a_hostile_dossier(crash, forge):
    evil = {
        "id": EVIL,
        "time": EVIL,
        "worker_id": EVIL,
        "exit_class": EVIL,
        "python_at": EVIL,
        "reason": EVIL,
        "calls": [{"command": EVIL, "id": EVIL}, 7, None],
        "fault": {"code": EVIL, "address": EVIL, "thread": EVIL},
        "python": [{"crashed": True, "thread": EVIL, "frames": [{"file": EVIL, "line": -1, "function": EVIL}, "x"]}, []],
        "native": [{"symbol": EVIL, "module": EVIL, "offset": EVIL, "build_id": EVIL}, {"pc": {}}],
        "usage": {"peak_memory_bytes": "much", "cpu_user_ms": -1},
        "stderr": EVIL + "\n" + "ä" * 1000,
        "missing": [EVIL, 1],
        EVIL: [EVIL],
        "lifetime_ms": 1e300,
    }
    forge("0abc9zz-default-0.1.json", evil)
    for words in (["list"], ["show", "0abc"]):
        text = crash(*words).stdout
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        assert len(re.findall(r"^ *FORGED", text, re.M)) == (words[0] == "show")  # what it printed has lines
    assert len(crash("list").stdout.splitlines()) == 2


def test_what_it_was_doing_before_it_was_killed(crash, forge):
    thread = {"tid": 7, "name": "python", "main": True, "state": "sleeping", "lane": 0, "syscall": "futex"}
    look = {
        "summary": "sleeps in futex, f.py, line 3, in g" + ESCAPE,
        "threads": [thread | {"in": "libgomp.so.1", "function": "gomp_barrier"}, {"tid": "x", "name": EVIL}, 1],
        "python": [{"tid": 7, "frames": [{"file": "f.py", "line": 3, "function": "g"}]}, {"thread": EVIL, "frames": [None]}],
        "missing": ["threads: " + EVIL],
    }
    forge("0abc9zz-default-0.1.json", {"id": "x", "look": look, "usage": {"peak_memory_bytes": 0}})
    text = crash("show", "0abc").stdout
    section = text[text.index("\nWhat it was doing before it was killed\n") :]
    summary, first = section.splitlines()[2:4]
    assert summary == "  sleeps in futex, f.py, line 3, in g\\u001b]0;PWN\\u0007"
    assert first == "  thread 7 python, the main one, lane 0, sleeping, in the system call futex, in libgomp.so.1: gomp_barrier"
    assert "\nPython of thread 7 then (the innermost first)\n  f.py, line 3, in g\n" in section
    assert "{" not in text and "  used" not in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    for other in (7, [], {"threads": {}, "python": 1, "missing": "x"}):
        forge("0abc9zz-default-0.1.json", {"id": "x", "look": other})
        crash("show", "0abc")


def test_a_stack_without_end(crash, forge):
    """A file as large as one may be takes no longer to show than it takes to read."""
    frames = [{"module": f"m{i}", "build_id": "b"} for i in range(110_000)]
    python = {"crashed": True, "thread": "1", "frames": [{"file": f"f{i}", "function": "g"} for i in range(300)]}
    path = forge(
        "0abc9zz-default-0.1.json", json.dumps({"id": "x", "native": frames, "python": [python]}, separators=(",", ":"))
    )
    assert 3 << 20 < path.stat().st_size < 4 << 20
    text = crash("show", "0abc").stdout
    assert text.count("  ... and 109744 more\n") == 1 and text.count("  ... and 44 more\n") == 1
    assert "f255, in g\n" in text and "f256" not in text and "  b  m255\n" in text and "m256" not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no JSON"),
        (b'{"id": "0abc9zz-defau', "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[]", "something else"),
        (b"{}", "something else"),
        (b'{"id": 7}', "something else"),
        (b"[" * 100000, "no JSON"),
        (b'{"id": "' + b"x" * (5 << 20) + b'"}', "too large"),
    ],
)
def test_a_file_that_is_no_dossier(crash, forge, content, said):
    forge("0abc9zz-default-0.1.json", content)
    forge("0abc9zz-default-0.2.json", {"id": "0abc9zz-default-0.2", "exit_class": "killed"})
    rows = crash("list").stdout.splitlines()[1:]
    assert len(rows) == 2
    assert any(said in row for row in rows) and any("killed" in row for row in rows)
    listed = {row["id"]: row for row in json.loads(crash("list", "-o", "json").stdout)}
    assert said in listed["0abc9zz-default-0.1"]["error"] and "error" not in listed["0abc9zz-default-0.2"]
    assert said in crash("show", "0abc9zz-default-0.1", code=1).stderr
    assert "killed" in crash("show", "0abc9zz-default-0.2").stdout


def test_things_that_are_no_files(crash, forge, tmp_path):
    good = forge("0abc9zz-default-0.2.json", {"id": "x", "exit_class": "killed"})
    os.mkfifo(good.with_name("0abc9zz-default-0.3.json"))
    good.with_name("0abc9zz-default-0.4.json").symlink_to("/etc/passwd")
    good.with_name("0abc9zz-default-0.5.json").mkdir()
    good.with_name("notes.txt").write_text("mine")
    rows = crash("list").stdout.splitlines()[1:]
    assert sorted(row.split()[0][-1] for row in rows) == ["2", "3", "4", "5"]
    assert sum("no plain file" in row or "directory" in row for row in rows) == 3
    assert "no plain file" in crash("show", "0abc9zz-default-0.4", code=1).stderr
