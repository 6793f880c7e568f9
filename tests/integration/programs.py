"""Helpers for tests that run whole programs."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import time
from typing import Callable

# Generous: it ends a test that hangs, on a machine that may be slow or run under a sanitizer; no test measures time by it.
LIMIT_S = 120


def wait_for(condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> object:
    """Waits until condition() is true and returns what it gave."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)  # allow-sleep: looks for a condition
    raise AssertionError(f"timed out waiting for {what}")


def sanitizers(build: pathlib.Path) -> str:
    """Those with which everything in this folder was built; empty: none."""
    cache = build / "CMakeCache.txt"
    found = re.search(r"^SNAKEPIT_SANITIZE:[A-Z]+=(.*)$", cache.read_text(), re.M) if cache.exists() else None
    return found[1] if found is not None else ""


def is_alive(pid: int) -> bool:
    """Runs there a process of this number that is no zombie?"""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def on_terminal(command, env, cwd):
    """What the command prints when stdout and stderr are a terminal, and its exit code."""
    main, terminal = os.openpty()
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal)
    os.close(terminal)
    said = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # EIO: the last writer has gone
            break
        if not part:
            break
        said += part
    os.close(main)
    return said.decode(), process.wait(timeout=LIMIT_S)
