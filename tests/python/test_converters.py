"""Objects that are no values by themselves: how they leave, in which order it is tried, and what no converter may do."""

import array
import collections
import dataclasses
import datetime
import enum
import pathlib
import subprocess
import sys
import uuid
from decimal import Decimal

import pytest
from package_kit import PACKAGE
from snakepit_bridge import _convert, _registry, register_codec
from snakepit_bridge._errors import Cancelled, CodecError
from snakepit_bridge._registry import POLICY_MARKER
from snakepit_bridge.values import ArrowTable, ObjectRef, Tensor, Unserializable
from value_kit import CODECS, failure, same


@pytest.fixture(params=CODECS)
def codec(request):
    return request.param


@pytest.fixture
def registered(monkeypatch):
    """register_codec(), undone after the test."""
    before = dict(_registry.REGISTERED)
    yield register_codec
    _registry.REGISTERED.clear()
    _registry.REGISTERED.update(before)


def through(codec, value, policy=POLICY_MARKER):
    return codec.decode(codec.encode(value, policy))


# ---- what an object offers ----


@dataclasses.dataclass
class Node:
    name: str
    next: object = None

    def to_dict(self):
        return {"never": "asked"}


class Offers:
    """An object with the methods that it is given."""

    def __new__(cls, **methods):
        return type("Offered", (), {name: staticmethod(method) for name, method in methods.items()})()


class Suit(enum.Enum):
    HEARTS = "h"
    NESTED = (1, 2)


Point = collections.namedtuple("Point", "x y")


def fails():
    raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Node("a", Node("b")), {"name": "a", "next": {"name": "b", "next": None}}),
        (Offers(model_dump=lambda: {"a": 1}, to_dict=fails), {"a": 1}),
        (Offers(model_dump=lambda: [Suit.HEARTS]), ["h"]),
        (Offers(model_dump=fails, to_dict=lambda: {"a": 2}), {"a": 2}),
        (Offers(to_dict=lambda: [1], _asdict=lambda: {"a": 3}), {"a": 3}),
        (Offers(to_dict=lambda needed: 1, tolist=lambda: [4]), [4]),
        (Offers(tolist=lambda: [[1], [Suit.HEARTS]]), [[1], ["h"]]),
        (Offers(tolist=fails, isoformat=lambda: "2026-W01"), "2026-W01"),
        (Offers(to_dict=lambda: collections.OrderedDict(b=Node("n"))), {"b": {"name": "n", "next": None}}),
        (Point(1, Point(2, 3)), {"x": 1, "y": {"x": 2, "y": 3}}),
        (Suit.HEARTS, "h"),
        (Suit.NESTED, (1, 2)),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (array.array("d", [1.5]), [1.5]),
        ({Suit.HEARTS: 1, uuid.UUID(int=0): 2}, {"h": 1, "00000000-0000-0000-0000-000000000000": 2}),
        ({Point(1, 2): 1}, {(1, 2): 1}),
        ({frozenset({Suit.HEARTS})}, {frozenset({"h"})}),
        ([datetime.datetime.now], [Unserializable("builtin_function_or_method")]),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_an_object_offers(codec, value, plain):
    assert same(through(codec, value), plain)


def test_a_class_is_not_its_objects(codec):
    assert through(codec, [Node, Suit, Offers]) == [
        Unserializable("type"),
        Unserializable("enum.EnumMeta" if sys.version_info < (3, 11) else "enum.EnumType"),
        Unserializable("type"),
    ]


def test_only_the_type_is_asked_for_methods(codec):
    """An object that has every attribute that it is asked for offers nothing."""

    class Anything:
        def __getattr__(self, name):
            return lambda *args, **kwargs: {"invented": name}

    assert isinstance(through(codec, Anything()), Unserializable)


def test_a_conversion_that_never_ends(codec):
    class Endless:
        def tolist(self):
            return Endless()

    assert through(codec, [Endless()]) == [Unserializable(f"{Endless.__module__}.{Endless.__qualname__}")]


def test_a_conversion_that_holds_itself(codec):
    class Within:
        def to_dict(self):
            return {"self": self}

    code, path = failure(codec.encode, Within())
    assert code == "limit_exceeded"
    assert path.startswith('["self"]["self"]')


def test_an_error_inside_of_what_was_converted_has_its_path(codec):
    assert failure(codec.encode, [Node("a", {"k": Node("b", object())})]) == ("unserializable", '[0]["next"]["k"]["next"]')
    assert failure(codec.encode, Offers(to_dict=lambda: {"t": "\ud800"})) == ("invalid_utf8", '["t"]')


@pytest.mark.parametrize("name", ["model_dump", "to_dict", "_asdict", "tolist", "isoformat", "__len__", "shape"])
def test_methods_that_raise_are_passed_over(codec, name):
    for error in (ValueError, MemoryError, RecursionError, CodecError):

        def method(self, error=error):
            raise error("x", "y")

        kind = type(
            "Raises",
            (),
            {
                name: property(method) if name == "shape" else method,
                "isoformat" if name != "isoformat" else "other": lambda self: "iso",
            },
        )
        assert through(codec, kind()) == (Unserializable(f"{__name__}.Raises") if name == "isoformat" else "iso")


def test_what_is_no_exception_goes_through(codec):
    def ends():
        raise Cancelled

    with pytest.raises(Cancelled):
        codec.encode(Offers(to_dict=ends), POLICY_MARKER)


def test_an_object_that_hides_its_class_is_told_by_its_type(codec):
    class Liar:
        __class__ = dict

    assert isinstance(through(codec, Liar()), Unserializable)


def test_a_class_that_raises_when_it_is_asked(codec):
    class Meta(type):
        def __getattr__(cls, name):
            raise RuntimeError("asked for " + name)

    kind = Meta("Guarded", (), {"isoformat": lambda self: "iso"})
    assert through(codec, kind()) == "iso"
    assert through(codec, Meta("Bare", (), {})()) == Unserializable(f"{__name__}.Bare")


def test_types_made_on_the_fly_are_forgotten(codec, monkeypatch):
    monkeypatch.setattr(_convert, "_MOST_PLANS", 10)
    for _ in range(50):
        through(codec, type("Made", (), {"tolist": lambda self: [1]})())
    assert len(_convert._plans) <= 10


# ---- registered codecs ----


class Money:
    def __init__(self, amount):
        self.amount = amount

    def to_dict(self):
        return {"not": "asked"}


class Dollars(Money):
    pass


def test_a_registered_codec_comes_first(codec, registered):
    registered(Money, lambda m: ("money", m.amount))
    assert through(codec, [Money(Decimal("1.5")), Dollars(2)]) == [("money", Decimal("1.5")), ("money", 2)]
    registered(Dollars, lambda m: m.amount)
    assert through(codec, [Money(1), Dollars(2), {Dollars(3): 1}]) == [("money", 1), 2, {3: 1}]


def test_a_codec_without_subclasses(codec, registered):
    registered(Money, lambda m: m.amount, subclasses=False)
    assert through(codec, [Money(1), Dollars(2)]) == [1, {"not": "asked"}]


def test_a_codec_that_raises_is_passed_over(codec, registered):
    registered(Money, lambda m: fails())
    assert through(codec, Money(1)) == {"not": "asked"}


@pytest.mark.parametrize(
    ("base", "value", "plain"),
    [(str, "t", "t"), (int, 5, 5), (float, 1.5, 1.5), (dict, {"a": 1}, {"a": 1}), (list, [1], [1]), (tuple, (1,), (1,)),
     (bytes, b"b", b"b"), (bytearray, b"b", b"b"), (set, {1}, {1}), (frozenset, {1}, frozenset({1})), (complex, 1j, 1j), (Point, (1, 2), {"x": 1, "y": 2})],
)  # fmt: skip
def test_codecs_of_subclasses_of_kinds(codec, registered, base, value, plain):
    kind = type("Kind", (base,), {"__hash__": lambda self: 1})
    made = kind(*value) if base is Point else kind(value)
    registered(kind, lambda obj: ["coded"])
    assert through(codec, made) == ["coded"]
    assert failure(codec.encode, {made: 1})[0] == "invalid_parameter"
    registered(kind, lambda obj: fails())
    assert same(through(codec, made), plain)
    registered(kind, lambda obj: obj)
    assert same(through(codec, made), plain)


def test_a_codec_for_an_exception(codec, registered):
    class Odd(Exception):
        pass

    registered(Odd, lambda exc: fails())
    assert through(codec, Odd("m")).message == "m"
    registered(Odd, lambda exc: "odd")
    assert through(codec, Odd("m")) == "odd"


def test_registering(registered):
    @registered(Money)
    def encode(m):
        return m.amount

    assert encode(Money(3)) == 3
    for kind in (int, dict, type(None), object):
        with pytest.raises(ValueError, match="by itself"):
            registered(kind, str)
    with pytest.raises(TypeError):
        registered("Money", str)
    with pytest.raises(TypeError):
        registered(Money, 5)


# ---- times ----


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "UTC"])
def test_zones_come_back(codec, zone):
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        where = zoneinfo.ZoneInfo(zone)
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("the machine has no time zones")
    for month in (1, 7):
        for fold in (0, 1):
            back = through(codec, datetime.datetime(2026, month, 25, 2, 30, fold=fold, tzinfo=where))
            assert back.tzinfo is where and back.hour == 2
    twice = datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    assert through(codec, twice).utcoffset() == twice.utcoffset()


def test_a_zone_that_nobody_knows_keeps_its_name(codec):
    data = bytes.fromhex("c71c07000000006b01a3d80000000001fffff8ae") + b"Mars/Olympus"
    data = bytes([0xC7, len(data) - 3 + 0]) + data[2:]
    value = codec.decode(data)
    assert value.tzname() == "Mars/Olympus" and value.utcoffset() == datetime.timedelta(seconds=-1874)
    assert codec.encode(value) == data
    assert value.dst() is None and "Mars" in repr(value.tzinfo)


def test_a_zone_that_raises(codec):
    class Bad(datetime.tzinfo):
        def utcoffset(self, when):
            raise ZeroDivisionError

    moment = datetime.datetime(2026, 1, 1, tzinfo=Bad())
    assert through(codec, moment) == Unserializable("datetime.datetime")
    odd = datetime.timezone(datetime.timedelta(microseconds=1))
    assert through(codec, datetime.datetime(2026, 1, 1, tzinfo=odd)) == "2026-01-01T00:00:00+00:00:00.000001"


def test_a_zone_that_is_off_by_a_part_of_a_second_is_text(codec):
    zone = datetime.timezone(datetime.timedelta(seconds=1, microseconds=5))
    for value in (datetime.datetime(2026, 1, 2, tzinfo=zone), datetime.time(3, tzinfo=zone)):
        assert through(codec, value) == value.isoformat()


def test_nanoseconds_are_cut_and_told(codec):
    from snakepit_bridge._kinds import take_cut

    take_cut()
    codec.decode(bytes.fromhex("c70d07000000006b01a3d80000100000"[:32]))
    assert take_cut() is True
    assert take_cut() is False


def test_durations_beyond_those_of_python(codec):
    assert failure(codec.decode, bytes.fromhex("c70c0a7fffffffffffffff00000000"))[0] == "limit_exceeded"


# ---- values that Python has no type for ----


def test_placeholders_are_values():
    a, b = Unserializable("t", "r"), Unserializable("t", "r")
    assert a == b and hash(a) == hash(b) and a != Unserializable("t") and a != 5 and "t" in repr(a)
    a, b = ObjectRef("i", "t", "w", None, 1), ObjectRef("i", "t", "w", None, 1)
    assert a == b and hash(a) == hash(b) and a != ObjectRef("i", "t", "w", None, 2) and a != 5 and "i" in repr(a)
    assert Tensor("bf16", (1,), b"ab") == Tensor("bf16", (1,), b"ab") != Tensor("bf16", (1,), b"ac")
    assert ArrowTable(b"a") == ArrowTable(b"a") != ArrowTable(b"a", True) and ArrowTable(b"") != 1 != Tensor("u8", (0,), b"")
    assert "bf16" in repr(Tensor("bf16", (1,), b"ab")) and "1 bytes" in repr(ArrowTable(b"a"))


@pytest.mark.parametrize("value", [Unserializable("t"), ObjectRef("i", "t", "w", None, 1), Tensor("u8", (1,), b"a")])
def test_placeholders_are_no_keys(codec, value):
    if type(value).__hash__ is not None:
        assert failure(codec.encode, {value: 1})[0] == "invalid_parameter"
    data = codec.encode(value)
    assert failure(codec.decode, b"\x81" + data + b"\xc0") == ("invalid_parameter", "[...]")
    assert failure(codec.decode, b"\xc7" + bytes([len(data) + 1, 5]) + b"\x91" + data) == ("invalid_parameter", "[0]")


# ---- without NumPy ----

BARE = """
import sys
for name in ("numpy", "pyarrow", "ml_dtypes"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
from snakepit_bridge import _codec
from snakepit_bridge.values import ArrowTable, Tensor
codecs = [_codec]
try:
    from snakepit_bridge import _snakepit
    codecs.append(_snakepit)
except ImportError:
    pass

for codec in codecs:
    for dtype, size, form in (("f32", 4, "f"), ("u8", 1, "B"), ("bool", 1, "?"), ("i64", 8, "q")):
        for shape in ((2, 3), (6,), ()):
            n = 6 if shape else 1
            data = codec.encode(Tensor(dtype, shape, bytes(range(n)) * size if dtype != "bool" else bytes(n)))
            view = codec.decode(data)
            assert type(view) is memoryview and view.format == form and view.shape == shape, (dtype, view.format, view.shape)
            assert not view.readonly
            assert codec.encode(view) == data
    view = codec.decode(codec.encode(Tensor("u8", (2, 3), b"abcdef")))
    view[1, 2] = 65
    assert codec.decode(codec.encode(view))[1, 2] == 65
    assert codec.decode(codec.encode(view[1:])).shape == (1, 3)
    for value in (Tensor("c64", (1,), b"abcdefgh"), Tensor("f32", (0, 3), b""), Tensor("bf16", (1,), b"ab"), ArrowTable(b"t"), ArrowTable(b"b", True)):
        back = codec.decode(codec.encode(value))
        assert back == value and type(back) is type(value)
    assert codec.decode(codec.encode(memoryview(b"abcd").cast("H"))) == b"abcd"
print("good")
"""


def test_tensors_and_tables_without_libraries():
    done = subprocess.run([sys.executable, "-c", BARE, str(PACKAGE)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("good\n", "")


def test_nothing_is_imported_for_plain_values():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "from snakepit_bridge import _codec\n"
        "_codec.decode(_codec.encode({'a': [1, 2.5, None, b'x', (1,), {2}, 1j, 2**70]}))\n"
        "bad = {'numpy', 'datetime', 'decimal', 'typing', 're', 'enum', 'snakepit_bridge._convert', 'snakepit_bridge._objects'}\n"
        "print(sorted(bad & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(PACKAGE)], stdout=subprocess.PIPE, text=True)
    assert done.stdout == "[]\n"


# ---- the guard ----


def test_the_guard_looks_before_it_converts(codec, monkeypatch):
    monkeypatch.setattr(_convert, "_max_elements", 10)

    def never():
        raise AssertionError("converted nevertheless")

    for told in ({"size": 11}, {"shape": (2, 6)}, {"shape": (1 << 40, 1 << 40), "nnz": 1}, {"__len__": lambda self: 11}):
        kind = type("Big", (), {"tolist": never, **told})
        assert through(codec, kind()) == Unserializable(f"{__name__}.Big")
    assert through(codec, type("Small", (), {"size": 10, "tolist": lambda self: [0] * 10})()) == [0] * 10
    frame = type("Frame", (), {"shape": (4, 4), "to_dict": never})
    assert through(codec, frame()) == Unserializable(f"{__name__}.Frame")


def test_the_guard_looks_at_what_came_out(codec, monkeypatch):
    monkeypatch.setattr(_convert, "_max_elements", 10)
    for result in ([0] * 11, [[0] * 6, [0] * 6], [[[0]] * 11]):
        assert isinstance(through(codec, Offers(tolist=lambda result=result: result)), Unserializable)
    assert through(codec, Offers(tolist=lambda: [[0] * 5, [0] * 5])) == [[0] * 5, [0] * 5]


def test_sizes_that_lie(codec):
    for told in ("x", None, -1, float("nan"), (1, "a")):
        assert through(codec, type("Liar", (), {"size": told, "shape": told, "tolist": lambda self: [1]})()) == [1]


# ---- keys that are one for the host ----

NAN = float("nan")


class Pairs(dict):
    def items(self):
        return [("a", 1), ("a", 2)]


def nans():
    return float("nan"), float("nan")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (dict.fromkeys(nans()), "[nan]"),
        ([set(nans())], "[0][1]"),
        ({"a": {(1, x) for x in nans()}}, '["a"][1]'),
        ({frozenset([1, x]) for x in nans()}, "[1]"),
        (frozenset(complex(x, 1) for x in nans()), "[1]"),
        ({NAN: 1, complex(NAN, 0): 2}, "[...]"),
        ({Decimal("NaN"): 1, Decimal("NaN"): 2}, "[...]"),
        ({uuid.UUID(int=5): 1, str(uuid.UUID(int=5)): 2}, '["00000000-0000-0000-0000-000000000005"]'),
        ({pathlib.PurePosixPath("p"), "p"}, "[1]"),
        (Pairs(), '["a"]'),
        ({"n": Pairs()}, '["n"]["a"]'),
    ],
    ids=[
        "dict",
        "set",
        "tuples",
        "frozensets",
        "complex",
        "kinds",
        "decimals",
        "uuid",
        "path",
        "pairs",
        "nested",
    ],  # a NaN's hash is its address
)
def test_keys_that_are_one_for_the_host(codec, value, path):
    assert failure(codec.encode, value) == ("duplicate_key", path)


ZONE = datetime.timezone(datetime.timedelta(hours=1))


@pytest.mark.parametrize(
    "value",
    [
        {NAN: 1, 0.0: 2, "nan": 3, None: 4, (NAN,): 5, frozenset([NAN]): 6, complex(NAN, 1): 7},
        {uuid.UUID(int=5): 1, uuid.UUID(int=6): 2},
        {datetime.date(2026, 1, 1): 1, datetime.datetime(2026, 1, 1): 2, datetime.datetime(2026, 1, 1, tzinfo=ZONE): 3},
        {datetime.time(1): 1, datetime.time(1, tzinfo=ZONE): 2, datetime.time(0, tzinfo=ZONE): 3, datetime.timedelta(1): 4},
        {Decimal("1.5"): 1, Decimal("2.5"): 2, 1.25: 3, Decimal("NaN"): 4, 2: 5},
        {1: {NAN: 1}, 2: {NAN: 2}},
        [{NAN}, {NAN}],
    ],
    ids=str,
)
def test_keys_that_stay_apart(codec, value):
    assert len(through(codec, value)) == len(value)


def test_more_entries_than_the_host_takes(codec):
    many = dict.fromkeys(range(1 << 19))
    assert len(through(codec, [many, many])) == 2
    assert failure(codec.encode, [many, many, {1}]) == ("limit_exceeded", "[2]")
    assert failure(codec.encode, {"a": dict.fromkeys(range((1 << 20) + 1))}) == ("limit_exceeded", '["a"]')
    assert failure(codec.encode, [many, many, ValueError()])[0] == "limit_exceeded"
    assert len(through(codec, {Decimal(i) / 8 for i in range(1 << 10)})) == 1 << 10
    assert failure(codec.encode, {Decimal(i) / 8 for i in range(61681)})[0] == "limit_exceeded"
    assert len(through(codec, [list(range(1 << 20)), (1, 2)])) == 2
