"""host -> Python -> host gives an equal value, for every kind of this slice, over every channel and codec; Python's json is the oracle of JSON."""

from __future__ import annotations

import base64
import json
import math
import os
import pathlib

import pytest
from hostile.host import RING, SOCKET, Host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ADAPTER = str(pathlib.Path(__file__).parent / "hostile" / "adapter.py") + ":Hostile"
WAYS = {"ring": {"channel": RING}, "socket": {"channel": SOCKET}, "pure": {"env": ["SNAKEPIT_NO_EXTENSION=1"]}}
FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=WAYS)
def host(request, build, python):
    left_out = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "SNAKEPIT_GUARD", "SNAKEPIT_PYTHON_PACKAGE"}
    environ = {**{k: v for k, v in os.environ.items() if k not in left_out}, "SNAKEPIT_PYTHON": python}
    with Host(build, environ, adapter=ADAPTER, **WAYS[request.param]) as opened:
        yield opened


texts = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.one_of(
    st.integers(),
    st.integers(-(2**64), 2**64),
    st.sampled_from(
        [
            sign * (2**bits + d)
            for sign in (1, -1)
            for bits in (7, 8, 15, 16, 31, 32, 53, 63, 64, 65, 128, 4096)
            for d in (-1, 0, 1)
        ]
    ),
)
floats = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 5e-324, -2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1e16, 1e22, 2.0**53]),
)
scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts, st.binary())
# NaN is left out as a key: Python keeps two of them apart, the host does not
keys = st.recursive(
    st.one_of(st.none(), st.booleans(), integers, st.floats(allow_nan=False), texts, st.binary()),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)
exceptions = st.builds(
    lambda type, message, traceback, notes: Exc(type, message, traceback, notes, None),
    st.text("abcXYZ.", min_size=1, max_size=20),
    texts,
    st.none() | texts,
    st.lists(texts, max_size=3),
)
values = st.recursive(
    st.one_of(scalars, exceptions),
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(texts, inner), st.dictionaries(keys, inner, max_size=5)
    ),
    max_leaves=25,
)


class Exc:
    def __init__(self, type, message, traceback, notes, cause):
        self.parts = {"type": type, "message": message, "traceback": traceback, "notes": notes, "cause": cause}

    def __repr__(self):
        return f"Exc({self.parts})"


def tagged(value):
    """The JSON form of docs/wire.md, written by the rules there and by nothing of ours."""
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else {"$pit": "bigint", "v": str(value)}
    if kind is float:
        if math.isfinite(value):
            return value
        return {"$pit": "float", "v": "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}
    if kind is bytes:
        return {"$pit": "bytes", "b64": base64.b64encode(value).decode()}
    if kind is list:
        return [tagged(item) for item in value]
    if kind is tuple:
        return {"$pit": "tuple", "v": [tagged(item) for item in value]}
    if kind is Exc:
        return {"$pit": "exception", **value.parts}
    if all(type(key) is str and not key.startswith("$pit") for key in value):
        return {key: tagged(item) for key, item in value.items()}
    return {"$pit": "map", "v": [[tagged(key), tagged(item)] for key, item in value.items()]}


def canonical(document):
    """Text that tells 1 from 1.0 and True, and -0.0 from 0.0, and keeps the order of keys."""
    return json.dumps(document, ensure_ascii=True)


@FEW
@given(value=values)
def test_every_kind_comes_back_equal(host, value):
    sent = tagged(value)
    result = host.outcome(host.ask("call", command="echo", json=json.dumps([sent])))
    assert canonical(result) == canonical(sent)


@FEW
@given(value=values)
def test_futures_say_the_same(host, value):
    sent = tagged(value)
    assert canonical(host.start("submit", "echo", sent).result()) == canonical(sent)


plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), texts
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts.filter(lambda k: not k.startswith("$pit")), inner)),
    max_leaves=25,
)


@FEW
@given(value=plain, indent=st.sampled_from([None, 0, 3]), ascii=st.booleans())
def test_json_as_python_reads_and_writes_it(host, value, indent, ascii):
    text = json.dumps([value], indent=indent, ensure_ascii=ascii)
    answer = host.ask("call", command="echo", json=text)
    assert answer["rc"] == 0, answer
    assert canonical(json.loads(answer["result"])) == canonical(value)


@FEW
@given(text=st.one_of(st.text(max_size=30), st.text('[]{}":,0123456789.eE+-tfnul\\ \n', max_size=30)))
def test_texts_that_are_no_json(host, text):
    """What Python's json takes, we take with the same value; what it refuses, we refuse. Where the two differ by design is listed."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    try:
        expected = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError):
        expected = refuse
    answer = host.ask("call", command="both", json=text)
    if expected is refuse:
        assert answer["name"] in ("deserialization_failed", "duplicate_key", "invalid_utf8"), (text, answer)
    elif answer["rc"] != 0:
        # a double cannot hold it; or the worker refused a key that is no name of an argument
        assert answer["name"] in ("deserialization_failed", "invalid_utf8", "type_error"), (text, answer)
        assert has_infinity(expected) or "\\u" in text or answer["name"] == "type_error"


def unique(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def refuse(name):
    raise ValueError(name)


def has_infinity(value):
    if isinstance(value, dict):
        return any(has_infinity(item) for item in value.values())
    if isinstance(value, list):
        return any(has_infinity(item) for item in value)
    return isinstance(value, float) and not math.isfinite(value)
