"""Every kind of value through a real host and a real worker: what comes back, what Python's own objects become, what stands for the rest."""

from __future__ import annotations

import base64
import datetime
import json
import os
import pathlib
import re

import pytest
from hostile.host import RING, SOCKET, Host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = pathlib.Path(__file__).parent
ADAPTER = str(HERE / "hostile" / "values.py") + ":Values"
WAYS = {"ring": {"channel": RING}, "socket": {"channel": SOCKET}, "pure": {"env": ["SNAKEPIT_NO_EXTENSION=1"]}}
FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=WAYS)
def host(request, build, python):
    left_out = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "SNAKEPIT_GUARD", "SNAKEPIT_PYTHON_PACKAGE"}
    environ = {**{k: v for k, v in os.environ.items() if k not in left_out}, "SNAKEPIT_PYTHON": python}
    with Host(build, environ, adapter=ADAPTER, **WAYS[request.param]) as opened:
        yield opened


# ---- what is equal: Python's times end with microseconds, its sets have an order of their own ----


def cut(kind, text):
    """The text of a time without what is behind its microseconds."""
    head, fraction, tail = re.fullmatch(
        r"(.*?)(?:\.(\d+))?((?:[+-][0-9:]+)?)", text if "T" not in text else text.split("T", 1)[1]
    ).groups()
    date = text.split("T", 1)[0] + "T" if "T" in text else ""
    if kind == "duration":
        whole, fraction = text.lstrip("-").partition(".")[::2]
        ns = int(whole) * 10**9 + int((fraction + "0" * 9)[:9])
        us = (-ns if text.startswith("-") else ns) // 1000
        head, tail = ("-" if us < 0 else "") + str(abs(us) // 10**6), ""
        fraction = f"{abs(us) % 10**6:06d}"
    fraction = (fraction or "")[:6].rstrip("0")
    return date + head + ("." + fraction if fraction else "") + tail


def canonical(form):
    """Two forms are equal values if these are equal texts."""
    return json.dumps(settle(form))


def settle(form):
    if isinstance(form, list):
        return [settle(item) for item in form]
    if not isinstance(form, dict):
        return form
    kind = form.get("$pit")
    if kind in ("datetime", "time", "duration"):
        return {**form, "v": cut(kind, form["v"])}
    if kind == "set":
        return {**form, "v": sorted((settle(item) for item in form["v"]), key=json.dumps)}
    return {key: settle(item) for key, item in form.items()}


def has_plain_tensor(form):
    """An array of no dimensions comes back as the number that it is."""
    return isinstance(form, dict) and form.get("$pit") == "tensor" and not form["shape"]


def vectors():
    for vector in json.loads((HERE.parent / "vectors" / "values.json").read_text()):
        if "json" in vector and vector.get("python", True) and not has_plain_tensor(json.loads(vector["json"])):
            yield vector["name"], json.loads(vector["json"])


def test_the_vectors_come_back(host):
    seen = 0
    for name, form in vectors():
        text = json.dumps(form)
        if len(text) > 1 << 20 or text.count("[") + text.count("{") >= 128:  # as an argument it would be a level deeper
            continue
        result = host.call("echo", form)
        assert canonical(result) == canonical(form), name
        seen += 1
    assert seen > 200


# ---- any values of the kinds that JSON has not ----

fraction = st.sampled_from([0, 0, 500_000_000, 1000, 999_999_999, 1]) | st.integers(0, 999_999_999)
offsets = st.none() | st.integers(-86399, 86399)
hours = st.integers(0, 86399)


def shown(seconds, ns, offset=None):
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{ns:09d}".rstrip("0") if ns else "")
    if offset is None:
        return text
    rest = abs(offset)
    text += f"{'-' if offset < 0 else '+'}{rest // 3600:02}:{rest // 60 % 60:02}"
    return text + (f":{rest % 60:02}" if rest % 60 else "")


def duration(seconds, ns):
    total = seconds * 10**9 + ns
    text = ("-" if total < 0 else "") + str(abs(total) // 10**9)
    return text + (f".{abs(total) % 10**9:09d}".rstrip("0") if total % 10**9 else "")


dates = st.dates(datetime.date(2, 1, 1), datetime.date(9998, 12, 31)).map(lambda d: d.isoformat())
decimals = st.decimals(allow_nan=False).map(str)
hashables = st.one_of(
    dates.map(lambda d: {"$pit": "date", "v": d}),
    st.builds(
        lambda d, s, n, o: {"$pit": "datetime", "v": f"{d}T{shown(s, n // 1000 * 1000, o)}"}, dates, hours, fraction, offsets
    ),
    st.builds(lambda s, n, o: {"$pit": "time", "v": shown(s, n // 1000 * 1000, o)}, hours, fraction, offsets),
    st.builds(
        lambda s, n: {"$pit": "duration", "v": duration(s, n // 1000 * 1000)},
        st.integers(-86400 * 999999999, 86399 * 999999999),
        fraction,
    ),
    decimals.map(lambda d: {"$pit": "decimal", "v": d}),
    st.tuples(st.floats(0.25, 0.5), st.floats(0.5, 0.75)).map(lambda c: {"$pit": "complex", "v": list(c)}),
)
SIZES = {"u8": 1, "i16": 2, "f32": 4, "bf16": 2, "c128": 16}
tensors = st.builds(
    lambda dtype, shape, seed: {
        "$pit": "tensor",
        "dtype": dtype,
        "shape": shape,
        "b64": base64.b64encode(
            (bytes([seed, 63]) * 8 * shape[0] * shape[-1] * len(shape))[: SIZES[dtype] * size(shape)]
        ).decode(),
    },
    st.sampled_from(sorted(SIZES)),
    st.lists(st.integers(1, 4), min_size=1, max_size=2),
    st.integers(0, 255),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
others = st.one_of(
    st.builds(lambda d, s, n, o: {"$pit": "datetime", "v": f"{d}T{shown(s, n, o)}"}, dates, hours, fraction, offsets),
    st.builds(lambda s, n: {"$pit": "duration", "v": duration(s, n)}, st.integers(-(10**9), 10**9), fraction),
    st.builds(
        lambda i, t, w, s, g: {"$pit": "ref", "id": i, "type": t, "worker": w, "session": s, "generation": g},
        texts,
        texts,
        texts,
        st.none() | texts,
        st.integers(0, 2**64 - 1),
    ),
    texts.map(lambda t: {"__ffi_unserializable__": True, "__type__": t}),
    st.tuples(texts, texts).map(lambda t: {"__ffi_unserializable__": True, "__type__": t[0], "__repr__": t[1]}),
    tensors,
)
sets = st.builds(
    lambda frozen, items: {"$pit": "set", "frozen": frozen, "v": items},
    st.booleans(),
    st.lists(hashables, max_size=4, unique_by=lambda form: (form["$pit"], str(form["v"]))),
)
values = st.recursive(
    hashables | others,
    lambda inner: st.lists(inner, max_size=4) | sets | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def size(shape):
    n = 1
    for dimension in shape:
        n *= dimension
    return n


@FEW
@given(form=values)
def test_every_kind_comes_back(host, form):
    answer = host.ask("call", command="echo", json=json.dumps([form]))
    if answer["rc"] != 0:  # equal decimals, equal moments in different zones
        assert answer["name"] == "duplicate_key", answer
        return
    assert canonical(json.loads(answer["result"])) == canonical(form)


# ---- what Python's own objects become ----


@pytest.mark.parametrize(
    "dtype", ["bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "f32", "f64", "c64", "c128"]
)
def test_arrays_of_python(host, dtype):
    result = host.call("array", dtype)
    data = base64.b64decode(result.pop("b64"))
    assert result == {"$pit": "tensor", "dtype": dtype, "shape": [2, 3]}
    assert host.call("tobytes", dtype) == {"$pit": "bytes", "b64": base64.b64encode(data).decode()}


def test_arrays_arrive_as_arrays(host):
    form = {"$pit": "tensor", "dtype": "f32", "shape": [2, 2], "b64": base64.b64encode(bytes(12) + b"\0\0\x80?").decode()}
    assert host.call("describe", form) == ["ndarray", "float32", {"$pit": "tuple", "v": [2, 2]}, True, 1.0]


def test_a_large_array_comes_back(host):
    assert host.call("large", 5_000_000) == 5_000_000.0


def test_what_is_converted(host):
    assert host.call("converted") == {
        "dataclass": {"a": 1, "b": {"$pit": "date", "v": "2026-11-21"}},
        "named": {"x": 1, "y": 2},
        "enum": "red",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "path": "/tmp/x",
        "registered": {"$pit": "tuple", "v": ["money", 5]},
        "scalar": 1.5,
    }


def test_nanoseconds_are_told(host):
    form = {"$pit": "datetime", "v": "2026-11-21T06:13:42.000000001"}
    assert host.call("truncated", [form]) is True
    assert host.call("truncated", [{**form, "v": "2026-11-21T06:13:42.000001"}]) is False


def test_parameters_are_checked(host):
    assert host.call("declared", 1.5) == 1.5
    failed = host.fails("declared", 3)
    assert failed.code == "invalid_parameter" and failed.details["parameter"] == "temperature"


# ---- what goes wrong ----


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("repr", {"__ffi_unserializable__": True, "__type__": "values.Raises"}),
        ("to_dict", {"__ffi_unserializable__": True, "__type__": "values.Raises"}),
        ("endless", "limit_exceeded"),
        ("hash", "unserializable"),
        ("too many", {"__ffi_unserializable__": True, "__type__": "numpy.ndarray"}),
        ("colliding", 2000),
        ("fine", "iso"),
    ],
)
def test_objects_that_misbehave(host, what, expected):
    answer = host.ask("call", command="odd", json=json.dumps([what]))
    if isinstance(expected, str) and expected.count("_") + (expected == "unserializable"):
        assert answer["name"] == expected
    else:
        assert json.loads(answer["result"]) == expected
    assert host.call("echo", 1) == 1


def test_many_types_of_objects_hold_up_nobody(host):
    """Each of the first ten thousand types is reported while the call runs; the host takes that meanwhile."""
    result = host.call("odd", "many types")
    assert len(result) == 12_000 and all(entry["__type__"].startswith("values.") for entry in result)
    assert host.call("echo", 1) == 1


MARKER, REF, ERROR = 1, 2, 3


@pytest.mark.parametrize("policy", [MARKER, REF, ERROR])
def test_the_caller_chooses_what_becomes_of_objects(host, policy):
    answer = host.ask("call", command="odd", json='["repr"]', on_unserializable=policy)
    if policy == MARKER:
        assert json.loads(answer["result"])["__type__"] == "values.Raises"
    else:
        assert answer["name"] == "unserializable" and "values.Raises" in answer["text"]


COLLIDING = [n * (2**61 - 1) for n in range(2000)]


def test_keys_that_collide_arrive(host):
    form = {"$pit": "map", "v": [[n, None] for n in COLLIDING]}
    assert host.call("count", form) == len(COLLIDING)
    assert host.call("count", {"$pit": "set", "frozen": True, "v": COLLIDING}) == len(COLLIDING)
