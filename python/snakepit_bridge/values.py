"""Values for which Python has no type of its own.

They arrive as arguments, can be looked at, and leave as what they were. Thread: any; they do not change.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BIG_ENDIAN = sys.byteorder == "big"

# name -> bytes of an item, its format for NumPy, its format for memoryview ("" when there is none)
DTYPES: dict[str, tuple[int, str, str]] = {
    "bool": (1, "?", "?"),
    "i8": (1, "i1", "b"),
    "i16": (2, "<i2", "h"),
    "i32": (4, "<i4", "i"),
    "i64": (8, "<i8", "q"),
    "u8": (1, "u1", "B"),
    "u16": (2, "<u2", "H"),
    "u32": (4, "<u4", "I"),
    "u64": (8, "<u8", "Q"),
    "f16": (2, "<f2", "e"),
    "bf16": (2, "", ""),
    "f32": (4, "<f4", "f"),
    "f64": (8, "<f8", "d"),
    "c64": (8, "<c8", ""),
    "c128": (16, "<c16", ""),
}


class Unserializable:
    """What stands in the place of an object that could not leave its process: the name of its type, and perhaps its ``repr``."""

    __slots__ = ("repr", "type")

    def __init__(self, type: str, repr: str | None = None) -> None:
        self.type = type
        self.repr = repr

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Unserializable):
            return NotImplemented
        return (self.type, self.repr) == (other.type, other.repr)

    def __hash__(self) -> int:
        return hash((self.type, self.repr))

    def __repr__(self) -> str:
        return f"<Unserializable {self.type}>" if self.repr is None else f"<Unserializable {self.type}: {self.repr}>"


class ObjectRef:
    """A reference to an object that lives in a worker."""

    __slots__ = ("generation", "id", "session", "type", "worker")

    def __init__(self, id: str, type: str, worker: str, session: str | None, generation: int) -> None:
        self.id = id
        self.type = type
        self.worker = worker
        self.session = session
        self.generation = generation

    def _all(self) -> tuple[Any, ...]:
        return self.id, self.type, self.worker, self.session, self.generation

    def __eq__(self, other: object) -> bool:
        return self._all() == other._all() if isinstance(other, ObjectRef) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"<ObjectRef {self.id} {self.type} in {self.worker}>"


class Tensor:
    """A tensor that neither NumPy nor ``memoryview`` can be here: ``bf16``; without NumPy ``f16``, complex and empty ones, too.

    ``data`` is the memory: C order, little-endian. ``numpy.asarray(t)`` gives a copy, of ``bf16`` as ``float32``;
    ``torch.frombuffer(t.data, dtype=torch.bfloat16).reshape(t.shape)`` shares the memory.
    """

    __slots__ = ("data", "dtype", "shape")

    def __init__(self, dtype: str, shape: tuple[int, ...], data: Any) -> None:
        self.dtype = dtype
        self.shape = shape
        self.data = memoryview(data).cast("B")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        if self.dtype == "bf16":
            array = (np.frombuffer(self.data, "<u2").astype("<u4") << 16).view("<f4")
        else:
            array = np.frombuffer(self.data, DTYPES[self.dtype][1]).copy()
        array = array.reshape(self.shape)
        return array if dtype is None else array.astype(dtype)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor):
            return NotImplemented
        return (self.dtype, self.shape, self.data) == (other.dtype, other.shape, other.data)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Tensor {self.dtype} {self.shape}>"


class ArrowTable:
    """A table (or, with ``batch``, a record batch) where pyarrow is missing: the bytes of its Arrow IPC stream."""

    __slots__ = ("batch", "ipc")

    def __init__(self, ipc: bytes, batch: bool = False) -> None:
        self.ipc = ipc
        self.batch = batch

    def __eq__(self, other: object) -> bool:
        return (self.ipc, self.batch) == (other.ipc, other.batch) if isinstance(other, ArrowTable) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<ArrowTable {len(self.ipc)} bytes>"


class TensorMemory(bytearray):
    """The memory of a tensor that is given as a ``memoryview``: by it such a view is told from others when it leaves."""

    __slots__ = ()


PLACEHOLDERS = frozenset({Unserializable, ObjectRef, Tensor, ArrowTable})
