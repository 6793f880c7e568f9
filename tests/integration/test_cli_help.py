"""The manual page and the completions know every command and option that the program knows."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess

import pytest
from programs import LIMIT_S

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPLETIONS = ROOT / "cli" / "completion"


@pytest.fixture
def known(snakepit):
    """The commands, and the long options of all of them."""
    commands = re.findall(r"^  ([a-z-]+) ", snakepit("help").stdout.split("commands:")[1].split("options")[0], re.M)
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


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
@pytest.mark.parametrize(
    "typed, expected",
    [
        ("snakepit ca", "call"),
        ("snakepit call --ti", "--timeout"),
        ("snakepit doctor --ad", "--adapter"),
        ("snakepit -o j", "json"),
    ],
)
def test_fish_completes(typed, expected, tmp_path):
    script = f"source '{COMPLETIONS / 'snakepit.fish'}'; complete -C '{typed}'"
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["fish", "--no-config", "-c", script], env=env, capture_output=True, text=True, timeout=LIMIT_S)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [expected]


# zsh completes on a terminal only. The word that says that it is ready must not stand in what is typed, which comes back as an echo.
ZSH = """
zmodload zsh/zpty
zpty -b z zsh -f -i
zpty -w z "PS1=; fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -D; echo REA''DY"
zpty -r z out '*READY*'
zpty -w -n z $2$'\\t'
zpty -r z out "*$3*" && print found
"""


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh here")
@pytest.mark.parametrize(
    "typed, expected",
    [
        ("snakepit doc", "snakepit doctor"),
        ("snakepit doctor --ad", "--adapter"),
        ("snakepit -o j", "-o json"),
        ("snakepit help be", "bench"),
    ],
)
def test_zsh_completes(typed, expected, tmp_path):
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TERM": "xterm"}
    command = ["zsh", "-f", "-c", ZSH, "zsh", COMPLETIONS, typed, expected]
    assert subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT_S).stdout == "found\n"
