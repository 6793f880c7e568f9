"""The gate for the ABI: after a release the list of its tag counts, whatever the tree's own says."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest
from packing import ROOT, run


@pytest.fixture
def released(tmp_path) -> pathlib.Path:
    """A small library with its list, released as v1.0."""
    folder = tmp_path / "library"
    shutil.copytree(ROOT / "tests/lint/bad/abi/gone", folder)
    header = folder / "include/snakepit/snakepit.h"
    header.write_text(header.read_text() + "PIT_API int pit_count(pit *p);\n")
    identity = ["-c", "user.name=x", "-c", "user.email=x@x.invalid"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "x"], [*identity, "tag", "v1.0"]):
        run("git", *command, cwd=folder)
    return folder


def check(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools/check_abi", "--root", folder, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_release_is_kept(released):
    header = released / "include/snakepit/snakepit.h"
    text = header.read_text()
    assert check(released).returncode == 0

    header.write_text(text + "PIT_API int pit_more(pit *p);\n")
    done = check(released)
    assert done.returncode == 0 and "v1.0, 1 additions" in done.stdout

    header.write_text(text.replace("PIT_API int pit_count(pit *p);\n", ""))
    done = check(released, "--write")  # a list that has been brought up to date is no way around it
    assert done.returncode == 1 and "function pit_count is gone" in done.stdout and "v1.0" in done.stdout
    assert "pit_count" not in (released / "abi/libsnakepit.abi").read_text()


def test_what_may_change(released):
    """Names of arguments, the end of a structure that knows its size, new constants."""
    header = released / "include/snakepit/snakepit.h"
    text = header.read_text()
    changed = text.replace("    int workers;\n", "    int workers;\n    void *more;\n").replace(
        "PIT_TWO }", "PIT_TWO, PIT_THREE }"
    )
    changed = changed.replace("pit_count(pit *p)", "pit_count(pit *host)")
    assert changed.count("more") == changed.count("PIT_THREE") == changed.count("*host") == 1
    header.write_text(changed)
    done = check(released)
    assert done.returncode == 0 and "2 additions" in done.stdout, done.stdout
