"""Snakepit's side in Python: write a class, and C programs call its methods.

Example::

    from snakepit_bridge import BaseAdapter, tool

    class Hello(BaseAdapter):
        @tool
        def greet(self, name):
            return f"Hello, {name}"
"""

from ._errors import Cancelled, CodecError, HostToolError, RemoteException, SnakepitError
from ._logging import configure_logging, get_logger
from ._registry import register_codec
from ._streams import StreamChunk
from .adapter import BaseAdapter, tool
from .context import SessionContext, current_context
from .thread_safe import ThreadSafeAdapter, thread_safe_method

__version__ = "0.1.0"

__all__ = [
    "BaseAdapter",
    "Cancelled",
    "CodecError",
    "HostToolError",
    "RemoteException",
    "SessionContext",
    "SnakepitError",
    "StreamChunk",
    "ThreadSafeAdapter",
    "configure_logging",
    "current_context",
    "get_logger",
    "register_codec",
    "thread_safe_method",
    "tool",
]
