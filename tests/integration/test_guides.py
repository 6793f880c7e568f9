"""What the guides show is run: their files are written, their commands typed, and what comes back is compared.

A block after `<!-- file: NAME -->` is that file. In a `console` block a line "$ ..." is typed into bash and what follows is what it
prints, stderr included; "..." stands for anything.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess

import pytest
from programs import LIMIT_S, sanitizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDES = [
    "guide-c-adapters.md",
    "guide-getting-started.md",
    "guide-calls.md",
    "guide-cancellation.md",
    "guide-crash-barrier.md",
    "guide-fault-tolerance.md",
    "guide-crashes.md",
    "guide-errors.md",
    "guide-values.md",
    "guide-operating.md",
    "guide-other-languages.md",
    "guide-worker-life.md",
    "guide-python-adapters.md",
    "guide-script.md",
    "guide-streaming.md",
    "guide-threads.md",
    "guide-tools.md",
    "guide-troubleshooting.md",
    "guide-zygote.md",
]


def parse_console(block: str) -> list[tuple[str, str]]:
    """The commands of a block, each with what it is to print."""
    pairs: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            pairs.append((line[2:].rstrip("\n"), ""))
        else:
            command, expected = pairs[-1]
            pairs[-1] = (command, expected + line)
    return pairs


def matches(expected: str, said: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, said, re.S) is not None


def test_matches_can_fail():
    assert matches("a...b\n", "a and b\n")
    assert not matches("a\n", "b\n")
    assert not matches("a...b\n", "a\n")


@pytest.mark.parametrize("guide", GUIDES)
def test_guide(build, env, tmp_path, guide):
    if sanitizers(build):
        pytest.skip("a program built without the sanitizer cannot load a library built with it")
    tree = tmp_path / "snakepit"  # a tree as the guide has it, whatever the folder of this build is called
    tree.mkdir()
    (tree / "include").symlink_to(ROOT / "include")
    (tree / "build").symlink_to(build)
    (tree / "examples").symlink_to(ROOT / "examples")
    here = tmp_path / "here"
    here.mkdir()
    env = {**env, "SNAKEPIT": str(tree), "PATH": f"{tree / 'build'}:{env['PATH']}", "XDG_STATE_HOME": str(tmp_path / "state")}
    assert shutil.which("cc", path=env["PATH"])
    text = (ROOT / "docs" / guide).read_text()
    ran = 0
    for file, kind, block in re.findall(r"(?:<!-- file: (\S+) -->\n)?^```(\w+)\n(.*?)^```$", text, re.M | re.S):
        if file:
            (here / file).write_text(block)
        elif kind == "console":
            for command, expected in parse_console(block):
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
                assert matches(expected, done.stdout), f"{command}\nexpected:\n{expected}\nsaid:\n{done.stdout}"
                ran += 1
    assert ran >= 2
    assert os.listdir(here)
