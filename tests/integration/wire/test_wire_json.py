"""The host's JSON against Python's: 100,000 documents, some of them broken, must be read alike, and what was written must mean the same."""

from __future__ import annotations

import json
import math
import random

DOCUMENTS = 100_000
TEXTS = [
    "",
    "a",
    "key",
    "ä",
    "\U0001f600",
    "\x00",
    "\x7f",
    "\n\t",
    '"',
    "\\",
    "/",
    "x" * 40,
    "$",
    "$pi",
    "$pitx",
    "\u2028",
    "\ufffe",
    "é" * 9,
]
NUMBERS = [0, 1, -1, 127, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 2**64, -(2**63) - 1, 10**30, 0.0, -0.0, 0.1, 1.5, 1e22, 1e16,
           123456789012345678.0, 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 1e-7, 9007199254740993.0, 100.0]  # fmt: skip
EDITS = '{}[],:"\\/0123456789.eE+-tfnu \t\n\x00\x1fäd8'


def leaf(rng):
    kind = rng.random()
    if kind < 0.2:
        return rng.choice((None, True, False))
    if kind < 0.45:
        return rng.choice(NUMBERS)
    if kind < 0.6:
        return rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300)
    if kind < 0.7:
        return rng.getrandbits(rng.randint(1, 80)) * rng.choice((1, -1))
    return rng.choice(TEXTS) + (rng.choice(TEXTS) if kind > 0.9 else "")


def document(rng, depth):
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return leaf(rng)
    if kind < 0.65:
        return [document(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    return {rng.choice(TEXTS) + str(i) * rng.randint(0, 1): document(rng, depth - 1) for i in range(rng.randint(0, 4))}


def written(rng, value):
    style = rng.random()
    if style < 0.3:
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(
        value, indent=rng.choice((None, None, 1)), separators=rng.choice(((",", ":"), (" , ", " :\t"), (", ", ": ")))
    )


def broken(rng, text):
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + (rng.choice(EDITS) if rng.random() < 0.7 else "") + text[at + rng.randint(0, 1) :]
    return text


class Duplicate(ValueError):
    pass


def pairs(items):
    found = dict(items)
    if len(found) != len(items):
        raise Duplicate
    return found


def number(text):
    x = float(text)
    if math.isinf(x):
        raise ValueError
    return x


def constant(name):
    raise ValueError(name)


DECODER = json.JSONDecoder(object_pairs_hook=pairs, parse_float=number, parse_constant=constant)


def by_python(text):
    """(what it means, None) or (None, the errors that may be reported)."""
    try:
        value = DECODER.decode(text)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None, {"invalid_utf8"}
    except Duplicate:
        return None, {"duplicate_key", "deserialization_failed", "invalid_utf8"}
    except ValueError:
        return None, {"deserialization_failed", "duplicate_key", "invalid_utf8"}
    return value, None


def plain(value):
    """Without the tagged forms that can come of plain JSON."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        tag = value.get("$pit")
        if tag == "bigint":
            return int(value["v"])
        if tag == "map":
            return {k: plain(v) for k, v in value["v"]}
        return {k: plain(v) for k, v in value.items()}
    return value


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and (not isinstance(a, float) or math.copysign(1, a) == math.copysign(1, b))


def test_documents_mean_the_same(ask, refused):
    rng = random.Random(20260101)
    texts = []
    for i in range(DOCUMENTS):
        text = written(rng, document(rng, rng.randint(0, 3)))
        texts.append(broken(rng, text) if i % 3 == 0 else text)
    answers = ask("J", [t.encode() for t in texts])
    good = bad = 0
    for text, answer in zip(texts, answers):
        value, errors = by_python(text)
        if errors is not None:
            bad += 1
            assert isinstance(answer, refused) and answer.error in errors, (text, answer)
            continue
        good += 1
        assert not isinstance(answer, refused), (text, answer)
        assert same(plain(json.loads(answer)), value), (text, answer)
    assert good > DOCUMENTS // 2 and bad > DOCUMENTS // 10


def test_floats_are_written_as_python_writes_them(ask):
    rng = random.Random(7)
    floats = [x for x in NUMBERS if isinstance(x, float)]
    while len(floats) < 20_000:
        x = float.fromhex(f"{rng.choice('-+')}0x1.{rng.getrandbits(52):013x}p{rng.randint(-1074, 1023)}")
        floats += [x, round(x, 3) if abs(x) < 1e15 else x, float(rng.getrandbits(rng.randint(1, 60)))]
    texts = [repr(x).encode() for x in floats]
    assert ask("J", texts) == texts
