"""From any object to something of a kind of its own, and what stands in the place of the rest (SNAKEPIT_* below; docs/guide-python-adapters.md).

Imported with the first object that needs it. The order: registered codec; times, decimals and what else has a kind; NumPy, torch, Arrow,
pandas and polars; dataclass; ``model_dump()``; ``to_dict()``; ``_asdict()``; Enum; UUID and Path; ``tolist()``; ``isoformat()``; the policy.

Invariants
 1. A library is known by the type of its object and found in ``sys.modules``; nothing is imported but pyarrow, for a pandas object.
 2. What is converted on the way to Python objects has at most ``tolist_max_elements`` elements, known before anything is allocated if the
    object tells.
 3. The result is final: encoding it asks for no further conversion of itself (only of its parts), so a chain of conversions ends.

Failure: ``CodecError`` by the policy or for limits; a converter that raises an ``Exception`` is passed over. Thread: any.
"""

from __future__ import annotations

import sys

from . import _marker
from ._errors import CodecError, RemoteException, exception_fields
from ._kinds import EXT_BATCH, EXT_TABLE, Leaf, duration_leaf, maker_of, moment_leaf
from ._objects import dtype_name, leaf_of, tensor_leaf
from ._refusals import unserializable
from ._registry import (
    POLICIES,
    POLICY_DEFAULT,
    POLICY_ERROR,
    POLICY_MARKER,
    REGISTERED,
    SETTINGS,
    is_namedtuple,
    registered_for,
    setting,
)
from .values import BIG_ENDIAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_CHAIN = 16  # conversions of one object
_NO: Any = object()  # "not for me"

_FINAL = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, memoryview, list, tuple, dict, set, frozenset, Leaf}
)
_BASES = (str, int, float, dict, list, tuple, bytes, bytearray, set, frozenset, BaseException)


class TooLarge(Exception):
    """More elements than a conversion to Python objects may have."""


class Lossy(Exception):
    """No further converter may try: it would lose something silently."""


# ---- settings ----


def _policy() -> int:
    name = SETTINGS.get("on_unserializable", "")
    return POLICIES.get(name, POLICY_MARKER) if isinstance(name, str) else POLICY_MARKER


_max_elements = setting("SNAKEPIT_TOLIST_MAX_ELEMENTS", "tolist_max_elements", 1_000_000)
_default_policy = _policy()


# ---- the guard ----


def _product(shape: Any) -> int:
    n = 1
    for dimension in shape:
        n *= int(dimension)
    return n


def _estimate(obj: Any) -> int | None:
    """How many elements the object says it has: its shape (of a sparse one, too: that of the dense), its size, its length."""
    for name in ("shape", "size"):
        told = getattr(obj, name, None)
        try:
            if isinstance(told, tuple):
                return _product(told)
            if told is not None and not callable(told) and not isinstance(told, (str, bytes)):
                return int(told)
        except Exception:
            pass
    try:
        return len(obj)
    except Exception:
        return None


def _guard(obj: Any) -> None:
    n = _estimate(obj)
    if n is not None and n > _max_elements:
        raise TooLarge


def _guard_result(result: Any) -> None:
    """The same of what came out: nested lists are counted, no further than the limit."""
    left, waiting = _max_elements, [result]
    while waiting:
        items = waiting.pop()
        nested = [item for item in items if type(item) is list] if len(items) <= left else None
        if nested is None:
            raise TooLarge
        left -= len(items) - len(nested)
        waiting += nested


# ---- libraries ----


def _numpy_scalar(np: Any, obj: Any) -> Any:
    if isinstance(obj, np.bool_):
        return bool(obj)
    if isinstance(obj, np.integer) and not isinstance(obj, np.timedelta64):
        return int(obj)
    if isinstance(obj, np.floating):
        return float(obj)
    if isinstance(obj, np.complexfloating):
        return complex(obj)
    if isinstance(obj, (np.datetime64, np.timedelta64)):
        return _numpy_time(np, obj)
    return obj.item() if isinstance(obj, np.generic) else _NO


def _numpy_time(np: Any, obj: Any) -> Any:
    if np.isnat(obj):
        return None
    moment = isinstance(obj, np.datetime64)
    kind = "datetime64" if moment else "timedelta64"
    unit = np.datetime_data(obj.dtype)[0]
    if unit in ("generic", "ps", "fs", "as") or (not moment and unit in ("Y", "M")):
        return str(obj)  # no kind of ours holds it; tolist() would make a bare number of it
    if moment and unit in ("Y", "M", "W", "D"):
        day = obj.astype("datetime64[D]").item()
        return str(obj) if isinstance(day, int) else day
    seconds = obj.astype(f"{kind}[s]")
    ns = int((obj - seconds).astype("timedelta64[ns]").astype("i8")) if unit in ("ms", "us", "ns") else 0
    leaf = moment_leaf(int(seconds.astype("i8")), ns) if moment else duration_leaf(int(seconds.astype("i8")), ns)
    return str(obj) if leaf is None else leaf


def _numpy(obj: Any) -> Any:
    np = sys.modules["numpy"]
    if not isinstance(obj, np.ndarray):
        return _numpy_scalar(np, obj)
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(obj, masked.MaskedArray):
        return _NO  # its list says what is masked
    if obj.ndim == 0:
        return obj[()] if obj.dtype.kind in "mM" else obj.item()
    dtype = dtype_name(obj.dtype)
    if dtype is not None and obj.ndim <= 32:
        return _array_leaf(np, dtype, obj)
    if obj.dtype.kind in "mM":
        _guard(obj)
        return list(obj)
    return _NO


def _array_leaf(np: Any, dtype: str, obj: Any) -> Leaf:
    array = np.asarray(obj)
    if array.dtype.byteorder == ">" or (BIG_ENDIAN and array.dtype.byteorder == "="):
        array = array.astype(array.dtype.newbyteorder("<"))
    flat = np.ascontiguousarray(array).reshape(-1).view("u1")
    return tensor_leaf(dtype, obj.shape, flat.data if flat.size else b"")


def _ml_dtypes(obj: Any) -> Any:
    return float(obj) if hasattr(type(obj), "__float__") else _NO


def _torch(obj: Any) -> Any:
    torch = sys.modules["torch"]
    if not isinstance(obj, torch.Tensor) or obj.is_quantized:
        return _NO
    if obj.layout != torch.strided:
        _guard(obj)
        obj = obj.to_dense()
    if obj.dim() == 0:
        return obj.item()
    tensor = obj.detach().resolve_conj().resolve_neg().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        array, dtype = tensor.view(torch.int16).numpy(), "bf16"
    else:
        array = tensor.numpy()
        dtype = dtype_name(array.dtype) or ""
    if not dtype or array.ndim > 32:
        return _NO
    return _array_leaf(sys.modules["numpy"], dtype, array)


def _scipy(obj: Any) -> Any:
    sparse = sys.modules.get("scipy.sparse")
    if sparse is None or not sparse.issparse(obj):
        return _NO
    _guard(obj)
    return obj.toarray()


def _stream(pa: Any, table: Any, code: int) -> Leaf:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return Leaf(code, b"", memoryview(sink.getvalue()))


def _arrow(obj: Any) -> Any:
    pa = sys.modules["pyarrow"]
    if isinstance(obj, pa.Table):
        return _stream(pa, obj, EXT_TABLE)
    if isinstance(obj, pa.RecordBatch):
        return _stream(pa, obj, EXT_BATCH)
    if isinstance(obj, (pa.Array, pa.ChunkedArray)):
        _guard(obj)
        return obj.to_pylist()
    return obj.as_py() if isinstance(obj, pa.Scalar) else _NO


def _pandas(obj: Any) -> Any:
    pd = sys.modules["pandas"]
    if obj is pd.NA or obj is pd.NaT:
        return None
    if isinstance(obj, pd.Series):
        obj = obj.to_frame()
    if not isinstance(obj, pd.DataFrame):
        return _NO
    try:
        import pyarrow as pa

        return _stream(pa, pa.Table.from_pandas(obj), EXT_TABLE)
    except Exception:
        return _columns(pd, obj)


def _columns(pd: Any, frame: Any) -> dict[Any, Any]:
    """A frame as a map of lists; an index that says more than the number of the row is a column, too, named as Arrow names it."""
    _guard(frame)
    if not frame.columns.is_unique:
        raise Lossy
    columns: dict[Any, Any] = {name: frame[name].tolist() for name in frame.columns}
    if not isinstance(frame.index, pd.RangeIndex):
        name = frame.index.name
        columns[name if name is not None else "__index_level_0__"] = frame.index.tolist()
    return columns


def _polars(obj: Any) -> Any:
    pl = sys.modules["polars"]
    if isinstance(obj, pl.Series):
        obj = obj.to_frame()
    if not isinstance(obj, pl.DataFrame):
        return _NO
    from io import BytesIO

    sink = BytesIO()
    try:
        obj.write_ipc_stream(sink, compat_level=pl.CompatLevel.oldest())  # for readers that know no string views
    except (AttributeError, TypeError):
        obj.write_ipc_stream(sink)
    return Leaf(EXT_TABLE, b"", sink.getbuffer())


_LIBRARIES: dict[str, Callable[[Any], Any]] = {
    "numpy": _numpy,
    "ml_dtypes": _ml_dtypes,
    "torch": _torch,
    "scipy": _scipy,
    "pyarrow": _arrow,
    "pandas": _pandas,
    "polars": _polars,
}


# The types of libraries that have been seen: their objects need no search.
_fast: dict[type, Callable[[Any], Any]] = {}
_FAST_TYPES = 256


def _library(obj: Any, kind: type) -> Any:
    for base in kind.__mro__[:-1]:
        module = base.__module__
        name = module.partition(".")[0] if isinstance(module, str) else ""
        convert = _LIBRARIES.get(name)
        if convert is not None and name in sys.modules:
            result = convert(obj)
            if result is not _NO and base is kind and len(_fast) < _FAST_TYPES:
                _fast[kind] = convert
            return result
    return _NO


# ---- by what an object offers ----


def _registered(obj: Any, kind: type) -> Any:
    encode = registered_for(kind) if REGISTERED else None
    return _NO if encode is None else encode(obj)


def _own(obj: Any, kind: type) -> Any:
    make = maker_of(kind)
    if make is None:
        leaf = leaf_of(obj)
        return _NO if leaf is None else leaf
    return make(obj)


def _dataclass(obj: Any, kind: type) -> Any:
    if not hasattr(kind, "__dataclass_fields__"):
        return _NO
    return {field.name: getattr(obj, field.name) for field in sys.modules["dataclasses"].fields(obj)}


def _method(name: str, guarded: bool = False, anything: bool = False) -> Callable[[Any, type], Any]:
    """A method without arguments that gives a dict, or perhaps anything."""

    def convert(obj: Any, kind: type) -> Any:
        if not callable(getattr(kind, name, None)):
            return _NO
        if guarded:
            _guard_sized(obj)
        result = getattr(obj, name)()
        return result if anything or isinstance(result, dict) else _NO

    return convert


def _guard_sized(obj: Any) -> None:
    """Only what has a shape is a table or an array; the length of another object says nothing about its dict."""
    if isinstance(getattr(obj, "shape", None), tuple):
        _guard(obj)


def _enum(obj: Any, kind: type) -> Any:
    enum = sys.modules.get("enum")
    return obj.value if enum is not None and isinstance(obj, enum.Enum) else _NO


def _named(obj: Any, kind: type) -> Any:
    for module, name in (("uuid", "UUID"), ("pathlib", "PurePath")):
        base = getattr(sys.modules.get(module), name, None)
        if isinstance(base, type) and isinstance(obj, base):
            return str(obj)
    return _NO


def _tolist(obj: Any, kind: type) -> Any:
    if not callable(getattr(kind, "tolist", None)):
        return _NO
    _guard(obj)
    result = obj.tolist()
    if type(result) is list:
        _guard_result(result)
    return result


def _isoformat(obj: Any, kind: type) -> Any:
    if not callable(getattr(kind, "isoformat", None)):
        return _NO
    result = obj.isoformat()
    return result if isinstance(result, str) else _NO


_CONVERTERS: tuple[Callable[[Any, type], Any], ...] = (
    _registered,
    _own,
    _library,
    _dataclass,
    _method("model_dump", anything=True),  # a pydantic RootModel gives what it is the model of
    _method("to_dict", guarded=True),
    _method("_asdict"),
    _enum,
    _named,
    _tolist,
    _isoformat,
)


def _plain(obj: Any) -> Any:
    """An object of a subclass of one of Python's own types, as that type; anything else is _NO."""
    kind = type(obj)  # what it calls its class may be a lie
    if issubclass(kind, str):
        return str.__str__(obj)
    if issubclass(kind, int):
        return int.__pos__(obj)
    if issubclass(kind, float):
        return float.__pos__(obj)
    if issubclass(kind, dict):
        return dict(dict.items(obj))
    for base in (list, tuple, set, frozenset):
        if issubclass(kind, base):
            return base(base.__iter__(obj))
    if issubclass(kind, (bytes, bytearray)):
        return bytes(memoryview(obj))
    return RemoteException(*exception_fields(obj)) if issubclass(kind, BaseException) else _NO


def _step(obj: Any) -> Any:
    """One conversion: the first converter that has something to say."""
    kind = type(obj)
    if issubclass(kind, type):
        return _NO
    for convert in _CONVERTERS:
        try:
            result = convert(obj, kind)
        except CodecError:
            if convert is _own:
                raise  # a limit, not a failed attempt
        except Lossy:
            return _NO
        except Exception:
            pass
        else:
            if result is not _NO and result is not obj:
                return result
    return _plain(obj)


def _is_final(obj: Any) -> bool:
    kind = type(obj)
    if kind in _FINAL:
        return True
    if not issubclass(kind, _BASES) or is_namedtuple(kind):
        return False
    return not REGISTERED or registered_for(kind) is None


def simplify(obj: Any, policy: int = POLICY_DEFAULT) -> Any:
    """Something in place of obj that is of a kind of its own, or extends one, or is a ``Leaf``."""
    convert = _fast.get(type(obj))
    if convert is not None and not REGISTERED:
        try:
            result = convert(obj)
            if type(result) in _FINAL:
                return result
        except Exception:
            pass  # the long way says what it comes to
    result = obj
    for _ in range(_CHAIN):
        result = _step(result)
        if result is _NO:
            break
        if _is_final(result):
            return result
    if policy == POLICY_DEFAULT:
        policy = _default_policy
    if policy == POLICY_MARKER:
        return _marker.marker(obj)
    error = unserializable(obj)
    if policy != POLICY_ERROR:
        error.suggestions.append("references to objects are made by calls of the bridge's FFI only")
    raise error
