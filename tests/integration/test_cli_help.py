"""The manual page and the completions know every command and option that the program knows."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
from programs import LIMIT_S

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPLETIONS = ROOT / "cli" / "completion"


@pytest.fixture
def known(snakepit):
    """The commands, and the long options of all of them."""
    commands = re.findall(r"^  ([a-z]+) ", snakepit("help").stdout.split("commands:")[1].split("options")[0], re.M)
    assert "call" in commands
    options = set()
    for command in commands:
        options |= set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", snakepit("help", command).stdout, re.M))
    assert "adapter" in options
    return commands, options


def test_the_manual_page_is_complete(known):
    text = (ROOT / "docs" / "man" / "snakepit.1").read_text().replace("\\-", "-")
    for command in known[0]:
        assert re.search(rf"^\.BI? \"?{command}\b", text, re.M), command
    for option in known[1]:
        assert f"--{option}" in text, option


@pytest.mark.parametrize("file, mark", [("snakepit.bash", "--"), ("_snakepit", "--"), ("snakepit.fish", "-l ")])
def test_the_completions_are_complete(known, file, mark):
    text = (COMPLETIONS / file).read_text()
    for word in known[0]:
        assert re.search(rf"\b{word}\b", text), word
    for option in known[1]:
        assert re.search(rf"{mark}{option}\b", text), option


@pytest.mark.parametrize(
    "words, expected",
    [
        (["snakepit", "ca"], ["call"]),
        (["snakepit", "call", "--ti"], ["--timeout"]),
        (["snakepit", "doctor", "--a"], ["--adapter"]),
        (["snakepit", "-o", "j"], ["json"]),
        (["snakepit", "help", "do"], ["doctor"]),
        (["snakepit", "call", "x", "--timeout", ""], []),
    ],
)
def test_bash_completes(words, expected):
    script = f". '{COMPLETIONS / 'snakepit.bash'}'; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _snakepit; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.stdout.split(), done.stderr) == (expected, "")
