"""``Template``: an adapter to begin with. Copy this file, or have one of your own made: ``snakepit gen adapter NAME``."""

from __future__ import annotations

from snakepit_bridge import BaseAdapter, tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any


class Template(BaseAdapter):
    """Say here what the adapter is for. Each method with ``@tool`` is a command that C programs call by its name."""

    # One instance for a worker ("worker"), for each lane ("lane") or for each call ("request").
    adapter_scope = "worker"

    def initialize(self) -> None:
        """Once, before the first call: load the model, open the connection. Plain or ``async``. What it raises fails the start, and is told."""
        self.greetings = {"en": "Hello", "fr": "Bonjour"}
        self.greeted = 0

    def cleanup(self) -> None:
        """Once, when the worker is asked to end: close what ``initialize`` has opened."""
        self.greetings.clear()

    def health(self) -> dict[str, Any]:
        """Now and then, between calls: how it is. Another status than "ok" twice in a row, and the worker is replaced."""
        return {"status": "ok" if self.greetings else "no greetings", "greeted": self.greeted}

    # The docstring's first paragraph is the tool's description; parameters, defaults and types are read off the signature. idempotent: running it again
    # does no harm, so the host may do so when a worker is lost.
    @tool(idempotent=True)
    def greet(self, name: str, language: str = "en") -> str:
        """Greets somebody."""
        if language not in self.greetings:
            # An exception costs the call, nothing else: it arrives in C with type, message and traceback.
            raise ValueError(f"language is one of {', '.join(self.greetings)}, not {language!r}")
        self.greeted += 1
        return f"{self.greetings[language]}, {name}"

    # Declared parameters are checked before the method runs: a caller that breaks a rule gets invalid_parameter, which names it.
    @tool(
        parameters=[{"name": "numbers", "type": "list"}, {"name": "scale", "type": "float", "min": 0, "default": 1.0}],
        timeout_ms=10_000,
    )
    def total(self, numbers: list[float], scale: float = 1.0) -> float:
        """The sum of the numbers, times the scale."""
        total = 0.0
        for number in numbers:
            self.session_context.check()  # a long computation asks now and then whether it shall end
            total += number
        return total * scale

    # A generator streams: each value is a chunk as soon as it is yielded, what it returns is the stream's result.
    @tool
    def count(self, upto: int) -> Generator[int, None, int]:
        """Counts to a number."""
        yield from range(1, upto + 1)
        return upto
