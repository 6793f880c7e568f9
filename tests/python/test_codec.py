"""Both codecs: docs/wire.md, the vectors, and each other."""

import base64
import collections
import datetime
import enum
import json
import math
import random
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package_kit import _snakepit, needs_extension, plain
from snakepit_bridge import _codec
from snakepit_bridge._errors import CodecError, RemoteException
from snakepit_bridge.values import ArrowTable, ObjectRef, Tensor, Unserializable
from value_kit import CODECS, failure, same

if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


@pytest.fixture(autouse=True, scope="module")
def alone():
    """Tables stay the bytes that they are, and bf16 has no type but ours: what libraries make of them is another test's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        patch.delitem(sys.modules, "ml_dtypes", raising=False)
        yield


@pytest.fixture(params=CODECS)
def codec(request):
    return request.param


# ---- what there is ----

UTC = datetime.timezone.utc


def zone(**offset):
    return datetime.timezone(datetime.timedelta(**offset))


SAMPLES = [
    None, True, False, 0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
    -1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63), -(2**63) - 1, 2**1000, -(2**1000), -(2**127),
    0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324, 1e308,
    "", "a", "ä", "\0", "x" * 31, "x" * 32, "x" * 255, "x" * 256, "x" * 65535, "x" * 65536, "\U0001f40d",
    b"", b"\0\xff", b"x" * 255, b"x" * 256, b"x" * 65536,
    [], [1], list(range(15)), list(range(16)), list(range(70000)), (), (1,), ((), ((),)), [(), []],
    {}, {"a": 1}, {1: "a", None: 2, (1, "x"): 3, b"k": 4, 1.5: 5, False: 6}, {str(i): i for i in range(20)},
    dict.fromkeys(range(70000)),
    set(), {1}, {"a", 2, None}, frozenset(), frozenset({(1, frozenset({2}))}), {frozenset({1}): 1, (frozenset(), 1): 2}, set(range(70000)),
    {Decimal("1.10"): 1, datetime.date(2026, 1, 1): 2, datetime.timedelta(1): 3, 1j: 4, datetime.time(1): 5, datetime.datetime(2026, 1, 1): 6},
    datetime.datetime(1, 1, 1), datetime.datetime.max, datetime.datetime(1969, 12, 31, 23, 59, 59, 999999),
    datetime.datetime(2026, 11, 21, 6, 13, 42, 5, UTC), datetime.datetime(1, 1, 1, tzinfo=zone(hours=14)), datetime.datetime.max.replace(tzinfo=zone(hours=-12)),
    datetime.datetime(2026, 1, 1, tzinfo=zone(hours=-5, minutes=-30, seconds=-7)), datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "Mine")),
    datetime.date(1, 1, 1), datetime.date.max, datetime.time(), datetime.time.max, datetime.time(1, 2, 3, 4, UTC), datetime.time(1, tzinfo=zone(hours=-23)),
    datetime.timedelta(), datetime.timedelta.min, datetime.timedelta.max, datetime.timedelta(microseconds=-500000), datetime.timedelta(1, 2, 3),
    *map(Decimal, "0 -0 0.00 1.10 -1E+5 1E-300 123456789012345678901234567890.5 Infinity -Infinity NaN -NaN NaN123 sNaN -sNaN7 1E+2147483647 1E-2147483648".split()),
    Decimal((0, (7,) * 1000, 3)), 1j, complex(-0.0, math.inf), complex(math.nan, 5e-324), ObjectRef("i", "t", "w", None, 2**64 - 1), ObjectRef("", "ä", "w", "s", 0),
    Unserializable("a.B"), Unserializable("a.B", "<B>"), Tensor("bf16", (2, 1), b"abcd"),
]  # fmt: skip


@pytest.mark.parametrize("value", SAMPLES, ids=lambda v: f"{type(v).__name__}-{str(v)[:20]}")
def test_values_come_back_as_they_went(codec, value):
    assert same(codec.decode(codec.encode(value)), value)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, "c0"),
        (True, "c3"),
        (-32, "e0"),
        (200, "ccc8"),
        (2**64, "c709010100000000000000" + "00"),
        (-(2**63) - 1, "c70901ff7fffffffffffffff"),
        (2**71 - 1, "c709017f" + "ff" * 8),
        (2**120, "d80101" + "00" * 15),
        (1.0, "cb3ff0000000000000"),
        ((1,), "c900000002029101"),
        ({"x": 1}, "81a17801"),
    ],
)
def test_bytes_are_those_of_the_page(codec, value, data):
    assert codec.encode(value).hex() == data


def test_every_form_of_a_number_is_read(codec):
    forms = ["05", "cc05", "cd0005", "ce00000005", "cf0000000000000005", "d005", "d10005", "d200000005", "d30000000000000005"]
    forms += ["d40105", "c7030100" + "0005", "c8000201" + "0005", "c90000000201" + "0005"]
    assert [codec.decode(bytes.fromhex(form)) for form in forms] == [5] * len(forms)
    assert same(codec.decode(bytes.fromhex("ca3fc00000")), 1.5)


def test_bits_of_a_nan_survive(codec):
    data = bytes.fromhex("cb7ff8000000abcdef")
    assert codec.encode(codec.decode(data)) == data


# ---- subclasses, buffers ----


class Colour(enum.IntEnum):
    RED = 3


class Text(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError("not to be asked")


class Number(int):
    def __pos__(self):
        raise RuntimeError("not to be asked")

    def __abs__(self):
        raise RuntimeError("not to be asked")


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, 3),
        (Text("t"), "t"),
        (Number(2**70), 2**70),
        (Number(7), 7),
        (type("F", (float,), {})(1.5), 1.5),
        (Point(1, 2), {"x": 1, "y": 2}),
        (collections.OrderedDict([("b", 1), ("a", 2)]), {"b": 1, "a": 2}),
        (collections.defaultdict(int, {"a": 1}), {"a": 1}),
        (type("L", (list,), {})([1, 2]), [1, 2]),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(bytearray(8)).cast("I"), bytes(8)),
        (type("B", (bytes,), {})(b"ab"), b"ab"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_subclasses_leave_as_what_they_extend(codec, value, plain):
    assert same(codec.decode(codec.encode(value)), plain)


def test_an_ordered_dict_keeps_its_own_order(codec):
    d = collections.OrderedDict([("a", 1), ("b", 2)])
    d.move_to_end("a")
    assert list(codec.decode(codec.encode(d))) == ["b", "a"]


# ---- exceptions as values ----


def test_an_exception_is_a_value(codec):
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as exc:
        back = codec.decode(codec.encode([exc]))[0]
    assert isinstance(back, RemoteException)
    assert (back.type, back.message) == ("ValueError", "outer")
    assert "raise ValueError" in back.traceback
    assert back.__cause__.type == "KeyError"
    assert same(codec.decode(codec.encode(back)), back)


def test_an_exception_may_be_hostile(codec):
    class Bad(Exception):
        def __str__(self):
            raise RuntimeError("no")

    bad = Bad()
    bad.__notes__ = [1, "\ud800", "fine"]
    back = codec.decode(codec.encode(bad))
    assert "Bad" in back.message
    assert back.notes == ["\\ud800", "fine"]


def test_a_cycle_of_causes_ends(codec):
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    code, path = failure(codec.encode, a)
    assert code == "limit_exceeded"
    assert path.startswith('["cause"]["cause"]')


def test_an_exception_in_any_order_of_keys(codec):
    body = b"\x83" + b"".join(map(_codec.encode, ["zzz", [1], "message", "m", "type", "T"]))
    back = codec.decode(b"\xc7" + bytes([len(body), 4]) + body)
    assert (back.type, back.message, back.traceback, back.notes, back.__cause__) == ("T", "m", None, [], None)


@pytest.mark.parametrize(
    "entries",
    [{}, {"type": 1}, {"type": "T", "notes": "n"}, {"type": "T", "notes": [1]}, {"type": "T", "cause": 5}, {"type": "T", 1: 2}],
)
def test_a_malformed_exception(codec, entries):
    body = _codec.encode(entries)
    assert failure(codec.decode, b"\xc7" + bytes([len(body), 4]) + body)[0] == "deserialization_failed"


# ---- refusals ----


@pytest.mark.parametrize(
    ("value", "code", "path"),
    [
        (object(), "unserializable", ""),
        (ValueError, "unserializable", ""),
        ({"a": [1, {object()}]}, "unserializable", '["a"][1][0]'),
        ({"a": [1, range(2)]}, "unserializable", '["a"][1]'),
        ((1, (2, object())), "unserializable", "[1][1]"),
        ({'a"\\': {None: {1.5: {True: object()}}}}, "unserializable", '["a\\"\\\\"][None][1.5][True]'),
        ({b"x": object()}, "unserializable", "[...]"),
        ({object(): 1}, "unserializable", "[...]"),
        ({"t": "\ud800"}, "invalid_utf8", '["t"]'),
        ({"\ud800": 1}, "invalid_utf8", '["\\\\ud800"]'),
        ({ValueError(): 1}, "invalid_parameter", "[...]"),
        ({(1, ValueError()): 1}, "invalid_parameter", "[...][1]"),
        ({memoryview(b"a"): 1}, "invalid_parameter", "[...]"),
        ({(1, frozenset({ValueError()})): 1}, "invalid_parameter", "[...][1][0]"),
        ([{ValueError()}], "invalid_parameter", "[0][0]"),
        ([Decimal("1E+3000000000")], "limit_exceeded", "[0]"),
        ([2 ** (2**20)], "limit_exceeded", "[0]"),
        ([-(2 ** (2**20))], "limit_exceeded", "[0]"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_cannot_be_encoded(codec, value, code, path):
    assert failure(codec.encode, value) == (code, path)


def test_the_largest_integers_pass(codec):
    for n in (2 ** (2**20) - 1, -(2 ** (2**20)) + 1):
        assert codec.decode(codec.encode(n)) == n


def nested(kind, n):
    value = kind()
    for _ in range(n - 1):
        value = {"k": value} if kind is dict else kind([value])
    return value


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_depth(codec, kind):
    deep = nested(kind, 128)
    assert codec.decode(codec.encode(deep)) == deep
    assert failure(codec.encode, nested(kind, 129))[0] == "limit_exceeded"
    data = {list: b"\x91" * 128 + b"\x90", dict: b"\x81\xa0" * 128 + b"\x80"}.get(kind)
    if data is not None:
        assert failure(codec.decode, data)[0] == "limit_exceeded"


def test_a_list_within_itself(codec):
    value = []
    value.append(value)
    assert failure(codec.encode, value)[0] == "limit_exceeded"


def test_notes_count_no_level(codec):
    exc = RemoteException("T", notes=["n"])
    value = exc
    for _ in range(127):
        value = [value]
    assert codec.encode(codec.decode(codec.encode(value))) == codec.encode(value)
    assert failure(codec.encode, [value])[0] == "limit_exceeded"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("", "deserialization_failed"),
        ("c1", "deserialization_failed"),
        ("92", "deserialization_failed"),
        ("9201", "deserialization_failed"),
        ("ddffffffff", "deserialization_failed"),
        ("dfffffffff", "deserialization_failed"),
        ("c6ffffffff", "deserialization_failed"),
        ("a5616263", "deserialization_failed"),
        ("cb0000", "deserialization_failed"),
        ("c0c0", "deserialization_failed"),
        ("d40500", "deserialization_failed"),
        ("d4ff00", "deserialization_failed"),
        ("c70001", "deserialization_failed"),
        ("d402c0", "deserialization_failed"),
        ("d5029001", "deserialization_failed"),
        ("d503c0c0", "deserialization_failed"),
        ("a1ff", "invalid_utf8"),
        ("a3eda080", "invalid_utf8"),
        ("a2c080", "invalid_utf8"),
        ("82010101c0", "duplicate_key"),
        ("8201c0cb3ff0000000000000c0", "duplicate_key"),
        ("82c3c001c0", "duplicate_key"),
        ("8190c0", "invalid_parameter"),
        ("8180c0", "invalid_parameter"),
    ],
)
def test_bytes_that_are_no_value(codec, data, code):
    assert failure(codec.decode, bytes.fromhex(data))[0] == code


def test_a_tuple_with_a_list_inside_is_no_key(codec):
    inner = b"\x91\x90"
    data = b"\x81\xc7" + bytes([len(inner), 2]) + inner + b"\xc0"
    assert failure(codec.decode, data) == ("invalid_parameter", "[...]")


def test_paths_of_decoding(codec):
    data = _codec.encode({"a": [1, "xyz"]})
    assert failure(codec.decode, data[:-3] + b"\xff\xff\xff") == ("invalid_utf8", '["a"][1]')


def test_user_code_that_raises_while_it_is_encoded(codec):
    class Odd(dict):
        def items(self):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        codec.encode([Odd()])
    assert failure(codec.encode, [type("O", (dict,), {"items": lambda self: [1]})()]) == ("unserializable", "[0]")


def test_a_container_that_changes_under_the_hand(codec):
    outer = []

    class Changing(dict):
        def items(self):
            outer.clear()
            return []

    outer.extend([Changing(), 1, 2])
    with pytest.raises(RuntimeError):
        codec.encode(outer)


# ---- vectors, properties ----


def seconds(text):
    """Whole seconds and microseconds of "12", "-0.5", "-86400.000000001": Python keeps no nanoseconds."""
    whole, _, fraction = text.lstrip("-").partition(".")
    ns = int(whole) * 10**9 + int((fraction + "0" * 9)[:9])
    return datetime.timedelta(microseconds=(-ns if text[0] == "-" else ns) // 1000)


def clock(text):
    """Text without an offset and what replace() takes: microseconds and the zone of "06:13:42.5+02:00"."""
    head, sign, offset = re.match(r"(.*?)(?:([+-])([0-9:]+))?$", text[-30:] if "T" not in text else text.split("T")[1]).groups()
    head, _, fraction = head.partition(".")
    parts = [int(part) for part in (offset or "0").split(":")] + [0, 0]
    shift = datetime.timedelta(hours=parts[0], minutes=parts[1], seconds=parts[2])
    where = None if sign is None else datetime.timezone(-shift if sign == "-" else shift)
    return datetime.time.fromisoformat(head).replace(microsecond=int((fraction + "0" * 6)[:6]), tzinfo=where)


def tensor(form):
    data = base64.b64decode(form["b64"])
    return _codec.decode(_codec.encode(Tensor(form["dtype"], tuple(form["shape"]), data)))


UNTAG = {
    "bigint": lambda f: int(f["v"]),
    "float": lambda f: float(f["v"]),
    "bytes": lambda f: base64.b64decode(f["b64"]),
    "tuple": lambda f: tuple(untag(f["v"])),
    "map": lambda f: {untag(key): untag(item) for key, item in f["v"]},
    "set": lambda f: (frozenset if f["frozen"] else set)(untag(f["v"])),
    "datetime": lambda f: datetime.datetime.combine(datetime.date.fromisoformat(f["v"].split("T")[0]), clock(f["v"])),
    "date": lambda f: datetime.date.fromisoformat(f["v"]),
    "time": lambda f: clock(f["v"]),
    "duration": lambda f: seconds(f["v"]),
    "decimal": lambda f: Decimal(f["v"]),
    "complex": lambda f: complex(*untag(f["v"])),
    "tensor": tensor,
    "table": lambda f: ArrowTable(base64.b64decode(f["b64"])),
    "batch": lambda f: ArrowTable(base64.b64decode(f["b64"]), True),
    "ref": lambda f: ObjectRef(f["id"], f["type"], f["worker"], f["session"], f["generation"]),
}


def untag(form):
    """What a JSON form (docs/wire.md, section 4) stands for."""
    if isinstance(form, list):
        return [untag(item) for item in form]
    if not isinstance(form, dict):
        return form
    if set(form) <= {"__ffi_unserializable__", "__type__", "__repr__"} and form.get("__ffi_unserializable__") is True:
        return Unserializable(form["__type__"], form.get("__repr__"))
    if "$pit" not in form:
        return {key: untag(item) for key, item in form.items()}
    if form["$pit"] == "exception":
        cause = None if form["cause"] is None else untag(form["cause"])
        return RemoteException(form["type"], form["message"], form["traceback"], form["notes"], cause)
    return UNTAG[form["$pit"]](form)


def vectors(name):
    path = VECTORS / name
    return json.loads(path.read_text()) if path.exists() else []


@pytest.mark.parametrize("vector", vectors("values.json"), ids=lambda v: v["name"])
def test_vectors(codec, vector):
    if not vector.get("python", True):
        pytest.skip("the vector is one that the codec of the host alone reads (python: false)")
    data = bytes.fromhex(vector["hex"])
    if "error" in vector:
        assert failure(codec.decode, data)[0] == vector["error"]
        return
    value = codec.decode(data)
    expected = untag(json.loads(vector["json"]))
    if '"set"' in vector["json"]:  # Python's sets have an order of their own
        assert same(codec.decode(codec.encode(value)), expected)
    elif '"shape": []' in vector["json"]:  # an array of no dimensions leaves as the number that it is
        assert codec.decode(codec.encode(value)) == expected
    else:
        assert codec.encode(value).hex() == vector.get("encodes_as", vector["hex"])
    assert same(value, expected) or (value != value and expected != expected)


@pytest.mark.parametrize("vector", vectors("args.json"), ids=lambda v: v["name"])
def test_argument_vectors(vector):
    """The pure codec; the extension's arguments are tested through calls (test_worker)."""
    command, args, keywords = _codec.decode_call(b"\xa1c" + bytes.fromhex(vector["hex"]), 0)
    assert command == b"c"
    assert same(list(args), untag(vector["positional"]) or [])
    assert same(keywords or {}, untag(vector["keywords"]) or {})


ZONES = st.none() | st.timedeltas(-datetime.timedelta(hours=23), datetime.timedelta(hours=23)).map(
    lambda d: datetime.timezone(datetime.timedelta(seconds=int(d.total_seconds())))
)
TIMES = (
    st.datetimes(timezones=ZONES, allow_imaginary=False)
    | st.dates()
    | st.times(timezones=ZONES)
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
)
HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | TIMES,
    lambda inner: st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
REMOTE = st.builds(
    RemoteException,
    st.text(min_size=1, max_size=10),
    st.text(max_size=10),
    st.none() | st.text(max_size=10),
    st.lists(st.text(max_size=5), max_size=2),
)
PLACEHOLDERS = st.builds(Unserializable, st.text(max_size=8), st.none() | st.text(max_size=8)) | st.builds(
    ObjectRef,
    st.text(max_size=4),
    st.text(max_size=4),
    st.text(max_size=4),
    st.none() | st.text(max_size=4),
    st.integers(0, 2**64 - 1),
)
TENSORS = st.binary(max_size=8).map(lambda data: Tensor("bf16", (len(data) // 2, 1), data[: len(data) // 2 * 2]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text()
    | st.binary()
    | TIMES
    | st.decimals()
    | REMOTE
    | PLACEHOLDERS
    | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=20)
        | st.sets(HASHABLE, max_size=10)
        | st.frozensets(HASHABLE, max_size=10)
    ),
    max_leaves=30,
)


@plain
@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_pure_round_trip(value):
    assert same(_codec.decode(_codec.encode(value)), value)


@needs_extension
@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_both_codecs_agree_on_values(value):
    data = _codec.encode(value)
    assert _snakepit.encode(value) == data
    assert same(_snakepit.decode(data), value)
    assert same(_codec.decode(data), value)


def outcome(decode, data):
    try:
        return decode(data)
    except CodecError as exc:
        return exc.code, exc.path


def agree(data):
    pure, fast = outcome(_codec.decode, data), outcome(_snakepit.decode, data)
    assert same(pure, fast), data.hex()


@needs_extension
@given(st.binary(max_size=60))
@settings(max_examples=500, deadline=None)
def test_both_codecs_agree_on_rubbish(data):
    agree(data)


@needs_extension
def test_both_codecs_agree_on_nan_in_sets():
    nans = {float("nan"), complex(float("nan"), 1), (float("nan"), frozenset({float("nan")}))}
    agree(_codec.encode(nans))
    assert same(_snakepit.decode(_codec.encode(nans)), nans)
    assert not same({float("nan"), 1.0}, {float("nan"), 2.0})


@needs_extension
@given(VALUES, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_both_codecs_agree_on_damaged_values(value, rng):
    data = bytearray(_codec.encode(value))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        if at < len(data) and rng.random() < 0.7:
            data[at] = rng.choice([0x90, 0x81, 0xC0, 0xC7, 0xC9, 0xD4, 0xDC, rng.randrange(256)])
        else:
            del data[at:]
    agree(bytes(data))


@needs_extension
def test_both_codecs_agree_on_every_lead_byte():
    rng = random.Random(1)
    for lead in range(256):
        for size in (0, 1, 2, 4, 8, 16, 40):
            agree(bytes([lead]) + bytes(rng.choice([0, 1, 2, 4, 0x90, 0x80, 0xC0, 0xA1, 0x61]) for _ in range(size)))
