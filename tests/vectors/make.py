#!/usr/bin/env python3
"""Makes the test vectors of the wire format: values.json, args.json, frames.json. Writes them beside itself; --check compares.

Every codec is tested against them: the one in C, the C extension, the one in Python, and whatever a worker in another language
brings. So this script uses none of them: the bytes are put together here, most of them by hand, after docs/wire.md.

values.json: {name, hex, json | error, encodes_as?}. `json` is a text: the tagged form (docs/wire.md, section 4). The bytes of
a vector without `encodes_as` are canonical: encoding the value gives them again; otherwise encoding gives `encodes_as`.
`error` is the code with which decoding must be refused. "python": false: only the host has to refuse it.
cli/check_vectors.h: the values of moderate size, as snakepit worker-check sends them.
args.json: {name, hex, positional, keywords}: the arguments of a CALL. frames.json: {name, hex, kind, ... | error}.
"""

import base64
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import kinds  # noqa: E402
from pieces import (  # noqa: E402
    Rows,
    array,
    big,
    big_json,
    exception,
    exception_json,
    ext32,
    mapping,
    nested,
    tagged,
    text,
    tup,
)


def scalars(r):
    r.good("nil", "c0", None)
    r.good("true", "c3", True)
    r.good("false", "c2", False)
    ints = {
        0: "00", 1: "01", 127: "7f", 128: "cc80", 255: "ccff", 256: "cd0100", 65535: "cdffff", 65536: "ce00010000",
        2**32 - 1: "ceffffffff", 2**32: "cf0000000100000000", 2**53 + 1: "cf0020000000000001", 2**63 - 1: "cf7fffffffffffffff",
        2**63: "cf8000000000000000", 2**64 - 1: "cfffffffffffffffff",
        -1: "ff", -32: "e0", -33: "d0df", -128: "d080", -129: "d1ff7f", -32768: "d18000", -32769: "d2ffff7fff",
        -(2**31): "d280000000", -(2**31) - 1: "d3ffffffff7fffffff", -(2**63): "d38000000000000000",
    }  # fmt: skip
    for n, data in ints.items():
        r.good(f"int {n}", data, n)
    r.good("int 1 as uint8", "cc01", 1, "01")
    r.good("int 1 as uint64", "cf0000000000000001", 1, "01")
    r.good("int 1 as int64", "d30000000000000001", 1, "01")
    r.good("int -1 as int32", "d2ffffffff", -1, "ff")
    r.good("bigint 2^64", "c7090101" + "00" * 8, tagged("bigint", str(2**64)))
    r.good("bigint -2^63-1", "c70901ff" + "7f" + "ff" * 7, tagged("bigint", str(-(2**63) - 1)))
    r.good("bigint -2^64", "c70901ff" + "00" * 8, tagged("bigint", str(-(2**64))))
    r.good("bigint -2^127 in 16 bytes", "d80180" + "00" * 15, tagged("bigint", str(-(2**127))))
    for n in (10**40, -(10**40), 2**127, 3**700, -(3**700), 2**2047 - 1, -(2**2047), 7**6000):
        r.good(f"bigint of {n.bit_length()} bits{' negative' if n < 0 else ''}", big(n), big_json(n))
    r.good("bigint with sign bytes to spare", "d801" + "00" * 7 + "01" + "00" * 8, big_json(2**64), big(2**64))
    r.good("bigint that fits 64 bits", "d40105", 5, "05")
    r.good("bigint that fits 64 bits, negative", "c70301ffff80", -128, "d080")
    r.bad("bigint without bytes", "c70001", "deserialization_failed")


def floats(r):
    numbers = {"0.0": 0.0, "-0.0": -0.0, "1.5": 1.5, "0.1": 0.1, "-1e300": -1e300, "5e-324": 5e-324, "3.0": 3.0, "1e22": 1e22,
              "1.7976931348623157e308": 1.7976931348623157e308, "2^53 + 2": 2.0**53 + 2, "2.2250738585072014e-308": 2.2250738585072014e-308}  # fmt: skip
    for name, x in numbers.items():
        r.good(f"float {name}", b"\xcb" + struct.pack(">d", x), x)
    r.good("float nan", "cb7ff8000000000000", tagged("float", "nan"))
    r.good("float nan with a payload", "cb7ff8000000000123", tagged("float", "nan"))
    r.good("float inf", "cb7ff0000000000000", tagged("float", "inf"))
    r.good("float -inf", "cbfff0000000000000", tagged("float", "-inf"))
    r.good("f32 0.1", b"\xca" + struct.pack(">f", 0.1), struct.unpack(">f", struct.pack(">f", 0.1))[0],
         b"\xcb" + struct.pack(">d", struct.unpack(">f", struct.pack(">f", 0.1))[0]))  # fmt: skip
    r.good("f32 -inf", "caff800000", tagged("float", "-inf"), "cbfff0000000000000")


def texts(r):
    for name, s in {"empty": "", "ascii": "hello", "31 bytes": "a" * 31, "32 bytes": "a" * 32, "255 bytes": "b" * 255,
                    "256 bytes": "c" * 256, "umlauts": "äöü", "with NUL": "a\0b", "emoji": "\U0001f600",
                    "last code point": "\U0010ffff", "noncharacter": "\uffff", "controls": "\x01\x1f\x7f", "quotes": "\"\\/"}.items():  # fmt: skip
        r.good(f"str {name}", text(s), s)
    r.good("str as str32", "db0000000161", "a", "a161")
    for name, data in {"lone surrogate": "a3eda080", "second surrogate": "a3edbfbf", "overlong": "a2c080", "overlong 3": "a3e080af",
                       "beyond U+10FFFF": "a4f4908080", "cut": "a1c3", "continuation": "a180", "fe": "a1fe"}.items():  # fmt: skip
        r.bad(f"str {name}", data, "invalid_utf8")
    r.bad("key with bad UTF-8", "81a1ff01", "invalid_utf8")
    r.good("bytes empty", "c400", {"$pit": "bytes", "b64": ""})
    r.good("bytes one", "c401ff", {"$pit": "bytes", "b64": "/w=="})
    r.good(
        "bytes 256", b"\xc5\x01\x00" + bytes(range(256)), {"$pit": "bytes", "b64": base64.b64encode(bytes(range(256))).decode()}
    )


def containers(r):
    r.good("list empty", "90", [])
    r.good("list", "93c0c2a161", [None, False, "a"])
    r.good("list of 16", array(*[b"\x05"] * 16), [5] * 16)
    r.good("list of 300", array(*[b"\x05"] * 300), [5] * 300)
    r.good("list as array32", "dd0000000101", [1], "9101")
    r.good("tuple empty", tup(), tagged("tuple", []))
    r.good("tuple", tup(b"\x01", text("a"), tup()), tagged("tuple", [1, "a", tagged("tuple", [])]))
    r.good("tuple in the shortest head", "d502" + "9101", tagged("tuple", [1]), tup(b"\x01"))
    r.bad("tuple with bytes behind its items", ext32(2, array(b"\x01") + b"\x02"), "deserialization_failed")
    r.bad("tuple longer than its extension", "d5029201" + "02", "deserialization_failed")
    r.bad("tuple of a map", ext32(2, b"\x80"), "deserialization_failed")
    r.bad("tuple of nothing", ext32(2, b""), "deserialization_failed")
    r.good("map empty", "80", {})
    r.good("map", mapping((text("x"), b"\x01")), {"x": 1})
    r.good("map keeps its order", mapping((text("b"), b"\x01"), (text("a"), b"\x02")), {"b": 1, "a": 2})
    r.good("map of 16", mapping(*[(text(f"k{i}"), bytes([i])) for i in range(16)]), {f"k{i}": i for i in range(16)})
    r.good("map of 1000", mapping(*[(text(f"key {i}"), b"\xc0") for i in range(1000)]), {f"key {i}": None for i in range(1000)})
    r.good("map with a foreign $pit key", mapping((text("$pitfall"), b"\x01")), tagged("map", [["$pitfall", 1]]))
    r.good("map with all kinds of keys",
         mapping((b"\xc0", b"\x01"), (b"\xc3", b"\x02"), (b"\x00", b"\x03"), (b"\xcb" + struct.pack(">d", 0.5), b"\x04"), (text("s"), b"\x05"),
                 (b"\xc4\x01s", b"\x06"), (tup(b"\x01", text("a")), b"\x07"), (big(2**70), b"\x08")),
         tagged("map", [[None, 1], [True, 2], [0, 3], [0.5, 4], ["s", 5], [{"$pit": "bytes", "b64": "cw=="}, 6],
                        [tagged("tuple", [1, "a"]), 7], [big_json(2**70), 8]]))  # fmt: skip


def keys(r):
    for name, a, b in (
        ("same text", text("x"), text("x")),
        ("1 and 1.0", b"\x01", b"\xcb" + struct.pack(">d", 1.0)),
        ("1 and True", b"\x01", b"\xc3"),
        ("False and 0.0", b"\xc2", b"\xcb" + struct.pack(">d", 0.0)),
        ("0.0 and -0.0", b"\xcb" + struct.pack(">d", 0.0), b"\xcb" + struct.pack(">d", -0.0)),
        ("two forms of one int", b"\x01", b"\xcc\x01"),
        ("2^70 and 2.0^70", big(2**70), b"\xcb" + struct.pack(">d", 2.0**70)),
        ("(1,) and (1.0,)", tup(b"\x01"), tup(b"\xcb" + struct.pack(">d", 1.0))),
        ("nil twice", b"\xc0", b"\xc0"),
        ("same bytes", b"\xc4\x01a", b"\xc4\x01a"),
    ):
        r.bad(f"duplicate key: {name}", mapping((a, b"\x01"), (b, b"\x02")), "duplicate_key")
    many = [(text(f"k{i}"), b"\x01") for i in range(500)]
    r.bad("duplicate key among 501", mapping(*many, (text("k250"), b"\x01")), "duplicate_key")
    r.bad("duplicate key: nan", mapping(*[(bytes.fromhex("cb7ff8000000000000"), b"\x01")] * 2), "duplicate_key", python=False)
    r.good("keys that look alike",
         mapping((text("1"), b"\x01"), (b"\x01", b"\x02"), (b"\xc4\x011", b"\x03"), (tup(b"\x01"), b"\x04"), (b"\x02", b"\x05")),
         tagged("map", [["1", 1], [1, 2], [{"$pit": "bytes", "b64": "MQ=="}, 3], [tagged("tuple", [1]), 4], [2, 5]]))  # fmt: skip
    r.bad("list as key", mapping((b"\x90", b"\x01")), "invalid_parameter")
    r.bad("map as key", mapping((b"\x80", b"\x01")), "invalid_parameter")
    r.bad("exception as key", mapping((exception("E"), b"\x01")), "invalid_parameter")
    r.bad("list in a tuple as key", mapping((tup(tup(b"\x90")), b"\x01")), "invalid_parameter")


def exceptions(r):
    r.good("exception", exception("ValueError", "bad\nvalue", "Traceback ...", ["n1", "n2"]),
         exception_json("ValueError", "bad\nvalue", "Traceback ...", ["n1", "n2"]))  # fmt: skip
    r.good("exception with a cause", exception("pkg.A", "x", None, (), exception("B")),
         exception_json("pkg.A", "x", None, (), exception_json("B")))  # fmt: skip
    r.good("exception in another order, with an unknown key",
         ext32(4, mapping((text("new"), array(array())), (text("notes"), array(text("n"))), (text("type"), text("E")))),
         exception_json("E", "", None, ["n"]), exception("E", "", None, ["n"]))  # fmt: skip
    r.bad("exception without a type", ext32(4, mapping((text("message"), text("m")))), "deserialization_failed")
    r.bad(
        "exception whose message is a number",
        ext32(4, mapping((text("type"), text("E")), (text("message"), b"\x01"))),
        "deserialization_failed",
    )
    r.bad(
        "exception whose notes are numbers",
        ext32(4, mapping((text("type"), text("E")), (text("notes"), array(b"\x01")))),
        "deserialization_failed",
    )
    r.bad(
        "exception whose cause is a text",
        ext32(4, mapping((text("type"), text("E")), (text("cause"), text("c")))),
        "deserialization_failed",
    )
    r.bad("exception of a list", ext32(4, b"\x90"), "deserialization_failed")
    r.bad(
        "exception with bytes behind its map", ext32(4, mapping((text("type"), text("E"))) + b"\xc0"), "deserialization_failed"
    )


def broken(r):
    r.bad("arguments as a value", ext32(3, b"\xc0\xc0"), "deserialization_failed")
    for code in (0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 127, 128, 255):
        r.bad(f"extension {code - 256 if code > 127 else code}", b"\xd4" + bytes([code]) + b"\xc0", "deserialization_failed")
    r.bad("byte c1", "c1", "deserialization_failed")
    r.bad("nothing", "", "deserialization_failed")
    r.bad("two values", "c0c0", "deserialization_failed")
    for data in ("cc", "cd00", "ce000000", "cf00", "d0", "d1", "d2", "d3", "ca0000", "cb00000000", "a5616263", "d9", "d905616263",
                 "da0001", "db00000001", "dbffffffff", "c401", "c5", "c6ffffffff", "91", "dc0001", "ddffffffff", "81", "81a161", "de",
                 "dfffffffff", "df80000000", "d4", "d401", "c70501", "c9ffffffff02", "9fc0"):  # fmt: skip
        r.bad(f"cut: {data}", data, "deserialization_failed")
    r.bad("a count that nothing backs, nested", "dd7fffffff" * 5, "deserialization_failed")


def depth(r):
    r.good("128 lists", nested(b"\x91", b"", b"\x01", 128), nested_json(128))
    r.bad("129 lists", nested(b"\x91", b"", b"\x01", 129), "limit_exceeded")
    r.bad("2000 lists", nested(b"\x91", b"", b"\x01", 2000), "limit_exceeded")
    r.good("128 maps", nested(b"\x81\xa1k", b"", b"\x01", 128), nested_json(128, lambda inner: {"k": inner}))
    r.bad("129 maps", nested(b"\x81\xa1k", b"", b"\x01", 129), "limit_exceeded")
    data, meaning = b"\x01", 1
    for _ in range(128):
        data, meaning = tup(data), tagged("tuple", [meaning])
    r.good("128 tuples", data, meaning)
    r.bad("129 tuples", tup(data), "limit_exceeded")
    data, meaning = None, None
    for _ in range(128):
        data, meaning = exception("E", "", None, ["n"], data), exception_json("E", "", None, ["n"], meaning)
    r.good("128 exceptions with notes", data, meaning)
    r.bad("129 exceptions", exception("E", "", None, (), data), "limit_exceeded")
    r.bad("129 tuples as a key", mapping((nested_tuple(129), b"\x01")), "limit_exceeded")


def values():
    r = Rows()
    for part in (scalars, floats, texts, containers, keys, exceptions, broken, depth, *kinds.PARTS):
        part(r)
    return r


def nested_json(depth, wrap=lambda inner: [inner]):
    meaning = 1
    for _ in range(depth):
        meaning = wrap(meaning)
    return meaning


def nested_tuple(depth):
    data = b"\x01"
    for _ in range(depth):
        data = tup(data)
    return data


def args():
    def row(name, positional, keywords, data):
        return {"name": name, "hex": data.hex(), "positional": positional, "keywords": keywords}

    return [
        row("positional only", [1, "a"], None, ext32(3, array(b"\x01", text("a")) + b"\xc0")),
        row("keywords only", None, {"k": 2}, ext32(3, b"\xc0" + mapping((text("k"), b"\x02")))),
        row("both", [1], {"k": [2]}, ext32(3, array(b"\x01") + mapping((text("k"), array(b"\x02"))))),
        row("neither", None, None, ext32(3, b"\xc0\xc0")),
        row("both empty", [], {}, ext32(3, b"\x90\x80")),
    ]


def frames():
    out = []

    def frame(kind, flags=0, id=0, stamp=0, rest=b"", version=1, size=None):
        return struct.pack("<BBHIQQ", version, kind, flags, 24 + len(rest) if size is None else size, id, stamp) + rest

    def fields(*pairs, raw=b""):
        body = b"".join(struct.pack("<BBH", tag, 0, len(data)) + data for tag, data in pairs) + raw
        return struct.pack("<I", len(body)) + body

    def good(name, data, **meaning):
        out.append({"name": name, "hex": data.hex(), **meaning})

    def bad(name, data):
        out.append({"name": name, "hex": data.hex(), "error": "protocol_error"})

    good("stop", frame(5), kind="stop", flags=0, id=0, stamp=0, fields={}, payload="")
    payload = text("add") + mapping((text("x"), b"\x01"))
    good(
        "call",
        frame(16, 0, 7, 123456789, payload),
        kind="call",
        flags=0,
        id=7,
        stamp=123456789,
        fields={},
        payload=payload.hex(),
    )
    rest = fields((1, b"s-1"), (2, b"sp-0123")) + payload
    good("call with fields", frame(16, 3, 2**64 - 1, 2**63, rest), kind="call", flags=3, id=2**64 - 1, stamp=2**63,
         fields={"1": b"s-1".hex(), "2": b"sp-0123".hex()}, payload=payload.hex())  # fmt: skip
    good("unknown field", frame(16, 1, 1, 0, fields((200, b"new"), (1, b"s")) + payload), kind="call", flags=1, id=1, stamp=0,
         fields={"200": b"new".hex(), "1": b"s".hex()}, payload=payload.hex())  # fmt: skip
    good("first of a repeated field", frame(16, 1, 1, 0, fields((1, b"a"), (1, b"b"))), kind="call", flags=1, id=1, stamp=0,
         fields={"1": b"a".hex()}, payload="")  # fmt: skip
    good("no fields at all", frame(16, 1, 1, 0, fields()), kind="call", flags=1, id=1, stamp=0, fields={}, payload="")
    good(
        "empty field",
        frame(17, 1, 1, 0, fields((4, b"")) + b"\xc0"),
        kind="result",
        flags=1,
        id=1,
        stamp=0,
        fields={"4": ""},
        payload="c0",
    )
    good("result", frame(17, 2, 7, 42, b"\x02"), kind="result", flags=2, id=7, stamp=42, fields={}, payload="02")
    good("last chunk", frame(25, 4, 7, 0, b"\x2a"), kind="chunk", flags=4, id=7, stamp=0, fields={}, payload="2a")
    good(
        "credit", frame(26, 0, 7, 0, b"\x32\xcd\x20\x00"), kind="credit", flags=0, id=7, stamp=0, fields={}, payload="32cd2000"
    )
    bad("nothing", b"")
    bad("short", frame(5)[:23])
    bad("version 0", frame(5, version=0))
    bad("version 2", frame(5, version=2))
    bad("kind 0", frame(0))
    bad("unknown kind", frame(200))
    bad("reserved kind", frame(29))
    bad("unknown flag", frame(5, 16))
    bad("flag 15", frame(5, 0x8000))
    bad("size too small", frame(5, size=23))
    bad("size too large", frame(5, size=25))
    bad("bytes behind", frame(5) + b"\0")
    bad("fields cut", frame(16, 1, 0, 0, b"\0\0\0"))
    bad("fields longer than the frame", frame(16, 1, 0, 0, struct.pack("<I", 5) + bytes(4)))
    bad("field longer than the fields", frame(16, 1, 0, 0, struct.pack("<IBBH", 4, 1, 0, 1) + b"a"))
    bad("field head cut", frame(16, 1, 0, 0, struct.pack("<I", 3) + b"\x01\0\0"))
    bad("field with a byte that is not zero", frame(16, 1, 0, 0, struct.pack("<IBBH", 4, 1, 1, 0)))
    return out


CHECKED = 320  # bytes: what is longer says nothing that a shorter one does not


def has_order(value):
    """Does it hold a set of several items? Most languages forget their order."""
    if isinstance(value, list):
        return any(map(has_order, value))
    if not isinstance(value, dict):
        return False
    return (value.get("$pit") == "set" and len(value["v"]) > 1) or any(map(has_order, value.values()))


def is_kept(r):
    """Does every worker give it back as it came? Tables need their library, an array without dimensions may become a number."""
    foreign = r["name"].startswith(("table", "batch", "tensor of 0 dimensions"))
    deep = r["name"].startswith("128 ")  # as an argument it would stand a level deeper
    return not foreign and not deep and not has_order(json.loads(r["json"]))


def check_vectors():
    """For a worker in any language: what it gets as an argument it gives back, in these bytes or in the shortest form."""
    lines = [
        "/* The values that snakepit worker-check sends. Made by tests/vectors/make.py of tests/vectors/values.json: X(name, bytes, shortest form). */",
        "/* clang-format off */",
        "#ifndef SNAKEPIT_CLI_CHECK_VECTORS_H",
        "#define SNAKEPIT_CLI_CHECK_VECTORS_H",
        "#define CHECK_VECTOR_LIST(X) \\",
    ]
    for r in values():
        if "json" in r and len(r["hex"]) <= 2 * CHECKED and is_kept(r):
            same = r.get("encodes_as", r["hex"])
            lines.append(f'    X({json.dumps(r["name"])}, "{r["hex"]}", "{"" if same == r["hex"] else same}") \\')
    lines[-1] = lines[-1][:-2]
    lines.append("#endif")
    return "\n".join(lines) + "\n"


def main():
    check = "--check" in sys.argv[1:]
    stale = []
    made = [
        (name, "[\n" + ",\n".join(json.dumps(r, ensure_ascii=True) for r in rows) + "\n]\n")
        for name, rows in (("values.json", values()), ("args.json", args()), ("frames.json", frames()))
    ]
    for name, content in [*made, ("../../cli/check_vectors.h", check_vectors())]:
        path = os.path.join(HERE, name)
        if check:
            with open(path, encoding="ascii") as f:
                if f.read() != content:
                    stale.append(name)
            continue
        with open(path, "w", encoding="ascii") as f:
            f.write(content)
    if stale:
        sys.exit(f"out of date: {', '.join(stale)} (run tests/vectors/make.py)")


if __name__ == "__main__":
    sys.setrecursionlimit(10000)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    main()
