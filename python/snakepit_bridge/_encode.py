"""Values to MessagePack, in pure Python (docs/wire.md, section 2). The extension has the same in C.

Invariants
 1. ``encode`` behaves as the extension's function of that name: same bytes, same errors.
 2. A container and its parts are told apart by exact type first; subclasses leave as the kind that they extend, but a namedtuple as a map
    and what has a registered codec by that. Anything else goes through ``_convert.simplify``, which gives something of these kinds.
 3. Depth is bounded by MAX_DEPTH, so that recursion is bounded, too.

Failure: ``CodecError`` with a code and the path to the leaf, or what user code raised. Thread: any; no state.
"""

from __future__ import annotations

from struct import Struct

from ._errors import CodecError, exception_fields
from ._kinds import (
    EXT_BIGINT,
    EXT_COMPLEX,
    EXT_DECIMAL,
    Leaf,
    bigint_to_bytes,
    extension_head,
    may_be_key,
)
from ._refusals import MAX_DEPTH, MAX_ENTRIES, bad_key, bad_text, too_deep, too_long, too_many_entries, unserializable
from ._registry import POLICY_DEFAULT, POLICY_ERROR, check_distinct, is_namedtuple, is_registered, simplify, tensor_of_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Writer = Callable[[Any, "Output", int], None]

_LEAD_U16 = Struct(">BH")
_LEAD_U32 = Struct(">BI")
_LEAD_U64 = Struct(">BQ")
_LEAD_I8 = Struct(">Bb")
_LEAD_I16 = Struct(">Bh")
_LEAD_I32 = Struct(">Bi")
_LEAD_I64 = Struct(">Bq")
_LEAD_F64 = Struct(">Bd")
_U32 = Struct(">I")
_COMPLEX = Struct(">BBdd")


class Output(bytearray):
    """What is written, and what happens to values that cannot leave."""

    policy = POLICY_DEFAULT
    entries = 0  # of maps and sets so far; a decimal as key counts as more
    odd = False  # has a key come by that the host may take for another one?


def _put_none(obj: Any, out: Output, depth: int) -> None:
    out.append(0xC0)


def _put_bool(obj: Any, out: Output, depth: int) -> None:
    out.append(0xC3 if obj else 0xC2)


def _put_int(x: Any, out: Output, depth: int) -> None:
    if 0 <= x < 0x80:
        out.append(x)
    elif x < 0:
        _put_negative(x, out)
    elif x < 0x100:
        out.append(0xCC)
        out.append(x)
    elif x < 0x10000:
        out += _LEAD_U16.pack(0xCD, x)
    elif x < 0x100000000:
        out += _LEAD_U32.pack(0xCE, x)
    elif x < 0x10000000000000000:
        out += _LEAD_U64.pack(0xCF, x)
    else:
        _put_bigint(x, out)


def _put_negative(x: int, out: Output) -> None:
    if x >= -32:
        out.append(x & 0xFF)
    elif x >= -0x80:
        out += _LEAD_I8.pack(0xD0, x)
    elif x >= -0x8000:
        out += _LEAD_I16.pack(0xD1, x)
    elif x >= -0x80000000:
        out += _LEAD_I32.pack(0xD2, x)
    elif x >= -0x8000000000000000:
        out += _LEAD_I64.pack(0xD3, x)
    else:
        _put_bigint(x, out)


def _put_bigint(x: int, out: Output) -> None:
    data = bigint_to_bytes(x)
    out += extension_head(EXT_BIGINT, len(data))
    out += data


def _put_float(x: Any, out: Output, depth: int) -> None:
    out += _LEAD_F64.pack(0xCB, x)


def _put_str(text: Any, out: Output, depth: int) -> None:
    try:
        data = str.encode(text, "utf-8")
    except UnicodeEncodeError:
        raise bad_text(text) from None
    n = len(data)
    if n < 32:
        out.append(0xA0 | n)
    elif n < 0x100:
        out.append(0xD9)
        out.append(n)
    elif n < 0x10000:
        out += _LEAD_U16.pack(0xDA, n)
    else:
        _check_length(n)
        out += _LEAD_U32.pack(0xDB, n)
    out += data


def _put_bytes(data: Any, out: Output, depth: int) -> None:
    n = len(data)
    if n < 0x100:
        out.append(0xC4)
        out.append(n)
    elif n < 0x10000:
        out += _LEAD_U16.pack(0xC5, n)
    else:
        _check_length(n)
        out += _LEAD_U32.pack(0xC6, n)
    out += data


def _put_buffer(data: Any, out: Output, depth: int) -> None:
    _put_bytes(memoryview(data).tobytes(), out, depth)


def _put_view(view: Any, out: Output, depth: int) -> None:
    leaf = tensor_of_view(view)
    if leaf is not None:
        _put_leaf(leaf, out)
    else:
        _put_bytes(view.tobytes(), out, depth)


def _put_leaf(leaf: Leaf, out: Output) -> None:
    out += extension_head(leaf.code, len(leaf.head) + len(leaf.body))
    out += leaf.head
    out += leaf.body


def _check_length(n: int) -> None:
    if n >= 0x100000000:
        raise too_long()


def _count(n: int, out: Output) -> None:
    out.entries += n
    if out.entries > MAX_ENTRIES:
        raise too_many_entries()


def _put_array_head(n: int, out: Output) -> None:
    if n < 16:
        out.append(0x90 | n)
    elif n < 0x10000:
        out += _LEAD_U16.pack(0xDC, n)
    else:
        _check_length(n)
        out += _LEAD_U32.pack(0xDD, n)


def _put_array(items: Any, n: int, out: Output, depth: int) -> None:
    _put_array_head(n, out)
    i = 0
    try:
        for item in items:
            _WRITERS.get(type(item), _put_other)(item, out, depth)
            i += 1
    except CodecError as exc:
        raise exc.at(i) from None
    if i != n:
        raise RuntimeError("a list changed its size while it was encoded")


def _put_keys(items: Any, n: int, out: Output, depth: int) -> None:
    _put_array_head(n, out)
    i = 0
    try:
        for item in items:
            _put_key(item, out, depth)
            i += 1
    except CodecError as exc:
        raise exc.at(i) from None


def _put_list(items: Any, out: Output, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise too_deep()
    _put_array(list.__iter__(items), list.__len__(items), out, depth + 1)


def _put_tuple(items: Any, out: Output, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise too_deep()
    at = len(out)
    out += b"\xc9\0\0\0\0\x02"
    _put_array(tuple.__iter__(items), tuple.__len__(items), out, depth + 1)
    _U32.pack_into(out, at + 1, len(out) - at - 6)


def _put_dict(entries: Any, out: Output, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise too_deep()
    depth += 1
    n = len(entries)
    if n != 0:
        _count(n, out)
    odd = type(entries) is _Items and entries.repeated()
    if n < 16:
        out.append(0x80 | n)
    elif n < 0x10000:
        out += _LEAD_U16.pack(0xDE, n)
    else:
        _check_length(n)
        out += _LEAD_U32.pack(0xDF, n)
    key: Any = None
    try:
        for key, item in entries.items():
            if type(key) is str:
                try:
                    data = key.encode("utf-8")
                except UnicodeEncodeError:
                    raise bad_text(key) from None
                size = len(data)
                if size < 32:
                    out.append(0xA0 | size)
                    out += data
                else:
                    _put_str(key, out, depth)
            else:
                out.odd = False
                _put_key(key, out, depth)
                odd = odd or out.odd
            _WRITERS.get(type(item), _put_other)(item, out, depth)
            n -= 1
    except CodecError as exc:
        raise exc.at(key) from None
    if n != 0:
        raise RuntimeError("a dict changed its size while it was encoded")
    if odd:
        check_distinct([key for key, _ in entries.items()], False)


def _put_mapping(entries: Any, out: Output, depth: int) -> None:
    """A subclass of dict: its own order and items (OrderedDict, defaultdict, ...)."""
    items = list(entries.items())
    plain = [(entry[0], entry[1]) for entry in items if type(entry) is tuple and len(entry) == 2]
    if len(plain) != len(items):
        raise unserializable(entries)
    _put_dict(_Items(plain), out, depth)


class _Items:
    """Entries that need not be distinct."""

    def __init__(self, entries: list[tuple[Any, Any]]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def repeated(self) -> bool:
        """Is there a key twice, or one that cannot be one?"""
        try:
            return len({key for key, _ in self._entries}) != len(self._entries)
        except Exception:
            return True

    def items(self) -> list[tuple[Any, Any]]:
        return self._entries


def _put_key(key: Any, out: Output, depth: int) -> None:
    """A key, an item of a set, or a part of one that is a tuple or frozenset."""
    kind = type(key)
    if kind in _SCALARS:
        if key != key:
            out.odd = True
        _WRITERS[kind](key, out, depth)
    elif is_registered(kind):
        _put_simple_key(key, out, depth)
    elif issubclass(kind, tuple):
        _put_items_of_key(b"\xc9\0\0\0\0\x02", tuple.__iter__(key), tuple.__len__(key), out, depth)
    elif issubclass(kind, frozenset):
        _put_set(key, out, depth)
    elif issubclass(kind, (dict, list, set, bytearray, memoryview, BaseException)):
        raise bad_key(key)
    elif issubclass(kind, (str, int, float, bytes)):
        out.odd = True
        _put_other(key, out, depth)
    else:
        _put_simple_key(key, out, depth)


def _put_items_of_key(head: bytes, items: Any, n: int, out: Output, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise too_deep()
    at = len(out)
    out += head
    _put_keys(items, n, out, depth + 1)
    _U32.pack_into(out, at + 1, len(out) - at - 6)


def _put_simple_key(key: Any, out: Output, depth: int) -> None:
    """Another object as key: what it is converted to has to be one. A marker is none, whatever the policy."""
    out.odd = True
    simple = simplify(key, POLICY_ERROR)
    if type(simple) is not Leaf:
        _put_key(simple, out, depth)
    elif may_be_key(simple):
        if simple.code == EXT_DECIMAL:
            _count(_DECIMAL_KEY, out)
        _put_leaf(simple, out)
    else:
        raise bad_key(key)


def _put_set(items: Any, out: Output, depth: int) -> None:
    frozen = issubclass(type(items), frozenset)
    if depth >= MAX_DEPTH:
        raise too_deep()
    at = len(out)
    out += b"\xc9\0\0\0\0\x06" if frozen else b"\xc9\0\0\0\0\x05"
    now = tuple((frozenset if frozen else set).__iter__(items))
    _count(len(now), out)
    before, out.odd = out.odd, False
    _put_keys(now, len(now), out, depth + 1)
    if out.odd:
        check_distinct(now, True)
    out.odd = out.odd or before
    _U32.pack_into(out, at + 1, len(out) - at - 6)


def _put_exception(exc: Any, out: Output, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise too_deep()
    kind, message, traceback, notes, cause = exception_fields(exc)
    _count(5, out)
    at = len(out)
    out += b"\xc9\0\0\0\0\x04\x85"
    for key, text in (("type", kind), ("message", message), ("traceback", traceback)):
        _put_str(key, out, depth)
        if text is None:
            out.append(0xC0)
        else:
            _put_str(text, out, depth)
    _put_str("notes", out, depth)
    _put_array(notes, len(notes), out, depth)
    _put_str("cause", out, depth)
    if cause is None:
        out.append(0xC0)
    else:
        try:
            _put_exception(cause, out, depth + 1)
        except CodecError as error:
            raise error.at("cause") from None
    _U32.pack_into(out, at + 1, len(out) - at - 6)


def _put_other(obj: Any, out: Output, depth: int) -> None:
    found = type(obj)
    if not is_registered(found) and not is_namedtuple(found):
        for kind, writer in _BASES:
            if issubclass(found, kind):
                writer(obj, out, depth)
                return
    simple = simplify(obj, out.policy)
    if type(simple) is Leaf:
        _put_leaf(simple, out)
    else:
        _WRITERS.get(type(simple), _put_other)(simple, out, depth)


def _put_complex(x: Any, out: Output, depth: int) -> None:
    out += _COMPLEX.pack(0xD8, EXT_COMPLEX, x.real, x.imag)


def _put_str_subclass(text: Any, out: Output, depth: int) -> None:
    _put_str(str.__str__(text), out, depth)


def _put_int_subclass(x: Any, out: Output, depth: int) -> None:
    _put_int(int.__pos__(x), out, depth)


_WRITERS: dict[type, Writer] = {
    type(None): _put_none,
    bool: _put_bool,
    int: _put_int,
    float: _put_float,
    str: _put_str,
    bytes: _put_bytes,
    bytearray: _put_bytes,
    memoryview: _put_view,
    list: _put_list,
    tuple: _put_tuple,
    dict: _put_dict,
    set: _put_set,
    frozenset: _put_set,
    complex: _put_complex,
}
_DECIMAL_KEY = 16  # what a decimal as key counts as
_SCALARS = frozenset({type(None), bool, int, float, str, bytes, complex})

# In the order in which a value is tried.
_BASES: tuple[tuple[type, Writer], ...] = (
    (str, _put_str_subclass),
    (int, _put_int_subclass),
    (float, _put_float),
    (dict, _put_mapping),
    (list, _put_list),
    (tuple, _put_tuple),
    (bytes, _put_buffer),
    (bytearray, _put_buffer),
    (set, _put_set),
    (frozenset, _put_set),
    (BaseException, _put_exception),
)


def encode_into(out: Output, obj: Any) -> None:
    """Appends the encoding of obj. On failure out holds a part of it."""
    _WRITERS.get(type(obj), _put_other)(obj, out, 0)


def encode(obj: Any, policy: int = POLICY_ERROR) -> bytes:
    """The encoding of obj."""
    out = Output()
    out.policy = policy
    _WRITERS.get(type(obj), _put_other)(obj, out, 0)
    return bytes(out)
