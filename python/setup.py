"""The optional extension: built from this folder and the library's sources beside it; without them the package is pure Python."""

from glob import glob
from os.path import exists

from setuptools import Extension, setup

SHARED = ["../src/ring/ring.c", "../src/ring/ring_wait.c", "../src/wire/frame.c"]

extensions = []
if all(exists(path) for path in SHARED):
    extensions.append(
        Extension(
            "snakepit_bridge._snakepit",
            sources=sorted(glob("src/_snakepit*.c")) + SHARED,
            include_dirs=["src", "../src", "../include"],
            define_macros=[("_GNU_SOURCE", None)],
            extra_compile_args=["-std=gnu17", "-fvisibility=hidden"],
            optional=True,
        )
    )

setup(ext_modules=extensions)
