"""Adapters that come with the package: ``Showcase``, ``ThreadedShowcase``, ``Template``.

A pool takes them by their names (``adapter = "Showcase"``); each is loaded when it is asked for. They need the standard library only, and what is random
in them is seeded.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .showcase import Showcase as Showcase
    from .template import Template as Template
    from .threaded_showcase import ThreadedShowcase as ThreadedShowcase

# The module of each.
SHIPPED = {"Showcase": "showcase", "ThreadedShowcase": "threaded_showcase", "Template": "template"}

__all__ = ["Showcase", "Template", "ThreadedShowcase"]


def __getattr__(name: str) -> type:
    if name not in SHIPPED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: type = getattr(import_module(f"{__name__}.{SHIPPED[name]}"), name)
    return found
