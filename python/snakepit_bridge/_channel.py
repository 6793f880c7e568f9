"""The control socket of a worker.

A blocking Unix stream. In data-on-socket mode it carries everything; in ring mode only what is no call, and its bells.

Invariant: a frame is handed out whole, in order, once. Single zero bytes between frames are bells and skipped.

Failure: ``ProtocolError``; the end of the stream is None. Thread: the lane's.
"""

from __future__ import annotations

import os
from struct import Struct

from . import _wire
from ._wire import HEADER_SIZE, VERSION, ProtocolError

_CHUNK = 32 * 1024
_SIZE = Struct("<I")
_read, _readv, _write = os.read, os.readv, os.write
_from_bytes = int.from_bytes


class Control:
    """Frames over the control socket."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.max_frame = _wire.MAX_FRAME
        self._data = b""
        self._at = 0

    def next(self) -> bytes | None:
        """The next frame of what has been read; None when it is not complete."""
        data, at = self._data, self._at
        n = len(data)
        while at < n and data[at] == 0:
            at += 1
        self._at = at
        if n - at < HEADER_SIZE:
            return None
        size = self._size(data, at)
        if n - at < size:
            return None
        self._at = at + size
        return data if size == n else data[at : at + size]

    def feed(self, data: bytes) -> None:
        """Adds bytes that somebody else has read."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def recv(self) -> bytes | None:
        """Blocks for the next frame; None at the end of the stream."""
        if self._at == len(self._data):
            # the usual case: nothing is left over, and what comes is one frame
            try:
                data = _read(self.fd, _CHUNK)
            except ConnectionError:
                return None
            if not data:
                return None
            self._data, self._at = data, 0
            n = len(data)
            if n >= HEADER_SIZE and data[0] == VERSION and _from_bytes(data[4:8], "little") == n <= self.max_frame:
                self._at = n
                return data
        while True:
            frame = self.next()
            if frame is not None:
                return frame
            left = len(self._data) - self._at
            if left >= HEADER_SIZE:
                size = self._size(self._data, self._at)
                if size > _CHUNK:
                    return self._recv_large(size)
            try:
                data = _read(self.fd, _CHUNK)
            except ConnectionError:
                return None
            if not data:
                return None
            self.feed(data)

    def recv_some(self) -> bytes | None:
        """When there is something to read: the next frame, None when it is not complete. The end of the stream: ``ConnectionError``."""
        data = _read(self.fd, _CHUNK)
        if not data:
            raise ConnectionError("the host has gone")
        self.feed(data)
        frame = self.next()
        left = len(self._data) - self._at
        if frame is None and left >= HEADER_SIZE:
            size = self._size(self._data, self._at)
            if size > _CHUNK:
                frame = self._recv_large(size)
                if frame is None:
                    raise ConnectionError("the host has gone")
        return frame

    def _size(self, data: bytes, at: int) -> int:
        size: int = _SIZE.unpack_from(data, at + 4)[0]
        if data[at] != _wire.VERSION or size < HEADER_SIZE or size > self.max_frame:
            raise ProtocolError(f"a frame of version {data[at]} and {size} bytes")
        return size

    def _recv_large(self, size: int) -> bytes | None:
        frame = bytearray(size)
        have = len(self._data) - self._at
        frame[:have] = self._data[self._at :]
        self._data, self._at = b"", 0
        with memoryview(frame) as view:
            while have < size:
                try:
                    n = _readv(self.fd, [view[have:]])
                except ConnectionError:
                    return None
                if n == 0:
                    return None
                have += n
        return bytes(frame)

    def send(self, frame: bytes | bytearray) -> None:
        """Blocks until all of it is out. The host gone: ``ConnectionError``."""
        n = _write(self.fd, frame)
        while n < len(frame):
            with memoryview(frame) as view:
                n += _write(self.fd, view[n:])
