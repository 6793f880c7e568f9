"""Tensors, tables, references and markers, both ways. Imported with the first of them.

A tensor becomes a NumPy array of its own memory, writable; without NumPy a ``memoryview`` with its shape and format; and where neither has
its element type a ``values.Tensor``. NumPy and pyarrow are imported when a tensor or table arrives, never before.

Failure: ``CodecError``. Thread: any; no state.
"""

from __future__ import annotations

import sys

from ._coder import encode
from ._errors import CodecError, clean
from ._kinds import EXT_BATCH, EXT_MARKER, EXT_REF, EXT_TABLE, EXT_TENSOR, Leaf
from ._refusals import MAX_DIMENSIONS, malformed, too_long
from .values import BIG_ENDIAN, DTYPES, ArrowTable, ObjectRef, Tensor, TensorMemory, Unserializable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# By what NumPy calls kind, and the bytes of an item.
_NAMES = {(name[0], size): name for name, (size, _, _) in DTYPES.items() if name != "bf16"}
_FORMATS = {form: name for name, (_, _, form) in DTYPES.items() if form}


# ---- out ----


def _text(text: str) -> bytes:
    return encode(clean(text))


def _bin_head(n: int) -> bytes:
    if n < 0x100:
        return bytes((0xC4, n))
    if n >= 0x100000000:
        raise too_long()
    return (b"\xc5" + n.to_bytes(2, "big")) if n < 0x10000 else b"\xc6" + n.to_bytes(4, "big")


# The map of a tensor up to its shape.
_HEADS = {name: b"\x83" + encode("dtype") + encode(name) + encode("shape") for name in DTYPES}


def tensor_leaf(dtype: str, shape: tuple[int, ...], data: Any) -> Leaf:
    """data: C order, little-endian, as bytes or a flat view of bytes."""
    return Leaf(EXT_TENSOR, _HEADS[dtype] + encode(list(shape)) + b"\xa4data" + _bin_head(len(data)), data)


def leaf_of_view(view: memoryview) -> Leaf | None:
    """The tensor that a view is, if it came as one."""
    if type(view.obj) is not TensorMemory or view.format not in _FORMATS or BIG_ENDIAN:
        return None
    return tensor_leaf(_FORMATS[view.format], view.shape or (), view.tobytes())


def dtype_name(dtype: Any) -> str | None:
    """Our name of a NumPy dtype, or None."""
    if dtype.type.__module__ == "numpy":
        return _NAMES.get((dtype.kind, dtype.itemsize))
    return "bf16" if dtype.name == "bfloat16" else None


def marker_leaf(kind: str, text: str | None) -> Leaf:
    if text is None:
        return Leaf(EXT_MARKER, b"\x81" + encode("type") + _text(kind))
    return Leaf(EXT_MARKER, b"\x82" + encode("type") + _text(kind) + encode("repr") + _text(text))


def leaf_of(obj: Any) -> Leaf | None:
    """The leaf of an object of ``values``, or None."""
    kind = type(obj)
    if kind is Tensor:
        return tensor_leaf(obj.dtype, obj.shape, obj.data)
    if kind is ArrowTable:
        return Leaf(EXT_BATCH if obj.batch else EXT_TABLE, b"", obj.ipc)
    if kind is Unserializable:
        return marker_leaf(obj.type, obj.repr)
    if kind is ObjectRef:
        names = ("id", "type", "worker", "session", "generation")
        return Leaf(EXT_REF, b"\x85" + b"".join(encode(name) + encode(getattr(obj, name)) for name in names))
    return None


# ---- in ----


def _fields(data: Any, what: str, known: tuple[str, ...]) -> dict[str, Any]:
    """The map that is the payload."""
    from ._decode import _head, _take_map

    n, p = _head(data, 0, len(data), 0x80, 0xDE)
    if n < 0:
        raise malformed(f"a {what} that holds no map")
    fields, p = _take_map(data, p, len(data), 0, n)
    if p != len(data):
        raise malformed(f"a {what} with bytes behind its entries")
    for key in fields:
        if key not in known:
            raise malformed(f"a {what} with an unknown entry")
    return fields


def _take_tensor(data: Any) -> Any:
    fields = _fields(memoryview(data), "tensor", ("dtype", "shape", "data"))
    dtype, shape, memory = fields.get("dtype"), fields.get("shape"), fields.get("data")
    if type(dtype) is not str or type(shape) is not list or type(memory) is not memoryview:
        raise malformed("a tensor without its dtype, shape or data")
    if dtype not in DTYPES:
        raise CodecError("unsupported_dtype", f"there is no element type {dtype[:32]!r}")
    if len(shape) > MAX_DIMENSIONS:
        raise CodecError("limit_exceeded", f"a tensor of more than {MAX_DIMENSIONS} dimensions")
    n = DTYPES[dtype][0]
    for dimension in shape:
        if type(dimension) is not int or not 0 <= dimension < 1 << 63:
            raise malformed("a dimension that is no size")
        n *= dimension
    if n != len(memory):
        raise CodecError("shape_mismatch", f"a tensor of {n} bytes with {len(memory)} bytes of data")
    if any(dimension > sys.maxsize for dimension in shape):
        raise CodecError("limit_exceeded", "a tensor whose shape does not fit this machine")
    return _as_tensor(dtype, tuple(shape), memory)


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _as_tensor(dtype: str, shape: tuple[int, ...], memory: memoryview) -> Any:
    np = _numpy()
    form: Any = DTYPES[dtype][1]
    if dtype == "bf16" and sys.modules.get("ml_dtypes") is not None:
        form = sys.modules["ml_dtypes"].bfloat16
    if np is not None and form:
        array = np.empty(shape, form)
        if memory.nbytes:
            array.reshape(-1).view("u1")[:] = np.frombuffer(memory, "u1")
        return array
    plain = DTYPES[dtype][2]
    if not plain or BIG_ENDIAN or 0 in shape:
        return Tensor(dtype, shape, bytearray(memory))
    try:
        return memoryview(TensorMemory(memory)).cast(plain, list(shape))  # type: ignore[call-overload]
    except ValueError:  # f16 before Python 3.12
        return Tensor(dtype, shape, bytearray(memory))


def _take_arrow(code: int, data: Any) -> Any:
    """data is copied once; the table lies in the copy."""
    batch = code == EXT_BATCH
    try:
        import pyarrow as pa
    except ImportError:
        return ArrowTable(bytes(data), batch)
    try:
        with pa.ipc.open_stream(pa.py_buffer(bytes(data))) as reader:
            if not batch:
                return reader.read_all()
            found = reader.read_next_batch()
            for _ in reader:
                raise malformed("a batch that is several")
            return found
    except (pa.ArrowException, OSError, StopIteration, ValueError) as exc:
        if isinstance(exc, CodecError):
            raise
        raise malformed("a table that is no Arrow IPC stream") from None


def _take_ref(data: bytes) -> ObjectRef:
    names = ("id", "type", "worker", "session", "generation")
    fields = _fields(data, "reference", names)
    id, kind, worker, session, generation = (fields.get(name, ...) for name in names)
    if not (type(id) is str and type(kind) is str and type(worker) is str and (session is None or type(session) is str)):
        raise malformed("a reference without its id, type, worker or session")
    if type(generation) is not int or not 0 <= generation < 1 << 64:
        raise malformed("a reference without its generation")
    return ObjectRef(id, kind, worker, session, generation)


def _take_marker(data: bytes) -> Unserializable:
    fields = _fields(data, "marker", ("type", "repr"))
    kind, text = fields.get("type"), fields.get("repr", "")
    if type(kind) is not str or type(text) is not str:
        raise malformed("a marker without its type, or whose repr is no text")
    return Unserializable(kind, text if "repr" in fields else None)


def take_object(code: int, data: Any) -> Any:
    """The value of one of these extensions."""
    if code == EXT_TENSOR:
        return _take_tensor(data)
    if code == EXT_REF:
        return _take_ref(bytes(data))
    if code == EXT_MARKER:
        return _take_marker(bytes(data))
    return _take_arrow(code, data)
