"""Frames in pure Python, against docs/wire.md and the vectors."""

import json
from pathlib import Path

import bridge_host
import pytest
from snakepit_bridge import _wire
from snakepit_bridge._wire import ProtocolError

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "frames.json"
KINDS = {"hello": 1, "welcome": 2, "ready": 3, "failed": 4, "stop": 5, "call": 16, "result": 17, "error": 18, "log": 56}


def test_what_is_built_is_parsed():
    frame = _wire.parse(_wire.build(_wire.RESULT, b"\x05", 7, 9))
    assert (frame.kind, frame.flags, frame.id, frame.stamp, frame.fields) == (17, 0, 7, 9, b"")
    assert frame.data[frame.start :] == b"\x05"


def test_fields():
    data = bridge_host.frame(16, b"\xc0", 1, fields=[(200, b"later"), (1, b"s1"), (2, b"c"), (1, b"second")])
    frame = _wire.parse(data)
    assert _wire.field(frame.fields, _wire.FIELD_SESSION) == b"s1"
    assert _wire.field(frame.fields, _wire.FIELD_CORRELATION) == b"c"
    assert _wire.field(frame.fields, _wire.FIELD_METADATA) is None
    assert frame.data[frame.start :] == b"\xc0"


@pytest.mark.parametrize("fields", [b"\x01", b"\x01\x01\x00\x00", b"\x01\x00\x05\x00abc"])
def test_malformed_fields(fields):
    with pytest.raises(ProtocolError):
        _wire.field(fields, _wire.FIELD_METADATA)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: b"\x02" + d[1:],
        lambda d: d[:2] + b"\x10" + d[3:],
        lambda d: d[:3] + b"\x01" + d[4:],
        lambda d: d + b"x",
        lambda d: d[:2] + b"\x01" + d[3:],
    ],
    ids=["version", "flag", "high flag", "size", "no fields"],
)
def test_what_is_no_frame(change):
    with pytest.raises(ProtocolError):
        _wire.parse(change(_wire.build(_wire.STOP, b"")))


def vectors():
    return json.loads(VECTORS.read_text()) if VECTORS.exists() else []


@pytest.mark.parametrize("vector", [v for v in vectors() if "error" not in v], ids=lambda v: v["name"])
def test_vectors(vector):
    frame = _wire.parse(bytes.fromhex(vector["hex"]))
    assert (frame.flags, frame.id, frame.stamp) == (vector["flags"], vector["id"], vector["stamp"])
    assert KINDS.get(vector["kind"], frame.kind) == frame.kind
    assert frame.data[frame.start :].hex() == vector["payload"]
    for tag, data in vector["fields"].items():
        assert _wire.field(frame.fields, int(tag)).hex() == data
