"""The streaming group of ``Showcase``: generators, each value of which is a chunk.

Thread: the lane's.
"""

from __future__ import annotations

import asyncio
import random
import time

from ..adapter import tool
from ._counted import Counted, whole, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from typing import Any


class StreamTools(Counted):
    """stream_data, stream_progress, stream_fibonacci, generate_dataset, infinite_stream"""

    @tool
    def stream_data(self, count: int = 10, size: int = 0) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """count maps, each with `size` bytes of data; the result is how much that was."""
        self.count("stream_data")
        within("count", count, 0, 1 << 40)
        data = bytes(i % 251 for i in range(within("size", size, 0, 1 << 26)))
        for i in range(count):
            yield {"index": i, "data": data} if size else {"index": i}
        return {"chunks": count, "bytes": count * size}

    @tool
    async def stream_progress(self, steps: int = 10, delay_ms: int = 10) -> AsyncGenerator[dict[str, Any], None]:
        """Tells how far some work is, step by step. An asynchronous generator."""
        self.count("stream_progress")
        within("delay_ms", delay_ms, 0, 60000)
        begun = time.monotonic()
        for step in range(1, within("steps", steps, 1, 1_000_000) + 1):
            await asyncio.sleep(delay_ms / 1000)
            yield {
                "step": step,
                "total": steps,
                "percent": round(100 * step / steps, 1),
                "elapsed_ms": round((time.monotonic() - begun) * 1000, 1),
            }

    @tool
    def stream_fibonacci(self, count: int = 20) -> Generator[int, None, int]:
        """The first Fibonacci numbers; the result is their sum."""
        self.count("stream_fibonacci")
        a, b, total = 0, 1, 0
        for _ in range(within("count", count, 0, 100_000)):
            yield a
            total += a
            a, b = b, a + b
        return total

    @tool
    def generate_dataset(
        self, rows: int = 100, chunk_rows: int = 10, seed: int = 42
    ) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """Rows of random measurements, some at a time; the result is their mean."""
        self.count("generate_dataset")
        rows, chunk_rows = within("rows", rows, 0, 1 << 40), within("chunk_rows", chunk_rows, 1, 1_000_000)
        numbers, total = random.Random(whole("seed", seed)), 0.0
        for first in range(0, rows, chunk_rows):
            chunk = [
                {"id": i, "value": numbers.gauss(100.0, 15.0), "group": numbers.choice("abc")}
                for i in range(first, min(first + chunk_rows, rows))
            ]
            total += sum(row["value"] for row in chunk)
            yield {"rows": chunk, "first": first}
        return {"rows": rows, "mean": total / rows if rows else None}

    @tool
    def infinite_stream(self, delay_ms: int = 0) -> Generator[int, None, None]:
        """0, 1, 2, ... until nobody wants more."""
        self.count("infinite_stream")
        pause, i = within("delay_ms", delay_ms, 0, 60000) / 1000, 0
        while True:
            yield i
            i += 1
            if pause:
                time.sleep(pause)
