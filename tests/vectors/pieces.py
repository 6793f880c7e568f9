"""Pieces of which the vectors are made: MessagePack put together by hand, tagged JSON, rows of values.json. See make.py."""

import json
import struct


def ext32(code, payload):
    return b"\xc9" + struct.pack(">IB", len(payload), code) + payload


def head(n, fix, limit, two, four):
    if n < limit:
        return bytes([fix | n])
    return bytes([two]) + struct.pack(">H", n) if n < 1 << 16 else bytes([four]) + struct.pack(">I", n)


def array(*items):
    return head(len(items), 0x90, 16, 0xDC, 0xDD) + b"".join(items)


def mapping(*entries):
    return head(len(entries), 0x80, 16, 0xDE, 0xDF) + b"".join(k + v for k, v in entries)


def text(s):
    b = s.encode()
    if len(b) < 32:
        return bytes([0xA0 | len(b)]) + b
    if len(b) < 256:
        return b"\xd9" + bytes([len(b)]) + b
    return head(len(b), 0, 0, 0xDA, 0xDB) + b


def tup(*items):
    return ext32(2, array(*items))


def exception(type, message="", traceback=None, notes=(), cause=None):
    return ext32(
        4,
        mapping(
            (text("type"), text(type)),
            (text("message"), text(message)),
            (text("traceback"), b"\xc0" if traceback is None else text(traceback)),
            (text("notes"), array(*[text(n) for n in notes])),
            (text("cause"), b"\xc0" if cause is None else cause),
        ),
    )


def exception_json(type, message="", traceback=None, notes=(), cause=None):
    return {"$pit": "exception", "type": type, "message": message, "traceback": traceback, "notes": list(notes), "cause": cause}


def big(n):
    size = next(s for s in range(9, 200000) if -(1 << (8 * s - 1)) <= n < 1 << (8 * s - 1))
    payload = n.to_bytes(size, "big", signed=True)
    if size == 16:
        return b"\xd8\x01" + payload
    if size < 256:
        return b"\xc7" + bytes([size, 1]) + payload
    return (b"\xc8" + struct.pack(">H", size) if size < 1 << 16 else b"\xc9" + struct.pack(">I", size)) + b"\x01" + payload


def big_json(n):
    return {"$pit": "bigint", "v": str(n)}


def tagged(kind, v, **more):
    return {"$pit": kind, "v": v, **more}


def ext(code, payload):
    """With the shortest head."""
    n = len(payload)
    if n in (1, 2, 4, 8, 16):
        return bytes([0xD4 + n.bit_length() - 1, code]) + payload
    if n < 256:
        return bytes([0xC7, n, code]) + payload
    return (b"\xc8" + struct.pack(">H", n) if n < 1 << 16 else b"\xc9" + struct.pack(">I", n)) + bytes([code]) + payload


def nested(opening, closing, inner, depth):
    return opening * depth + inner + closing * depth


class Rows(list):
    """The rows of values.json. Bytes are given as such or in hexadecimal."""

    def good(self, name, data, meaning, encodes_as=None):
        row = {"name": name, "hex": as_bytes(data).hex(), "json": json.dumps(meaning)}
        if encodes_as is not None:
            row["encodes_as"] = as_bytes(encodes_as).hex()
        self.append(row)

    def bad(self, name, data, error, python=True):
        row = {"name": name, "hex": as_bytes(data).hex(), "error": error}
        if not python:
            row["python"] = False
        self.append(row)


def as_bytes(data):
    return bytes.fromhex(data) if isinstance(data, str) else data
