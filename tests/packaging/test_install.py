"""cmake --install: a stranger's program, outside the tree, in each way in which such a program is built; and what is installed, can be moved."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from packing import CONSUMERS, ROOT, run

C99 = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
CXX17 = ["-std=c++17", "-pedantic", "-Wall", "-Wextra", "-Werror", "-pthread"]
C99_SAYS = re.compile(r"\d+\.\d+\.\d+ 42\n")
CXX17_SAYS = re.compile(r"4 5 value_error\n")


@pytest.fixture
def here(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with the consumers' sources and nothing else."""
    for name in ("c99.c", "cxx17.cpp", "CMakeLists.txt"):
        shutil.copy(CONSUMERS / name, tmp_path)
    return tmp_path


@pytest.fixture
def pkg_config(prefix, clean_env):
    env = {**clean_env, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}

    def ask(*arguments: str) -> list[str]:
        return run("pkg-config", *arguments, "snakepit", env=env).split()

    return ask


def says(env: dict[str, str], pattern: re.Pattern[str], program: pathlib.Path) -> None:
    said = run(program, CONSUMERS / "worker.py", env=env, cwd=program.parent)
    assert pattern.fullmatch(said), said


def test_pkg_config_shared(here, prefix, pkg_config, clean_env):
    rpath = [f"-Wl,-rpath,{prefix / 'lib'}"]
    run("cc", *C99, "c99.c", "-o", "c99", *pkg_config("--cflags", "--libs"), *rpath, cwd=here)
    says(clean_env, C99_SAYS, here / "c99")
    run("g++", *CXX17, "cxx17.cpp", "-o", "cxx17", *pkg_config("--cflags", "--libs"), *rpath, cwd=here)
    says(clean_env, CXX17_SAYS, here / "cxx17")
    assert "libsnakepit.so.0" in run("readelf", "-d", here / "c99")


def test_pkg_config_static(here, prefix, pkg_config, clean_env):
    """Everything static, and only the library static. Such a program finds the guard from its own place, or is told."""
    run("cc", *C99, "-static", "c99.c", "-o", prefix / "bin/all", *pkg_config("--static", "--cflags", "--libs"), cwd=here)
    says(clean_env, C99_SAYS, prefix / "bin/all")
    archive = pkg_config("--variable=static_library")
    run("cc", *C99, "c99.c", "-o", "only", *pkg_config("--cflags"), *archive, "-pthread", cwd=here)
    told = {
        "SNAKEPIT_GUARD": f"{prefix}/lib/snakepit/snakepit-guard",
        "SNAKEPIT_PYTHON_PACKAGE": f"{prefix}/lib/snakepit/python",
    }
    says({**clean_env, **told}, C99_SAYS, here / "only")
    assert "libsnakepit" not in run("readelf", "-d", here / "only")
    lost = subprocess.run([here / "only", CONSUMERS / "worker.py"], env=clean_env, capture_output=True, text=True)
    assert lost.returncode == 1 and "guard" in lost.stderr and "SNAKEPIT_GUARD" in lost.stderr


def test_plain_linker_options(here, prefix, clean_env):
    run("cc", *C99, "c99.c", "-o", "c99", f"-I{prefix}/include", f"-L{prefix}/lib", "-lsnakepit", cwd=here)
    says({**clean_env, "LD_LIBRARY_PATH": f"{prefix}/lib"}, C99_SAYS, here / "c99")


def test_cmake_package(here, prefix, clean_env):
    run("cmake", "-G", "Ninja", "-B", "out", f"-DCMAKE_PREFIX_PATH={prefix}", cwd=here, env=clean_env)
    run("cmake", "--build", "out", cwd=here, env=clean_env)
    for program, pattern in (("c99", C99_SAYS), ("cxx17", CXX17_SAYS)):
        says(clean_env, pattern, here / "out" / f"{program}-shared")
        assert "libsnakepit.so.0" in run("readelf", "-d", here / "out" / f"{program}-shared")
        assert "libsnakepit" not in run("readelf", "-d", here / "out" / f"{program}-static")
        shutil.copy(here / "out" / f"{program}-static", prefix / "bin")
        says(clean_env, pattern, prefix / "bin" / f"{program}-static")


@pytest.mark.parametrize(
    "wanted, said",
    [
        ("1.0 CONFIG REQUIRED", "requested\n?.*version"),
        ("0.0.9 CONFIG REQUIRED", "requested\n?.*version"),
        ("CONFIG REQUIRED COMPONENTS grpc", "has no component 'grpc'"),
    ],
)
def test_cmake_package_refuses(tmp_path, prefix, clean_env, wanted, said):
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.22)\nproject(x LANGUAGES C)\nfind_package(snakepit {wanted})\n"
    )
    command = ["cmake", "-G", "Ninja", "-B", "out", f"-DCMAKE_PREFIX_PATH={prefix}"]
    done = subprocess.run(command, cwd=tmp_path, env=clean_env, capture_output=True, text=True)
    assert done.returncode != 0
    assert re.search(said, done.stderr, re.S), done.stderr


def test_doctor_of_the_moved_program(prefix, clean_env, tmp_path):
    report = json.loads(run(prefix / "bin/snakepit", "doctor", "-o", "json", env=clean_env, cwd=tmp_path))
    rows = {row["name"]: row for row in report["checks"]}
    assert report["ok"], report
    for name in ("guard", "package", "extension"):
        assert str(prefix) in rows[name]["message"], rows[name]
    assert run(prefix / "lib/snakepit/snakepit-guard", "--version").split()[0] == "snakepit-guard"


def test_nothing_of_the_tree_is_installed_with_it(prefix, build):
    """No file names the tree, the build folder or the prefix that was asked for: debug information and the compiled-in last resort aside."""
    named = []
    for path in sorted(prefix.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if content.startswith((b"\x7fELF", b"!<arch>")):
            assert b"RUNPATH" not in subprocess.run(["readelf", "-d", path], capture_output=True).stdout, path
        elif path.suffix != ".pyc" and re.search(
            b"|".join(re.escape(os.fsencode(p)) for p in (ROOT, build, "/opt/nowhere")), content
        ):
            named.append(path)
    assert not named


def test_what_is_installed(prefix):
    for path in (
        "include/snakepit/snakepit.h lib/libsnakepit.so lib/libsnakepit.so.0 lib/libsnakepit.a lib/pkgconfig/snakepit.pc "
        "lib/cmake/snakepit/snakepitConfig.cmake lib/cmake/snakepit/snakepitConfigVersion.cmake lib/snakepit/snakepit-guard "
        "lib/snakepit/python/snakepit_bridge/py.typed bin/snakepit share/man/man1/snakepit.1 share/man/man1/snakepit-guard.1 "
        "share/bash-completion/completions/snakepit share/zsh/site-functions/_snakepit share/fish/vendor_completions.d/snakepit.fish "
        "share/doc/snakepit/LICENSE"
    ).split():
        assert (prefix / path).exists(), path
    assert (prefix / "lib/libsnakepit.so").is_symlink()
    declared = re.findall(
        r"\bPIT_API\b[^;]*?\b(pit_\w+)\s*\(", "".join(p.read_text() for p in (prefix / "include/snakepit").iterdir())
    )
    assert len(declared) > 50
    for name in declared:
        assert (prefix / f"share/man/man3/{name}.3").exists(), name
    assert list(prefix.glob("lib/snakepit/python/snakepit_bridge/__pycache__/worker.*.pyc"))
