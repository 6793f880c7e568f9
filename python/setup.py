"""The optional extension: built from this folder and the library's sources, which stand beside it in the tree, and below it, in `core`, in a
source distribution. Without a compiler or Python's headers the package is pure Python."""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from glob import glob
from os import makedirs
from os.path import abspath, dirname, exists, join
from shutil import copyfile

from setuptools import Extension, setup
from setuptools.command.sdist import sdist

sys.path.insert(0, dirname(abspath(__file__)))
from build_ext import SHARED, whole_program  # a build in isolation has not this folder on its path

HEADERS = ["src/base/*.h", "src/guard/guard_msg.h", "src/ring/*.h", "src/wire/*.h", "include/snakepit/*.h"]


def core() -> str | None:
    return next((folder for folder in ("..", "core") if all(exists(join(folder, path)) for path in SHARED)), None)


class SourceDistribution(sdist):
    """Takes the library's sources along."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        folder = core()
        if folder is None:
            return
        for path in [*SHARED, *(found[len(folder) + 1 :] for pattern in HEADERS for found in glob(join(folder, pattern)))]:
            target = join(base_dir, "core", path)
            makedirs(dirname(target), exist_ok=True)
            copyfile(join(folder, path), target)


def extensions() -> list[Extension]:
    folder = core()
    if folder is None:
        return []
    together = whole_program(shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"))
    return [
        Extension(
            "snakepit_bridge._snakepit",
            sources=sorted(glob("src/_snakepit*.c")) + [join(folder, path) for path in SHARED],
            depends=sorted(glob("src/*.h")),
            include_dirs=["src", join(folder, "src"), join(folder, "include")],
            libraries=["dl"],
            define_macros=[("_GNU_SOURCE", None), ("NDEBUG", None)],
            extra_compile_args=[
                "-std=gnu17",
                "-O2",
                "-g0",
                "-fvisibility=hidden",
                "-Werror=implicit-function-declaration",
                *together,
            ],
            extra_link_args=together,
            optional=True,
        )
    ]


setup(ext_modules=extensions(), cmdclass={"sdist": SourceDistribution})
