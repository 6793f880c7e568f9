"""A control group with a limit of memory, of either version, for a worker to run into."""

from __future__ import annotations

import pathlib

LIMIT = 128 << 20


def own_group(lines: list[str], controller: str) -> str:
    """This process's group in the hierarchy of the controller; "" is that of version 2."""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    raise OSError(f"no hierarchy {controller!r}")


def make_group(name: str) -> pathlib.Path:
    """A control group with a limit of memory, of either version, empty."""
    lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
    mounts = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    for fields in mounts:
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if fields[3] != "/" or not (kind == "cgroup2" or (kind == "cgroup" and "memory" in options)):
            continue
        above = pathlib.Path(fields[4])
        if kind == "cgroup":
            above = above / own_group(lines, "memory").lstrip("/")
        elif "memory" not in (above / "cgroup.controllers").read_text().split():
            continue
        elif "memory" not in (above / "cgroup.subtree_control").read_text().split():
            (above / "cgroup.subtree_control").write_text("+memory")
        group = above / name
        group.mkdir()
        files = {"cgroup": ("memory.limit_in_bytes", "memory.swappiness"), "cgroup2": ("memory.max", "memory.swap.max")}
        limit, swap = files[kind]
        try:
            (group / limit).write_text(str(LIMIT))
            if (group / swap).exists():
                (group / swap).write_text("0")
        except OSError:
            group.rmdir()
            raise
        return group
    raise OSError("no hierarchy with the memory controller")
