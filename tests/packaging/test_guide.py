"""What docs/guide-packaging.md shows is run."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import guide
import pytest
from packing import LIMIT_S, ROOT, run

TEXT = (ROOT / "docs/guide-packaging.md").read_text()


@pytest.fixture
def tree(build, tmp_path) -> pathlib.Path:
    """The tree as the guide has it; building a wheel in it leaves the real one alone."""
    folder = tmp_path / "snakepit"
    shutil.copytree(ROOT / "python", folder / "python", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    for name in ("src", "include", "LICENSE"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "build").symlink_to(build)
    return folder


def test_guide(tree, clean_env, tmp_path):
    files, typed = guide.read(TEXT)
    here = tmp_path / "here"
    here.mkdir()
    for name, content in files.items():
        (here / name).write_text(content)
    path = f"{pathlib.Path(sys.executable).parent}:{clean_env['PATH']}"
    env = {**clean_env, "SNAKEPIT": str(tree), "PREFIX": str(tmp_path / "prefix"), "PATH": path}
    for command, expected in typed:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=here,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
        )
        assert (done.returncode, done.stdout) == (0, expected), command
    assert len(typed) >= 10 and len(files) == 3


def test_the_options_exist():
    options = (ROOT / "cmake/Options.cmake").read_text()
    for name in set(re.findall(r"\bSNAKEPIT_[A-Z_]+(?==|`)", TEXT)) - {"SNAKEPIT_GUARD", "SNAKEPIT_PYTHON_PACKAGE"}:
        assert re.search(rf"\b{name}\b", options), name


def test_the_table_of_what_is_installed(prefix):
    table = TEXT.split("## Install")[1].split("## Link")[0]
    for path in re.findall(r"^\| `([^`]+)`", table, re.M):
        assert (prefix / path).exists(), path


def test_the_headers_manual_pages_are_installed(prefix):
    if not shutil.which("man"):
        pytest.skip("there is no man here")
    env = {**os.environ, "MANPATH": str(prefix / "share/man"), "MANWIDTH": "80", "MANPAGER": "cat"}
    for name, said in (
        ("pit_open", "int pit_open("),
        ("pit_callf", "int pit_callf("),
        ("pit_call_options", "int64_t timeout_ms;"),
    ):
        assert said in run("man", "3", name, env=env), name
