"""The codecs against each other: what Python's write, the host reads, and writes as the same bytes, straight and by way of JSON; Python reads them back."""

from __future__ import annotations

import datetime
import importlib
import math
import random
import struct
import sys
from decimal import Decimal

import pytest

VALUES = 2500


@pytest.fixture(scope="module", params=["_codec", "_snakepit"])
def codec(request, build):
    sys.path.insert(0, str(build / "python"))
    try:
        return importlib.import_module(f"snakepit_bridge.{request.param}")
    except ImportError:
        pytest.skip("the extension is not built for this interpreter")
    finally:
        sys.path.pop(0)


def zone(rng):
    return datetime.timezone(datetime.timedelta(seconds=rng.choice((0, 3600, -12600, 86399, -86399, 1172))))


def moment(rng):
    when = datetime.datetime(
        rng.randint(2, 9998), rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23), 5, 59, rng.randint(0, 999999)
    )
    return when if rng.random() < 0.5 else when.replace(tzinfo=zone(rng))


def decimal(rng):
    if rng.random() < 0.1:
        return Decimal(rng.choice(("Infinity", "-Infinity", "-0", "0E+3", "0.000")))
    return Decimal((rng.getrandbits(1), tuple(map(int, str(rng.getrandbits(rng.randint(1, 200))))), rng.randint(-60, 60)))


HASHABLE = [
    lambda rng: rng.choice((None, True, False, 0, -1, 255)),
    lambda rng: rng.getrandbits(rng.randint(1, 90)) * rng.choice((1, -1)),
    lambda rng: rng.choice((0.5, -0.0, math.inf, 1e300, rng.random())),
    lambda rng: rng.choice(("", "text", "ä" * 20, "\0", "\U0001f600" * 70)),
    lambda rng: bytes(rng.getrandbits(8) for _ in range(rng.choice((0, 1, 2, 40)))),
    moment,
    lambda rng: moment(rng).date(),
    lambda rng: moment(rng).timetz(),
    lambda rng: datetime.timedelta(rng.randint(-999999, 999999), rng.randint(0, 86399), rng.randint(0, 999999)),
    decimal,
    lambda rng: complex(rng.choice((0.0, -0.0, 1.5, math.inf)), rng.random()),
    lambda rng: tuple(hashable(rng) for _ in range(rng.randint(0, 3))),
    lambda rng: frozenset(hashable(rng) for _ in range(rng.randint(0, 12))),
]


def hashable(rng):
    return rng.choice(HASHABLE)(rng)


def value(rng, depth=4):
    kind = rng.random()
    if depth == 0 or kind < 0.5:
        return hashable(rng)
    if kind < 0.6:
        return [value(rng, depth - 1) for _ in range(rng.choice((0, 1, 3, 20)))]
    if kind < 0.7:
        return tuple(value(rng, depth - 1) for _ in range(rng.randint(0, 3)))
    if kind < 0.8:
        return {hashable(rng) for _ in range(rng.choice((0, 1, 3, 20)))}
    if kind < 0.9:
        return {f"key {i}": value(rng, depth - 1) for i in range(rng.choice((0, 2, 9)))}
    return {hashable(rng): value(rng, depth - 1) for _ in range(rng.choice((1, 4, 12)))}


@pytest.mark.parametrize("ways", ["M", "TF"], ids=["straight", "json"])
def test_every_kind_comes_back_as_the_same_bytes(ask, refused, codec, ways):
    rng = random.Random(17)
    values = [value(rng) for _ in range(VALUES)]
    sent = [codec.encode(v) for v in values]
    items = sent
    for way in ways:
        items = ask(way, items)
        assert not [i for i in items if isinstance(i, refused)]
    assert items == sent
    for v, data in zip(values, items):
        back = codec.decode(data)
        assert type(back) is type(v) and back == v


def test_bits_of_floats_stay(ask, codec):
    rng = random.Random(19)
    floats = [struct.unpack("<d", rng.getrandbits(64).to_bytes(8, "little"))[0] for _ in range(2000)]
    floats += [struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000001 + rng.getrandbits(40)))[0] for _ in range(200)]
    sent = [codec.encode([x, complex(x, -x)]) for x in floats]
    assert ask("M", sent) == sent


# What one side takes and the other does not, by intention: a duration that no timedelta holds, and a decimal of 10^1024 and more as a key.
ON_PURPOSE = {("accepted", "limit_exceeded"), ("invalid_parameter", "accepted")}


def test_hostile_bytes_are_judged_alike(ask, refused, codec, monkeypatch):
    """Good values with bytes changed: host and Python accept the same ones, and mean the same."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # which reads a table, where host and codec see its bytes only
    rng = random.Random(23)
    changed = []
    for _ in range(5000):
        data = bytearray(codec.encode(value(rng, 2)))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.choice((rng.getrandbits(8), 0xC7, 0xC9, rng.randint(0, 18), 0xFF))
        changed.append(bytes(data))
    accepted = 0
    for data, answer in zip(changed, ask("M", changed)):
        here = answer.error if isinstance(answer, refused) else "accepted"
        try:
            meant, there = codec.decode(data), "accepted"
        except ValueError as e:
            there = e.code
        if (here, there) in ON_PURPOSE:
            continue
        assert (here == "accepted") == (there == "accepted"), (data.hex(), here, there)
        if here == "accepted":
            accepted += 1
            # Sorted: the order of a Python set that holds a NaN is another each time.
            assert sorted(codec.encode(codec.decode(answer))) == sorted(codec.encode(meant)), data.hex()
    assert accepted > 500
