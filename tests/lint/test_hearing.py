"""The second hearing of ./dev test: what fails beside others is run once more, alone; and who gets none."""

import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tempfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

DRIVER = """
set -euo pipefail
for part in common build test; do . "tools/dev/$part.sh"; done
cpus() { echo 0; }
logs=$1 venv=$2 hearings=$3
shift 3
for suite in "$@"; do
    read -r name command <<<"$suite"
    suite "$name" "$name" $command
done
closing_line
"""


@pytest.fixture
def folder():
    """Inside the tree, as tests are: pytest names them by that."""
    os.makedirs(f"{ROOT}/.cache", exist_ok=True)
    made = tempfile.mkdtemp(dir=f"{ROOT}/.cache", prefix="hearing-")
    yield pathlib.Path(made)
    shutil.rmtree(made)


def suites(folder, *lines, hearings="yes"):
    """Runs these suites as ./dev test does; what it printed, and whether the verdict is good."""
    venv = os.path.dirname(os.path.dirname(sys.executable))
    done = subprocess.run(
        ["bash", "-c", DRIVER, "driver", str(folder / "logs"), venv, hearings, *lines],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
    )
    assert done.stderr == ""
    return done.stdout, done.returncode == 0


def python_suite(folder, name="seeded", flaky=0, failing=0):
    """A suite of pytest: so many tests that fail only the first time, so many that always fail, and one that passes."""
    path = folder / f"test_{name}.py"
    text = "import os, pathlib, pytest\ndef test_good(): pass\n"
    if flaky:
        text += f"""
@pytest.mark.parametrize("n", ["{name} {{}} - [x]".format(n) for n in range({flaky})])
def test_flaky(n):
    seen = pathlib.Path(__file__).with_name(n.replace("/", "-") + ".seen")
    was_there = seen.exists()
    seen.touch()
    assert was_there
"""
    for n in range(failing):
        text += f"\ndef test_failing_{n}():\n    assert {n} < 0\n"
    path.write_text(text)
    return f"{name} run_pytest build {path}"


def ctest_suite(folder, **tests):
    """A suite of ctest; tests: name -> shell command, `.` is written as `__`."""
    where = folder / "ctest"
    (where / "Testing" / "Temporary").mkdir(parents=True)
    lines = [f'add_test({name.replace("__", ".")} "sh" "-c" "cd {where}; {command}")\n' for name, command in tests.items()]
    (where / "CTestTestfile.cmake").write_text("".join(lines))
    return f"c run_ctest {where}"


ONCE = "test -e seen || ! touch seen"


def test_who_passes_alone_is_named_and_the_verdict_is_good(folder):
    said, good = suites(folder, python_suite(folder, flaky=1), ctest_suite(folder, unit__a=ONCE, unit__b="true"))
    assert good, said
    assert re.search(r"^  once more, alone: 1 of them +\d+s  ok$", said, re.M)
    *_, first, second, last = said.splitlines()
    log = re.escape(str(folder / "logs"))
    why = "failed beside others, passed alone; its first log:"
    assert re.fullmatch(rf"FLAKY: \S+/test_seeded.py::test_flaky\[seeded 0 - \[x\]\] \({why} {log}/seeded.log\)", first)
    assert re.fullmatch(rf"FLAKY: unit\.a \({why} {log}/c.log\)", second)
    assert last == "4 passed, 0 failed, 0 skipped, 2 flaky"
    assert "assert was_there" in (folder / "logs" / "seeded.log").read_text()


@pytest.mark.parametrize("kind", ["pytest", "ctest"])
def test_who_fails_again_has_failed(folder, kind):
    suite = python_suite(folder, flaky=1, failing=1) if kind == "pytest" else ctest_suite(folder, unit__a=ONCE, unit__b="false")
    said, good = suites(folder, suite)
    assert not good and "once more, alone: 2 of them" in said
    assert "FLAKY" not in said
    assert said.splitlines()[-1] == ("1 passed, 2 failed, 0 skipped" if kind == "pytest" else "0 passed, 2 failed, 0 skipped")


def test_more_than_three_in_a_run_have_failed(folder):
    said, good = suites(folder, python_suite(folder, "many", flaky=4))
    assert not good and "no second hearing: 4 failures are no accident" in said
    said, good = suites(folder, python_suite(folder, "first", flaky=2), python_suite(folder, "second", flaky=2))
    assert not good and "no second hearing: too many in this run" in said
    assert said.splitlines()[-1] == "4 passed, 2 failed, 0 skipped, 2 flaky"


def test_none_without_hearings_and_for_other_programs(folder):
    said, good = suites(folder, python_suite(folder, flaky=1), hearings="no")
    assert not good and "no second" not in said and "once more" not in said
    said, good = suites(folder, "gates false")
    assert not good and "once more" not in said


def test_none_for_who_looks_for_rare_things(folder):
    said, good = suites(folder, ctest_suite(folder, unit__a=ONCE, storm__crash="! touch seen"))
    assert not good and "no second hearing: storm.crash looks for rare things" in said


def names_of_ctest():
    said = subprocess.run(
        ["ctest", "--test-dir", os.environ["SNAKEPIT_BUILD"], "-N"], capture_output=True, text=True, check=True
    )
    return re.findall(r"Test +#\d+: (\S+)", said.stdout)


def hearing(tmp_path, text, names=None):
    log = tmp_path / "log"
    log.write_text(text)
    arguments = [str(log)]
    if names is not None:
        arguments.append(str(tmp_path / "lastfailed"))
        (tmp_path / "lastfailed").write_text("{" + ", ".join(f'"{name}": true' for name in names) + "}")
    done = subprocess.run([sys.executable, "tools/dev/hearing", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout.rstrip("\n")


def failed(*rows):
    return (
        "The following tests FAILED:\n"
        + "".join(f"\t {n} - {row}\n" for n, row in enumerate(rows))
        + "Errors while running CTest\n"
    )


def test_the_rare_ones_are_those_of_the_tree():
    rare = runpy.run_path(f"{ROOT}/tools/dev/hearing")["RARE"]
    refused = {name for name in names_of_ctest() if rare.fullmatch(name)}
    families = {
        "sim.schedules",
        "storm.crash",
        "storm.faults",
        "fault.kth",
        "fault.kth_life",
        "integration.c.race",
        "unit.ring_threads",
    }
    assert families <= refused
    assert not [name for name in refused if not re.search(r"sim|storm|kth|race|threads", name)]


@pytest.mark.parametrize(
    ("text", "names", "why"),
    [
        (failed("unit.a (SEGFAULT)"), None, "unit.a: SEGFAULT"),
        ("==3==ERROR: AddressSanitizer: heap-use-after-free\n" + failed("unit.a (Failed)"), None, "ERROR: AddressSanitizer"),
        ("a.c:3:1: runtime error: signed integer overflow\n" + failed("unit.a (Failed)"), None, "runtime error: signed"),
        ("Segmentation fault\n", None, "no test that failed is named"),
        ("worker 'gw1' crashed while running 'a::b'\n", ["tests/python/a.py::b"], "worker 'gw1' crashed"),
        ("", ["tests/python/test_a.py"], "tests/python/test_a.py: could not be imported"),
        (
            "",
            ["tests/integration/test_host_killed.py::test_a"],
            "tests/integration/test_host_killed.py::test_a looks for rare things",
        ),
        ("", ["tests/lint/test_house.py::test_a"], "tests/lint/test_house.py::test_a looks for rare things"),
    ],
)
def test_none_for_what_no_load_explains(tmp_path, text, names, why):
    status, said = hearing(tmp_path, text, names)
    assert status == 1 and said.startswith(f"no second hearing: {why}"), said


def test_time_outs_are_heard(tmp_path):
    text = failed("unit.a (Timeout)", "integration.c.host (Failed)")
    assert hearing(tmp_path, text) == (0, "unit.a\nintegration.c.host")
    assert hearing(tmp_path, "", ["tests/python/test_a.py::b[x - y]"]) == (0, "tests/python/test_a.py::b[x - y]")


OPTIONS = """
for part in common build test; do . "tools/dev/$part.sh"; done
verb_setup() { :; }
setup_libraries() { :; }
test_everything() { passed=1; say "everything, $1: $hearings"; }
test_named() { say "named $1: $hearings"; }
verb_test "$@"
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "everything, quick: yes"),
        (["--strict"], "everything, quick: no"),
        (["--all"], "everything, all: no"),
        (["wheel"], "named wheel: no"),
    ],
)
def test_who_asks_for_hearings(arguments, said):
    done = subprocess.run(["bash", "-c", OPTIONS, "dev", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, said), done.stdout + done.stderr
