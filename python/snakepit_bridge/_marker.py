"""What stands in the place of an object that cannot leave: the name of its type and, if that is asked for, of its ``repr``.

How much is told is SNAKEPIT_UNSERIALIZABLE_DETAIL: ``none`` (and anything unknown) and ``type``: only the type; ``repr_truncated``: the
``repr``, cut at SNAKEPIT_UNSERIALIZABLE_REPR_MAXLEN characters; ``repr_redacted_truncated``: without secrets, then cut. Each type is
reported to the host once, never with a ``repr``.

Failure: none; a ``repr`` that raises is left out. Thread: any.
"""

from __future__ import annotations

import os

from ._errors import Cancelled, cut, type_name
from ._kinds import Leaf
from ._objects import marker_leaf
from ._registry import REPORTERS, SETTINGS, setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_REPR = 2000
_LOOKED_AT = 1 << 16  # characters of a repr that are looked at: far more than are sent, so that no secret is cut in two unseen
_MOST_TYPES = 10_000
_MOST_NAME = 1000

_detail = str(SETTINGS.get("detail") or os.environ.get("SNAKEPIT_UNSERIALIZABLE_DETAIL", "none"))
_maxlen = setting("SNAKEPIT_UNSERIALIZABLE_REPR_MAXLEN", "repr_maxlen", 500, _MOST_REPR)
_reported: set[str] = set()


def _text(obj: Any) -> str | None:
    if _detail not in ("repr_truncated", "repr_redacted_truncated"):
        return None  # repr() may be slow, or tell what nobody asked for
    try:
        text = str.__str__(repr(obj))[:_LOOKED_AT]
    except Cancelled:
        raise
    except BaseException:
        return None
    if _detail == "repr_redacted_truncated":
        from ._redact import redact

        text = redact(text)
    return text[:_maxlen]


def _report(kind: str) -> None:
    if kind in _reported or len(_reported) >= _MOST_TYPES:
        return
    _reported.add(kind)
    for report in REPORTERS:
        try:
            report(f"a value of type {kind} cannot leave its process; a marker goes in its place")
        except Exception:
            pass


def marker(obj: Any) -> Leaf:
    """The marker of an object."""
    kind = cut(type_name(type(obj)), _MOST_NAME)
    leaf = marker_leaf(kind, _text(obj))
    _report(kind)
    return leaf
