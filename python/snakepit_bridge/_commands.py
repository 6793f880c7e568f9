"""From a command's name to what is called, and from an outcome to what is sent.

An adapter that derives from ``BaseAdapter`` offers its ``@tool`` methods (and what its ``execute_tool`` takes); any other class offers its
public methods. ``resolve`` runs once for a command and lane, its answer is cached by the caller.

Failure: ``SnakepitError`` tool_not_found, streaming_required. Thread: resolve any; complete: the lane's.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType, MethodType

from . import _coder
from ._errors import MESSAGE_LIMIT, Cancelled, SnakepitError, clean, cut, describe, message_of
from ._registry import POLICY_MARKER
from ._streams import AsyncStream, Drive, inbox_name, stream_name, streamed, streaming_required, taken, unary
from .adapter import BaseAdapter, ToolSpec, find_tools, first_paragraph, spec_of, type_text
from .context import RAISED, TOLD, SessionContext, current_context, enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

LISTED = 10
_WAITERS = 80  # at most two for each level of calls, and one for each tool of the host that streams to them
DEFAULT_LIMIT = 4096
_CO_VARARGS, _CO_VARKEYWORDS, _CO_GENERATOR = 0x04, 0x08, 0x20
_CO_ITERABLE_COROUTINE, _CO_ASYNC_GENERATOR = 0x100, 0x200


# ---- what there is ----


def _methods(cls: type) -> dict[str, tuple[str, ToolSpec]]:
    """The public methods of a plain class, in the order of their definition."""
    found: dict[str, tuple[str, ToolSpec]] = {}
    seen = set()
    for base in cls.__mro__[:-1]:
        for name, raw in list(vars(base).items()):
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            if isinstance(raw, (type, property)):
                continue
            if isinstance(raw, (staticmethod, classmethod)) or callable(raw):
                spec = spec_of(raw)
                if spec is None:
                    target = raw.__func__ if isinstance(raw, (staticmethod, classmethod)) else raw
                    spec = ToolSpec(name, first_paragraph(target))
                found.setdefault(spec.name, (name, spec))
    return found


def commands_of(cls: type) -> dict[str, tuple[str, ToolSpec]]:
    """Name of a command -> attribute of the instance, description."""
    return find_tools(cls) if issubclass(cls, BaseAdapter) else _methods(cls)


def _size(value: Any) -> int | None:
    """Of what can leave the process; None for any other."""
    try:
        return len(_coder.encode([[[[[value]]]]]))  # as deep as it will stand in READY
    except BaseException:
        return None


def _default(value: Any) -> dict[str, Any]:
    """A default that can leave the process and is not large; any other is left out of the description."""
    size = _size(value)
    return {"default": value} if size is not None and size <= DEFAULT_LIMIT else {}


def _flags(bound: Any) -> int:
    flags = getattr(getattr(bound, "__code__", None), "co_flags", 0)
    return flags if isinstance(flags, int) else 0


def _parameters(bound: Any) -> list[dict[str, Any]]:
    fn = bound.__func__ if isinstance(bound, MethodType) else bound
    if not isinstance(fn, FunctionType) or hasattr(fn, "__wrapped__"):
        return _inspected(bound)
    code = fn.__code__
    names = code.co_varnames
    n, n_keywords = code.co_argcount, code.co_kwonlyargcount
    defaults = fn.__defaults__ or ()
    keywords = fn.__kwdefaults__ or {}
    result = []
    for i in range(1 if isinstance(bound, MethodType) else 0, n):
        has = i >= n - len(defaults)
        result.append(_parameter(names[i], not has, "positional", defaults[i - n + len(defaults)] if has else None, fn))
    at = n + n_keywords
    if code.co_flags & _CO_VARARGS:
        result.append(_parameter(names[at], False, "var_positional", None, fn))
        at += 1
    for name in names[n : n + n_keywords]:
        result.append(_parameter(name, name not in keywords, "keyword", keywords.get(name), fn))
    if code.co_flags & _CO_VARKEYWORDS:
        result.append(_parameter(names[at], False, "var_keyword", None, fn))
    return result


def _inspected(bound: Any) -> list[dict[str, Any]]:
    """For wrappers and other callables, which only ``inspect`` understands (and which cost its import)."""
    import inspect

    kinds: dict[Any, str] = {
        inspect.Parameter.VAR_POSITIONAL: "var_positional",
        inspect.Parameter.KEYWORD_ONLY: "keyword",
        inspect.Parameter.VAR_KEYWORD: "var_keyword",
    }
    try:
        signature = inspect.signature(bound)
    except (TypeError, ValueError):
        return []
    result = []
    for p in signature.parameters.values():
        has = p.default is not p.empty
        kind = kinds.get(p.kind, "positional")
        required = not has and not kind.startswith("var")
        result.append(_parameter(p.name, required, kind, p.default if has else None, bound, has))
    return result


def _parameter(name: str, required: bool, kind: str, default: Any, fn: Any, has: bool | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "required": required, "kind": kind}
    if has is None:
        has = not required and not kind.startswith("var")
    if has:
        entry.update(_default(default))
    annotation = getattr(fn, "__annotations__", {}).get(name)
    if annotation is not None:
        entry["type"] = type_text(annotation)
    return entry


def _declared(entries: tuple[dict[str, Any], ...], signature: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Declared parameters, completed by what the signature says of them; what cannot leave the process is left out."""
    known = {p["name"]: p for p in signature}
    result = []
    for entry in entries:
        found = dict(known.get(entry["name"], {"name": entry["name"], "required": False, "kind": "keyword"}))
        if "default" in entry:
            found.pop("default", None)
            found["required"] = False
        for key, value in entry.items():
            if key == "default":
                found.update(_default(value))
            elif _size(value) is not None:
                found[key] = value
        result.append(found)
    return result


def _given_by_callers(parameters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [p for p in parameters if p["name"] not in (stream_name, inbox_name) or p["kind"].startswith("var")]


def describe_tools(instance: Any) -> list[dict[str, Any]]:
    """What READY says about the commands."""
    result = []
    for attribute, spec in commands_of(type(instance)).values():
        bound = getattr(instance, attribute)
        if not callable(bound):
            continue
        streams = spec.supports_streaming or bool(_flags(bound) & (_CO_GENERATOR | _CO_ASYNC_GENERATOR)) or taken(bound)[0] != 0
        parameters = _given_by_callers(_parameters(bound))
        if spec.parameters is not None:
            parameters = _declared(spec.parameters, parameters)
        result.append(
            {
                "name": spec.name,
                "description": clean(spec.description),
                "parameters": parameters,
                "streaming": streams,
                "idempotent": spec.idempotent,
                "timeout_ms": spec.timeout_ms,
            }
        )
    return result


# ---- running ----


class Commands:
    """The commands of one adapter, as one lane sees them.

    around: what stands around each call (_scope.py); it gets the command's name and what to call, and gives what to call instead.
    """

    def __init__(self, cls: type, instance: Any = None) -> None:
        self.instance = instance  # whose methods are called; whoever makes it later than this sets it before the first call
        self.around: Callable[[str, Callable[..., Any]], Callable[..., Any]] | None = None
        self._table = commands_of(cls)
        self._names = list(self._table)
        self._loop: Any = None
        self._spare: list[Any] = []  # loops for calls that are nested in an async one
        self._pool: Any = None  # of threads that wait for the host, for async tools
        self._task: Any = None  # of the async method that runs
        self._context: SessionContext | None = None  # of its call

    def resolve(self, name: str) -> tuple[Callable[..., Any], bool]:
        """What to call, and whether that may be remembered."""
        fn = self.bound(self.instance, name)
        if fn is None:
            raise self._unknown(name)
        return fn if self.around is None else self.around(name, fn), name in self._table

    def bound(self, instance: Any, name: str) -> Callable[..., Any] | None:
        """The command of this instance, with its arguments checked; None when it has none of this name."""
        entry = self._table.get(name)
        if entry is not None:
            fn = getattr(instance, entry[0])
            if callable(fn):
                if entry[1].parameters:
                    from ._parameters import checked

                    return checked(fn, entry[1])
                return fn  # type: ignore[no-any-return]
        execute = getattr(instance, "execute_tool", None) if isinstance(instance, BaseAdapter) else None
        return None if execute is None else self._bind_catch_all(name, execute)

    def resolve_call(self, name: str) -> tuple[Callable[..., Any], bool]:
        """The same for a call that wants one answer."""
        fn, keep = self.resolve(name)
        entry = self._table.get(name)
        return (fn if entry is None else unary(fn, name, entry[1].supports_streaming)), keep

    def resolve_stream(self, name: str) -> tuple[Callable[..., Any], bool, int]:
        """The same for a call for a stream, and what of it the tool takes as arguments."""
        fn, keep = self.resolve(name)
        takes = taken(fn)[0]
        return streamed(fn, takes), keep, takes

    def _bind_catch_all(self, name: str, execute: Any) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if args and kwargs:
                raise TypeError(f"{name}() takes positional or keyword arguments, not both")
            return execute(name, list(args) if args else kwargs, current_context())

        return run

    def _unknown(self, name: str) -> SnakepitError:
        import difflib

        near = difflib.get_close_matches(name, self._names, 1, 0.6)
        listed = self._names[:LISTED]
        details: dict[str, Any] = {"command": clean(name), "available": listed}
        message = f"no tool is called {clean(name)!r}"
        if near:
            details["nearest"] = near[0]
            return SnakepitError("tool_not_found", message, details, [f"did you mean {near[0]!r}?"])
        if not listed:
            hint = (
                "mark the methods that are to be called with @tool"
                if isinstance(self.instance, BaseAdapter)
                else "define methods"
            )
            return SnakepitError("tool_not_found", message, details, ["the tools are: none", hint])
        return SnakepitError("tool_not_found", message, details, [f"the tools are: {', '.join(listed)}"])

    def complete(self, result: Any, context: SessionContext | None = None) -> Any:
        """Waits for what an async method returned; refuses a stream; anything else is the result itself."""
        if can_be_awaited(result):
            result = self.run(result, context)
        self._refuse(result)
        return result

    def _refuse(self, result: Any) -> None:
        kind = type(result)
        if _has(kind, "__anext__"):
            what, end = "an asynchronous iterator", getattr(result, "aclose", None)
        elif _has(kind, "__next__"):
            what, end = "an iterator", getattr(result, "close", None)
        else:
            return
        if kind is AsyncGeneratorType or kind is GeneratorType:
            what = "a generator"
        elif _has_value(kind):
            return
        if callable(end):
            ended = end()
            if can_be_awaited(ended):
                self.run(ended)
        raise streaming_required(f"the result of the tool is {what}")

    def settle(self, result: Any, context: SessionContext) -> Any:
        """Waits for what an async tool gave to a call for a stream."""
        return self.run(result, context)

    def attach(self, port: Any) -> AsyncStream:
        """The stream of a call, as an async tool sees it."""
        return AsyncStream(port, self.waiters)

    def drive(self, producer: Any, context: SessionContext, port: Any) -> None:
        """Sends what an asynchronous iterator makes."""
        self.run(Drive(producer, self.attach(port)), context)

    def waiters(self) -> Any:
        """The threads that wait for the host while the event loop goes on."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(_WAITERS, "snakepit-wait")
        return self._pool

    def run(self, awaitable: Any, context: SessionContext | None = None) -> Any:
        """Runs it on the lane's event loop, which lives as long as the worker."""
        if self._loop is not None and self._loop.is_running():
            return self._run_beside(awaitable, context)
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        try:
            good, value = self._loop.run_until_complete(self._guarded(awaitable, context))
        except Cancelled:  # thrown at the thread, it has come up in the loop's own code
            self._give_up_loop(self._task)
            raise
        finally:
            self._task = self._context = None
        if good:
            return value
        raise value

    def _run_beside(self, awaitable: Any, context: SessionContext | None) -> Any:
        """For a call that is nested in an async one, whose loop runs, here or in another thread: on a loop of its own."""
        import asyncio

        outer = self._loop, self._task, self._context
        here = asyncio._get_running_loop()
        self._loop = self._spare.pop() if self._spare else asyncio.new_event_loop()
        asyncio._set_running_loop(None)
        try:
            return self.run(awaitable, context)
        finally:
            if self._loop is not None:
                self._spare.append(self._loop)
            self._loop, self._task, self._context = outer
            asyncio._set_running_loop(here)

    def _give_up_loop(self, task: Any) -> None:
        """An exception in its middle may have cost it a step of any task: the next call gets a fresh one."""
        import asyncio

        loop, self._loop = self._loop, None
        asyncio._set_running_loop(None)
        try:
            if task is not None:
                task.get_coro().close()  # its `finally` runs
            loop.close()
        except BaseException:
            pass

    async def _guarded(self, awaitable: Any, context: SessionContext | None) -> tuple[bool, Any]:
        # SystemExit and the like must not tear the loop down: they come back as values.
        if context is not None:
            enter(context)
            self._context = context
            self._task = _current_task(self._loop)
        try:
            if context is not None and _flagged(context):  # before it could be heard of
                if type(awaitable) is CoroutineType:  # it might never come to an await, to be cancelled there
                    awaitable.close()
                    return False, Cancelled()
                if type(awaitable) is Drive:
                    await awaitable.close()
                    return False, Cancelled()
                _cancel_task(self._task, context, TOLD)
            return True, await awaitable
        except BaseException as exc:
            if context is not None and _flagged(context) and type(exc).__name__ == "CancelledError":
                return False, Cancelled()
            return False, exc

    # A task is cancelled once on each rung, and not at all on the second when its code has heard of its end by itself (``check()``, a chunk that
    # could not be sent): what it does then, in a ``finally`` or an ``aclose()``, is not to be cut.

    def interrupted(self, lane: Any) -> bool:
        """The signal has come: cancels the async method that runs, if it is for that. True: its own code blocks the loop, and has to be
        interrupted."""
        task, context, loop = self._task, self._context, self._loop
        if task is None or context is None or not _flagged(context):
            return False
        rung = RAISED if lane.raising(context._id) else TOLD
        if context._ending >= rung:
            return False
        if rung == RAISED and task.get_coro().cr_running:  # not in the loop's own code, which would lose the task
            context._ending = rung
            return True
        loop.call_soon_threadsafe(_cancel_task, task, context, rung)
        return False

    def thrown(self, lane: Any) -> bool:
        """The same, asked by another thread than the lane's: its own code gets the exception from here. True: it did."""
        task, context, loop = self._task, self._context, self._loop
        if task is None or context is None or not _flagged(context):
            return False
        rung = RAISED if lane.raising(context._id) else TOLD
        if context._ending >= rung:
            return False
        if lane.throw(context._id, task.get_coro()):
            context._ending = RAISED
            return True
        try:
            loop.call_soon_threadsafe(_cancel_task, task, context, rung)
        except RuntimeError:  # it has just been closed
            pass
        return False

    def close(self) -> None:
        """Ends the event loop and what still runs on it."""
        loop, self._loop = self._loop, None
        for spare in self._spare:
            spare.close()
        self._spare.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        if loop is None:
            return
        import asyncio

        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def can_be_awaited(result: Any) -> bool:
    """Is it what an async method gives, of whatever kind?"""
    kind = type(result)
    if kind is GeneratorType:
        return bool(result.gi_code.co_flags & _CO_ITERABLE_COROUTINE)
    return _has(kind, "__await__")


def _has(kind: type, method: str) -> bool:
    try:
        return hasattr(kind, method)
    except Exception:  # a metaclass has a say in it; Python's own await would not ask it
        return False


def _has_value(kind: type) -> bool:
    from ._convert import has_value  # with the first iterator

    return has_value(kind)


def _flagged(context: SessionContext) -> bool:
    """Has the host asked for its end? (``cancelled()`` is true at the deadline as well.)"""
    return context._cancelled(context._id)


def _cancel_task(task: Any, context: SessionContext, rung: int) -> None:
    """On the loop: it may have heard of its end since this was asked for."""
    if context._ending < rung:
        context._ending = rung
        task.cancel()


def _current_task(loop: Any) -> Any:
    from asyncio import current_task  # there already, with the loop

    return current_task(loop)


def failure_payload(exc: BaseException) -> bytes:
    """The payload of the ERROR frame for exc. Never raises an ``Exception``."""
    try:
        return _coder.encode(describe(exc), POLICY_MARKER)
    except Exception:
        return _coder.encode({"code": "python_exception", "message": cut(message_of(exc), MESSAGE_LIMIT)})
