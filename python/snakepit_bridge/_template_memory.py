"""The memory of a template: a fork copies its page tables, 17 to 21 ms a gigabyte in small pages and 0.4 in huge ones.

Failure: none; what cannot be had stays as it is.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_HUGE = 2 << 20
_LEAST_TEMPLATE = 64 << 20  # resident: below, a fork is quick anyway
_LEAST_MAPPING = 4 << 20
_SWITCH = "/sys/kernel/mm/transparent_hugepage/enabled"


def resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _allowed() -> bool:
    try:
        with open(_SWITCH, encoding="ascii") as file:
            return "[never]" not in file.read()
    except OSError:
        return False


def _mappings() -> Iterator[tuple[int, int, dict[str, int]]]:
    """Private anonymous memory that may be written: begin, end, and the sizes that the kernel tells, in kB."""
    begin = end = 0
    sizes: dict[str, int] = {}
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, rest = line.partition(" ")
            if name.endswith(":"):
                number = rest.split()[0] if rest.split() else ""
                if number.isdecimal():
                    sizes[name[:-1]] = int(number)
                continue
            if end:
                yield begin, end, sizes
            parts = line.split(None, 5)
            wanted = parts[1] == "rw-p" and (len(parts) < 6 or parts[5].startswith(("[heap]", "[anon")))
            begin, end = (int(part, 16) for part in parts[0].split("-")) if wanted else (0, 0)
            sizes = {}
    if end:
        yield begin, end, sizes


def _on_huge_pages() -> int:
    return sum(sizes.get("AnonHugePages", 0) for _, _, sizes in _mappings()) << 10


def huge_bytes(extension: Any) -> int:
    """Moves what is large and in use to huge pages, where the system allows them; how much is there then. Not all of a mapping may be: the
    kernel stops where it has no huge page to give."""
    if resident_bytes() < _LEAST_TEMPLATE or not _allowed():
        return 0
    try:
        for begin, end, sizes in list(_mappings()):
            first, last = -(-begin // _HUGE) * _HUGE, end // _HUGE * _HUGE
            full = sizes.get("Rss", 0) << 13 >= (end - begin) * 7
            if last - first >= _LEAST_MAPPING and full and sizes.get("AnonHugePages", 0) << 10 < last - first:
                extension.collapse(first, last - first)
        return _on_huge_pages()
    except OSError:
        return 0
