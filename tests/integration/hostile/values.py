"""An adapter that takes and gives values of every kind, and objects that are none."""

import collections
import dataclasses
import datetime
import enum
import pathlib
import sys
import uuid

import numpy as np
from snakepit_bridge import BaseAdapter, current_context, register_codec, tool

sys.modules["pyarrow"] = None  # a table is its bytes, whether pyarrow is installed or not

NAMES = {
    "bool": "?", "i8": "i1", "i16": "i2", "i32": "i4", "i64": "i8", "u8": "u1", "u16": "u2", "u32": "u4", "u64": "u8",
    "f16": "f2", "f32": "f4", "f64": "f8", "c64": "c8", "c128": "c16",
}  # fmt: skip


@dataclasses.dataclass
class Data:
    a: int
    b: datetime.date


Point = collections.namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"


class Money:
    def __init__(self, amount):
        self.amount = amount


register_codec(Money, lambda m: ("money", m.amount))


class Raises:
    """Raises whatever it is asked, but what it was told to do."""

    def __init__(self, fine=False):
        self.fine = fine

    def __repr__(self):
        raise RuntimeError("repr")

    def __eq__(self, other):
        raise RuntimeError("eq")

    __hash__ = None

    def to_dict(self):
        raise RuntimeError("to_dict")

    def isoformat(self):
        if self.fine:
            return "iso"
        raise RuntimeError("isoformat")


class Endless:
    def to_dict(self):
        return {"self": self}


class Hashed:
    def __hash__(self):
        return 1


ODD = {
    "repr": lambda: Raises(),
    "to_dict": lambda: Raises(),
    "fine": lambda: Raises(fine=True),
    "endless": lambda: Endless(),
    "hash": lambda: {Hashed(): 1},
    "too many": lambda: np.zeros(1_000_001, object),
    "many types": lambda: [type(f"T{i}", (), {})() for i in range(12_000)],
    "colliding": lambda: len({n * (2**61 - 1): None for n in range(2000)}),
}


class Values(BaseAdapter):
    @tool
    def echo(self, value):
        return value

    @tool
    def count(self, value):
        return len(value)

    @tool
    def array(self, dtype):
        return np.arange(6).astype(NAMES[dtype]).reshape(2, 3)

    @tool
    def tobytes(self, dtype):
        return self.array(dtype).tobytes()

    @tool
    def describe(self, array):
        return [type(array).__name__, str(array.dtype), array.shape, bool(array.flags.writeable), array.sum()]

    @tool
    def large(self, n):
        return float(np.ones(n, "f8").sum())

    @tool
    def converted(self):
        return {
            "dataclass": Data(1, datetime.date(2026, 11, 21)),
            "named": Point(1, 2),
            "enum": Colour.RED,
            "uuid": uuid.UUID(int=1),
            "path": pathlib.Path("/tmp/x"),
            "registered": Money(5),
            "scalar": np.float32(1.5),
        }

    @tool
    def truncated(self, value):
        return current_context().times_truncated

    @tool(parameters=[{"name": "temperature", "type": "float", "min": 0, "max": 2}])
    def declared(self, temperature):
        return temperature

    @tool
    def odd(self, what):
        return ODD[what]()
