"""From any object to something of a kind of its own, and what stands in the place of the rest (SNAKEPIT_* below; docs/guide-python-adapters.md).

Imported with the first object that needs it. The order: registered codec; times, decimals and what else has a kind; NumPy, torch, Arrow,
pandas and polars; dataclass; ``model_dump()``; ``to_dict()``; ``_asdict()``; Enum; UUID and Path; ``tolist()``; ``isoformat()``; the policy.

Invariants
 1. A library is known by the type of its object and found in ``sys.modules``; nothing is imported but pyarrow, for a pandas object.
 2. What is converted on the way to Python objects has at most ``tolist_max_elements`` elements, known before anything is allocated if the
    object tells.
 3. The result is final: encoding it asks for no further conversion of itself (only of its parts), so a chain of conversions ends.

Failure: ``CodecError`` by the policy or for limits, that of a frame before an array or a table is copied; another converter that raises an
``Exception`` is passed over. Thread: any.
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
    check_size,
    is_namedtuple,
    registered_for,
    setting,
)
from .values import BIG_ENDIAN, PLACEHOLDERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Converter = Callable[[Any], Any]
    Selector = Callable[[type], Converter | None]

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
    check_size(obj.nbytes)
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
        check_size(obj.numel() * obj.element_size())
        obj = obj.to_dense()
    if obj.dim() == 0:
        return obj.item()
    check_size(obj.numel() * obj.element_size())
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
    check_size(_product(obj.shape) * obj.dtype.itemsize)
    return obj.toarray()


def _stream(pa: Any, table: Any, code: int) -> Leaf:
    sink = pa.BufferOutputStream()
    if _may_be_too_large(table):
        measure = pa.MockOutputStream()  # takes no memory
        _write(pa, table, measure)
        check_size(measure.size())
    _write(pa, table, sink)
    return Leaf(code, b"", memoryview(sink.getvalue()))


def _write(pa: Any, table: Any, sink: Any) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)


def _may_be_too_large(table: Any) -> bool:
    """Only a suspicion: its bytes count twice what its columns share."""
    try:
        check_size(table.nbytes)
    except CodecError:
        return True
    except Exception:  # not known for every type
        pass
    return False


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
    check_size(len(obj) * sum(dtype.itemsize for dtype in obj.dtypes if getattr(dtype, "kind", "O") in "iufmM"))
    try:
        import pyarrow as pa

        return _stream(pa, pa.Table.from_pandas(obj), EXT_TABLE)
    except CodecError:
        raise
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
    if any(_holds_objects(pl, dtype) for dtype in obj.dtypes):
        _guard(obj)  # Arrow would hold their addresses
        return {column.name: column.to_list() for column in obj.get_columns()}
    check_size(len(obj) * sum(_WIDTHS.get(str(dtype), 0) for dtype in obj.dtypes))
    from io import BytesIO

    sink = BytesIO()
    try:
        obj.write_ipc_stream(sink, compat_level=pl.CompatLevel.oldest())  # for readers that know no string views
    except (AttributeError, TypeError):
        obj.write_ipc_stream(sink)
    return Leaf(EXT_TABLE, b"", sink.getbuffer())


def _holds_objects(pl: Any, dtype: Any) -> bool:
    inner = getattr(dtype, "inner", None)
    inside = [field.dtype for field in getattr(dtype, "fields", ())] if inner is None else [inner]
    return bool(dtype == pl.Object) or any(_holds_objects(pl, part) for part in inside)


# The bytes of a number, by the name of its type in polars. Whatever else a column holds may take less in Arrow.
_WIDTHS = {f"{kind}{bits}": bits // 8 for kind in ("Int", "UInt", "Float") for bits in (8, 16, 32, 64, 128)}
_LIBRARIES: dict[str, Callable[[Any], Any]] = {
    "numpy": _numpy,
    "ml_dtypes": _ml_dtypes,
    "torch": _torch,
    "scipy": _scipy,
    "pyarrow": _arrow,
    "pandas": _pandas,
    "polars": _polars,
}


_OUR_OWN = frozenset(_LIBRARIES.values())


def _library(kind: type) -> Converter | None:
    for base in kind.__mro__[:-1]:
        module = base.__module__
        name = module.partition(".")[0] if isinstance(module, str) else ""
        if name in _LIBRARIES and sys.modules.get(name) is not None:
            return _LIBRARIES[name]
    return None


# ---- by what a type offers: each function gives the converter of its objects, or None ----


def _own(kind: type) -> Converter | None:
    return maker_of(kind) or (leaf_of if kind in PLACEHOLDERS else None)


def _dataclass(kind: type) -> Converter | None:
    if not hasattr(kind, "__dataclass_fields__"):
        return None
    names = [field.name for field in sys.modules["dataclasses"].fields(kind)]
    return lambda obj: {name: getattr(obj, name) for name in names}


def _method(name: str, guarded: bool = False, anything: bool = False) -> Selector:
    """A method without arguments that gives a dict, or perhaps anything."""

    def convert(obj: Any) -> Any:
        if guarded:
            _guard_sized(obj)
        result = getattr(obj, name)()
        return result if anything or isinstance(result, dict) else _NO

    return lambda kind: convert if callable(getattr(kind, name, None)) else None


def _guard_sized(obj: Any) -> None:
    """Only what has a shape is a table or an array; the length of another object says nothing about its dict."""
    if isinstance(getattr(obj, "shape", None), tuple):
        _guard(obj)


def _extends(kind: type, module: str, name: str) -> bool:
    base = getattr(sys.modules.get(module), name, None)
    return isinstance(base, type) and issubclass(kind, base)


def _enum(kind: type) -> Converter | None:
    return (lambda obj: obj.value) if _extends(kind, "enum", "Enum") else None


def _named(kind: type) -> Converter | None:
    return str if _extends(kind, "uuid", "UUID") or _extends(kind, "pathlib", "PurePath") else None


def _to_list(obj: Any) -> Any:
    _guard(obj)
    result = obj.tolist()
    if type(result) is list:
        _guard_result(result)
    return result


def _to_iso(obj: Any) -> Any:
    result = obj.isoformat()
    return result if isinstance(result, str) else _NO


_SELECTORS: tuple[Selector, ...] = (
    _own,
    _library,
    _dataclass,
    _method("model_dump", anything=True),  # a pydantic RootModel gives what it is the model of
    _method("to_dict", guarded=True),
    _method("_asdict"),
    _enum,
    _named,
    lambda kind: _to_list if callable(getattr(kind, "tolist", None)) else None,
    lambda kind: _to_iso if callable(getattr(kind, "isoformat", None)) else None,
)

# The converters of each type that has been seen, in their order: what a type offers does not change.
_plans: dict[type, tuple[Converter, ...]] = {}
_MOST_PLANS = 1000  # types made on the fly must not fill the memory


def _select(select: Selector, kind: type) -> Converter | None:
    try:
        return select(kind)
    except Exception:  # a metaclass has a say in what its classes have
        return None


def _plan_of(kind: type) -> tuple[Converter, ...]:
    plan = _plans.get(kind)
    if plan is None:
        plan = tuple(convert for convert in (_select(select, kind) for select in _SELECTORS) if convert is not None)
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        _plans[kind] = plan
    return plan


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


def _attempt(convert: Converter, obj: Any) -> Any:
    """What a converter makes of an object; _NO when it raises. A limit that a converter of our own runs into is no failed attempt."""
    try:
        return convert(obj)
    except CodecError:
        if convert is maker_of(type(obj)) or convert is leaf_of or convert in _OUR_OWN:
            raise
    except Lossy:
        raise
    except Exception:
        pass
    return _NO


def _step(obj: Any) -> Any:
    """One conversion: by the first converter that has something to say."""
    kind = type(obj)
    if issubclass(kind, type):
        return _NO
    encode = registered_for(kind) if REGISTERED else None
    try:
        for convert in _plan_of(kind) if encode is None else (encode, *_plan_of(kind)):
            result = _attempt(convert, obj)
            if result is not _NO and result is not obj:
                return result
    except Lossy:
        return _NO
    return _plain(obj)


def has_value(kind: type) -> bool:
    """Do objects of this type leave as values, by a kind of their own, a codec or a converter?"""
    try:
        return issubclass(kind, _BASES) or registered_for(kind) is not None or bool(_plan_of(kind))
    except Exception:  # a metaclass has a say in it
        return False


def _is_final(obj: Any) -> bool:
    kind = type(obj)
    if kind in _FINAL:
        return True
    if not issubclass(kind, _BASES) or is_namedtuple(kind):
        return False
    return not REGISTERED or registered_for(kind) is None


def simplify(obj: Any, policy: int = POLICY_DEFAULT) -> Any:
    """Something in place of obj that is of a kind of its own, or extends one, or is a ``Leaf``."""
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
