"""Keys that Python keeps apart and the host takes for one: two NaNs, objects that are converted to the same value.

Imported with the first map or set in which there could be such keys: only then are they compared as what they leave as.

Failure: ``CodecError`` duplicate_key, and what a conversion raises. Thread: any; no state.
"""

from __future__ import annotations

from ._kinds import EXT_COMPLEX, EXT_DATETIME, EXT_DECIMAL, EXT_TIME, Leaf, take_extension
from ._refusals import repeated_item, repeated_key
from ._registry import POLICY_ERROR, is_registered, simplify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAN, _TAG = object(), object()  # equal to nothing that is a key
_PLAIN = frozenset({type(None), bool, int, str, bytes})


def check_distinct(keys: Any, items: bool) -> None:
    """Refuses what leaves as the same key twice. ``items``: they are those of a set."""
    seen = set()
    for i, key in enumerate(keys):
        as_it_leaves = _canonical(key)
        if as_it_leaves in seen:
            raise repeated_item(key).at(i) if items else repeated_key(key).at(key)
        seen.add(as_it_leaves)


def _canonical(key: Any) -> Any:
    """Two of these are equal if the host takes the keys for one."""
    kind = type(key)
    if kind in _PLAIN:
        return key
    if kind is float:
        return key if key == key else _NAN
    if kind is complex:
        real, imaginary = _canonical(key.real), _canonical(key.imag)
        return real if imaginary == 0 else (_TAG, EXT_COMPLEX, real, imaginary)
    if not is_registered(kind):
        if issubclass(kind, tuple):
            return tuple(map(_canonical, tuple.__iter__(key)))
        if issubclass(kind, frozenset):
            return frozenset(map(_canonical, frozenset.__iter__(key)))
        if issubclass(kind, str):
            return str.__str__(key)
        if issubclass(kind, int):
            return int.__pos__(key)
        if issubclass(kind, float):
            return _canonical(float.__pos__(key))
        if issubclass(kind, bytes):
            return bytes(memoryview(key))
    simple = simplify(key, POLICY_ERROR)
    return _of_leaf(simple) if type(simple) is Leaf else _canonical(simple)


def _of_leaf(leaf: Leaf) -> Any:
    data = leaf.head + bytes(leaf.body)
    if leaf.code == EXT_COMPLEX:
        return _canonical(take_extension(leaf.code, data))
    if leaf.code == EXT_DECIMAL:
        number = take_extension(leaf.code, data)
        return number if number == number else (_TAG, EXT_DECIMAL, data)
    if leaf.code == EXT_DATETIME:
        return _TAG, EXT_DATETIME, data[:13]  # the instant, wherever
    if leaf.code == EXT_TIME and len(data) > 9:
        second, offset = int.from_bytes(data[:4], "big"), int.from_bytes(data[9:], "big", signed=True)
        return _TAG, EXT_TIME, second - offset, data[4:9]
    return _TAG, leaf.code, data
