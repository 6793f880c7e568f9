"""The wheel of snakepit_bridge: built for every Python from 3.9 on that the machine has, fit for old systems, installed into a clean environment,
and used there by a program that has no package of its own beside it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from packing import CONSUMERS, ROOT, run

BACKEND = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
ASK = "import os, sys, sysconfig; print(*sys.version_info[:2], os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')))"
OLDEST, NEWEST = (3, 9), (3, 13)


def interpreters() -> dict[str, str]:
    """One of each version that has its headers: the tests' own first, then those on the PATH and pyenv's."""
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    candidates = [os.environ.get("SNAKEPIT_PYTHON", sys.executable)]
    candidates += filter(None, (shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], NEWEST[1] + 1)))
    candidates += sorted(str(path) for path in pyenv.glob("versions/3.*/bin/python3"))
    found: dict[str, str] = {}
    for path in candidates:
        said = subprocess.run(
            [path, "-c", ASK], capture_output=True, text=True
        ).stdout.split()  # a shim of pyenv may say nothing
        if len(said) == 3 and said[2] == "True" and OLDEST <= (int(said[0]), int(said[1])) <= NEWEST:
            found.setdefault(f"{said[0]}.{said[1]}", path)
    return found


PYTHONS = interpreters()


@pytest.fixture(scope="session")
def backend(tmp_path_factory) -> pathlib.Path:
    """A folder with setuptools and pip and nothing else, for interpreters that have none."""
    folder = tmp_path_factory.mktemp("backend")
    for name in ("setuptools", "pip"):
        for file in importlib.metadata.distribution(name).files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts and file.suffix != ".pth":
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), folder / file)
    return folder


def source(folder: pathlib.Path) -> pathlib.Path:
    """A copy of what a wheel is built from; the folder to build in."""
    for name in ("python", "src", "include"):
        shutil.copytree(
            ROOT / name, folder / name, symlinks=False, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        )
    return folder / "python"


def make(python: str, what: str, folder: pathlib.Path, out: pathlib.Path, backend: pathlib.Path, **env: str) -> pathlib.Path:
    out.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    said = run(python, "-c", BACKEND, what, out, cwd=folder, env={**kept, "PYTHONPATH": str(backend), **env})
    return out / said.split()[-1]


def install(python: str, wheel: pathlib.Path, folder: pathlib.Path, backend: pathlib.Path) -> pathlib.Path:
    """Into a fresh environment, without the network."""
    run(python, "-m", "venv", "--without-pip", folder)
    pip = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "--no-index", "--no-deps", wheel, env={**os.environ, "PYTHONPATH": str(backend)})
    return folder / "bin/python"


def doctor(build: pathlib.Path, folder: pathlib.Path, python: pathlib.Path, clean_env) -> dict[str, dict[str, str]]:
    """What a program finds that has no package beside it, only that of the environment."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("snakepit", "snakepit-guard"):
        shutil.copy(build / name, programs)
    env = {**clean_env, "SNAKEPIT_PYTHON": str(python)}
    report = json.loads(run(programs / "snakepit", "doctor", "-o", "json", env=env, cwd=programs))
    assert report["ok"], report
    said = run(programs / "snakepit", "call", "add", "[40, 2]", "--adapter", CONSUMERS / "worker.py", env=env, cwd=programs)
    assert said == "42\n"
    return {row["name"]: row for row in report["checks"]}


def test_some_python_was_found():
    assert PYTHONS


@pytest.mark.parametrize("version", PYTHONS)
def test_wheel(version, build, backend, clean_env, tmp_path):
    python = PYTHONS[version]
    wheel = make(python, "build_wheel", source(tmp_path / "tree"), tmp_path / "dist", backend)
    said = run(sys.executable, "-m", "auditwheel", "show", wheel)
    assert re.search(r'following platform tag:\s+"manylinux_2_17_', said), said
    tag = re.search(r'"(manylinux_2_17_\w+)"', said).group(1)
    run(sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", tag, wheel)
    (tagged,) = wheel.parent.glob(f"*-cp{version.replace('.', '')}-*{tag}.whl")
    rows = doctor(build, tmp_path, install(python, tagged, tmp_path / "venv", backend), clean_env)
    assert rows["package"]["message"].startswith(str(tmp_path / "venv")), rows["package"]
    assert rows["extension"]["status"] == "ok" and f"cpython-{version.replace('.', '')}" in rows["extension"]["message"]


@pytest.mark.skipif(len(PYTHONS) < 2, reason="there is one Python only")
def test_extensions_side_by_side(build, clean_env, tmp_path):
    """SNAKEPIT_MORE_PYTHONS: a package for several interpreters; each of them is called through shared memory."""
    first, *more = list(PYTHONS.items())[:3]
    options = [
        f"-DSNAKEPIT_PYTHON={first[1]}",
        f"-DSNAKEPIT_MORE_PYTHONS={';'.join(path for _, path in more)}",
        "-DBUILD_TESTING=OFF",
    ]
    run("cmake", "--preset", "release", "-B", tmp_path / "build", *options, cwd=ROOT)
    run("ninja", "-C", tmp_path / "build", "snakepit_python")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "build/python/snakepit_bridge").glob("*.so")}
    assert len(stamps) == len(more) + 1
    run("ninja", "-C", tmp_path / "build", "snakepit_python")
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}, "what had not changed was built again"
    for version, path in more:
        env = {**clean_env, "SNAKEPIT_PYTHON": path, "SNAKEPIT_PYTHON_PACKAGE": str(tmp_path / "build/python")}
        report = json.loads(run(build / "snakepit", "doctor", "-o", "json", env=env, cwd=tmp_path))
        (row,) = [row for row in report["checks"] if row["name"] == "extension"]
        assert row["status"] == "ok" and f"cpython-{version.replace('.', '')}" in row["message"], row


def test_wheel_from_a_source_distribution(build, backend, tmp_path):
    """It has all that the extension needs."""
    python = next(iter(PYTHONS.values()))
    made = make(python, "build_sdist", source(tmp_path / "tree"), tmp_path / "dist", backend)
    with tarfile.open(made) as archive:
        archive.extractall(tmp_path / "unpacked")
    (folder,) = (tmp_path / "unpacked").iterdir()
    wheel = make(python, "build_wheel", folder, tmp_path / "dist", backend, CFLAGS="-O0")
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if re.fullmatch(r"snakepit_bridge/_snakepit\..*\.so", name)]
    assert [name for name in names if name.endswith("LICENSE")]
    package = {
        str(path.relative_to(ROOT / "python")) for path in (ROOT / "python/snakepit_bridge").rglob("*.py*") if path.is_file()
    }
    assert {name for name in package if not name.endswith(".pyc")} | {"snakepit_bridge/py.typed"} <= set(names)


def test_wheel_without_a_compiler(build, backend, clean_env, tmp_path):
    """No extension is no failure: calls go over a socket, and doctor says so."""
    python = next(iter(PYTHONS.values()))
    wheel = make(python, "build_wheel", source(tmp_path / "tree"), tmp_path / "dist", backend, CC="/bin/false")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]
    rows = doctor(build, tmp_path, install(python, wheel, tmp_path / "venv", backend), clean_env)
    assert rows["extension"]["status"] == "warn" and rows["extension"]["remedy"]
    assert rows["call"]["status"] == "ok"
