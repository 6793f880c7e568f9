"""MessagePack to values, in pure Python (docs/wire.md, section 2). The extension has the same in C.

Invariants
 1. ``decode`` behaves as the extension's function of that name: same objects, same errors.
 2. Depth is bounded by MAX_DEPTH, so that recursion is bounded, too.
 3. Every function takes a view as well as bytes; parts of a view come out as views of it.

Failure: ``CodecError`` with a code and the path to the leaf. Thread: any; no state.
"""

from __future__ import annotations

from struct import Struct

from ._errors import CodecError, RemoteException
from ._kinds import (
    EXT_ARGS,
    EXT_BIGINT,
    EXT_EXCEPTION,
    EXT_FROZENSET,
    EXT_SET,
    EXT_TUPLE,
    bigint_from_bytes,
    check_leaf_key,
    exception_from_fields,
    take_extension,
)
from ._refusals import MAX_DEPTH, bad_bytes, bad_key, malformed, repeated_item, repeated_key, too_deep, truncated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Reader = Callable[[bytes, int, int, int], tuple[Any, int]]

_from_bytes = int.from_bytes

# Each function returns the value and where the next one starts.


def _take(b: bytes, p: int, end: int, depth: int) -> tuple[Any, int]:
    if p >= end:
        raise truncated()
    c = b[p]
    p += 1
    if c < 0x80:
        return c, p
    if c >= 0xE0:
        return c - 0x100, p
    if c >= 0xC0:
        return _LONG[c - 0xC0](b, p, end, depth)
    if c >= 0xA0:
        return _take_text(b, p, end, c & 0x1F)
    if c >= 0x90:
        return _take_array(b, p, end, depth, c & 0x0F)
    return _take_map(b, p, end, depth, c & 0x0F)


def _take_text(b: bytes, p: int, end: int, n: int) -> tuple[str, int]:
    q = p + n
    if q > end:
        raise truncated()
    try:
        return str(b[p:q], "utf-8"), q
    except UnicodeDecodeError:
        raise bad_bytes(b) from None


def _take_data(b: bytes, p: int, end: int, n: int) -> tuple[bytes, int]:
    q = p + n
    if q > end:
        raise truncated()
    return b[p:q], q


def _take_array(b: bytes, p: int, end: int, depth: int, n: int) -> tuple[list[Any], int]:
    if n > end - p:
        raise truncated()
    if depth >= MAX_DEPTH:
        raise too_deep()
    return _take_items(b, p, end, depth + 1, n)


def _take_items(b: bytes, p: int, end: int, depth: int, n: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    try:
        for _ in range(n):
            item, p = _take(b, p, end, depth)
            items.append(item)
    except CodecError as exc:
        raise exc.at(len(items)) from None
    return items, p


def _take_map(b: bytes, p: int, end: int, depth: int, n: int) -> tuple[dict[Any, Any], int]:
    if 2 * n > end - p:
        raise truncated()
    if depth >= MAX_DEPTH:
        raise too_deep()
    return _take_entries(b, p, end, depth + 1, n)


def _take_entries(b: bytes, p: int, end: int, depth: int, n: int) -> tuple[dict[Any, Any], int]:
    entries: dict[Any, Any] = {}
    for _ in range(n):
        # short texts as keys are nearly all there is: they do not go through _take
        c = b[p] if p < end else 0xC1
        if 0xA0 <= c < 0xC0:
            q = p + 1 + (c & 0x1F)
            if q > end:
                raise truncated()
            try:
                key: Any = str(b[p + 1 : q], "utf-8")
            except UnicodeDecodeError:
                raise bad_bytes(b) from None
        else:
            key, q = _take(b, p, end, depth)
        try:
            # what most items are does not go through _take either: small integers, and numbers
            c = b[q] if q < end else 0xC1
            if c < 0x80:
                item, p = c, q + 1
            elif 0xCA <= c < 0xD4:
                item, p = _LONG[c - 0xC0](b, q + 1, end, depth)
            else:
                item, p = _take(b, q, end, depth)
            if type(key) is not str:
                check_key(key)
            if key in entries:
                raise repeated_key(key)
            entries[key] = item
        except CodecError as exc:
            raise exc.at(key) from None
    return entries, p


def _take_ext(b: bytes, p: int, end: int, depth: int, n: int) -> tuple[Any, int]:
    if p >= end:
        raise truncated()
    code = b[p]
    p += 1
    q = p + n
    if q > end:
        raise truncated()
    if code == EXT_BIGINT:
        return bigint_from_bytes(b[p:q]), q
    if code == EXT_TUPLE:
        return _take_tuple(b, p, q, depth), q
    if code == EXT_EXCEPTION:
        return _take_exception(b, p, q, depth), q
    if code == EXT_SET:
        return _take_set(b, p, q, depth), q
    if code == EXT_FROZENSET:
        return frozenset(_take_set(b, p, q, depth)), q
    return take_extension(code if code < 128 else code - 256, b[p:q]), q


def _head(b: bytes, p: int, end: int, fix: int, long: int) -> tuple[int, int]:
    """The count of an array (fix 0x90, long 0xDC) or map (0x80, 0xDE); -1 when there is something else."""
    if p >= end:
        raise truncated()
    c = b[p]
    p += 1
    if c & 0xF0 == fix:
        return c & 0x0F, p
    if c == long or c == long + 1:
        width = 2 if c == long else 4
        data, p = _take_data(b, p, end, width)
        return _from_bytes(data, "big"), p
    return -1, p


def _take_tuple(b: bytes, p: int, end: int, depth: int) -> tuple[Any, ...]:
    n, p = _head(b, p, end, 0x90, 0xDC)
    if n < 0:
        raise malformed("a tuple that holds no array")
    items, p = _take_array(b, p, end, depth, n)
    if p != end:
        raise malformed("a tuple with bytes behind its items")
    return tuple(items)


def _take_set(b: bytes, p: int, end: int, depth: int) -> set[Any]:
    n, p = _head(b, p, end, 0x90, 0xDC)
    if n < 0:
        raise malformed("a set that holds no array")
    if n > end - p:
        raise truncated()
    if depth >= MAX_DEPTH:
        raise too_deep()
    items: set[Any] = set()
    i = 0
    try:
        for i in range(n):
            item, p = _take(b, p, end, depth + 1)
            check_key(item)
            items.add(item)
            if len(items) == i:
                raise repeated_item(item)
    except CodecError as exc:
        raise exc.at(i) from None
    if p != end:
        raise malformed("a set with bytes behind its items")
    return items


_SCALARS = frozenset({str, int, float, bytes, bool, type(None), frozenset})


def check_key(key: Any) -> None:
    """Refuses what cannot be a key or an item of a set. key has been decoded; the items of a frozenset were looked at then."""
    kind = type(key)
    if kind is tuple:
        for part in key:
            check_key(part)
    elif kind not in _SCALARS and not check_leaf_key(key):
        raise bad_key(key)


def _take_exception(b: bytes, p: int, end: int, depth: int) -> RemoteException:
    n, p = _head(b, p, end, 0x80, 0xDE)
    if n < 0:
        raise malformed("an exception that holds no map")
    if 2 * n > end - p:
        raise truncated()
    if depth >= MAX_DEPTH:
        raise too_deep()
    depth += 1
    entries: dict[Any, Any] = {}
    for count in range(n):
        key, p = _take(b, p, end, depth)
        if type(key) is not str:
            raise malformed("an exception with a key that is no text")
        try:
            # the notes are part of the exception: they count no level of their own
            item, p = _take(b, p, end, depth - 1 if key == "notes" else depth)
        except CodecError as exc:
            raise exc.at(key) from None
        entries[key] = item
        if len(entries) == count:
            raise repeated_key(key).at(key)
    if p != end:
        raise malformed("an exception with bytes behind its entries")
    return exception_from_fields(entries)


def _constant(value: Any) -> Reader:
    def read(b: bytes, p: int, end: int, depth: int) -> tuple[Any, int]:
        return value, p

    return read


def _number(form: Struct) -> Reader:
    width, unpack = form.size, form.unpack_from

    def read(b: bytes, p: int, end: int, depth: int) -> tuple[Any, int]:
        q = p + width
        if q > end:
            raise truncated()
        return unpack(b, p)[0], q

    return read


def _sized(width: int, take: Callable[..., tuple[Any, int]], with_depth: bool) -> Reader:
    def read(b: bytes, p: int, end: int, depth: int) -> tuple[Any, int]:
        q = p + width
        if q > end:
            raise truncated()
        n = _from_bytes(b[p:q], "big")
        return take(b, q, end, depth, n) if with_depth else take(b, q, end, n)

    return read


def _fixed_ext(n: int) -> Reader:
    def read(b: bytes, p: int, end: int, depth: int) -> tuple[Any, int]:
        return _take_ext(b, p, end, depth, n)

    return read


def _never(b: bytes, p: int, end: int, depth: int) -> tuple[Any, int]:
    raise malformed("a byte that starts no value: 0xc1")


# Lead bytes 0xc0 to 0xdf.
_LONG: tuple[Reader, ...] = (
    _constant(None),
    _never,
    _constant(False),
    _constant(True),
    *(_sized(w, _take_data, False) for w in (1, 2, 4)),
    *(_sized(w, _take_ext, True) for w in (1, 2, 4)),
    *(_number(Struct(">" + form)) for form in "fdBHIQbhiq"),
    *(_fixed_ext(n) for n in (1, 2, 4, 8, 16)),
    *(_sized(w, _take_text, False) for w in (1, 2, 4)),
    *(_sized(w, _take_array, True) for w in (2, 4)),
    *(_sized(w, _take_map, True) for w in (2, 4)),
)


def decode(data: bytes) -> Any:
    """The one value that data holds."""
    b = bytes(data)
    obj, p = _take(b, 0, len(b), 0)
    if p != len(b):
        raise malformed("bytes behind the value")
    return obj


def decode_call(b: bytes, start: int) -> tuple[bytes, Any, Any]:
    """The payload of a CALL that begins at start: command (not yet decoded), positional arguments, keyword arguments or None."""
    end = len(b)
    c = b[start] if start < end else 0xC0
    if 0xA0 <= c < 0xC0:
        p = start + 1 + (c & 0x1F)
        if p > end:
            raise truncated()
        command = b[start + 1 : p]
    else:
        text, p = _take(b, start, end, 0)
        if type(text) is not str:
            raise malformed("a call whose command is no text")
        command = text.encode("utf-8")
    if p < end and 0xC7 <= b[p] <= 0xC9:
        width = 1 << (b[p] - 0xC7)
        code = p + 1 + width
        if code < end and b[code] == EXT_ARGS:
            if code + 1 + _from_bytes(b[p + 1 : code], "big") != end:
                raise malformed("arguments that do not end with their frame")
            return (command, *_take_args(b, code + 1, end))
    n = b[p] - 0x80 if p < end else -1
    if 0 <= n < 16 and 2 * n < end - p:
        args, p = _take_entries(b, p + 1, end, 1, n)
    else:
        args, p = _take(b, p, end, 0)
    if p != end:
        raise malformed("bytes behind the arguments")
    kind = type(args)
    if kind is dict:
        for key in args:
            if type(key) is not str:
                return command, (args,), None
        return command, (), args
    if args is None:
        return command, (), None
    if kind is list or kind is tuple:
        return command, args, None
    return command, (args,), None


def _take_args(b: bytes, p: int, end: int) -> tuple[Any, Any]:
    """Positional and keyword arguments; the array and the map themselves count no level, their extension does."""
    args: Any = ()
    if p < end and b[p] == 0xC0:
        p += 1
    else:
        n, p = _head(b, p, end, 0x90, 0xDC)
        if n < 0:
            raise malformed("positional arguments that are no array")
        args, p = _take_array(b, p, end, 0, n)
    keywords: Any = None
    if p < end and b[p] == 0xC0:
        p += 1
    else:
        n, p = _head(b, p, end, 0x80, 0xDE)
        if n < 0:
            raise malformed("keyword arguments that are no map")
        keywords, p = _take_map(b, p, end, 0, n)
        for key in keywords:
            if type(key) is not str:
                raise malformed("a keyword that is no text")
    if p != end:
        raise malformed("bytes behind the arguments")
    return args, keywords
