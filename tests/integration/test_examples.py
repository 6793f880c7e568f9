"""Each example is run as a person would, and what it prints is checked."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import subprocess

import pytest
from programs import LIMIT_S, on_terminal


@pytest.fixture
def example(build, env):
    def run(name: str, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
        options = {"cwd": build / "examples", "env": env, "timeout": 2 * LIMIT_S, **options}
        command = [str(build / "examples" / name), *arguments]
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run(command, capture_output=True, text=True, **options)

    return run


def test_hello(example):
    done = example("hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello, World\n", "")


def test_hello_without_its_adapter_says_why(example, tmp_path):
    done = example("hello", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "hello.py" in done.stderr


def test_embed_keeps_its_own_loop_alive(example):
    done = example("embed")
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    squares = sum(n * n for n in range(1, 25))
    found = re.fullmatch(rf"24 answers, 0 failed, their sum is {squares}; the loop ticked (\d+) times meanwhile", last)
    assert found and int(found[1]) >= 1
    ticks = [int(n) for n in re.findall(r"^tick +(\d+):", done.stdout, re.M)]
    assert ticks == list(range(1, int(found[1]) + 1))


def test_streaming_is_read_in_three_ways(example):
    done = example("streaming")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    words = lines[0].split()
    assert lines[1] == "8 words came, the generator says 8" and len(words) == 8
    assert lines[2].split() == words[:3] and lines[3] == "enough after 3: the generator is closed"
    assert lines[4].split() == words and lines[5] == "read at the program's own pace"


def test_stream_progress(example, build, env):
    done = example("stream_progress")
    assert (done.returncode, done.stderr) == (0, "")
    steps = re.findall(r"^ *(\d+) %$", done.stdout, re.M)
    assert [int(n) for n in steps] == [*range(10, 100, 10), 100]
    assert done.stdout.endswith("\n2262 primes below 20000\n")


def test_file_upload(example, tmp_path):
    data = os.urandom(1_000_003)
    (tmp_path / "big").write_bytes(data)
    done = example("file_upload", str(tmp_path / "big"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/big: 1000003 bytes in 16 pieces, sha256 {hashlib.sha256(data).hexdigest()}\n"
    assert example("file_upload").returncode == 2
    missing = example("file_upload", str(tmp_path / "none"))
    assert missing.returncode == 2 and "No such file" in missing.stderr
    folder = example("file_upload", str(tmp_path))  # can be opened, and not read
    assert (folder.returncode, folder.stdout, folder.stderr) == (1, "", f"{tmp_path}: Is a directory\n")


def test_bidirectional_tools(example):
    done = example("bidirectional_tools")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        'Python may call: ["price"]',
        "worth: 55.0",
        "AAA: 12.50",
        "BBB: 3.00",
        "CCC: Tool execution failed: there is no CCC",
        "10! = 3628800",
    ]


def test_streaming_tool(example):
    done = example("streaming_tool")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [x for x in lines if x.startswith("row ")] == [f"row {n}: too much" for n in (299, 599, 899)]
    assert [x for x in lines if "of 1000" in x] == [f"{n} of 1000 rows" for n in (250, 500, 750, 1000)]
    amounts = [5000 + n if n % 300 == 299 else n % 97 for n in range(1000)]
    assert lines[-2] == f'audit: {{"rows":1000,"total":{float(sum(amounts))},"flagged":3}}' and lines[-1] == "first: 299"


def test_repl_keeps_its_names(example):
    done = example("repl", input="x = 6\nx * 7\nprint('hi')\n1 / 0\nx\n")
    assert (done.returncode, done.stderr) == (0, "")
    said = [line for line in done.stdout.splitlines() if not line.startswith(("Traceback", "  "))]
    assert said == ["42", "hi", "ZeroDivisionError: division by zero", "6"]


def test_repl_takes_what_people_type(example):
    lines = [
        "def f(n):",
        "    return n + 1",
        "",
        "f(1)",
        "for i in range(3): print(i)",
        "",
        "raise KeyboardInterrupt",
        "len('" + "x" * 9000 + "')",
    ]
    done = example("repl", input="\n".join([*lines, "print('a\\0b')", "print('\\ud800')", "1 +", "exit()", "2", ""]))
    assert (done.returncode, done.stderr) == (0, "")
    said = [line for line in done.stdout.splitlines() if not line.startswith(("Traceback", "  "))]
    assert said[:-1] == ["2", "0", "1", "2", "KeyboardInterrupt", "9000", "a\0b", "\\ud800"] and said[-1].startswith(
        "SyntaxError: "
    )


def test_repl_whose_worker_ends_says_so(example):
    done = example("repl", input="import os\nos._exit(3)\n1\n")
    assert (done.returncode, done.stdout) == (1, "") and "worker_crash" in done.stderr


def test_concurrent_gains_by_each_way_and_answers_alike(example):
    line = r"  (one at a time|threads|futures|a batch) +(\d+\.\d{3}) s  (?:on )?(\d) (?:at a time|workers?) *(?:(\d+\.\d) times as fast)?"
    for _ in range(5):  # on a starved machine nothing may happen at once
        done = example("concurrent")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        lines = done.stdout.splitlines()
        assert [text.split(",")[0] for text in lines[0::5]] == ["waiting", "computing", "computing"]
        blocks = [[re.fullmatch(line, text) for text in lines[i + 1 : i + 5]] for i in (0, 5, 10)]
        assert all(found for block in blocks for found in block), done.stdout
        for alone, *ways in blocks:
            assert [alone[1], *(way[1] for way in ways)] == ["one at a time", "threads", "futures", "a batch"]
            assert alone[3] == "1" or alone[0].endswith("workers")
            assert alone[4] is None
            for way in ways:  # the gain is what the times say, to the digits that they have
                assert abs(float(way[4]) - float(alone[2]) / float(way[2])) < 0.1 + float(alone[2]) / float(way[2]) * 0.1, way[
                    0
                ]
        waiting, processes, threads = blocks
        assert all(way[3] == "1" for way in threads)
        if all(2 <= int(way[3]) <= 8 for way in waiting[1:]) and all(int(way[3]) >= 2 for way in processes[1:]):
            return
    pytest.fail(done.stdout)


def rungs(example):
    done = example("cancellation")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return re.findall(r"^(\w+) +cancelled after +\d+\.\d\d ms; rung (\d) after +\d+\.\d\d ms: \w.+$", done.stdout, re.M)


def test_cancellation_ends_each_call_on_its_rung(example):
    expected = [("polite", "2"), ("waiting", "2"), ("busy", "3"), ("asleep", "3"), ("native", "4")]
    seen = []
    while expected not in seen and len(seen) < 5:  # a worker that gets no CPU for the time of a rung ends on the next
        seen.append(rungs(example))
        assert [name for name, _ in seen[-1]] == [name for name, _ in expected], seen
        assert all(rung >= least for (_, rung), (_, least) in zip(seen[-1], expected)), seen
    assert expected in seen, seen


def test_recycling_replaces_who_leaks_and_loses_no_call(example):
    done = example("recycling")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    recycled = [
        told for told in lines if not told.startswith("calls ")
    ]  # the last one may be told while the others are counted
    (last,) = (told for told in lines if told.startswith("calls "))
    line = r"recycled  leaky/\d+\.\d+ +after +\d+ calls, with +(\d+\.\d) MB: (\w+)"
    found = [re.fullmatch(line, told) for told in recycled]
    assert all(found) and len(found) >= 4, done.stdout
    reasons = [told[2] for told in found]
    assert reasons.count("manual") == 1 and set(reasons) <= {"manual", "memory_threshold", "leak_forecast"}, done.stdout
    assert re.fullmatch(r"calls +\d+, of which 0 failed", last), done.stdout


def test_crash_recovery_repeats_and_refuses(example):
    done = example("crash_recovery")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines() == [
        "answers   40 of 40 right; each crash cost a retry",
        "input 13  worker_crash",
        "input 13  is refused: it has killed 2 workers, and gets no other",
        "input 13  is refused: it has killed 2 workers, and gets no other",
        "others    go on",
    ]


def check_digits(text: str, calls: int) -> None:
    grouped = f"{calls:,}"
    found = re.search(rf"^answers +{grouped} of {grouped}, (\d+\.\d+) % right; each worker gave the same ones$", text, re.M)
    assert found, text
    assert 95.0 <= float(found[1]) <= 100.0
    assert re.search(
        r"^speed +[\d,]+ calls/s with \d+ callers? on \d+ workers?; p50 \d+\.\d\d ms, p99 \d+\.\d\d ms$", text, re.M
    )
    assert text.rstrip().endswith("every answer is accounted for")
    # The drawings: eight rows of shades, then what they are.
    captions = re.search(r"^(a \d, read as \d *)+$", text, re.M)
    assert captions
    drawn = text[: captions.start()].splitlines()[-8:]
    assert all(set(line) <= set(" .:-=+*#%@") for line in drawn)
    assert any(line.strip() for line in drawn)


def test_digits_loses_a_worker_and_no_answer(example, tmp_path):
    done = example("digits", cwd=tmp_path)  # its Python file is found from anywhere
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    check_digits(done.stdout, 8990)
    killed = re.search(r"^killed +(digits/\d+\.\d+) \(process \d+\) with kill -9, (\d+) ms into a call$", done.stdout, re.M)
    assert killed and killed[1] in done.stdout.split("killed")[0]
    assert re.search(r"^its caller +got worker_crash after \d+\.\d+ ms:\n +\| \[worker/worker_crash\]", done.stdout, re.M)
    assert re.search(
        r"^crash +(1 call failed and was|\d+ calls failed and were) sent again; the pool was whole again \d+ ms",
        done.stdout,
        re.M,
    )
    shown = [int(n) for n in re.findall(r"^ *(\d+) % ", done.stdout, re.M)]
    assert shown == sorted(shown) and shown[-1] == 100 and len(shown) > 1
    assert "\r" not in done.stdout and "\033" not in done.stdout


def test_digits_without_a_kill_on_one_worker(example):
    done = example("digits", "--no-kill", "--workers", "1", "--callers", "2", "--passes", "1")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    check_digits(done.stdout, 899)
    assert "no worker was killed; 0 calls failed" in done.stdout


def test_digits_on_a_terminal_without_colours(build, env, tmp_path):
    command = [str(build / "examples" / "digits"), "--passes", "2", "--no-kill"]
    said, code = on_terminal(command, {**env, "NO_COLOR": "1"}, tmp_path)
    assert code == 0, said
    assert "\r\033[K[" in said  # one line that moves
    assert not re.search(r"\033\[\d+m", said)


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--callers", "x"], ["--nonsense"], ["extra"]])
def test_digits_bad_usage(example, arguments):
    done = example("digits", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: digits" in done.stderr


def test_digits_without_scikit_learn_says_so(example, env, python, tmp_path):
    bare = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=LIMIT_S)
    done = example("digits", env={**env, "SNAKEPIT_PYTHON": str(bare / "bin" / "python")})
    assert done.returncode == 1
    assert "No module named" in done.stderr and "./dev setup" in done.stderr


def test_the_programs_are_built_from_the_tree(build):
    root = pathlib.Path(__file__).resolve().parents[2]
    for name in ("hello", "embed", "digits"):
        assert (build / "examples" / f"{name}.py").read_text() == (root / "examples" / name / f"{name}.py").read_text()


def told_errors(example):
    """What structured_errors has printed: the failure's name to its lines."""
    done = example("structured_errors")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    blocks = re.split(r"^(?=\S)", done.stdout, flags=re.M)
    return {block.split(":")[0]: block for block in blocks if block}


def test_structured_errors_has_every_part_of_each(example):
    for _ in range(5):
        told = told_errors(example)
        if "exit_class   unknown" not in told["a bad pointer"]:  # on a starved machine the status may come too late
            break
    price = told["a price that is not there"]
    assert "python_error/value_error, will fail again" in price and "python       ValueError" in price
    assert "| KeyError: 'kiwi'" in price and "| ValueError: no price for 'kiwi'" in price
    assert re.search(r"nearest +lookup\n  try +did you mean 'lookup'\?", told["a command that is misspelt"])
    assert re.search(r"try +did you mean 'default'\?", told["a pool that is misspelt"])
    thought = told["a thought that takes too long"]
    assert "serve what is in the cache" in thought and "phase        worker" in thought
    crash = told["a bad pointer"]
    assert re.search(r"python_at +/.*/failing.py, line 19, in write\n", crash)
    assert re.search(r"try +snakepit crash show \S+\n  dossier +SEGV_MAPERR at 0x1000\n    write, line 19 of failing.py", crash)
    assert all("  worker       default/0." in told[name] for name in told if "pool" not in name)


def test_black_box_tells_what_the_worker_did_until_it_crashed(example):
    done = example("black_box")
    assert (done.returncode, done.stderr) == (0, "")
    flown, events = done.stdout.splitlines()[:3], done.stdout.splitlines()[3:]
    assert flown == ["leg 1 flown", "leg 2 flown", "leg 3 flown"]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z  \w+", event) for event in events)
    calls = [event.split(maxsplit=1)[1] for event in events if "  call " in event]
    assert calls == ["call fly ok"] * 3 + ["call fly running"]
    assert {"spawned", "ready", "serving", "dead"} <= {event.split()[1] for event in events}
