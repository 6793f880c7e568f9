"""Puts the package and its extension for this interpreter into a folder, as CMake wants it: quick, and nothing when nothing has changed.

    python build_ext.py --out DIR [--sanitize address,undefined|thread]

The folder can then stand on PYTHONPATH. Several interpreters may build into the same folder: each extension carries its ABI in its name.
Without Python's headers the package is pure Python, which is said and is no failure; an extension that does not compile is one (status 1).
"""

from __future__ import annotations

import argparse
import compileall
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGE = HERE / "snakepit_bridge"
SHARED = ["src/ring/ring.c", "src/ring/ring_wait.c", "src/wire/frame.c"]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Werror"]


def sources() -> list[Path]:
    return [*sorted((HERE / "src").glob("_snakepit*.c")), *(ROOT / path for path in SHARED)]


def headers() -> list[Path]:
    return [
        *(HERE / "src").glob("*.h"),
        *(ROOT / "src/ring").glob("*.h"),
        *(ROOT / "src/wire").glob("*.h"),
        ROOT / "src/guard/guard_msg.h",
        ROOT / "include/snakepit/codes.h",
    ]


def copy_package(out: Path) -> None:
    """Copies what has changed, removes what is gone."""
    wanted = set()
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix not in (".py", ".pyi") and path.name != "py.typed":
            continue
        target = out / "snakepit_bridge" / path.relative_to(PACKAGE)
        wanted.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != path.read_bytes():
            shutil.copyfile(path, target)
    for path in (out / "snakepit_bridge").rglob("*.py"):
        if path not in wanted:
            path.unlink()
    # Where the environment forbids Python to write bytecode (container images do), every worker would compile the package at its start.
    compileall.compile_dir(out / "snakepit_bridge", quiet=1)


def whole_program(compiler: list[str]) -> list[str]:
    """The flags that make gcc optimize the extension as one program: a call goes through ten files, and a worker's share of it takes a quarter
    less. Not clang: whether its linker can do that is another matter on each system."""
    probe = [*compiler, "-dM", "-E", "-x", "c", os.devnull]
    try:
        macros = subprocess.run(probe, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    gcc = "#define __GNUC__ " in macros and "#define __clang__ " not in macros
    return ["-O3", "-flto", "-flto-partition=one"] if gcc else []


def command(target: Path, sanitize: str) -> list[str]:
    compiler = shlex.split(os.environ.get("CC") or "cc")
    includes = [f"-I{ROOT / 'src'}", f"-I{ROOT / 'include'}", f"-I{HERE / 'src'}"]
    paths = sysconfig.get_paths()
    includes += [part for key in ("include", "platinclude") for part in ("-isystem", paths[key])]
    flags = ["-std=gnu17", "-D_GNU_SOURCE", "-DNDEBUG", "-O2", "-g", "-fPIC", "-shared", "-fvisibility=hidden", *WARNINGS]
    if not sanitize:
        flags += whole_program(compiler)
    else:
        flags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
    extra = shlex.split(os.environ.get("CFLAGS", ""))
    return [*compiler, *flags, *extra, *includes, "-o", str(target), *(str(path) for path in sources()), "-ldl"]


def build(out: Path, sanitize: str) -> int:
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        print(f"build_ext: no headers for {sys.executable}: calls will go over a socket", file=sys.stderr)
        return 0
    suffix = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
    target = out / "snakepit_bridge" / f"_snakepit{suffix}"
    # In a build folder nothing is done when nothing has changed; elsewhere, in what was installed, no traces are left.
    stamp = out.parent / f".{out.name}.{target.name}.cmd" if (out.parent / "CMakeCache.txt").exists() else None
    partial = target.with_suffix(f".{os.getpid()}.tmp")
    line = shlex.join(command(Path("_snakepit.so"), sanitize))
    newest = max(path.stat().st_mtime for path in [*sources(), *headers(), Path(__file__)])
    if stamp and target.exists() and target.stat().st_mtime > newest and stamp.exists() and stamp.read_text() == line:
        return 0
    done = subprocess.run(command(partial, sanitize), check=False)
    if done.returncode != 0:
        partial.unlink(missing_ok=True)
        print(f"build_ext: the extension was not built for {sys.executable}", file=sys.stderr)
        return 1
    partial.replace(target)
    if stamp:
        stamp.write_text(line)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Puts snakepit_bridge and its extension into a folder.")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--sanitize", default="")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    copy_package(out)
    return build(out, options.sanitize)


if __name__ == "__main__":
    sys.exit(main())
