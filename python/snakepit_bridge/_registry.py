"""What the codecs ask about objects that are of no kind of their own: the registered codecs, and the way to the converters.

The converters themselves (``_convert``) are imported with the first such object, so that a worker which returns plain values never pays for them.

Thread: any; registering is meant for import time.
"""

from __future__ import annotations

import os
import sys

from ._refusals import too_large, too_long

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

    Encoder = Callable[[Any], Any]
    E = TypeVar("E", bound=Encoder)

# What happens to an object that nothing converts.
POLICY_DEFAULT, POLICY_MARKER, POLICY_REF, POLICY_ERROR = 0, 1, 2, 3
POLICIES = {"marker": POLICY_MARKER, "ref": POLICY_REF, "error": POLICY_ERROR}

# type -> (encoder, does it take subclasses, too?)
REGISTERED: dict[type, tuple[Encoder, bool]] = {}
# What the host has said about serialization. What it has not said, the environment says, or a default.
SETTINGS: dict[str, Any] = {}
# Who hears, once for each type, that a marker went in the place of an object.
REPORTERS: list[Callable[[str], None]] = []

_OWN_KINDS = (
    type(None), bool, int, float, complex, str, bytes, bytearray, memoryview, list, tuple, dict, set, frozenset, object,
)  # fmt: skip


def register_codec(kind: type, encode: Encoder | None = None, *, subclasses: bool = True) -> Any:
    """Says how objects of a type leave: ``encode(obj)`` gives something that can, and comes before every other converter.

    ``register_codec(Money, lambda m: {"amount": m.amount, "currency": m.code})``, or as a decorator of the function::

        @register_codec(Money)
        def money(m):
            return {"amount": m.amount, "currency": m.code}

    What it returns may hold further objects that need a codec. An encoder that raises is passed over. Types of which there are values
    already (``int``, ``dict``, ...) are refused, their subclasses are not; registering a type again replaces its codec.
    """
    if not isinstance(kind, type):
        raise TypeError(f"a codec is registered for a type, not for {kind!r}")
    if kind in _OWN_KINDS:
        raise ValueError(f"{kind.__name__} is a kind of value by itself")
    if encode is None:

        def decorate(function: E) -> E:
            register_codec(kind, function, subclasses=subclasses)
            return function

        return decorate
    if not callable(encode):
        raise TypeError(f"the codec of {kind.__name__} cannot be called")
    REGISTERED[kind] = (encode, bool(subclasses))
    return encode


def registered_for(kind: type) -> Encoder | None:
    """The encoder of a type: its own, or that of the nearest base that takes subclasses."""
    for base in kind.__mro__:
        entry = REGISTERED.get(base)
        if entry is not None and (base is kind or entry[1]):
            return entry[0]
    return None


def is_registered(kind: type) -> bool:
    return bool(REGISTERED) and registered_for(kind) is not None


def is_namedtuple(kind: type) -> bool:
    try:
        return issubclass(kind, tuple) and hasattr(kind, "_asdict")
    except Exception:  # a metaclass has a say in it
        return False


def setting(name: str, key: str, default: int, most: int | None = None) -> int:
    """A number that the host has set as ``key`` or the environment as ``name``, from 0 to ``most``."""
    value = SETTINGS.get(key)
    if type(value) is not int:
        try:
            value = int(os.environ.get(name, default))
        except ValueError:
            value = default
    value = max(0, value)
    return value if most is None else min(value, most)


def check_size(n: int) -> None:
    """Refuses what will take n bytes or more, before it is copied."""
    limit = SETTINGS.get("max_frame_bytes")
    if type(limit) is int and n > limit:
        raise too_large(limit)
    if n >= 1 << 32:
        raise too_long()


_simplify: Callable[[Any, int], Any] | None = None


def simplify(obj: Any, policy: int) -> Any:
    """Something that the codecs know in place of obj: an object of a kind of its own, or a ``Leaf``."""
    global _simplify
    if _simplify is None:
        from ._convert import simplify as found

        _simplify = found
    return _simplify(obj, policy)


def check_distinct(keys: Any, items: bool) -> None:
    """Refuses keys, or items of a set, of which two leave as the same value."""
    from ._keys import check_distinct as check

    check(keys, items)


def policy_of_options(data: bytes) -> int:
    """What the options of a call say about objects that cannot leave."""
    from ._coder import decode

    options = decode(data)
    name = options.get("on_unserializable") if type(options) is dict else None
    return POLICIES.get(name, POLICY_DEFAULT) if type(name) is str else POLICY_DEFAULT


def tensor_of_view(view: memoryview) -> Any:
    """The tensor whose memory this is a view of, as a ``Leaf``; None for any other view."""
    objects = sys.modules.get("snakepit_bridge._objects")
    return None if objects is None else objects.leaf_of_view(view)
