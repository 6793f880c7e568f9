#!/usr/bin/env python3
"""Makes the first inputs of the fuzz targets for frames, values, JSON, HELLO, tool calls and credits out of the test vectors, into tests/fuzz/corpus/.

Only small ones: what is large finds nothing that a fuzzer cannot reach from there.
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors")
sys.path.insert(0, VECTORS)

import make  # noqa: E402

SMALL = 300


def rows(name):
    with open(os.path.join(VECTORS, name), encoding="ascii") as f:
        return json.load(f)


def write(target, contents):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    for i, data in enumerate(d for d in dict.fromkeys(contents) if len(d) <= SMALL):
        with open(os.path.join(folder, f"{i:03}"), "wb") as f:
            f.write(data)


def packed(v):
    """Just enough of an encoder for the maps of a handshake."""
    if v is None or isinstance(v, bool):
        return b"\xc0" if v is None else b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        return bytes([v]) if 0 <= v < 128 else b"\xce" + v.to_bytes(4, "big")
    if isinstance(v, bytes):
        return b"\xc4" + bytes([len(v)]) + v
    if isinstance(v, str):
        return make.text(v)
    if isinstance(v, list):
        return make.array(*map(packed, v))
    return make.mapping(*((packed(k), packed(x)) for k, x in v.items()))


def main():
    values = [bytes.fromhex(r["hex"]) for r in rows("values.json")]
    write("value", values + [bytes.fromhex(r["hex"]) for r in rows("args.json")])
    write("json", [r["json"].encode() for r in rows("values.json") if "json" in r] + [
        b"", b" ", b"[1,]", b'{"a":1,"a":2}', b'"\\ud800"', b"1e999", b"[1.5e-7, -0.0]", b"\xef\xbb\xbf1",
        b'{"$pit":"bytes","b64":"A==="}', b'{"$pit":"map","v":[[[],1]]}', b'{"$pit":"tuple","v":1}',
    ])  # fmt: skip
    runtime = {"language": "python", "version": "3.11.2", "implementation": "cpython", "platform": "linux", "extension": True,
               "extension_error": None, "gil": True}  # fmt: skip
    hello = {
        "protocol_min": 1,
        "protocol_max": 1,
        "pid": 70000,
        "secret": bytes(16),
        "channels": ["ring", "socket"],
        "runtime": runtime,
    }
    ready = {"tools": [{"name": "add", "description": "", "parameters": [{"name": "a", "required": True}]}], "capabilities": [],
             "gil_enabled": True}  # fmt: skip
    failed = {"code": "adapter_init_failed", "message": "no", "python": {"type": "ValueError", "message": "no", "traceback": "T", "notes": ["n"]},
              "details": {"key": "x"}, "suggestions": ["y"]}  # fmt: skip
    errors = [packed(m) for m in (hello, ready, failed)]
    write("hello", errors)
    tools = []
    args = [b"", packed({"a": 1}), make.array(packed(1), packed("x")), packed([])]
    for name in ("echo", "fail", "nowhere", "a" * 65, "", "sp ace"):
        tools += [bytes([0, 0]) + packed(name) + a for a in args]
    field = packed({"blob": b"abc"})
    tools += [bytes([5, len(field)]) + field + packed("echo") + args[1], bytes([1, len(field)]) + field + packed("echo"), b"\x02\x00",
              bytes([5, 1]) + b"\x01" + packed("echo"), b"\x00\x00\x07"]  # fmt: skip
    write("tool_call", tools)
    step = bytes([3, 2, 3, 100])
    write("credit", [bytes([7, 100]) + step * 4, bytes([0, 1]) + bytes([1, 2, 1, 1]) * 3, bytes([7, 9, 7, 4]) + b"\x02\xcd\x01\x00" + b"\x00\x0a\x01\xcf" + b"\xff" * 8,
                     b"\x87\x01\x01\x02\x00\x00"])  # fmt: skip
    frames = [bytes.fromhex(r["hex"]) for r in rows("frames.json")]
    for kind, payload in ((1, errors[0]), (3, errors[1]), (4, errors[2]), (18, errors[2])):
        frames.append(bytes([1, kind, 0, 0]) + (24 + len(payload)).to_bytes(4, "little") + bytes(16) + payload)
    write("frame", frames)


if __name__ == "__main__":
    main()
