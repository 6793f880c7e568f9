"""Frames: what host and worker send each other (docs/wire.md, section 1).

Thread: any; no state. Failure: ``ProtocolError``, after which the connection is of no use.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

VERSION = 1
PROTOCOL_MIN = 1
PROTOCOL_MAX = 1
HEADER_SIZE = 24
MAX_FRAME = 64 << 20

HELLO, WELCOME, READY, FAILED, STOP = 1, 2, 3, 4, 5
CALL, RESULT, ERROR, CANCEL = 16, 17, 18, 19
STREAM_CALL, CHUNK, CREDIT, SEND, SEND_END = 24, 25, 26, 27, 28
TOOL_CALL, TOOL_RESULT, TOOL_ERROR, TOOL_LIST = 32, 33, 34, 35
TOOL_CHUNK, TOOL_CREDIT, TOOL_CLOSE = 36, 37, 38
PING, PONG, HEALTH, HEALTH_REPLY = 48, 49, 50, 51
LOG = 56

FLAG_FIELDS, FLAG_TIMED, FLAG_FINAL, FLAG_NESTED = 1, 2, 4, 8
KNOWN_FLAGS = FLAG_FIELDS | FLAG_TIMED | FLAG_FINAL | FLAG_NESTED

FIELD_SESSION, FIELD_CORRELATION, FIELD_TRACEPARENT, FIELD_METADATA, FIELD_BINARY, FIELD_OPTIONS, FIELD_STREAM = range(1, 8)

# version, kind, flags, size, id, stamp
HEADER = Struct("<BBHIQQ")
_FIELD = Struct("<BBH")
_U32 = Struct("<I")


class ProtocolError(Exception):
    """The host sent what is no frame, or a frame that has no place here."""


class Frame:
    """data: the whole frame; start: where the payload begins in it."""

    __slots__ = ("data", "fields", "flags", "id", "kind", "stamp", "start")

    def __init__(self, kind: int, flags: int, id: int, stamp: int, fields: bytes, data: bytes, start: int) -> None:
        self.kind, self.flags, self.id, self.stamp = kind, flags, id, stamp
        self.fields, self.data, self.start = fields, data, start


def build(kind: int, payload: bytes, id: int = 0, stamp: int = 0) -> bytes:
    """One frame without fields."""
    return HEADER.pack(VERSION, kind, 0, HEADER_SIZE + len(payload), id, stamp) + payload


def parse(data: bytes) -> Frame:
    """Splits one whole frame."""
    version, kind, flags, size, call, stamp = HEADER.unpack_from(data)
    if version != VERSION or size != len(data) or flags & ~KNOWN_FLAGS:
        raise ProtocolError(f"a frame with version {version}, flags {flags}, size {size} of {len(data)}")
    if not flags & FLAG_FIELDS:
        return Frame(kind, flags, call, stamp, b"", data, HEADER_SIZE)
    if size < HEADER_SIZE + 4:
        raise ProtocolError("a frame whose fields are cut off")
    start = HEADER_SIZE + 4 + _U32.unpack_from(data, HEADER_SIZE)[0]
    if start > size:
        raise ProtocolError("a frame whose fields are longer than itself")
    return Frame(kind, flags, call, stamp, data[HEADER_SIZE + 4 : start], data, start)


def field(fields: bytes, tag: int) -> bytes | None:
    """The first field with this tag."""
    at = 0
    while at < len(fields):
        if at + 4 > len(fields):
            raise ProtocolError("a malformed field")
        found, high, n = _FIELD.unpack_from(fields, at)
        n |= high << 16
        at += 4 + n
        if at > len(fields):
            raise ProtocolError("a malformed field")
        if found == tag:
            return fields[at - n : at]
    return None
