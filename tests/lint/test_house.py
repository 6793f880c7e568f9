"""The house's own tools: the sums of ./dev, its verbs, and the seeded bugs that must be reported when they are useless."""

import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)


CTEST = """
 9/10 Test  #9: unit.value .......................   Passed    0.02 sec
10/10 Test #10: unit.wheel .......................***Failed    0.02 sec

90% tests passed, 1 tests failed out of 10
"""


CTEST_SKIPPED = """
 1/10 Test  #1: confined.container.os ............***Skipped   0.00 sec
 2/10 Test  #2: integration.c.width ..............***Failed    0.02 sec
skipped: of a program that failed at first
10/10 Test #10: unit.json ........................   Passed    0.02 sec

100% tests passed, 0 tests failed out of 9

Total Test time (real) =   0.12 sec
skipped: there is no filter here
skipped: there is no root here
"""
PYTEST_SKIPPED = """
SKIPPED [2] tests/a.py:3: not here
SKIPPED [1] tests/b.py:7: nor there
3 skipped in 0.1s
"""


@pytest.mark.parametrize(
    ("log", "status", "expected"),
    [
        (CTEST, 8, "9 1 0"),
        (CTEST_SKIPPED, 0, "8 0 2"),
        ("100% tests passed, 0 tests failed out of 12\n", 0, "12 0 0"),
        ("100% tests passed, 0 tests failed out of 12\n", 134, "12 1 0"),
        ("................\n16 passed in 2.31s\n", 0, "16 0 0"),
        ("===== 2 failed, 14 passed, 1 skipped, 3 errors in 99.31s (0:01:39) =====\n", 1, "14 5 1"),
        ("===== 14 passed in 3.1s =====\n", 1, "14 1 0"),
        ("2 skipped in 0.1s\n", 0, "0 0 2"),
        ("No tests were found!!!\n", 0, "0 0 0"),
        ("3 deselected in 0.05s\n", 5, "0 0 0"),
        ("no tests ran in 0.01s\n", 5, "0 0 0"),
        ("ImportError while loading conftest\n", 4, "0 1 0"),
        ("check_text: 0 findings in 9 files\n31 passed, 2 failed\n", 1, "31 2 0"),
        ("", 0, "1 0 0"),
        ("Segmentation fault\n", 139, "0 1 0"),
        ("Segmentation fault\n", 5, "0 1 0"),
    ],
)
def test_count(tmp_path, log, status, expected):
    path = tmp_path / "log"
    path.write_text(log)
    assert run(sys.executable, "tools/dev/count", str(path), str(status)).stdout.strip() == expected


def test_skipped_tests_say_why(tmp_path):
    path = tmp_path / "log"
    path.write_text(CTEST_SKIPPED + PYTEST_SKIPPED)
    assert run(sys.executable, "tools/dev/count", "--skipped", str(path)).stdout.splitlines() == [
        "    skipped: tests/a.py:3: not here (2 times)",
        "    skipped: tests/b.py:7: nor there",
        "    skipped: there is no filter here",
        "    skipped: there is no root here",
    ]


def test_dev_alone_prints_its_verbs():
    done = run("./dev")
    assert done.returncode == 0
    for verb in "setup build demo test bench fuzz lint coverage soak clean".split():
        assert len(re.findall(rf"^  {verb}\b.{{20,}}", done.stdout, re.M)) == 1, verb


@pytest.mark.parametrize("arguments", [["tset"], ["test", "--al"], ["build", "relase"], ["setup", "everything"]])
def test_dev_refuses(arguments):
    done = run("./dev", *arguments)
    assert done.returncode == 2
    assert "there is no" in done.stderr or "no option" in done.stderr


def test_useless_mutations_are_reported():
    done = run(sys.executable, "tools/check_mutation", "--patches", "tests/lint/bad/mutation")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "harmless: unit.ring passes with it" in done.stdout
    assert "stale: the patch does not apply any more" in done.stdout
    assert done.stdout.rstrip().endswith("0 passed, 2 failed")
