"""The Debian packages: built by cpack, installed by dpkg into a copy of this system that has nothing of the tree, used there, and removed."""

from __future__ import annotations

import os
import pathlib
import platform
import re
import shutil
import subprocess

import guide
import pytest
from packing import CONSUMERS, ROOT, run

PACKAGES = ["libsnakepit-dev", "libsnakepit0", "python3-snakepit-bridge", "snakepit"]
SYSTEM_PYTHON = "/usr/bin/python3"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

pytestmark = pytest.mark.skipif(
    not (shutil.which("dpkg-shlibdeps") and os.path.exists(SYSTEM_PYTHON)), reason="Debian packages are made on Debian"
)

# A system that is this one below and fresh above; what is written in it is in memory. $1 is the folder for it, $2 what must not be seen, the
# rest a command.
FRESH = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root" "$1/empty"
cp -a "$3" "$1/stage"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
mount --bind "$1/empty" "$1/root$2"
mkdir -p "$1/root/stage"
mount --bind "$1/stage" "$1/root/stage"
exec chroot "$1/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root SNAKEPIT_DATA_DIR=/tmp/state LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive sh -ec "$4"
"""

USE = """
cd /stage
dpkg -i *.deb >/stage/log
echo "files: $(ls /usr/lib/python3/dist-packages/snakepit_bridge/__pycache__ | grep -c pyc)"
snakepit doctor | tail -n 1
cc -std=c99 c99.c -o shared $(pkg-config --cflags --libs snakepit)
./shared worker.py
cc -std=c99 c99.c -o static $(pkg-config --cflags snakepit) $(pkg-config --variable=static_library snakepit) -pthread
./static worker.py
g++ -std=c++17 cxx17.cpp -o cxx17 $(pkg-config --cflags --libs snakepit) -pthread
./cxx17 worker.py
cmake -B out . >/stage/log && cmake --build out >/stage/log && out/c99-shared worker.py && out/c99-static worker.py
snakepit call add '[40, 2]' --adapter worker.py
python3 -c 'import snakepit_bridge; print(snakepit_bridge.__file__)'
ldconfig -p | grep -c libsnakepit.so.0
dpkg --purge snakepit libsnakepit-dev libsnakepit0 python3-snakepit-bridge >/stage/log 2>&1
find /usr /etc -name '*snakepit*'
"""


@pytest.fixture(scope="module")
def debs(build, tmp_path_factory) -> dict[str, pathlib.Path]:
    folder = tmp_path_factory.mktemp("deb")
    _, typed = guide.read((ROOT / "docs/guide-packaging.md").read_text(), "deb")
    for command, _ in typed:
        # As the guide has it, but for the long last step of the compiler, which packs nothing differently.
        command = command.replace("--preset package", "--preset package -DSNAKEPIT_WHOLE_PROGRAM=OFF")
        run("bash", "-c", command, env={**os.environ, "SNAKEPIT": str(ROOT), "OUT": str(folder)})
    return {path.name.split("_")[0]: path for path in folder.glob("*.deb")}


@pytest.fixture(scope="module")
def extracted(debs, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("extracted")
    for path in debs.values():
        run("dpkg-deb", "-x", path, folder)
    return folder


def field(path: pathlib.Path, name: str) -> str:
    return run("dpkg-deb", "-f", path, name).strip()


def test_the_packages_and_what_they_need(debs):
    assert sorted(debs) == PACKAGES
    version = field(debs["snakepit"], "Version")
    assert re.fullmatch(r"libc6 \(>= 2\.\d+\)", field(debs["libsnakepit0"], "Depends"))
    assert f"libsnakepit0 (= {version})" in field(debs["libsnakepit-dev"], "Depends")
    for name in ("libsnakepit0", "python3-snakepit-bridge"):
        assert f"{name} (= {version})" in field(debs["snakepit"], "Depends")
    assert "python3 (>= 3.9)" in field(debs["python3-snakepit-bridge"], "Depends")


def test_what_is_in_them(extracted):
    library = f"usr/lib/{platform.machine()}-linux-gnu"
    for path in (
        f"{library}/libsnakepit.so.0 {library}/libsnakepit.so {library}/libsnakepit.a {library}/snakepit/snakepit-guard "
        f"{library}/pkgconfig/snakepit.pc {library}/cmake/snakepit/snakepitConfig.cmake usr/include/snakepit/snakepit.h usr/bin/snakepit "
        "usr/share/man/man1/snakepit.1.gz usr/share/man/man3/pit_open.3.gz usr/share/man/man3/pit_callf.3.gz "
        "usr/share/zsh/vendor-completions/_snakepit usr/lib/python3/dist-packages/snakepit_bridge/worker.py"
    ).split():
        assert (extracted / path).exists(), path
    assert (extracted / library / "snakepit/python/snakepit_bridge").resolve() == (
        extracted / "usr/lib/python3/dist-packages/snakepit_bridge"
    )
    for name in PACKAGES:
        assert (extracted / "usr/share/doc" / name / "copyright").exists()
        assert (extracted / "usr/share/doc" / name / "changelog.Debian.gz").exists()
    for program in (extracted / "usr/bin/snakepit", extracted / library / "libsnakepit.so.0"):
        assert ".debug_info" not in run("readelf", "-S", program)
        assert os.fsencode(ROOT) not in program.read_bytes()


def test_what_is_in_them_runs_where_it_lies(extracted, clean_env):
    """Also outside of /usr, where nothing is that was compiled in."""
    env = {**clean_env, "SNAKEPIT_PYTHON": SYSTEM_PYTHON}
    said = run(
        extracted / "usr/bin/snakepit", "call", "add", "[40, 2]", "--adapter", CONSUMERS / "worker.py", env=env, cwd=extracted
    )
    assert said == "42\n"


def test_installed_and_used_and_removed(debs, tmp_path):
    # In a chroot unshare cannot make mounts private; where none is shared, they are.
    shared = "shared:" in pathlib.Path("/proc/self/mountinfo").read_text()
    own = ["unshare", "--mount", "--propagation", "private" if shared else "unchanged", "--pid", "--fork", "--kill-child"]
    script = [*own, "bash", "-c", FRESH, "fresh", tmp_path / "system", ROOT]
    (tmp_path / "system").mkdir()
    stage = tmp_path / "stage"
    shutil.copytree(CONSUMERS, stage, ignore=shutil.ignore_patterns("__pycache__"))
    tried = subprocess.run([*script, stage, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"no system of its own can be made here: {tried.stderr.strip()[-200:]}")
    for path in debs.values():
        shutil.copy(path, stage)
    said = run(*script, stage, USE).splitlines()
    version = field(debs["snakepit"], "Version").split("-")[0]
    c99, cxx17 = f"{version} 42", "4 5 value_error"
    assert int(said[0].split()[1]) > 5, "the package is not compiled"
    assert said[1:] == [
        "all is well",
        c99,
        c99,
        cxx17,
        c99,
        c99,
        "42",
        "/usr/lib/python3/dist-packages/snakepit_bridge/__init__.py",
        "1",
    ], said
