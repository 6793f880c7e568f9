"""Helpers of the packaging tests."""

from __future__ import annotations

import pathlib
import shlex
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONSUMERS = HERE / "consumers"
LIMIT_S = 1100  # builds take long on a busy machine


def run(*command: object, **options) -> str:
    """What the command prints; a failure shows it."""
    options = {"stdin": subprocess.DEVNULL, "timeout": LIMIT_S, **options}
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    assert done.returncode == 0, f"{shlex.join(str(part) for part in command)}: status {done.returncode}\n{done.stdout}"
    return done.stdout
