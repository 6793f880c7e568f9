"""Snakepit's side in Python: write a class, and C programs call its methods.

Example::

    from snakepit_bridge import BaseAdapter, tool

    class Hello(BaseAdapter):
        @tool
        def greet(self, name):
            return f"Hello, {name}"
"""

from ._errors import Cancelled, CodecError, HostToolError, RemoteException, SnakepitError
from ._registry import register_codec
from .adapter import BaseAdapter, tool
from .context import SessionContext, current_context

__version__ = "0.1.0"

__all__ = [
    "BaseAdapter",
    "Cancelled",
    "CodecError",
    "HostToolError",
    "RemoteException",
    "SessionContext",
    "SnakepitError",
    "current_context",
    "register_codec",
    "tool",
]
