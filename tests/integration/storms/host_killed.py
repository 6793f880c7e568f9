#!/usr/bin/env python3
"""host_killed.py [--rounds N] [--seconds S] [--seed N]: kills hosts with SIGKILL at random moments, and looks at what is left.

Each round runs dying_host and kills it in a phase (start, call, recycle, close) drawn by the seed, some milliseconds into it; in every second round its
guard is killed in the same moment. What must hold:

  * with the guard alive, every process of the host is gone by itself, those in sessions of their own too;
  * with both killed, the next host ends what is left before it is open;
  * that next host works, and closes cleanly;
  * the registry names nobody who lives: what remains of it are reservations younger than a minute, and files that are as young and empty (their
    hosts died before the first record: nobody can say whose they are); nothing once these are old.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SNAKEPIT_BUILD", ROOT / "build")).resolve()
PHASES = ["start", "call", "recycle", "close"]
LIMIT_S = 120  # far above what is usual: whoever waits so long has found something

ADAPTER = """
import subprocess
import threading


class Adapter:
    def nap(self, seconds):
        threading.Event().wait(seconds)

    def daemon(self):
        return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid
"""


class Broken(Exception):
    """Something that must hold does not."""


def await_(what: str, condition):
    until = time.monotonic() + LIMIT_S
    while not (found := condition()):
        if time.monotonic() > until:
            raise Broken(f"never came true: {what}")
        time.sleep(0.002)  # allow-sleep: between two looks
    return found


def marked(mark: str, but: int = 0) -> list[int]:
    """The processes that carry the mark in their environment: hosts, workers, what these have started. Guards have no environment."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != but:
            try:
                if mark.encode() in pathlib.Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    found.append(int(name))
            except OSError:
                pass
    return found


def state_of(pid: int) -> tuple[str, int]:
    """Its state and its parent; ("", 0): it is not there."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])


def guard_of(host: int) -> int:
    for name in os.listdir("/proc"):
        if name.isdigit() and state_of(int(name))[1] == host:
            return int(name)
    return 0


def is_gone(pid: int) -> bool:
    return state_of(pid)[0] in ("", "Z", "X")


def rows_of(file: pathlib.Path) -> dict[str, list[str]]:
    """The last word on each row that is not gone; a torn last line is none."""
    rows: dict[str, list[str]] = {}
    for line in file.read_text().split("\n")[:-1]:
        length, crc, text = line[:4], line[5:13], line[14:]
        if int(length, 16) != len(text) or int(crc, 16) != zlib.crc32(text.encode()):
            raise Broken(f"{file.name}: damaged: {line}")
        words = text.split(" ")
        if words[0] == "gone":
            rows.pop(words[1], None)
        elif words[0] != "host" and not (words[0] == "terminating" and words[1] not in rows):
            rows[words[1]] = words if words[0] != "terminating" else rows[words[1]]
    return rows


def make_old(file: pathlib.Path) -> None:
    """Every reservation becomes one of long ago, and so does an empty file."""
    lines = []
    for line in file.read_text().split("\n")[:-1]:
        words = line[14:].split(" ")
        if words[0] == "reserved":
            words[2] = "1"
        text = " ".join(words)
        lines.append(f"{len(text):04x} {zlib.crc32(text.encode()):08x} {text}\n")
    file.write_text("".join(lines))
    os.utime(file, (1, 1))


class Storm:
    def __init__(self, folder: pathlib.Path, seed: int):
        self.folder, self.random = folder, random.Random(seed)
        self.adapter = folder / "adapter.py"
        self.adapter.write_text(ADAPTER)
        self.data = folder / "data"
        self.mark = f"STORM_MARK={folder}"
        self.env = {**os.environ, "STORM_MARK": str(folder)}
        self.env.setdefault("SNAKEPIT_PYTHON", sys.executable)
        self.counts = dict.fromkeys(
            [*PHASES, "with its guard", "left for the next host", "young reservations", "empty files"], 0
        )

    def start(self, mode: str, **options) -> subprocess.Popen:
        command = [str(BUILD / "tests/integration/c/dying_host"), mode, str(self.data), str(self.adapter)]
        return subprocess.Popen(command, cwd=self.folder, env=self.env, text=True, **options)

    def kill_one(self, with_guard: bool) -> None:
        wanted = self.random.choice(PHASES)
        host = self.start("loop", stdout=subprocess.PIPE)
        assert host.stdout is not None
        for line in host.stdout:
            if line.strip() == wanted:
                break
        else:
            raise Broken(f"the host ended by itself, with {host.wait()}")
        time.sleep(self.random.random() * self.random.choice([0.002, 0.02, 0.1]))  # allow-sleep: the moment is what is random
        os.kill(host.pid, signal.SIGSTOP)  # so that host and guard die in one moment, whichever signal comes first
        guard = guard_of(host.pid)
        if with_guard and guard:
            os.kill(guard, signal.SIGKILL)
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
        self.counts[wanted] += 1
        if with_guard and guard:
            self.counts["with its guard"] += 1
            await_("the guard is gone", lambda: is_gone(guard))
        elif guard:
            await_("guard and all that it had are gone", lambda: is_gone(guard) and not marked(self.mark))

    def next_host(self) -> None:
        left = len(marked(self.mark))
        self.counts["left for the next host"] += left > 0
        done = self.start("once", stdout=subprocess.DEVNULL).wait(LIMIT_S)
        if done != 0:
            raise Broken(f"the next host failed with {done}")
        await_("nothing is alive", lambda: not marked(self.mark))

    def check_registry(self) -> None:
        for file in (self.data / "registry").iterdir():
            rows, empty = rows_of(file), file.stat().st_size == 0
            others = [words for words in rows.values() if words[0] != "reserved"]
            living = [words for words in others if not is_gone(int(words[2]))]
            if ".corrupt." in file.name or not (rows or empty) or living:
                raise Broken(f"{file.name} is left, with {file.stat().st_size} bytes and {rows}")
            self.counts["empty files" if empty else "young reservations"] += 1
            make_old(file)

    def round(self, number: int) -> None:
        self.kill_one(with_guard=number % 2 == 1)
        self.next_host()
        self.check_registry()

    def close(self) -> None:
        self.next_host()
        left = [file.name for file in (self.data / "registry").iterdir()]
        if left:
            raise Broken(f"the registry holds {left}")


def storm(rounds: int, seconds: float, seed: int) -> dict[str, int]:
    """What was done, and seen; Broken when something did not hold."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="snakepit-storm-") as folder:
        it = Storm(pathlib.Path(folder), seed)
        try:
            number = 0
            while number < rounds and (number < 4 or time.monotonic() - began < seconds):
                it.round(number)
                number += 1
            it.close()
        except Broken as broken:
            raise Broken(f"round {number} of seed {seed}: {broken}") from None
        finally:
            for pid in marked(it.mark):
                os.kill(pid, signal.SIGKILL)
    return {"rounds": number, **it.counts}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--seconds", type=float, default=1e9)
    options.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    given = options.parse_args()
    try:
        seen = storm(given.rounds, given.seconds, given.seed)
    except Broken as broken:
        sys.exit(f"host_killed: {broken}")
    print(f"host_killed, seed {given.seed}: " + ", ".join(f"{name} {n}" for name, n in seen.items()))
    print(f"{seen['rounds']} passed, 0 failed")


if __name__ == "__main__":
    main()
