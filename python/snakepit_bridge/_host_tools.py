"""The tools of the host, as a call sees them: what ``SessionContext`` offers of them, and what goes wrong with them.

The names are fetched when they are first wanted, kept for each session, and fetched again when one is missing.

Failure: ``HostToolError`` for a tool that failed, ``ValueError`` for one that is not there. Thread: any of the call.
"""

from __future__ import annotations

from _collections_abc import Iterator, Mapping  # what every interpreter has loaded; collections itself is large
from _functools import partial  # the same of functools

from . import _coder
from ._errors import Cancelled, HostToolError, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .context import SessionContext

SESSIONS = 256  # of which the tools are kept
_FIELD_MAX = (1 << 24) - 1
_known: dict[str | None, dict[str, dict[str, Any]]] = {}


class WithBinary:
    """What a tool has given that gave bytes beside its value: ``value``, and ``binary``, bytes by name."""

    __slots__ = ("binary", "value")

    def __init__(self, value: Any, binary: dict[str, bytes]) -> None:
        self.value = value
        self.binary = binary

    def __repr__(self) -> str:
        return f"<WithBinary {self.value!r} and {', '.join(self.binary)}>"


def with_binary(value: Any, data: bytes) -> WithBinary:
    """A value, and the field that came beside it."""
    found = _coder.decode(data)
    return WithBinary(value, found if type(found) is dict else {})


def _missing(name: Any, available: Any) -> str:
    name = clean(name) if isinstance(name, str) else name
    names = [str(n) for n in available] if isinstance(available, (list, tuple)) else []
    return f"the host has no tool {name!r}; there are: {', '.join(names) if names else 'none'}"


def tool_failure(name: str | None, fields: Any) -> Exception:
    """The exception for a TOOL_ERROR."""
    fields = fields if type(fields) is dict else {}
    details = fields.get("details")
    details = details if type(details) is dict else {}
    code = str(fields.get("code", "tool_execution_failed"))
    if code == "tool_not_found" and name is not None:
        return ValueError(_missing(name, details.get("available")))
    return HostToolError(str(fields.get("message", code)), code, details, name)


def question(parameters: Any, named: dict[str, Any], binary: Any) -> tuple[dict[str, Any] | None, bytes | None]:
    """What a tool is called with, as it travels."""
    if parameters is not None and not isinstance(parameters, Mapping):
        raise TypeError("the parameters of a tool are a dict, or named")
    if parameters:
        named = {**parameters, **named}
    if binary is None:
        return named or None, None
    if not isinstance(binary, Mapping) or not all(isinstance(k, str) and isinstance(v, bytes) for k, v in binary.items()):
        raise TypeError("binary parameters are bytes by name")
    data = _coder.encode(dict(binary))
    if len(data) > _FIELD_MAX:
        raise ValueError(f"binary parameters of {len(data)} bytes, more than {_FIELD_MAX}")
    return named or None, data


def call(context: SessionContext, name: str, parameters: Any = None, binary: Any = None, /, **named: Any) -> Any:
    """``SessionContext.call_host_tool``."""
    if binary is not None or (parameters is not None and (named or type(parameters) is not dict)):
        parameters, binary = question(parameters, named, binary)
    return context._host().ask(context._id, name, parameters or named or None, binary)


class HostTools(Mapping):  # type: ignore[type-arg]
    """Names of the host's tools and what calls them: ``host_tools["lookup"](key=1)``; one that streams is iterated over."""

    __slots__ = ("_context",)

    def __init__(self, context: SessionContext) -> None:
        self._context = context

    def _fetch(self) -> dict[str, dict[str, Any]]:
        context = self._context
        listed = context._host().list_tools(context._id)
        found = {t["name"]: t for t in listed if type(t) is dict and type(t.get("name")) is str}
        while len(_known) >= SESSIONS:
            _known.pop(next(iter(_known)), None)
        _known[context.session_id] = found
        return found

    def _tools(self) -> dict[str, dict[str, Any]]:
        found = _known.get(self._context.session_id)
        return self._fetch() if found is None else found

    def describe(self, name: str) -> dict[str, Any]:
        """What the host says of a tool: description, parameters, ..."""
        found = self._tools().get(name) or self._fetch().get(name) if isinstance(name, str) else None
        if found is None:
            raise KeyError(_missing(name, list(self._tools())))
        return dict(found)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        streams = self.describe(name).get("streaming") is True
        context = self._context
        call = partial(context.stream_host_tool if streams else context.call_host_tool, name)
        call.__name__ = call.__qualname__ = name
        return call

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._tools() or name in self._fetch())

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._tools()))

    def __len__(self) -> int:
        return len(self._tools())

    def __repr__(self) -> str:
        return f"<HostTools {', '.join(self._tools())}>"


async def ask_later(context: SessionContext, name: str, parameters: Any, binary: Any) -> Any:
    """The question of an async tool: put, and waited for, by a thread beside its loop. Its tasks take turns."""
    import asyncio

    lane = context._host()
    if context._turn is None:
        context._turn = asyncio.Lock()
    async with context._turn:
        asked = asyncio.get_running_loop().run_in_executor(
            lane.commands.waiters(), lane.ask, context._id, name, parameters, binary
        )
        try:
            return await asyncio.shield(asked)
        except Cancelled:
            context._note_end()
            raise
        except asyncio.CancelledError:
            asked.add_done_callback(_forget)
            raise


def _forget(asked: Any) -> None:
    if not asked.cancelled():
        asked.exception()  # nobody is there to hear of it
