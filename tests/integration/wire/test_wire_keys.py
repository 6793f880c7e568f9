"""Keys and items of sets are equal for the host exactly when they are for Python: numbers of every kind, alone and inside tuples and frozensets."""

from __future__ import annotations

import datetime
import random
from decimal import Decimal, localcontext
from fractions import Fraction

import kinds
import pieces


def packed(v):
    """MessagePack by hand: no codec of ours has a part in it."""
    if v is None or isinstance(v, bool):
        return b"\xc0" if v is None else b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        return (
            kinds.integer(v)
            if 0 <= v < 2**64
            else b"\xd3" + v.to_bytes(8, "big", signed=True)
            if -(2**63) <= v < 0
            else pieces.big(v)
        )
    if isinstance(v, float):
        return kinds.f64(v)
    if isinstance(v, complex):
        return kinds.complex_(v.real, v.imag)
    if isinstance(v, str):
        return pieces.text(v)
    if isinstance(v, tuple):
        return pieces.tup(*map(packed, v))
    if isinstance(v, frozenset):
        return kinds.frozenset_(*map(packed, v))
    if isinstance(v, datetime.datetime):
        return stamped(v)
    sign, digits, exponent = v.as_tuple()
    if exponent == "F":
        return kinds.decimal("", 0, bool(sign), 1)
    return kinds.decimal("".join(map(str, digits)), exponent, bool(sign))


def stamped(v):
    naive = v.tzinfo is None
    sec = int((v.replace(tzinfo=datetime.timezone.utc) if naive else v).timestamp())
    return kinds.datetime(sec, v.microsecond * 1000, None if naive else int(v.utcoffset().total_seconds()))


def exactly(x):
    """The decimal that a float is, with all its digits."""
    with localcontext() as context:
        context.prec = 2000
        return Decimal(x)


def numbers(rng, count):
    """Numbers of which many are equal, or nearly."""
    found = []
    while len(found) < count:
        base = rng.choice((rng.randint(-5, 5), rng.getrandbits(rng.randint(1, 100)), 2 ** rng.randint(0, 1020), 10 ** rng.randint(0, 40),
                           rng.randint(-99, 99) / 8, rng.random(), 5e-324, 0.1, 1e300, rng.random() * 2.0 ** rng.randint(-1060, 1000)))  # fmt: skip
        forms = [
            base,
            Decimal(base),
            exactly(float(base)),
            float(base),
            complex(float(base)),
            complex(float(base), rng.choice((0, 1, -0.0))),
        ]
        if float(base).is_integer():
            forms += [int(base), int(float(base)), Decimal(int(base)) * 10, int(base) * 10, Decimal(int(base)).scaleb(-1), True]
        exact = exactly(float(base))
        with localcontext() as context:
            context.prec = 2000
            forms += [-exact, exact + Decimal(10) ** -30, exact.normalize()]
            if exact.as_tuple().exponent > -1000:
                forms.append(exact.quantize(Decimal((0, (1,), min(exact.as_tuple().exponent, 0) - 3))))
        found += rng.sample(forms, 3)
    found += [
        Decimal("Infinity"),
        float("inf"),
        Decimal("-Infinity"),
        float("-inf"),
        Decimal("-0"),
        -0.0,
        complex(0, -0.0),
        Decimal("0E+900"),
    ]
    rng.shuffle(found)
    return [n for n in found if not (isinstance(n, Decimal) and n.is_finite() and n.adjusted() >= 1024)]


def verdicts(ask, refused, sets):
    answers = ask("M", [kinds.set_(*map(packed, items)) for items in sets])
    for answer in answers:
        assert not isinstance(answer, refused) or answer.error == "duplicate_key", answer
    return [isinstance(answer, refused) for answer in answers]


def equal(a, b):
    return a == b and hash(a) == hash(b)


def test_pairs_of_numbers(ask, refused):
    rng = random.Random(3)
    pool = numbers(rng, 1500)
    pairs = [(a, b) for i, a in enumerate(pool) for b in (pool[i - 1], rng.choice(pool), pool[i - 2])]
    pairs += [(a, b) for i in range(0, len(pool), 40) for a in pool[i : i + 40] for b in pool[i : i + 40]]
    expected = [equal(a, b) for a, b in pairs]
    assert 1000 < sum(expected) < len(pairs) - 1000
    for pair, twice, want in zip(pairs, verdicts(ask, refused, pairs), expected):
        assert twice == want, pair


def test_numbers_that_are_nearly_a_float(ask, refused):
    """Around a float: the exact decimal, and those that differ from it in the last place or far behind."""
    rng = random.Random(5)
    pairs = []
    while len(pairs) < 6000:
        x = rng.random() * 2.0 ** rng.randint(-1070, 60)
        if x == 0:
            continue
        sign, digits, exponent = exactly(x).as_tuple()
        for change in (0, 1, -1):
            n = int("".join(map(str, digits))) + change
            near = Decimal((sign, tuple(map(int, str(n))), exponent))
            assert (Fraction(near) == Fraction(x)) == (change == 0)
            pairs.append((x, near))
    twice = verdicts(ask, refused, pairs)
    assert twice == [i % 3 == 0 for i in range(len(pairs))]


def wrapped(rng, n, depth):
    kind = rng.random()
    if depth == 0 or kind < 0.5:
        return n
    if kind < 0.75:
        return (wrapped(rng, n, depth - 1), rng.choice(("x", 1)))
    return frozenset([wrapped(rng, n, depth - 1), *rng.sample((1, 2, "x", None, (1,)), rng.randint(0, 3))])


def test_sets_of_many(ask, refused):
    """Sets of all sizes of numbers, tuples and frozensets: refused exactly when Python finds fewer items than were given."""
    rng = random.Random(11)
    pool = numbers(rng, 150)
    sets = []
    for _ in range(3000):
        size = rng.choice((2, 3, 5, 8, 9, 12, 30))
        items = [wrapped(rng, rng.choice(pool), 3) for _ in range(size)]
        sets.append(items if rng.random() < 0.5 else list(dict.fromkeys(items)))
    expected = [len(set(items)) != len(items) for items in sets]
    assert 300 < sum(expected) < len(sets) - 300
    for items, twice, want in zip(sets, verdicts(ask, refused, sets), expected):
        assert twice == want, items


def test_instants(ask, refused):
    rng = random.Random(13)
    zones = [None, *(datetime.timezone(datetime.timedelta(minutes=m)) for m in (0, 60, -300, 345))]
    start = datetime.datetime(2026, 1, 1)
    pool = [
        (start + datetime.timedelta(minutes=15 * rng.randint(-40, 40))).replace(tzinfo=rng.choice(zones)) for _ in range(300)
    ]
    pairs = [(a, b) for a in pool[:80] for b in pool]
    assert verdicts(ask, refused, pairs) == [a == b for a, b in pairs]
