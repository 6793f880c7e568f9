"""What a build with sanitizers must be like for its findings to count."""

from __future__ import annotations

import os
import re
import subprocess


def test_guards_end_without_a_look_for_leaks(build):
    for guard in ("snakepit-guard", "tests/snakepit-guard-faults"):
        options = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":help=1"}
        done = subprocess.run(
            [build / guard], env={**os.environ, **options}, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        shown = re.search(r"^\s*detect_leaks\n.*\(Current Value: (\w+)\)", done.stderr, re.M)
        assert shown is None or shown[1] == "false", guard
        assert (shown is not None) == ("AddressSanitizer" in done.stderr)
