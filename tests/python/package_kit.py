"""Finds the package that is under test: SNAKEPIT_PYTHON_PACKAGE, else what stands on PYTHONPATH (a build, perhaps with sanitizers), else
the build folder's, else the sources (then without the extension). To be imported before anything of the package is."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _package():
    given = os.environ.get("SNAKEPIT_PYTHON_PACKAGE")
    if given:
        return Path(given)
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if folder and (Path(folder) / "snakepit_bridge").is_dir():
            return Path(folder)
    built = Path(os.environ.get("SNAKEPIT_BUILD", ROOT / "build")) / "python"
    return built if (built / "snakepit_bridge").is_dir() else ROOT / "python"


PACKAGE = _package()
os.environ["SNAKEPIT_PYTHON_PACKAGE"] = str(PACKAGE)
sys.path.insert(0, str(PACKAGE))

try:
    from snakepit_bridge import _snakepit
except ImportError:
    _snakepit = None

needs_extension = pytest.mark.skipif(_snakepit is None, reason="the extension is not built for this interpreter")

# ThreadSanitizer delivers a signal only where the program calls something that it watches, and needs several times the memory.
not_under_tsan = pytest.mark.skipif(
    "libtsan" in os.environ.get("LD_PRELOAD", ""), reason="ThreadSanitizer defers signals and takes memory"
)

# Runs no line of the extension, or next to none in much time: the suites with sanitizers leave it to the others (tools/dev/test.sh).
plain = pytest.mark.plain

# The ways in which a call reaches Python: how the calls travel, and whether the extension is there.
MODES = [
    pytest.param({"channel": "socket", "pure": True}, id="pure", marks=plain),
    pytest.param({"channel": "socket", "pure": False}, id="socket", marks=needs_extension),
    pytest.param({"channel": "ring", "pure": False}, id="ring", marks=needs_extension),
]
