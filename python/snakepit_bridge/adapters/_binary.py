"""The binary group of ``Showcase``: tensors and their way through the codec.

Thread: the lane's.
"""

from __future__ import annotations

import json
import random
import time
from array import array

from .. import _coder
from ..adapter import tool
from ..values import Tensor
from ._counted import Counted, whole, within
from ._text import embed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_CODES = {"f32": "f", "f64": "d", "i32": "i", "i64": "q", "u8": "B"}
MOST = 10_000_000  # elements


def tensor(dtype: str, shape: Iterable[int], values: Iterable[float]) -> Tensor:
    """A tensor of the values."""
    return Tensor(dtype, tuple(shape), array(_CODES[dtype], values).tobytes())


class BinaryTools(Counted):
    """create_tensor, create_embedding, benchmark_encoding"""

    @tool(idempotent=True)
    def create_tensor(self, shape: list[int], dtype: str = "f32", fill: str = "range", seed: int = 42) -> dict[str, Any]:
        """A tensor of zeros, ones, random numbers from 0 to 1, or 0, 1, 2, ... (range)."""
        self.count("create_tensor")
        if dtype not in _CODES:
            raise ValueError(f"dtype is one of {', '.join(_CODES)}, not {dtype!r}")
        n = 1
        for size in shape:
            n *= within("each of shape", size, 0, MOST)
        within("the number of elements", n, 0, MOST)
        numbers = random.Random(whole("seed", seed))
        is_whole = dtype[0] != "f"
        top = 255 if dtype == "u8" else 1000
        fills: dict[str, Any] = {
            "zeros": lambda i: 0,
            "ones": lambda i: 1,
            "range": lambda i: i % 256 if dtype == "u8" else i,
            "random": lambda i: numbers.randint(0, top) if is_whole else numbers.random(),
        }
        if fill not in fills:
            raise ValueError(f"fill is one of {', '.join(fills)}, not {fill!r}")
        made = tensor(dtype, shape, map(fills[fill], range(n)))
        return {"tensor": made, "shape": list(shape), "dtype": dtype, "bytes": len(made.data)}

    @tool(idempotent=True)
    def create_embedding(self, text: str, dimensions: int = 128) -> dict[str, Any]:
        """A text as a vector of length 1: texts that share words and parts of words are near."""
        self.count("create_embedding")
        vector = embed(text, within("dimensions", dimensions, 1, 65536))
        return {"embedding": tensor("f32", [dimensions], vector), "dimensions": dimensions}

    @tool
    def benchmark_encoding(self, items: int = 1000, rounds: int = 5) -> dict[str, Any]:
        """What a list of small maps costs in the worker's codec and in ``json``, in microseconds, the best of some rounds."""
        self.count("benchmark_encoding")
        value = [{"id": i, "name": f"item {i}", "score": i / 7} for i in range(within("items", items, 1, 1_000_000))]
        rounds = within("rounds", rounds, 1, 1000)

        def best(work: Any) -> tuple[float, Any]:
            least, result = float("inf"), None
            for _ in range(rounds):
                begun = time.perf_counter_ns()
                result = work()
                least = min(least, (time.perf_counter_ns() - begun) / 1000)
            return least, result

        encode_us, data = best(lambda: _coder.encode(value))
        decode_us, back = best(lambda: _coder.decode(data))
        json_encode_us, text = best(lambda: json.dumps(value))
        json_decode_us, _ = best(lambda: json.loads(text))
        return {
            "items": items,
            "equal": back == value,
            "snakepit": {"bytes": len(data), "encode_us": encode_us, "decode_us": decode_us},
            "json": {"bytes": len(text), "encode_us": json_encode_us, "decode_us": json_decode_us},
        }
