"""The kinds that are neither scalars nor containers: big integers, exceptions, times, decimals, complex numbers (docs/wire.md, section 2).

Both codecs come here for them, so that they behave alike by construction. The modules ``datetime`` and ``decimal`` are imported when the
first such value arrives: an object of theirs that leaves can only exist where they are.

Failure: ``CodecError``; from ``leaf_of`` also what an object's own methods raise. Thread: any; ``cut`` is per thread.
"""

from __future__ import annotations

import sys
from _thread import _local
from struct import Struct

from ._errors import CodecError, RemoteException
from ._refusals import MAX_BIGINT_BITS, MAX_DECIMAL_DIGITS, malformed, too_long, too_many_bits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

EXT_BIGINT, EXT_TUPLE, EXT_ARGS, EXT_EXCEPTION, EXT_SET, EXT_FROZENSET = 1, 2, 3, 4, 5, 6
EXT_DATETIME, EXT_DATE, EXT_TIME, EXT_DURATION, EXT_DECIMAL, EXT_COMPLEX = 7, 8, 9, 10, 11, 12
EXT_TENSOR, EXT_TABLE, EXT_BATCH, EXT_REF, EXT_MARKER = 13, 14, 15, 16, 17
# Written with a length of 32 bits whatever it is, because their writers know it only afterwards.
OPEN_EXTENSIONS = frozenset({EXT_TUPLE, EXT_ARGS, EXT_EXCEPTION, EXT_SET, EXT_FROZENSET, EXT_TENSOR, EXT_REF, EXT_MARKER})

_DATETIME = Struct(">qIB")
_DATE = Struct(">HBB")
_TIME = Struct(">IIB")
_OFFSET = Struct(">i")
_DURATION = Struct(">qI")
_DECIMAL = Struct(">Bi")
_COMPLEX = Struct(">dd")
_U8, _U16, _U32 = Struct(">BBB"), Struct(">BHB"), Struct(">BIB")

_DAY = 86400
_EPOCH = 719163  # the ordinal of 1970-01-01
_LAST = 3652059  # of 9999-12-31
_HAS_OFFSET = 1
_CLASSES = {"F": 1, "n": 2, "N": 3}

_from_bytes = int.from_bytes


class Leaf:
    """An extension, ready to be written: its code, and its payload in two parts."""

    __slots__ = ("body", "code", "head")

    def __init__(self, code: int, head: bytes, body: bytes | memoryview = b"") -> None:
        self.code = code
        self.head = head
        self.body = body


def extension_head(code: int, n: int) -> bytes:
    """The head of an extension of n bytes."""
    if code in OPEN_EXTENSIONS or n >= 0x10000:
        if n >= 0x100000000:
            raise too_long()
        return _U32.pack(0xC9, n, code)
    if n in (1, 2, 4, 8, 16):
        return bytes((0xD4 + n.bit_length() - 1, code))
    return _U8.pack(0xC7, n, code) if n < 0x100 else _U16.pack(0xC8, n, code)


def may_be_key(leaf: Leaf) -> bool:
    """Times, numbers, but no NaN that refuses to be compared."""
    if leaf.code == EXT_DECIMAL:
        return leaf.head[0] >> 1 & 3 != 3
    return EXT_DATETIME <= leaf.code <= EXT_COMPLEX


# ---- integers beyond 64 bits ----


def bigint_to_bytes(x: int) -> bytes:
    """Two's complement, big-endian, shortest form."""
    if abs(x).bit_length() > MAX_BIGINT_BITS:
        raise too_many_bits()
    n = (x if x >= 0 else ~x).bit_length() // 8 + 1
    return int.to_bytes(x, n, "big", signed=True)


def bigint_from_bytes(data: Any) -> int:
    if not data:
        raise malformed("an integer without bytes")
    x = _from_bytes(data, "big", signed=True)
    if abs(x).bit_length() > MAX_BIGINT_BITS:
        raise too_many_bits()
    return x


# ---- exceptions ----


def exception_from_fields(entries: dict[Any, Any]) -> RemoteException:
    """The exception that the map of an EXCEPTION extension describes."""
    kind = entries.get("type")
    message = entries.get("message", "")
    traceback = entries.get("traceback")
    notes = entries.get("notes", [])
    cause = entries.get("cause")
    if type(kind) is not str or type(message) is not str or not (traceback is None or type(traceback) is str):
        raise malformed("an exception whose type, message or traceback is no text")
    if type(notes) is not list or not all(type(n) is str for n in notes):
        raise malformed("an exception whose notes are no texts")
    if not (cause is None or isinstance(cause, RemoteException)):
        raise malformed("an exception whose cause is none")
    return RemoteException(kind, message, traceback, notes, cause)


# ---- objects that leave ----


def _zone_name(zone: Any) -> bytes:
    """The name by which the other side may find the zone again; empty when there is none."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if name is None and isinstance(zone, sys.modules["datetime"].timezone):
        name = zone.tzname(None)
        if name.startswith("UTC"):
            return b""  # it has made that name itself
    if not isinstance(name, str) or "\0" in name:
        return b""
    data = str.encode(name, "utf-8", "ignore")
    return data if len(data) < 256 else b""


def _offset_of(obj: Any) -> int | None:
    """Seconds east of UTC; None for a naive time."""
    offset = obj.utcoffset()
    if offset is None:
        return None
    if offset.microseconds:
        raise ValueError("an offset with a fraction of a second")
    return int(offset.days * _DAY + offset.seconds)


def _datetime_leaf(obj: Any) -> Leaf | None:
    if obj != obj:
        return None  # pandas' NaT, which calls itself a datetime
    second = (obj.toordinal() - _EPOCH) * _DAY + obj.hour * 3600 + obj.minute * 60 + obj.second
    ns = obj.microsecond * 1000 + getattr(obj, "nanosecond", 0)
    offset = _offset_of(obj)
    if offset is None:
        return Leaf(EXT_DATETIME, _DATETIME.pack(second, ns, 0))
    head = _DATETIME.pack(second - offset, ns, _HAS_OFFSET)
    return Leaf(EXT_DATETIME, head + _OFFSET.pack(offset) + _zone_name(obj.tzinfo))


def _date_leaf(obj: Any) -> Leaf:
    return Leaf(EXT_DATE, _DATE.pack(obj.year, obj.month, obj.day))


def _time_leaf(obj: Any) -> Leaf:
    second, ns = obj.hour * 3600 + obj.minute * 60 + obj.second, obj.microsecond * 1000
    offset = _offset_of(obj)
    if offset is None:
        return Leaf(EXT_TIME, _TIME.pack(second, ns, 0))
    return Leaf(EXT_TIME, _TIME.pack(second, ns, _HAS_OFFSET) + _OFFSET.pack(offset))


def _duration_leaf(obj: Any) -> Leaf:
    ns = obj.microseconds * 1000 + getattr(obj, "nanoseconds", 0)
    return duration_leaf(obj.days * _DAY + obj.seconds, ns)


def moment_leaf(seconds: int, ns: int) -> Leaf | None:
    """A naive datetime; None outside the years that there are."""
    if not 1 <= seconds // _DAY + _EPOCH <= _LAST:
        return None
    return Leaf(EXT_DATETIME, _DATETIME.pack(seconds, ns, 0))


def duration_leaf(seconds: int, ns: int) -> Leaf:
    return Leaf(EXT_DURATION, _DURATION.pack(seconds, ns))


def _decimal_leaf(obj: Any) -> Leaf:
    sign, digits, exponent = sys.modules["decimal"].Decimal.as_tuple(obj)
    if len(digits) > MAX_DECIMAL_DIGITS:
        raise CodecError("limit_exceeded", f"a decimal of more than {MAX_DECIMAL_DIGITS} digits")
    text = bytes(digits).translate(_TO_ASCII)
    if isinstance(exponent, str):
        kind = _CLASSES[exponent]
        text = b"" if kind == 1 else text.lstrip(b"0")
        return Leaf(EXT_DECIMAL, _DECIMAL.pack(sign | kind << 1, 0), text)
    if not -0x80000000 <= exponent < 0x80000000:
        raise CodecError("limit_exceeded", "a decimal whose exponent does not fit 32 bits")
    return Leaf(EXT_DECIMAL, _DECIMAL.pack(sign, exponent), text)


_TO_ASCII = bytes((i + 48) & 0xFF for i in range(256))


def _complex_leaf(obj: Any) -> Leaf:
    return Leaf(EXT_COMPLEX, _COMPLEX.pack(obj.real, obj.imag))


# In the order in which a value is tried: a datetime is a date, too.
_MAKERS: tuple[tuple[str, str, Callable[[Any], Leaf | None]], ...] = (
    ("datetime", "datetime", _datetime_leaf),
    ("datetime", "date", _date_leaf),
    ("datetime", "time", _time_leaf),
    ("datetime", "timedelta", _duration_leaf),
    ("decimal", "Decimal", _decimal_leaf),
)
_known: dict[type, Callable[[Any], Leaf | None]] = {complex: _complex_leaf}


def maker_of(kind: type) -> Callable[[Any], Leaf | None] | None:
    """What makes a leaf of the objects of this type, if it is one of the kinds here or extends one."""
    make = _known.get(kind)
    if make is not None:
        return make
    for module, name, make in _MAKERS:
        base = getattr(sys.modules.get(module), name, None)
        if isinstance(base, type) and issubclass(kind, base):
            if kind is base:
                _known[kind] = make
            return make
    return _complex_leaf if issubclass(kind, complex) else None


# ---- payloads that arrive ----


class _Cut(_local):
    seen = False


cut = _Cut()  # has a time lost its nanoseconds in this thread?


def take_cut() -> bool:
    """Has a time lost its nanoseconds in this thread since the last question?"""
    seen, cut.seen = cut.seen, False
    return seen


def _microseconds(ns: int) -> int:
    if ns % 1000:
        cut.seen = True
    return ns // 1000


def _checked(ns: int, flags: int) -> None:
    if ns > 999_999_999:
        raise malformed("a time with more than 999999999 nanoseconds")
    if flags & ~_HAS_OFFSET:
        raise malformed("a time with an unknown flag")


def _take_offset(data: bytes, at: int) -> int:
    if len(data) < at + 4:
        raise malformed("a time whose offset is cut off")
    offset: int = _OFFSET.unpack_from(data, at)[0]
    if not -_DAY < offset < _DAY:
        raise malformed("an offset of a day or more")
    return offset


def _take_datetime(data: bytes) -> Any:
    from datetime import date, datetime

    from ._zones import placed

    if len(data) < _DATETIME.size:
        raise malformed("a datetime of the wrong size")
    seconds, ns, flags = _DATETIME.unpack_from(data)
    _checked(ns, flags)
    offset, name, end = 0, "", _DATETIME.size
    if flags:
        offset, end = _take_offset(data, end), end + 4
        if len(data) - end > 255 or 0 in data[end:]:
            raise malformed("the name of a zone with more than 255 bytes or a zero")
        try:
            name = data[end:].decode("utf-8")
        except UnicodeDecodeError:
            raise CodecError("invalid_utf8", "a text that is not valid UTF-8") from None
    elif len(data) != end:
        raise malformed("a datetime of the wrong size")
    days, second = divmod(seconds + offset, _DAY)
    if not 1 <= days + _EPOCH <= _LAST:
        raise malformed("a datetime outside the years 1 to 9999")
    day = date.fromordinal(days + _EPOCH)
    wall = datetime(day.year, day.month, day.day, second // 3600, second // 60 % 60, second % 60, _microseconds(ns))
    return placed(wall, offset, name) if flags else wall


def _take_date(data: bytes) -> Any:
    from datetime import date

    if len(data) != _DATE.size:
        raise malformed("a date of the wrong size")
    try:
        return date(*_DATE.unpack(data))
    except ValueError:
        raise malformed("no such day") from None


def _take_time(data: bytes) -> Any:
    from datetime import time

    from ._zones import fixed

    if len(data) < _TIME.size:
        raise malformed("a time of the wrong size")
    second, ns, flags = _TIME.unpack_from(data)
    _checked(ns, flags)
    if second >= _DAY:
        raise malformed("a time behind the end of the day")
    zone = fixed(_take_offset(data, _TIME.size)) if flags else None
    if len(data) != _TIME.size + (4 if flags else 0):
        raise malformed("a time of the wrong size")
    return time(second // 3600, second // 60 % 60, second % 60, _microseconds(ns), zone)


def _take_duration(data: bytes) -> Any:
    from datetime import timedelta

    if len(data) != _DURATION.size:
        raise malformed("a duration of the wrong size")
    seconds, ns = _DURATION.unpack(data)
    _checked(ns, 0)
    days, second = divmod(seconds, _DAY)
    try:
        return timedelta(days, second, _microseconds(ns))
    except OverflowError:
        raise CodecError("limit_exceeded", "a duration of more than 999999999 days") from None


def _take_decimal(data: bytes) -> Any:
    from decimal import Decimal

    if len(data) < _DECIMAL.size:
        raise malformed("a decimal of the wrong size")
    flags, exponent = _DECIMAL.unpack_from(data)
    digits, kind = data[_DECIMAL.size :], flags >> 1 & 3
    if len(digits) > MAX_DECIMAL_DIGITS:
        raise CodecError("limit_exceeded", f"a decimal of more than {MAX_DECIMAL_DIGITS} digits")
    if flags & ~7 or (kind and exponent) or (digits and not digits.isdigit()):
        raise malformed("a decimal that is none")
    if (kind == 0 and not digits) or (kind == 1 and digits) or (digits[:1] == b"0" and (kind or len(digits) > 1)):
        raise malformed("a decimal with digits that it cannot have")
    sign, text = "-" if flags & 1 else "", digits.decode("ascii")
    if kind == 0:
        return Decimal(f"{sign}{text}E{exponent}")
    return Decimal(f"{sign}{('', 'Infinity', 'NaN', 'sNaN')[kind]}{text}")


def _take_complex(data: bytes) -> complex:
    if len(data) != _COMPLEX.size:
        raise malformed("a complex number of the wrong size")
    return complex(*_COMPLEX.unpack(data))


_TAKERS: dict[int, Callable[[bytes], Any]] = {
    EXT_DATETIME: _take_datetime,
    EXT_DATE: _take_date,
    EXT_TIME: _take_time,
    EXT_DURATION: _take_duration,
    EXT_DECIMAL: _take_decimal,
    EXT_COMPLEX: _take_complex,
}


def take_extension(code: int, data: Any) -> Any:
    """The value of an extension that is no container. Nothing of ``data``, which may be a view, is kept."""
    take = _TAKERS.get(code)
    if take is not None:
        return take(bytes(data))
    if EXT_TENSOR <= code <= EXT_MARKER:
        from ._objects import take_object

        return take_object(code, data)
    raise malformed(f"extension {code} cannot be read here")


def check_leaf_key(key: Any) -> bool:
    """May this value, which is no scalar and no container and has been decoded, be a key?"""
    kind = type(key)
    if kind.__module__ == "decimal":
        return not key.is_snan()
    return kind is complex or kind.__module__ == "datetime"
