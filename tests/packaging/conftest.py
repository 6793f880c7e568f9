"""What the packaging tests share: the built tree, and that tree installed and then moved to where nothing of it was compiled in."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

import pytest
from packing import LIMIT_S, ROOT, run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(LIMIT_S + 100))


@pytest.fixture(scope="session")
def build() -> pathlib.Path:
    folder = pathlib.Path(os.environ.get("SNAKEPIT_BUILD", ROOT / "build")).resolve()
    if not (folder / "libsnakepit.so").exists():
        pytest.fail(f"{folder}/libsnakepit.so is not there: build the tree first (./dev build)")
    if "SNAKEPIT_COVERAGE:BOOL=ON" in (folder / "CMakeCache.txt").read_text():
        pytest.skip("what is built for a coverage report is not for installing")
    return folder


@pytest.fixture(scope="session")
def prefix(build: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Installed below a DESTDIR for one prefix, then moved to another place."""
    folder = tmp_path_factory.mktemp("install")
    run("cmake", "--install", build, "--prefix", "/opt/nowhere", env={**os.environ, "DESTDIR": str(folder / "root")})
    shutil.move(folder / "root/opt/nowhere", folder / "moved")
    assert not any(path.is_file() for path in (folder / "root").rglob("*")), "something was installed outside the prefix"
    return folder / "moved"


@pytest.fixture(scope="session")
def clean_env() -> dict[str, str]:
    """An environment in which nothing points at the tree."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SNAKEPIT_", "PYTHON", "VIRTUAL_ENV", "PKG_CONFIG"))
    }
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "SNAKEPIT_PYTHON": os.environ.get("SNAKEPIT_PYTHON", sys.executable)}
