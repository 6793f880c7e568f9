"""ask(letter, items): what wire_pipe makes of each, as bytes, or as Refused with the name of the error."""

from __future__ import annotations

import pathlib
import struct
import subprocess
import sys
from typing import NamedTuple

import pytest

LIMIT_S = 240
VECTORS = pathlib.Path(__file__).resolve().parents[2] / "vectors"
sys.path.insert(0, str(VECTORS))


class Refused(NamedTuple):
    error: str


@pytest.fixture(scope="session")
def ask(build):
    program = build / "tests" / "integration" / "wire" / "wire_pipe"

    def run(letter: str, items):
        requests = b"".join(letter.encode() + struct.pack("<I", len(item)) + item for item in items)
        done = subprocess.run([program], input=requests, capture_output=True, timeout=LIMIT_S)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        answers, at, said = [], 0, done.stdout
        while at < len(said):
            refused, size = said[at], int.from_bytes(said[at + 1 : at + 5], "little")
            at += 5 + size
            data = said[at - size : at]
            answers.append(Refused(data.decode()) if refused else data)
        assert len(answers) == len(items)
        return answers

    return run


@pytest.fixture(scope="session")
def refused():
    return Refused
