"""Rows of values.json for sets, times, decimals, complex numbers, tensors, tables, refs and markers. See make.py."""

import base64
import calendar
import struct

from pieces import array, big, exception, ext, ext32, mapping, nested, tagged, text, tup

NAN, INF = b"\x7f\xf8" + bytes(6), b"\x7f\xf0" + bytes(6)


def f64(x):
    return b"\xcb" + struct.pack(">d", x)


def set_(*items):
    return ext32(5, array(*items))


def frozenset_(*items):
    return ext32(6, array(*items))


def set_json(items, frozen=False):
    return {"$pit": "set", "frozen": frozen, "v": items}


def datetime(sec, ns=0, offset=None, zone=""):
    body = struct.pack(">qIB", sec, ns, offset is not None)
    return ext(7, body if offset is None else body + struct.pack(">i", offset) + zone.encode())


def date(year, month, day):
    return ext(8, struct.pack(">HBB", year, month, day))


def time(sec, ns=0, offset=None):
    return ext(9, struct.pack(">IIB", sec, ns, offset is not None) + (b"" if offset is None else struct.pack(">i", offset)))


def duration(sec, ns=0):
    return ext(10, struct.pack(">qI", sec, ns))


def decimal(digits, exponent=0, negative=False, kind=0):
    return ext(11, struct.pack(">Bi", negative | kind << 1, exponent) + digits.encode())


def complex_(re, im):
    return ext(12, struct.pack(">dd", re, im))


def tensor(dtype, shape, data):
    return ext32(
        13, tensor_map((text("dtype"), text(dtype)), (text("shape"), array(*map(integer, shape))), (text("data"), bin_(data)))
    )


def tensor_map(*entries):
    return mapping(*entries)


def tensor_json(dtype, shape, data):
    return {"$pit": "tensor", "dtype": dtype, "shape": list(shape), "b64": base64.b64encode(data).decode()}


def integer(n):
    for limit, lead, form in ((1 << 7, b"", ">B"), (1 << 8, b"\xcc", ">B"), (1 << 16, b"\xcd", ">H"), (1 << 32, b"\xce", ">I")):
        if n < limit:
            return lead + struct.pack(form, n)
    return b"\xcf" + struct.pack(">Q", n)


def bin_(data):
    return b"\xc4" + bytes([len(data)]) + data if len(data) < 256 else b"\xc5" + struct.pack(">H", len(data)) + data


def ref(id="o-1", type="mod.Class", worker="default/3.2", session=None, generation=2):
    return ext32(16, mapping(*ref_entries(id, type, worker, session, generation)))


def ref_entries(id="o-1", type="mod.Class", worker="default/3.2", session=None, generation=2):
    return [
        (text("id"), text(id)),
        (text("type"), text(type)),
        (text("worker"), text(worker)),
        (text("session"), b"\xc0" if session is None else text(session)),
        (text("generation"), integer(generation)),
    ]


def ref_json(id="o-1", type="mod.Class", worker="default/3.2", session=None, generation=2):
    return {"$pit": "ref", "id": id, "type": type, "worker": worker, "session": session, "generation": generation}


def marker(type, repr=None):
    return ext32(17, mapping((text("type"), text(type)), *([] if repr is None else [(text("repr"), text(repr))])))


def marker_json(type, repr=None):
    return {"__ffi_unserializable__": True, "__type__": type, **({} if repr is None else {"__repr__": repr})}


def utc(year, month=1, day=1, hour=0, minute=0, second=0):
    return calendar.timegm((year, month, day, hour, minute, second)) if year >= 1970 else EARLY[year, month, day] * 86400


# Days since 1970 that calendar does not reckon with.
EARLY = {(1, 1, 1): -719162, (1900, 3, 1): -25508}
LAST_SECOND = 253402300799  # of the year 9999


def sets(r):
    r.good("set empty", set_(), set_json([]))
    r.good("set keeps the order of arrival", set_(text("b"), b"\x01", text("a"), b"\xc0"), set_json(["b", 1, "a", None]))
    r.good("frozenset empty", frozenset_(), set_json([], True))
    r.good("frozenset", frozenset_(b"\x01", b"\x02"), set_json([1, 2], True))
    r.good("set in a short head", b"\xd6\x05\x93\x01\x02\x03", set_json([1, 2, 3]), set_(b"\x01", b"\x02", b"\x03"))
    r.good("set of 9", set_(*[bytes([i]) for i in range(9)]), set_json(list(range(9))))
    r.good("set of 100", set_(*[text(f"item {i}") for i in range(100)]), set_json([f"item {i}" for i in range(100)]))
    r.good("set of frozensets", set_(frozenset_(), frozenset_(b"\x01"), frozenset_(b"\x01", b"\x02"), frozenset_(frozenset_(b"\x01"))),
           set_json([set_json([], True), set_json([1], True), set_json([1, 2], True), set_json([set_json([1], True)], True)]))  # fmt: skip
    r.good(
        "frozenset as a key", mapping((frozenset_(b"\x01", text("a")), b"\x02")), tagged("map", [[set_json([1, "a"], True), 2]])
    )
    r.good("frozenset in a tuple as a key", mapping((tup(frozenset_(b"\x01")), b"\x02")),
           tagged("map", [[tagged("tuple", [set_json([1], True)]), 2]]))  # fmt: skip
    r.good("list of sets", array(set_(b"\x01"), set_(b"\x01")), [set_json([1]), set_json([1])])
    for name, a, b in (
        ("same text", text("x"), text("x")),
        ("1 and True", b"\x01", b"\xc3"),
        ("0 and -0.0", b"\x00", f64(-0.0)),
        ("frozensets in another order", frozenset_(b"\x01", b"\x02"), frozenset_(b"\x02", f64(1.0))),
        ("nested frozensets", frozenset_(frozenset_(b"\x01"), b"\x03"), frozenset_(b"\x03", frozenset_(b"\xc3"))),
        ("Decimal(1) and 1", decimal("1"), b"\x01"),
        ("tuples of frozensets", tup(frozenset_(b"\x01", b"\x02")), tup(frozenset_(b"\x02", b"\x01"))),
    ):
        r.bad(f"set item twice: {name}", set_(a, b), "duplicate_key")
        r.bad(f"frozenset item twice: {name}", frozenset_(b"\x07", a, b), "duplicate_key")
        r.bad(f"key twice: {name}", mapping((a, b"\x01"), (b, b"\x01")), "duplicate_key")
    r.bad("set item twice among 41", set_(*[bytes([i]) for i in range(40)], f64(17.0)), "duplicate_key")
    r.bad("set item twice: nan", set_(b"\xcb" + NAN, b"\xcb" + NAN), "duplicate_key", python=False)
    for name, item in {"list": b"\x90", "map": b"\x80", "set": set_(), "exception": exception("E"), "a list in a tuple": tup(b"\x90"),
                       "a set in a frozenset": frozenset_(set_()), "tensor": tensor("u8", [1], b"a"), "table": ext(14, b"a"),
                       "batch": ext(15, b"a"), "ref": ref(), "marker": marker("T"), "signalling NaN": decimal("", kind=3)}.items():  # fmt: skip
        r.bad(f"set of a {name}", set_(item), "invalid_parameter")
        r.bad(f"{name} as key, unhashable", mapping((item, b"\x01")), "invalid_parameter")
    r.bad("set with bytes behind its items", ext32(5, array(b"\x01") + b"\x02"), "deserialization_failed")
    r.bad("set of nothing", ext32(5, b""), "deserialization_failed")
    r.bad("set of a map", ext32(5, b"\x80"), "deserialization_failed")
    r.bad("set cut", ext32(5, b"\x92\x01"), "deserialization_failed")
    r.bad("arguments in a set", set_(ext32(3, b"\xc0\xc0")), "deserialization_failed")
    data, meaning = b"\x01", 1
    for _ in range(128):
        data, meaning = frozenset_(data), set_json([meaning], True)
    r.good("128 frozensets", data, meaning)
    r.bad("129 frozensets", frozenset_(data), "limit_exceeded")


def times(r):
    def dt(name, sec, json_text, ns=0, offset=None, zone=""):
        r.good(
            f"datetime {name}",
            datetime(sec, ns, offset, zone),
            tagged("datetime", json_text, **({"zone": zone} if zone else {})),
        )

    dt("epoch, naive", 0, "1970-01-01T00:00:00")
    dt("epoch, UTC", 0, "1970-01-01T00:00:00+00:00", offset=0)
    dt("with microseconds", utc(2026, 11, 21, 6, 13, 42), "2026-11-21T06:13:42.000001", 1000)
    dt("with a zone", utc(2026, 11, 21, 4, 13, 42), "2026-11-21T06:13:42+02:00", 0, 7200, "Europe/Kyiv")
    dt("with a zone and milliseconds", utc(2026, 7, 1), "2026-06-30T20:00:00.5-04:00", 500000000, -14400, "America/New_York")
    dt("with a zone outside ASCII", 0, "1970-01-01T01:00:00+01:00", 0, 3600, "M\u00fcnchen")
    dt("with seconds in the offset", 0, "1970-01-01T00:19:32+00:19:32", 0, 1172)
    dt("before 1970, negative", -1, "1969-12-31T23:59:59.75", 750000000)
    dt("first", -62135596800, "0001-01-01T00:00:00")
    dt("last", LAST_SECOND, "9999-12-31T23:59:59.999999", 999999000)
    dt("first with an offset", -62135596800 - 3600, "0001-01-01T00:00:00+01:00", 0, 3600)
    dt("last with an offset", LAST_SECOND + 86399, "9999-12-31T23:59:59-23:59:59", 0, -86399)
    dt("leap day", utc(2024, 2, 29), "2024-02-29T00:00:00")
    dt("no leap day in 1900", utc(1900, 3, 1) - 1, "1900-02-28T23:59:59")
    dt("leap day in 2000", utc(2000, 2, 29, 12), "2000-02-29T12:00:00")
    for year, month, day in ((1, 1, 1), (2026, 11, 21), (2024, 2, 29), (9999, 12, 31)):
        r.good(f"date {year}-{month}-{day}", date(year, month, day), tagged("date", f"{year:04}-{month:02}-{day:02}"))
    r.good("time 0", time(0), tagged("time", "00:00:00"))
    r.good("time of day", time(6 * 3600 + 13 * 60 + 42, 500000000), tagged("time", "06:13:42.5"))
    r.good("time last", time(86399, 999999000), tagged("time", "23:59:59.999999"))
    r.good("time with an offset", time(22422, 0, -12600), tagged("time", "06:13:42-03:30"))
    r.good("duration 0", duration(0), tagged("duration", "0"))
    r.good("duration of a day and a half", duration(129600, 1000), tagged("duration", "129600.000001"))
    r.good("duration -0.5", duration(-1, 500000000), tagged("duration", "-0.5"))
    r.good("duration -1", duration(-1), tagged("duration", "-1"))
    r.good("duration -1.000001", duration(-2, 999999000), tagged("duration", "-1.000001"))
    r.good("times as keys", mapping((date(2026, 1, 1), b"\x01"), (datetime(0), b"\x02"), (datetime(0, 0, 0), b"\x03"), (time(0), b"\x04"),
                                    (duration(0), b"\x05"), (time(0, 0, 0), b"\x06")),
           tagged("map", [[tagged("date", "2026-01-01"), 1], [tagged("datetime", "1970-01-01T00:00:00"), 2],
                          [tagged("datetime", "1970-01-01T00:00:00+00:00"), 3], [tagged("time", "00:00:00"), 4],
                          [tagged("duration", "0"), 5], [tagged("time", "00:00:00+00:00"), 6]]))  # fmt: skip
    r.good("set of times", set_(date(1, 1, 1), date(1, 1, 2), duration(1), duration(1, 1000)),
           set_json([tagged("date", "0001-01-01"), tagged("date", "0001-01-02"), tagged("duration", "1"), tagged("duration", "1.000001")]))  # fmt: skip
    r.bad("same instant twice", set_(datetime(0, 0, 0), datetime(0, 0, 3600, "Europe/Paris")), "duplicate_key")
    r.bad("same time of day twice", set_(time(3600, 0, 3600), time(0, 0, 0)), "duplicate_key")
    r.bad("same date twice", set_(date(2026, 1, 1), date(2026, 1, 1)), "duplicate_key")
    r.good("date in a long head", ext32(8, struct.pack(">HBB", 2026, 1, 1)), tagged("date", "2026-01-01"), date(2026, 1, 1))


def bad_times(r):
    bad = {
        "datetime, nanoseconds of a second": datetime(0, 1000000000),
        "datetime before year 1": datetime(-62135596801),
        "datetime after year 9999": datetime(LAST_SECOND + 1),
        "datetime at the end of all seconds": datetime(2**63 - 1, 0, 1),
        "datetime at the beginning of all seconds": datetime(-(2**63), 0, -1),
        "datetime whose wall is after year 9999": datetime(LAST_SECOND, 0, 1),
        "datetime whose wall is before year 1": datetime(-62135596800, 0, -1),
        "datetime with an offset of a day": datetime(0, 0, 86400),
        "datetime with an offset of minus a day": datetime(0, 0, -86400),
        "datetime with the least offset": datetime(0, 0, -(2**31)),
        "datetime with a zone's name of 256 bytes": datetime(0, 0, 0, "z" * 256),
        "datetime with a NUL in the zone": datetime(0, 0, 0, "a\0"),
        "datetime with unknown flags": ext(7, struct.pack(">qIB", 0, 0, 2)),
        "datetime with flag 128": ext(7, struct.pack(">qIBi", 0, 0, 129, 0)),
        "datetime without its offset": ext(7, struct.pack(">qIB", 0, 0, 1)),
        "datetime with half an offset": ext(7, struct.pack(">qIBH", 0, 0, 1, 0)),
        "datetime, naive, with a zone": ext(7, struct.pack(">qIB", 0, 0, 0) + b"UTC"),
        "datetime without flags": ext(7, struct.pack(">qI", 0, 0)),
        "datetime of nothing": ext(7, b""),
        "date of nothing": ext(8, b""),
        "date of 3 bytes": ext(8, b"\x07\xea\x01"),
        "date of 5 bytes": ext(8, b"\x07\xea\x01\x01\x00"),
        "date in year 0": date(0, 1, 1),
        "date in year 10000": date(10000, 1, 1),
        "date in month 0": date(2026, 0, 1),
        "date in month 13": date(2026, 13, 1),
        "date on day 0": date(2026, 1, 0),
        "date on November 31": date(2026, 11, 31),
        "date on February 29, 2026": date(2026, 2, 29),
        "date on February 29, 1900": date(1900, 2, 29),
        "time of nothing": ext(9, b""),
        "time at 24:00": time(86400),
        "time with nanoseconds of a second": time(0, 1000000000),
        "time with an offset of a day": time(0, 0, 86400),
        "time without flags": ext(9, bytes(8)),
        "time with unknown flags": ext(9, bytes(8) + b"\x03" + bytes(4)),
        "time, naive, with an offset": ext(9, bytes(13)),
        "time with a zone": ext(9, bytes(8) + b"\x01" + bytes(4) + b"UTC"),
        "time without its offset": ext(9, bytes(8) + b"\x01"),
        "duration of nothing": ext(10, b""),
        "duration of 11 bytes": ext(10, bytes(11)),
        "duration of 13 bytes": ext(10, bytes(13)),
        "duration with nanoseconds of a second": duration(0, 1000000000),
    }
    for name, data in bad.items():
        r.bad(name, data, "deserialization_failed")
    r.bad("datetime with a zone that is no UTF-8", ext(7, struct.pack(">qIBi", 0, 0, 1, 0) + b"\xff"), "invalid_utf8")


def numbers(r):
    def dec(json_text, *parts, name=None, **more):
        r.good(f"decimal {name or json_text}", decimal(*parts, **more), tagged("decimal", json_text))

    dec("0", "0")
    dec("-0", "0", 0, True)
    dec("0.00", "0", -2)
    dec("0E+5", "0", 5)
    dec("1", "1")
    dec("1.1", "11", -1)
    dec("1.10", "110", -2)
    dec("-1.10", "110", -2, True)
    dec("1E+1", "1", 1)
    dec("1.5E+400", "15", 399)
    dec("0.000001", "1", -6)
    dec("1E-7", "1", -7)
    dec("1.23E-8", "123", -10)
    dec("123456789012345678901234567890.123", "123456789012345678901234567890123", -3)
    dec("1E+999999", "1", 999999)
    dec("1E-999999", "1", -999999)
    dec("7" * 300, "7" * 300, name="of 300 digits")
    dec("Infinity", "", kind=1)
    dec("-Infinity", "", 0, True, 1)
    dec("NaN", "", kind=2)
    dec("-NaN12", "12", 0, True, 2)
    dec("sNaN", "", kind=3)
    dec("sNaN9", "9", kind=3)
    keys = [("1.1", "11", -1), ("1.5E+300", "15", 299), ("0.1", "1", -1), ("Infinity", "", 0, False, 1)]
    r.good("decimals as keys", mapping(*[(decimal(*k[1:]), bytes([i])) for i, k in enumerate(keys)]),
           tagged("map", [[tagged("decimal", k[0]), i] for i, k in enumerate(keys)]))  # fmt: skip
    r.good("numbers that are near", set_(decimal("1", -1), f64(0.1), decimal("1000000000000000055511151231257827021181583404541015625", -55 + 1),
                                         decimal("18446744073709551617"), big(2**64), f64(2.0**65)),
           set_json([tagged("decimal", "0.1"), 0.1, tagged("decimal", "1.000000000000000055511151231257827021181583404541015625"),
                     tagged("decimal", "18446744073709551617"), {"$pit": "bigint", "v": str(2**64)}, 2.0**65]))  # fmt: skip
    for name, a, b in (
        ("1.1 and 1.10", decimal("11", -1), decimal("110", -2)),
        ("0 and -0.00", decimal("0"), decimal("0", -2, True)),
        ("Decimal(100) and 1E+2", decimal("100"), decimal("1", 2)),
        ("Decimal(-5) and -5", decimal("5", 0, True), b"\xfb"),
        ("Decimal(0.5) and 0.5", decimal("5", -1), f64(0.5)),
        ("Decimal(0) and False", decimal("0", 7), b"\xc2"),
        ("Decimal(0.1) exactly and 0.1", decimal("1000000000000000055511151231257827021181583404541015625", -55), f64(0.1)),
        ("Decimal(2**64) and 2**64", decimal(str(2**64)), big(2**64)),
        ("Decimal(10**40) and 10**40", decimal("1", 40), big(10**40)),
        ("Decimal(2**70) and 2.0**70", decimal(str(2**70)), f64(2.0**70)),
        ("Decimal(inf) and inf", decimal("", kind=1), b"\xcb" + INF),
        ("Decimal(-inf) and -inf", decimal("", 0, True, 1), b"\xcb\xff\xf0" + bytes(6)),
        ("complex 1 and 1", complex_(1, 0), b"\x01"),
        ("complex 0.5 and Decimal(0.5)", complex_(0.5, -0.0), decimal("5", -1)),
        ("complex twice", complex_(1, 2), complex_(1, 2)),
        ("the smallest float", decimal(str(5**1074), -1074), f64(5e-324)),
    ):
        r.bad(f"equal numbers: {name}", set_(a, b), "duplicate_key")
    for name, z in {"0": (0.0, 0.0), "-0.0-0.0j": (-0.0, -0.0), "1.5-2j": (1.5, -2.0), "1e300": (1e300, 5e-324)}.items():
        r.good(f"complex {name}", complex_(*z), tagged("complex", list(z)))
    r.good(
        "complex of NaN and infinity", ext(12, NAN + INF), tagged("complex", [tagged("float", "nan"), tagged("float", "inf")])
    )
    r.good("complex as keys", mapping((complex_(1, 2), b"\x01"), (complex_(1, -2), b"\x02"), (complex_(2, 0), b"\x03")),
           tagged("map", [[tagged("complex", [1.0, 2.0]), 1], [tagged("complex", [1.0, -2.0]), 2], [tagged("complex", [2.0, 0.0]), 3]]))  # fmt: skip
    bad = {
        "decimal of nothing": ext(11, b""),
        "decimal of 4 bytes": ext(11, bytes(4)),
        "decimal without digits": decimal(""),
        "decimal with a zero in front": decimal("01"),
        "decimal 00": decimal("00"),
        "decimal with a letter": decimal("1a"),
        "decimal with a minus": decimal("-1"),
        "decimal with a slash": decimal("1/"),
        "decimal with a colon": decimal(":"),
        "decimal with unknown bits": ext(11, b"\x08" + bytes(4) + b"1"),
        "decimal with bit 128": ext(11, b"\x80" + bytes(4) + b"1"),
        "infinity with digits": decimal("1", kind=1),
        "infinity with an exponent": decimal("", 1, kind=1),
        "NaN with an exponent": decimal("", -1, kind=2),
        "NaN with payload 0": decimal("0", kind=2),
        "NaN with a zero in front": decimal("01", kind=3),
        "complex of nothing": ext(12, b""),
        "complex of 15 bytes": ext(12, bytes(15)),
        "complex of 17 bytes": ext(12, bytes(17)),
    }
    for name, data in bad.items():
        r.bad(name, data, "deserialization_failed")
    r.bad("decimal of 10^1024 as a key", set_(decimal("1", 1024)), "invalid_parameter", python=False)
    r.bad("decimal NaN twice", set_(decimal("", kind=2), b"\xcb" + NAN), "duplicate_key", python=False)
    r.good("decimal of almost 10^1024 as a key", set_(decimal("1", 1023)), set_json([tagged("decimal", "1E+1023")]))
    r.good("decimal far from 0 as a key", set_(decimal("1", -2000000)), set_json([tagged("decimal", "1E-2000000")]))


def tensors(r):
    def good(name, dtype, shape, data):
        r.good(f"tensor {name}", tensor(dtype, shape, data), tensor_json(dtype, shape, data))

    sizes = {"bool": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "u8": 1, "u16": 2, "u32": 4, "u64": 8, "f16": 2, "bf16": 2, "f32": 4,
             "f64": 8, "c64": 8, "c128": 16}  # fmt: skip
    for dtype, size in sizes.items():
        good(f"of {dtype}", dtype, [2], bytes(size) + bytes([1]) + bytes(size - 1))
    good("of 0 dimensions", "f64", [], struct.pack("<d", 2.5))
    good("2 x 3", "f32", [2, 3], struct.pack("<6f", 1, 2, 3, 4, 5, 6))
    good("without items", "i32", [3, 0, 2], b"")
    good("of 32 dimensions", "u8", [1] * 32, b"x")
    good("of 200 items", "u8", [200], bytes(200))
    good("without items, of many", "u8", [1000000, 0], b"")
    entries = {"dtype": text("u8"), "shape": array(b"\x02"), "data": bin_(b"ab")}

    def with_(**changes):
        return ext32(13, mapping(*[(text(k), v) for k, v in {**entries, **changes}.items() if v is not None]))

    r.good("tensor with its parts in another order", ext32(13, mapping(*[(text(k), v) for k, v in reversed(entries.items())])),
           tensor_json("u8", [2], b"ab"), with_())  # fmt: skip
    r.bad("tensor of an unknown type", with_(dtype=text("f8")), "unsupported_dtype")
    r.bad("tensor of no type", with_(dtype=text("")), "unsupported_dtype")
    r.bad("tensor of a type with capitals", with_(dtype=text("U8")), "unsupported_dtype")
    r.bad("tensor with too little data", with_(shape=array(b"\x03")), "shape_mismatch")
    r.bad("tensor with too much data", with_(shape=array(b"\x01")), "shape_mismatch")
    r.bad("tensor without items, with data", with_(shape=array(b"\x00")), "shape_mismatch")
    r.bad("tensor whose size passes 64 bits", with_(shape=array(integer(2**32), integer(2**33))), "shape_mismatch")
    r.bad(
        "tensor whose size wraps to what is there",
        with_(shape=array(integer(2**63 - 1), b"\x02", b"\x02", b"\x02")),
        "shape_mismatch",
    )
    r.bad("tensor of 33 dimensions", with_(shape=array(*[b"\x01"] * 33), data=bin_(b"a")), "limit_exceeded")
    r.bad(
        "tensor with a part twice",
        ext32(13, mapping(*[(text(k), v) for k, v in entries.items()], (text("data"), bin_(b"ab")))),
        "duplicate_key",
    )
    bad = {
        "without dtype": with_(dtype=None),
        "without shape": with_(shape=None),
        "without data": with_(data=None),
        "with an unknown part": with_(strides=array(b"\x01")),
        "with a key that is no text": ext32(13, mapping(*[(text(k), v) for k, v in entries.items()], (b"\x01", b"\x01"))),
        "with a number as dtype": with_(dtype=b"\x01"),
        "with bytes as dtype": with_(dtype=bin_(b"u8")),
        "with a number as shape": with_(shape=b"\x02"),
        "with a tuple as shape": with_(shape=tup(b"\x02")),
        "with a negative dimension": with_(shape=array(b"\xff")),
        "with a float as dimension": with_(shape=array(f64(2.0))),
        "with a bool as dimension": with_(shape=array(b"\xc3")),
        "with a dimension of 2^63": with_(shape=array(b"\xcf\x80" + bytes(7))),
        "with nil as dimension": with_(shape=array(b"\xc0")),
        "with a text as data": with_(data=text("ab")),
        "with a list as data": with_(data=array(b"\x01", b"\x02")),
        "of a list": ext32(13, array(b"\x01")),
        "of nothing": ext32(13, b""),
        "with bytes behind its map": ext32(13, mapping(*[(text(k), v) for k, v in entries.items()]) + b"\xc0"),
        "cut": ext32(13, mapping(*[(text(k), v) for k, v in entries.items()])[:-1]),
        "that claims more entries": ext32(13, b"\x84" + mapping(*[(text(k), v) for k, v in entries.items()])[1:]),
    }
    for name, data in bad.items():
        r.bad(f"tensor {name}", data, "deserialization_failed")
    r.good(
        "128 lists around a tensor", nested(b"\x91", b"", tensor("u8", [1], b"a"), 128), around(tensor_json("u8", [1], b"a"))
    )


def around(meaning, depth=128):
    for _ in range(depth):
        meaning = [meaning]
    return meaning


def tables(r):
    for code, kind in ((14, "table"), (15, "batch")):
        for n in (0, 1, 4, 100, 300):
            data = bytes(i % 251 for i in range(n))
            r.good(f"{kind} of {n} bytes", ext(code, data), {"$pit": kind, "b64": base64.b64encode(data).decode()}, None)
        r.good(f"{kind} in a long head", ext32(code, b"abc"), {"$pit": kind, "b64": "YWJj"}, ext(code, b"abc"))


def records(r):
    r.good("ref", ref(), ref_json())
    r.good("ref of a session", ref(session="s-1", generation=300), ref_json(session="s-1", generation=300))
    r.good("ref of the last generation", ref(generation=2**64 - 1), ref_json(generation=2**64 - 1))
    r.good("ref with empty texts", ref("", "", "", ""), ref_json("", "", "", ""))
    r.good("ref in another order", ext32(16, mapping(*reversed(ref_entries()))), ref_json(), ref())
    r.good("marker", marker("mod.Class"), marker_json("mod.Class"))
    r.good(
        "marker with a repr", marker("mod.Class", "<Class \u00e4 at 0x1>"), marker_json("mod.Class", "<Class \u00e4 at 0x1>")
    )
    r.good("marker in a list in a map", mapping((text("a"), array(b"\x01", marker("T")))), {"a": [1, marker_json("T")]})
    r.good("map that looks like a marker", mapping((text("__ffi_unserializable__"), b"\xc3"), (text("__type__"), text("T"))),
           tagged("map", [["__ffi_unserializable__", True], ["__type__", "T"]]))  # fmt: skip
    r.good("map that is almost a marker", mapping((text("__ffi_unserializable__"), b"\xc2"), (text("__type__"), text("T"))),
           {"__ffi_unserializable__": False, "__type__": "T"})  # fmt: skip
    for i, part in enumerate(("id", "type", "worker", "session", "generation")):
        entries = ref_entries()
        del entries[i]
        r.bad(f"ref without {part}", ext32(16, mapping(*entries)), "deserialization_failed")
        entries = ref_entries()
        entries[i] = (entries[i][0], b"\xc3")
        r.bad(f"ref with a bool as {part}", ext32(16, mapping(*entries)), "deserialization_failed")
        entries[i] = (entries[i][0], array())
        r.bad(f"ref with a list as {part}", ext32(16, mapping(*entries)), "deserialization_failed")
        if part != "session":
            entries[i] = (entries[i][0], b"\xc0")
            r.bad(f"ref with nil as {part}", ext32(16, mapping(*entries)), "deserialization_failed")
        r.bad(f"ref with {part} twice", ext32(16, mapping(*ref_entries(), ref_entries()[i])), "duplicate_key")
    r.bad(
        "ref with a negative generation",
        ext32(16, mapping(*ref_entries()[:4], (text("generation"), b"\xff"))),
        "deserialization_failed",
    )
    r.bad("ref with a number as id", ext32(16, mapping((text("id"), b"\x01"), *ref_entries()[1:])), "deserialization_failed")
    r.bad("ref with bad UTF-8", ext32(16, mapping((text("id"), b"\xa1\xff"), *ref_entries()[1:])), "invalid_utf8")
    r.bad("ref with a further key", ext32(16, mapping(*ref_entries(), (text("new"), b"\x01"))), "deserialization_failed")
    r.bad("ref with a key that is no text", ext32(16, mapping(*ref_entries(), (b"\x01", b"\x01"))), "deserialization_failed")
    r.bad("ref of a list", ext32(16, array()), "deserialization_failed")
    r.bad("ref of nothing", ext32(16, b""), "deserialization_failed")
    r.bad("ref with bytes behind its map", ext32(16, mapping(*ref_entries()) + b"\xc0"), "deserialization_failed")
    r.bad("ref cut", ext32(16, mapping(*ref_entries())[:-1]), "deserialization_failed")
    kind = (text("type"), text("T"))
    r.bad("marker without a type", ext32(17, mapping((text("repr"), text("r")))), "deserialization_failed")
    r.bad("marker of an empty map", ext32(17, mapping()), "deserialization_failed")
    r.bad("marker with nil as type", ext32(17, mapping((text("type"), b"\xc0"))), "deserialization_failed")
    r.bad("marker with a number as type", ext32(17, mapping((text("type"), b"\x01"))), "deserialization_failed")
    r.bad("marker with nil as repr", ext32(17, mapping(kind, (text("repr"), b"\xc0"))), "deserialization_failed")
    r.bad("marker with a number as repr", ext32(17, mapping(kind, (text("repr"), b"\x01"))), "deserialization_failed")
    r.bad("marker with a further key", ext32(17, mapping(kind, (text("new"), b"\x01"))), "deserialization_failed")
    r.bad("marker with its type twice", ext32(17, mapping(kind, kind)), "duplicate_key")
    r.bad("marker with bad UTF-8", ext32(17, mapping((text("type"), b"\xa1\xff"))), "invalid_utf8")
    r.bad("marker of nothing", ext32(17, b""), "deserialization_failed")


PARTS = (sets, times, bad_times, numbers, tensors, tables, records)
