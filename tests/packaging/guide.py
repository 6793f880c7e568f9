"""Reading a guide: blocks after `<!-- file: NAME -->` are files, `console` blocks are typed ("$ ...") and say what comes back, "..." standing for
anything; a block after `<!-- in: NAME -->` is run by somebody else."""

from __future__ import annotations

import re

BLOCK = re.compile(r"(?:<!-- (file|in): (\S+) -->\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it is to print."""
    pairs: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            pairs.append((line[2:].rstrip("\n"), ""))
        else:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] + line)
    return pairs


def read(text: str, place: str | None = None) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """(files, commands); place: only what is to be run there."""
    files: dict[str, str] = {}
    typed: list[tuple[str, str]] = []
    for mark, name, kind, block in BLOCK.findall(text):
        if mark == "file":
            files[name] = block
        elif kind == "console" and (name if mark == "in" else None) == place:
            typed += commands(block)
    return files, typed
