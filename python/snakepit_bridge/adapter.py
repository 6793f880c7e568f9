"""What an adapter is written with: ``BaseAdapter`` and ``@tool``.

Thread: decorated at import, called by the lane that runs the call.
"""

from __future__ import annotations

from ._errors import clean
from .context import SessionContext, current_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar, overload

    F = TypeVar("F")

NAME_LIMIT = 64
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
_ATTRIBUTE = "__snakepit_tool__"


class ToolSpec:
    """What ``@tool`` says about a method."""

    __slots__ = (
        "description",
        "idempotent",
        "name",
        "parameters",
        "required_variables",
        "supports_streaming",
        "timeout_ms",
    )

    def __init__(
        self,
        name: str,
        description: str = "",
        supports_streaming: bool = False,
        required_variables: tuple[str, ...] = (),
        timeout_ms: int | None = None,
        idempotent: bool = False,
        parameters: tuple[dict[str, Any], ...] | None = None,
    ) -> None:
        self.name = name
        self.description = description
        self.supports_streaming = supports_streaming
        self.required_variables = required_variables
        self.timeout_ms = timeout_ms
        self.idempotent = idempotent
        self.parameters = parameters


def first_paragraph(target: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    text = getattr(target, "__doc__", None)
    return " ".join(text.strip().split("\n\n")[0].split()) if isinstance(text, str) else ""


def type_text(kind: Any) -> str:
    """What a type is called in a description: a class, an annotation, or a text."""
    return clean(str(kind if isinstance(kind, str) else getattr(kind, "__name__", None) or repr(kind)))


if TYPE_CHECKING:

    @overload
    def tool(fn: F) -> F: ...

    @overload
    def tool(
        fn: None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        supports_streaming: bool = False,
        required_variables: list[str] | tuple[str, ...] = (),
        timeout_ms: int | None = None,
        idempotent: bool = False,
        parameters: list[Any] | None = None,
    ) -> Callable[[F], F]: ...


def tool(
    fn: Any = None,
    *,
    name: str | None = None,
    description: str | None = None,
    supports_streaming: bool = False,
    required_variables: list[str] | tuple[str, ...] = (),
    timeout_ms: int | None = None,
    idempotent: bool = False,
    parameters: list[Any] | None = None,
) -> Any:
    """Makes a method a tool: ``@tool`` or ``@tool(name=..., description=..., ...)``. Plain and ``async`` methods."""

    def mark(method: Any) -> Any:
        target = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
        if not callable(target):
            raise TypeError(
                f"@tool stands above a method, or takes arguments by name (name=..., description=...), not {target!r}"
            )
        called = name if name is not None else getattr(target, "__name__", "")
        if not isinstance(called, str) or not 0 < len(called) <= NAME_LIMIT or not _NAME.issuperset(called):
            raise ValueError(f"a tool's name is 1 to 64 letters, digits, '_', '.' or '-', not {called!r}")
        if timeout_ms is not None and (isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int) or timeout_ms <= 0):
            raise ValueError(f"timeout_ms of the tool {called!r} is a positive number, not {timeout_ms!r}")
        if description is not None and not isinstance(description, str):
            raise ValueError(f"description of the tool {called!r} is a text, not {description!r}")
        if not isinstance(required_variables, (list, tuple)) or not all(isinstance(v, str) for v in required_variables):
            raise ValueError(f"required_variables of the tool {called!r} is a list of names, not {required_variables!r}")
        declared = parameters
        if declared is not None:
            from ._parameters import validate

            declared = validate(called, declared)
        spec = ToolSpec(
            called,
            first_paragraph(target) if description is None else description,
            bool(supports_streaming),
            tuple(required_variables),
            timeout_ms,
            bool(idempotent),
            declared,
        )
        setattr(target, _ATTRIBUTE, spec)
        return method

    return mark if fn is None else mark(fn)


def spec_of(raw: Any) -> ToolSpec | None:
    """The mark on an attribute as it stands in its class."""
    target = raw.__func__ if isinstance(raw, (staticmethod, classmethod)) else raw
    try:
        spec = getattr(target, _ATTRIBUTE, None)
    except Exception:
        return None
    return spec if isinstance(spec, ToolSpec) else None


def find_tools(cls: type) -> dict[str, tuple[str, ToolSpec]]:
    """The tools of a class by name: attribute and mark. An attribute that overrides a tool is that tool; None un-makes it."""
    found: dict[str, tuple[str, ToolSpec]] = {}
    seen: dict[str, bool] = {}
    for base in cls.__mro__:
        for attribute, raw in list(vars(base).items()):
            if seen.get(attribute, False):
                continue
            spec = spec_of(raw)
            seen[attribute] = spec is not None or raw is None
            if spec is None:
                continue
            other = found.get(spec.name)
            if other is not None:
                raise ValueError(f"two tools are called {spec.name!r}: {other[0]} and {attribute}")
            found[spec.name] = (attribute, spec)
    return found


def has_hook(cls: type, name: str) -> bool:
    """Has the adapter this hook, which is optional, and not as a tool?"""
    raw = getattr(cls, name, None) if issubclass(cls, BaseAdapter) else None
    return raw is not None and raw is not getattr(BaseAdapter, name) and spec_of(raw) is None


def hook_of(instance: Any, name: str) -> Any:
    """``initialize`` or ``cleanup`` of an adapter, to be called; None where there is none, or a tool in its place: a tool is no hook."""
    if not isinstance(instance, BaseAdapter):
        return None
    return getattr(instance, name) if spec_of(getattr(type(instance), name, None)) is None else None


class BaseAdapter:
    """Base of an adapter: its ``@tool`` methods are the commands of the worker.

    ``initialize`` runs once before the worker is ready, ``cleanup`` when it ends; either may be ``async``. A method
    ``execute_tool(self, name, args, ctx)`` gets the commands that are no tool.

    ``adapter_scope`` says how long an instance lives: "worker" (one for each worker, shared by its lanes), "lane" (one for each lane; all that
    is done with it is done on the lane's thread) or "request" (one for each call, with ``initialize`` before and ``cleanup`` after it; one more
    is made at the start, to describe the tools, and used for nothing else). A pool may ask for another one.

    ``survives_cancel = True`` says that nothing is broken when ``Cancelled`` was raised in the middle of a method: the worker goes on with
    the next call. Without it the worker is replaced.
    """

    adapter_scope = "worker"
    survives_cancel = False

    def __init__(self) -> None:
        pass

    @classmethod
    def warm_up(cls) -> Any:
        """Where workers are forked: once in the template, before the first fork, and again in a process forked from it, to see that it works
        there. Does what the first call would pay for, and leaves nothing behind: threads, connections and the GPU belong in ``initialize``.
        May be ``async``."""

    def initialize(self) -> Any:
        """Once per instance, before the first call."""

    def cleanup(self) -> Any:
        """Once, when the worker is asked to end."""

    def health(self) -> Any:
        """Asked now and then between calls, if a subclass has it: how the adapter is.

        None or True: well. A dict: well if its ``status`` is "ok", "healthy", or not there; the host keeps what else it holds
        (``loaded_models``, ``memory_mb``, ...). False, another status or an exception: not well; twice in a row, and the worker is
        replaced. May be ``async``; calls wait for it, so it should be quick.
        """

    def reset(self, session_id: str) -> Any:
        """Called, if a subclass has it, when a session leaves a lane: before the next call there that belongs to another session or to none.

        It is the place to forget what a session has left behind. That call waits for it, and fails with what it raises; then it is called again
        before the next one. May be ``async``. Not in the scope "request", where nothing is left behind.
        """

    def on_session_end(self, session_id: str) -> Any:
        """For the end of a session, wherever it has been: its state may go. May be ``async``. Hosts of this version end no sessions, so that
        nothing calls it yet."""

    @property
    def session_context(self) -> SessionContext:
        """The context of the call that runs; outside a call ``RuntimeError``."""
        return current_context()

    def get_tools(self) -> list[dict[str, Any]]:
        """The descriptions of the tools, as the host gets them."""
        from ._commands import describe_tools

        return describe_tools(self)

    def call_tool(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Calls a tool of this adapter by its name. What an ``async`` tool returns has to be awaited."""
        entry = find_tools(type(self)).get(name)
        if entry is None:
            raise LookupError(f"no tool is called {name!r}")
        fn = getattr(self, entry[0])
        if entry[1].parameters:
            from ._parameters import checked

            fn = checked(fn, entry[1])
        return fn(*args, **kwargs)

    def register_with_session(self, session_id: str) -> list[str]:
        """The names of the tools. Nothing has to be registered: the host knows them from the worker's start on, in every session."""
        return list(find_tools(type(self)))
