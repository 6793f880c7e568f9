"""What the tests of values share: both codecs, and what "the same value" means."""

import datetime
import struct
from decimal import Decimal

import pytest
from package_kit import _snakepit, needs_extension, plain
from snakepit_bridge import _codec
from snakepit_bridge._errors import CodecError

try:
    import numpy as np
except ImportError:

    class np:
        """Nothing is of its kind."""

        class ndarray:
            pass


CODECS = [
    pytest.param(_codec, id="pure", marks=plain),
    pytest.param(_snakepit, id="extension", marks=needs_extension),
]


def same(a, b):
    """Equal in kind and content: NaN by bits, 0.0 and -0.0 apart, order of maps included."""
    if isinstance(a, BaseException) and isinstance(b, BaseException):
        fields = [getattr(x, name) for x in (a, b) for name in ("type", "message", "traceback", "notes")]
        return fields[:4] == fields[4:] and same(a.__cause__, b.__cause__)
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, complex):
        return same([a.real, a.imag], [b.real, b.imag])
    if isinstance(a, Decimal):
        return a.as_tuple() == b.as_tuple()
    if isinstance(a, (datetime.datetime, datetime.time)):
        return a == b and a.utcoffset() == b.utcoffset() and a.replace(tzinfo=None) == b.replace(tzinfo=None)
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) and same(p, q) for (x, p), (y, q) in zip(a.items(), b.items()))
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and _same_members(a, list(b))
    return a == b


def _same_members(a, rest):
    """NaN equals nothing, so == does not find what is the same in two sets."""
    for x in a:
        at = next((i for i, y in enumerate(rest) if same(x, y)), None)
        if at is None:
            return False
        del rest[at]
    return True


def failure(function, *args):
    with pytest.raises(CodecError) as caught:
        function(*args)
    return caught.value.code, caught.value.path
