"""The basic group of ``Showcase``: calls, values and errors.

Thread: the lane's.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
import zlib
from collections import Counter

from .. import __version__
from ..adapter import find_tools, tool
from ._counted import Counted, within
from ._text import analyze

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROCESSING = {"upper": str.upper, "lower": str.lower, "reverse": lambda text: text[::-1], "length": len}


class NotSerializable:
    """Nothing converts it: a marker comes in its place."""


class BasicTools(Counted):
    """ping, echo, add, ..."""

    @tool(idempotent=True)
    def ping(self, message: str = "pong") -> dict[str, Any]:
        """Answers."""
        self.count("ping")
        return {"status": "ok", "message": message, "timestamp": time.time()}

    @tool(idempotent=True)
    def echo(self, *args: Any, **kwargs: Any) -> Any:
        """Gives back what it is given: one positional argument as it is, several as a list, keyword arguments as a map."""
        self.count("echo")
        if args and kwargs:
            return {"args": list(args), "kwargs": kwargs}
        return kwargs if kwargs or not args else args[0] if len(args) == 1 else list(args)

    @tool(idempotent=True)
    def add(self, a: float, b: float) -> float:
        """a + b."""
        self.count("add")
        return a + b

    @tool
    def error_demo(self, error_type: str = "generic") -> None:
        """Raises an exception: generic, value or runtime."""
        self.count("error_demo")
        if error_type == "value":
            raise ValueError("this is a demonstration of a ValueError")
        if error_type == "runtime":
            raise RuntimeError("this is a demonstration of a RuntimeError")
        if error_type == "generic":
            raise Exception("this is a demonstration of an exception")
        raise ValueError(f"error_type is generic, value or runtime, not {error_type!r}")

    @tool(idempotent=True)
    def adapter_info(self) -> dict[str, Any]:
        """What this adapter is."""
        self.count("adapter_info")
        tools = [spec for _, spec in find_tools(type(self)).values()]
        return {
            "name": type(self).__name__,
            "version": __version__,
            "scope": self.adapter_scope,
            "thread_safe": getattr(self, "__thread_safe__", False),
            "tools": [spec.name for spec in tools],
            "description": (type(self).__doc__ or "").strip(),
        }

    @tool
    def get_stats(self) -> dict[str, Any]:
        """What this worker has done since its start."""
        self.count("get_stats")
        return self.counted()

    @tool(idempotent=True)
    def basic_echo(self, message: str) -> dict[str, Any]:
        """The message, with when and where it was read."""
        self.count("basic_echo")
        return {
            "echoed": message,
            "length": len(message),
            "timestamp": time.time(),
            "correlation_id": self.session_context.correlation_id,
        }

    @tool(idempotent=True)
    def basic_add(self, a: float, b: float) -> dict[str, Any]:
        """a + b, with the question."""
        self.count("basic_add")
        return {"operation": f"{a} + {b}", "result": a + b}

    @tool(idempotent=True)
    def process_text(self, text: str, operation: str = "upper") -> dict[str, Any]:
        """The text in capitals (upper), small letters (lower), backwards (reverse), or its length."""
        self.count("process_text")
        process = _PROCESSING.get(operation)
        if process is None:
            raise ValueError(f"operation is one of {', '.join(_PROCESSING)}, not {operation!r}")
        return {"original": text, "operation": operation, "result": process(text)}

    @tool
    def telemetry_demo(self, steps: int = 3) -> dict[str, Any]:
        """Does some work in steps, times them, and logs each with the call's correlation id."""
        self.count("telemetry_demo")
        context, told = self.session_context, []
        log = context.log
        for step in range(within("steps", steps, 1, 1000)):
            begun = time.perf_counter_ns()
            digest = hashlib.sha256(str(step).encode() * 1000).hexdigest()
            took_us = (time.perf_counter_ns() - begun) / 1000
            log.info("step %d took %.1f us", step, took_us)
            told.append({"step": step, "took_us": took_us, "digest": digest[:16]})
        return {"correlation_id": context.correlation_id, "session_id": context.session_id, "steps": told}

    @tool(idempotent=True)
    def serialization_demo(self) -> dict[str, Any]:
        """A value of each kind that travels, and an object that nothing converts."""
        import datetime
        from decimal import Decimal

        self.count("serialization_demo")
        moment = datetime.datetime(2024, 2, 29, 12, 30, 15, 250000, tzinfo=datetime.timezone.utc)
        return {
            "nil": None,
            "bool": True,
            "int": 2**100,
            "float": math.pi,
            "str": "snake \N{SNAKE}",
            "bytes": b"\x00\xff",
            "list": [1, [2, [3]]],
            "tuple": (1, 2),
            "map": {"key": 1, 2: "two"},
            "set": {1, 2, 3},
            "frozenset": frozenset({"a"}),
            "datetime": moment,
            "date": moment.date(),
            "time": moment.time(),
            "duration": datetime.timedelta(days=1, microseconds=1),
            "decimal": Decimal("0.10"),
            "complex": 1 + 2j,
            "exception": ValueError("a value like any other"),
            "object": NotSerializable(),
        }

    @tool(idempotent=True)
    def ml_analyze_text(self, text: str) -> dict[str, Any]:
        """Counts, keywords, sentiment and readability of an English text."""
        self.count("ml_analyze_text")
        return analyze(text)

    @tool(idempotent=True)
    def process_binary(self, data: bytes | None = None) -> dict[str, Any]:
        """Size, checksums, entropy and compressed size of bytes: the argument's, or of each of the call's binary parameters."""
        self.count("process_binary")
        if data is not None:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data is bytes, not {type(data).__name__}")
            return _describe_bytes(bytes(data))
        return {name: _describe_bytes(value) for name, value in self.session_context.binary_parameters.items()}

    @tool
    async def concurrent_demo(self, tasks: int = 3, delay_ms: int = 10) -> dict[str, Any]:
        """Several tasks that wait at the same time: together they take as long as the longest."""
        self.count("concurrent_demo")
        within("delay_ms", delay_ms, 0, 60000)
        begun, order = time.perf_counter(), []

        async def one(number: int) -> int:
            await asyncio.sleep(delay_ms * (number + 1) / 1000)
            order.append(number)
            return number * number

        results = await asyncio.gather(*(one(number) for number in range(within("tasks", tasks, 1, 1000))))
        return {"results": results, "order": order, "took_ms": (time.perf_counter() - begun) * 1000}

    @tool
    def call_host_demo(self, tool_name: str | None = None, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Calls a tool of the host in the middle of this call, and says what it gave; without a name, which tools the host offers."""
        self.count("call_host_demo")
        context = self.session_context
        if tool_name is None:
            return {"available": sorted(context.host_tools)}
        return {"tool": tool_name, "result": context.call_host_tool(tool_name, parameters or {})}

    @tool(name="call_elixir_demo")
    def call_elixir_demo(self, tool_name: str | None = None, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """The same as call_host_demo."""
        return self.call_host_demo(tool_name, parameters)


def _describe_bytes(data: bytes) -> dict[str, Any]:
    counts, n = Counter(data), len(data)
    entropy = -sum(c / n * math.log2(c / n) for c in counts.values()) if n else 0.0
    return {
        "size": n,
        "sha256": hashlib.sha256(data).hexdigest(),
        "crc32": zlib.crc32(data),
        "entropy_bits": round(entropy, 6) + 0.0,
        "compressed_size": len(zlib.compress(data)),
        "distinct_bytes": len(counts),
    }
