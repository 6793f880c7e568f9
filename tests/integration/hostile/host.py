"""A host under test: the program hostile_driver, asked by JSON lines, and what can be seen of it from outside.

    with Host(build, env, adapter="x.py") as host:
        assert host.call("add", 1, 2) == 3
        error = host.fails("boom")

Leaving the block closes the host and checks that it ended well and that no process of it is left, whoever its parent is.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import uuid
from typing import Any

from programs import LIMIT_S, is_alive, wait_for

_MARK = "SNAKEPIT_HOSTILE_TEST"
RING, SOCKET = 1, 2
EXEC = 1  # a start mode


class Failed(Exception):
    """An operation failed; ``error`` is pit_error_json's document, ``text`` what a person reads."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.rc = answer["rc"]
        self.code = answer["name"]
        self.error = json.loads(answer.get("error", "{}"))
        self.text = answer.get("text", "")
        super().__init__(self.text or self.code)

    @property
    def details(self) -> dict[str, Any]:
        return self.error.get("details") or {}

    @property
    def cause(self) -> dict[str, Any]:
        return self.error.get("cause") or {}

    @property
    def message(self) -> str:
        return self.error.get("message", "")


class Pending:
    """A call that has been started; ``result`` waits for its outcome."""

    def __init__(self, host: Host, wait: str, index: int) -> None:
        self._host, self._wait, self._index = host, wait, index

    def result(self) -> Any:
        return self._host.outcome(self._host.ask(self._wait, index=self._index))

    def fails(self) -> Failed:
        return failure(self.result)

    def cancel(self, reason: str | None = None) -> None:
        self._host.outcome(self._host.ask("cancel", index=self._index, reason=reason))


def failure(function, *args, **kwargs) -> Failed:
    try:
        value = function(*args, **kwargs)
    except Failed as failed:
        return failed
    raise AssertionError(f"it did not fail but gave {value!r:.200}")


class Host:
    def __init__(self, build: pathlib.Path, environ: dict[str, str], **options: Any) -> None:
        self.mark = uuid.uuid4().hex
        self.options = {"workers": 1, **options}
        self.driver = subprocess.Popen(
            [str(build / "tests" / "integration" / "hostile_driver")],
            env={**environ, _MARK: self.mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._said = b""

    # ---- the driver ----

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        line = json.dumps({"op": op, **{k: v for k, v in fields.items() if v is not None}}).encode() + b"\n"
        view = memoryview(line)
        while view:
            view = view[self.driver.stdin.write(view) :]
        parts = []
        while not parts or not parts[-1].endswith(b"\n"):
            part = self.driver.stdout.read(1 << 20)
            if not part:
                raise AssertionError(f"the host ended with {self.driver.wait(LIMIT_S)} during {op}")
            parts.append(part)
        return json.loads(b"".join(parts))

    @staticmethod
    def outcome(answer: dict[str, Any]) -> Any:
        """The result as the JSON document that it is; else ``Failed``."""
        if answer["rc"] != 0:
            raise Failed(answer)
        return json.loads(answer["result"]) if "result" in answer else None

    def open(self) -> Host:
        self.outcome(self.ask("open", **self.options))
        return self

    def close(self) -> None:
        answer = self.ask("close")
        assert answer["rc"] == 0, answer

    def __enter__(self) -> Host:
        try:
            return self.open()
        except BaseException:
            self.end()
            raise

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.close()
        self.end(check=kind is None)

    def end(self, check: bool = True) -> None:
        self.driver.stdin.close()
        try:
            status = self.driver.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            raise
        finally:
            self.driver.stdout.close()
        if check:
            assert status == 0
            wait_for(lambda: not self.processes(), "the end of every process of the host")

    # ---- calls ----

    @staticmethod
    def arguments(args: tuple, kwargs: dict[str, Any]) -> str | None:
        assert not (args and kwargs)
        return json.dumps(kwargs or list(args)) if args or kwargs else None

    def call(self, command: str, *args: Any, **kwargs: Any) -> Any:
        return self.call_json(command, self.arguments(args, kwargs))

    def call_json(self, command: str | None, text: str | None, **options: Any) -> Any:
        return self.outcome(self.ask("call", command=command, json=text, **options))

    def fails(self, command: str, *args: Any, **kwargs: Any) -> Failed:
        return failure(self.call, command, *args, **kwargs)

    def start(self, how: str, command: str, *args: Any, **kwargs: Any) -> Pending:
        """how: "submit" (a future), or "thread" (a blocking call on a thread of its own)."""
        answer = self.ask(how, command=command, json=self.arguments(args, kwargs))
        self.outcome(answer)
        return Pending(self, {"submit": "wait", "thread": "join"}[how], answer["index"])

    # ---- what can be seen ----

    def stats(self) -> dict[str, int]:
        return self.ask("stats")["stats"]

    def workers(self) -> list[dict[str, Any]]:
        return self.ask("workers")["workers"]

    def is_whole(self) -> bool:
        stats = self.stats()
        return stats["available"] == self.options["workers"] and len(self.workers()) == self.options["workers"]

    def wait_until_whole(self) -> None:
        wait_for(self.is_whole, "the pool to be whole again")

    def pid(self) -> int:
        return self.driver.pid

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.driver.pid}/fd"))

    def peak_is_below(self, kib: int) -> bool:
        """Of resident memory, so far. A sanitizer keeps what was freed: then there is nothing to say."""
        if re.search(r"lib[at]san\.so", pathlib.Path(f"/proc/{self.driver.pid}/maps").read_text()):
            return True
        return self._peak_kib() < kib

    def _peak_kib(self) -> int:
        for line in pathlib.Path(f"/proc/{self.driver.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        raise AssertionError("no VmHWM")

    def processes(self) -> list[int]:
        """Every live process that inherited the mark, but for the host itself."""
        mark = f"{_MARK}={self.mark}".encode()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == self.driver.pid:
                continue
            try:
                text = pathlib.Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if mark in text.split(b"\0") and is_alive(int(entry)):
                found.append(int(entry))
        return found
