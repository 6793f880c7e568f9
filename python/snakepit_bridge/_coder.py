"""The codec of this worker: the extension's where there is one, so that the one in Python need not be loaded.

Thread: any; ``choose`` at the start.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    encode: Callable[..., bytes]
    decode: Callable[[bytes], Any]


def choose(extension: Any) -> None:
    """From now on these are the extension's; None: those in Python."""
    if extension is None:
        from . import _codec as extension
    globals().update(encode=extension.encode, decode=extension.decode)


def __getattr__(name: str) -> Any:
    if name not in ("encode", "decode"):
        raise AttributeError(f"no {name} here")
    choose(None)
    return globals()[name]
