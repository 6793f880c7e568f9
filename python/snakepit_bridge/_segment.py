"""The shared memory, as the pure-Python lane uses it: the secret, and the marks that say which call runs (src/ring/segment.h).

Invariants: one aligned 8-byte store a mark. Without a segment everything here does nothing.
Thread: the lane's; ``cancelled`` any.
"""

from __future__ import annotations

import os
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

_pread = os.pread  # a forked worker reads it when user code has been there

SECRET_OFFSET = 40
SECRET_SIZE = 16
SLOTS = 256
STARTED, REVOKED, FINISHED = 1, 2, 3

_WORD = 0xFFFFFFFFFFFFFFFF
_MAGIC = 0x31305449504B4E53
# magic, version, lanes, bytes, ring_bytes, lane_offset, lane_stride
_HEADER = Struct("<QIIQIII")
_CANCEL, _RAISE, _FINISHED, _TASK, _CLAIMS = 0, 16, 64, 80, 128


def secret(fd: int) -> bytes:
    """What HELLO proves to have; b"" without a segment."""
    return _pread(fd, SECRET_SIZE, SECRET_OFFSET) if fd >= 0 else b""


class Marks:
    """The status words of one lane."""

    def __init__(self, fd: int, lane: int = 0) -> None:
        self._words: memoryview | None = None
        if fd < 0:
            return
        import mmap

        area = mmap.mmap(fd, os.fstat(fd).st_size)
        magic, version, lanes, size, _, offset, stride = _HEADER.unpack_from(area)
        at = offset + lane * stride
        if magic != _MAGIC or version != 1 or lane >= lanes or size > len(area) or at % 8 or at + _CLAIMS + 8 * SLOTS > size:
            raise ValueError("the shared memory has no layout that this package knows")
        self._words = memoryview(area).cast("Q")
        self._cancel = (at + _CANCEL) // 8
        self._raise = (at + _RAISE) // 8
        self._task = (at + _TASK) // 8
        self._finished = (at + _FINISHED) // 8
        self._claims = (at + _CLAIMS) // 8

    @property
    def there(self) -> bool:
        """Is there a segment?"""
        return self._words is not None

    def started(self, call: int) -> bool:
        """Marks it as started; False when the host has taken it back."""
        if self._words is None:
            return True
        slot, claim = self._claims + call % SLOTS, call << 2 & _WORD
        if self._words[slot] == claim | REVOKED:
            return False
        self._words[slot] = claim | STARTED
        return True

    def finished(self, call: int) -> None:
        words = self._words
        if words is not None:
            words[self._finished] = call
            words[self._claims + call % SLOTS] = call << 2 & _WORD | FINISHED

    def cancelled(self, call: int) -> bool:
        return self._words is not None and call != 0 and self._words[self._cancel] == call

    def raising(self, call: int) -> bool:
        """Shall the call end by an exception?"""
        return self._words is not None and call != 0 and self._words[self._raise] == call

    def task(self, call: int) -> None:
        """The call runs as a task of the event loop; 0: none does."""
        if self._words is not None:
            self._words[self._task] = call
