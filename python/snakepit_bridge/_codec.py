"""Values as MessagePack and back, in pure Python (docs/wire.md, section 2). The extension has the same in C.

Invariants
 1. ``encode`` and ``decode`` behave as the extension's functions of that name: same bytes, same objects, same errors.
 2. A container and its parts are told apart by exact type first; subclasses leave as the kind that they extend.
 3. Depth is bounded by MAX_DEPTH on the way out and in, so that recursion is bounded, too.

Failure: ``CodecError`` with a code and the path to the leaf. Thread: any; no state.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any

from ._errors import CodecError, RemoteException, exception_fields, type_name

MAX_DEPTH = 128
MAX_BIGINT_BITS = 1 << 20

EXT_BIGINT, EXT_TUPLE, EXT_ARGS, EXT_EXCEPTION = 1, 2, 3, 4

_F32 = Struct(">f")
_F64 = Struct(">d")
_LEAD_U16 = Struct(">BH")
_LEAD_U32 = Struct(">BI")
_LEAD_U64 = Struct(">BQ")
_LEAD_I8 = Struct(">Bb")
_LEAD_I16 = Struct(">Bh")
_LEAD_I32 = Struct(">Bi")
_LEAD_I64 = Struct(">Bq")
_LEAD_F64 = Struct(">Bd")
_EXT = Struct(">BIb")
_U32 = Struct(">I")

_from_bytes = int.from_bytes

# ---- what the extension shares ----


def bigint_to_bytes(x: int) -> bytes:
    """Two's complement, big-endian, shortest form."""
    if abs(x).bit_length() > MAX_BIGINT_BITS:
        raise CodecError("limit_exceeded", f"an integer of more than {MAX_BIGINT_BITS} bits")
    n = (x if x >= 0 else ~x).bit_length() // 8 + 1
    return int.to_bytes(x, n, "big", signed=True)


def bigint_from_bytes(data: bytes) -> int:
    if not data:
        raise CodecError("deserialization_failed", "an integer without bytes")
    x = _from_bytes(data, "big", signed=True)
    if abs(x).bit_length() > MAX_BIGINT_BITS:
        raise CodecError("limit_exceeded", f"an integer of more than {MAX_BIGINT_BITS} bits")
    return x


def unserializable(obj: object) -> CodecError:
    return CodecError("unserializable", f"a value of type {type_name(type(obj))} cannot leave its process")


def bad_text(obj: object) -> CodecError:
    return CodecError("invalid_utf8", "a text with a lone surrogate")


def bad_key(obj: object) -> CodecError:
    return CodecError("invalid_parameter", f"a value of type {type_name(type(obj))} cannot be a key")


def too_deep() -> CodecError:
    return CodecError("limit_exceeded", f"more than {MAX_DEPTH} levels of nesting")


def truncated() -> CodecError:
    return CodecError("deserialization_failed", "the bytes end within a value")


def too_long() -> CodecError:
    return CodecError("limit_exceeded", "more than 4 Gi bytes or items")


def too_large(limit: int) -> CodecError:
    return CodecError("limit_exceeded", f"the value does not fit into a frame of {limit} bytes")


def bad_bytes(obj: object) -> CodecError:
    return CodecError("invalid_utf8", "a text that is not valid UTF-8")


def repeated_key(obj: object) -> CodecError:
    return CodecError("duplicate_key", "a key that stands twice")


def malformed(why: str) -> CodecError:
    return CodecError("deserialization_failed", why)


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


# ---- encoding ----

Writer = Callable[[Any, bytearray, int], None]


def _put_none(obj: Any, out: bytearray, depth: int) -> None:
    out.append(0xC0)


def _put_bool(obj: Any, out: bytearray, depth: int) -> None:
    out.append(0xC3 if obj else 0xC2)


def _put_int(x: Any, out: bytearray, depth: int) -> None:
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


def _put_negative(x: int, out: bytearray) -> None:
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


def _put_bigint(x: int, out: bytearray) -> None:
    data = bigint_to_bytes(x)
    n = len(data)
    if n in (1, 2, 4, 8, 16):
        out.append(0xD4 + n.bit_length() - 1)
    elif n < 0x100:
        out += bytes((0xC7, n))
    elif n < 0x10000:
        out += _LEAD_U16.pack(0xC8, n)
    else:
        out += _LEAD_U32.pack(0xC9, n)
    out.append(EXT_BIGINT)
    out += data


def _put_float(x: Any, out: bytearray, depth: int) -> None:
    out += _LEAD_F64.pack(0xCB, x)


def _put_str(text: Any, out: bytearray, depth: int) -> None:
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


def _put_bytes(data: Any, out: bytearray, depth: int) -> None:
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


def _put_buffer(data: Any, out: bytearray, depth: int) -> None:
    _put_bytes(memoryview(data).tobytes(), out, depth)


def _check_length(n: int) -> None:
    if n >= 0x100000000:
        raise too_long()


def _put_array(items: Any, n: int, out: bytearray, depth: int) -> None:
    if n < 16:
        out.append(0x90 | n)
    elif n < 0x10000:
        out += _LEAD_U16.pack(0xDC, n)
    else:
        _check_length(n)
        out += _LEAD_U32.pack(0xDD, n)
    i = 0
    try:
        for item in items:
            _WRITERS.get(type(item), _put_other)(item, out, depth)
            i += 1
    except CodecError as exc:
        raise exc.at(i) from None
    if i != n:
        raise RuntimeError("a list changed its size while it was encoded")


def _put_list(items: Any, out: bytearray, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise too_deep()
    _put_array(list.__iter__(items), list.__len__(items), out, depth + 1)


def _put_tuple(items: Any, out: bytearray, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise too_deep()
    at = len(out)
    out += b"\xc9\0\0\0\0\x02"
    _put_array(tuple.__iter__(items), tuple.__len__(items), out, depth + 1)
    _U32.pack_into(out, at + 1, len(out) - at - 6)


def _put_dict(entries: Any, out: bytearray, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise too_deep()
    depth += 1
    n = len(entries)
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
                _put_key(key, out, depth)
            _WRITERS.get(type(item), _put_other)(item, out, depth)
            n -= 1
    except CodecError as exc:
        raise exc.at(key) from None
    if n != 0:
        raise RuntimeError("a dict changed its size while it was encoded")


def _put_mapping(entries: Any, out: bytearray, depth: int) -> None:
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

    def items(self) -> list[tuple[Any, Any]]:
        return self._entries


def _put_key(key: Any, out: bytearray, depth: int) -> None:
    _check_key(key)
    _WRITERS.get(type(key), _put_other)(key, out, depth)


def _check_key(key: Any) -> None:
    kind = type(key)
    if issubclass(kind, tuple):
        for part in tuple.__iter__(key):
            _check_key(part)
    elif issubclass(kind, (dict, list, bytearray, memoryview, BaseException)):
        raise bad_key(key)


def _put_exception(exc: Any, out: bytearray, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise too_deep()
    kind, message, traceback, notes, cause = exception_fields(exc)
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


def _put_other(obj: Any, out: bytearray, depth: int) -> None:
    found = type(obj)
    for kind, writer in _BASES:
        if issubclass(found, kind):
            writer(obj, out, depth)
            return
    raise unserializable(obj)


def _put_str_subclass(text: Any, out: bytearray, depth: int) -> None:
    _put_str(str.__str__(text), out, depth)


def _put_int_subclass(x: Any, out: bytearray, depth: int) -> None:
    _put_int(int.__pos__(x), out, depth)


_WRITERS: dict[type, Writer] = {
    type(None): _put_none,
    bool: _put_bool,
    int: _put_int,
    float: _put_float,
    str: _put_str,
    bytes: _put_bytes,
    bytearray: _put_bytes,
    memoryview: _put_buffer,
    list: _put_list,
    tuple: _put_tuple,
    dict: _put_dict,
}

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
    (BaseException, _put_exception),
)


def encode_into(out: bytearray, obj: Any) -> None:
    """Appends the encoding of obj. On failure out holds a part of it."""
    _WRITERS.get(type(obj), _put_other)(obj, out, 0)


def encode(obj: Any) -> bytes:
    """The encoding of obj."""
    out = bytearray()
    _WRITERS.get(type(obj), _put_other)(obj, out, 0)
    return bytes(out)


# ---- decoding: each function returns the value and where the next one starts ----


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
        return b[p:q].decode("utf-8"), q
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
                key: Any = b[p + 1 : q].decode("utf-8")
            except UnicodeDecodeError:
                raise bad_bytes(b) from None
        else:
            key, q = _take(b, p, end, depth)
        try:
            item, p = _take(b, q, end, depth)
            if type(key) is not str:
                _check_key(key)
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
    raise malformed(f"extension {code if code < 128 else code - 256} cannot be read here")


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


Reader = Callable[[bytes, int, int, int], tuple[Any, int]]


def _constant(value: Any) -> Reader:
    def read(b: bytes, p: int, end: int, depth: int) -> tuple[Any, int]:
        return value, p

    return read


def _number(width: int, signed: bool) -> Reader:
    def read(b: bytes, p: int, end: int, depth: int) -> tuple[int, int]:
        q = p + width
        if q > end:
            raise truncated()
        return _from_bytes(b[p:q], "big", signed=signed), q

    return read


def _float(form: Struct) -> Reader:
    def read(b: bytes, p: int, end: int, depth: int) -> tuple[float, int]:
        q = p + form.size
        if q > end:
            raise truncated()
        return form.unpack_from(b, p)[0], q

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
    _float(_F32),
    _float(_F64),
    *(_number(w, False) for w in (1, 2, 4, 8)),
    *(_number(w, True) for w in (1, 2, 4, 8)),
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
