"""The constraints that ``@tool(parameters=[...])`` declares, checked before the tool runs.

An entry is a dict with a ``name`` and perhaps a ``type``: ``float``, ``integer``, ``string``, ``boolean``, ``choice``, ``module``,
``embedding`` or ``tensor``. Any other type is a description only, and has no constraints. What a tool declares wrongly is a ``ValueError`` when it is
declared.

Failure: ``ParameterError``, a ``ValueError`` that arrives at the caller as ``invalid_parameter``. Thread: any; no state.
"""

from __future__ import annotations

from ._errors import SnakepitError, clean, type_name
from .adapter import type_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .adapter import ToolSpec

    Check = Callable[[Any, dict[str, Any]], str]

_CONSTRAINTS: dict[str, frozenset[str]] = {
    "float": frozenset({"min", "max"}),
    "integer": frozenset({"min", "max"}),
    "string": frozenset({"min_length", "max_length", "choices"}),
    "boolean": frozenset(),
    "choice": frozenset({"choices"}),
    "module": frozenset({"allowed_modules"}),
    "embedding": frozenset({"dimensions"}),
    "tensor": frozenset({"shape", "dtype"}),
}
_ALL = frozenset().union(*_CONSTRAINTS.values())
_SAID = ("name", "type", "required", "default", "description", "kind")  # what any entry may say
_KINDS = ("positional", "keyword", "var_positional", "var_keyword")


class ParameterError(SnakepitError, ValueError):
    """An argument that breaks a declared constraint."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__("invalid_parameter", f"the parameter {name!r} {problem}", {"parameter": clean(name)})


# ---- declarations ----


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_shape(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(n is None or n == -1 or _is_count(n) for n in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and len(value) > 0 and all(isinstance(v, str) for v in value)


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "min": (_is_number, "a number"),
    "max": (_is_number, "a number"),
    "min_length": (_is_count, "a count"),
    "max_length": (_is_count, "a count"),
    "choices": (lambda value: isinstance(value, (list, tuple)) and len(value) > 0, "a list with something in it"),
    "allowed_modules": (_are_texts, "a list of names"),
    "dimensions": (_is_count, "a count"),
    "shape": (_is_shape, "a list of sizes, None for any"),
    "dtype": (lambda value: isinstance(value, str), "a name"),
}


def _is_type(kind: Any) -> bool:
    return isinstance(kind, (str, type)) or hasattr(kind, "__origin__") or type(kind).__module__ in ("typing", "types")


def _nearest(key: Any) -> str:
    from difflib import get_close_matches

    near = get_close_matches(str(key), [*_SAID, *sorted(_ALL)], 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _check_constraints(where: str, kind: str, entry: dict[str, Any]) -> None:
    for key in sorted(_ALL.intersection(entry)):
        if kind not in _CONSTRAINTS:
            takes = ", ".join(t for t, constraints in _CONSTRAINTS.items() if key in constraints)
            raise ValueError(f"{where} has a {key} and no type of which that is checked: {takes}")
        if key not in _CONSTRAINTS[kind]:
            raise ValueError(f"{where} is of type {kind}, which has no {key}")
        good, form = _FORMS[key]
        if not good(entry[key]):
            raise ValueError(f"{key} of {where} is {form}, not {entry[key]!r}")
    for least, most in (("min", "max"), ("min_length", "max_length")):
        if least in entry and most in entry and entry[least] > entry[most]:
            raise ValueError(f"{least} of {where} is above its {most}")
    if kind == "choice" and "choices" not in entry:
        raise ValueError(f"{where} is a choice without choices")


def _entry(tool: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"each of the parameters of the tool {tool!r} is a dict with a name, not {entry!r}")
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"a parameter of the tool {tool!r} has no name: {entry!r}")
    where = f"the parameter {name!r} of the tool {tool!r}"
    for key in entry:
        if key not in _SAID and key not in _ALL:
            raise ValueError(f"{where} says {key!r}, which means nothing{_nearest(key)}")
    if not isinstance(entry.get("required", True), bool):
        raise ValueError(f"required of {where} is True or False, not {entry['required']!r}")
    if not isinstance(entry.get("description", ""), str):
        raise ValueError(f"description of {where} is a text, not {entry['description']!r}")
    if entry.get("kind", _KINDS[0]) not in _KINDS:
        raise ValueError(f"kind of {where} is one of {', '.join(_KINDS)}, not {entry['kind']!r}")
    found = dict(entry)
    if "type" in entry:
        if not _is_type(entry["type"]):
            raise ValueError(f"type of {where} is a text or a type, not {entry['type']!r}")
        found["type"] = type_text(entry["type"])
    _check_constraints(where, found.get("type", ""), entry)
    return found


def validate(tool: str, parameters: Any) -> tuple[dict[str, Any], ...]:
    """The declared parameters, each type by its name. Refuses what is declared wrongly."""
    if not isinstance(parameters, (list, tuple)):
        raise ValueError(f"the parameters of the tool {tool!r} are a list of dicts, not {parameters!r}")
    found = tuple(_entry(tool, entry) for entry in parameters)
    names = [entry["name"] for entry in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the tool {tool!r} has two parameters that are called {name!r}")
    return found


# ---- values: each function says what is wrong, "" when nothing is ----


def _a(value: Any) -> str:
    return f"not {type_name(type(value))}"


def _range(value: Any, entry: dict[str, Any]) -> str:
    # written so that a NaN is in no range
    if "min" in entry and not value >= entry["min"]:
        return f"must be at least {entry['min']}, not {value!r}"
    if "max" in entry and not value <= entry["max"]:
        return f"must be at most {entry['max']}, not {value!r}"
    return ""


def _float(value: Any, entry: dict[str, Any]) -> str:
    return _range(value, entry) if _is_number(value) else f"must be a number, {_a(value)}"


def _integer(value: Any, entry: dict[str, Any]) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"must be an integer, {_a(value)}"
    return _range(value, entry)


def _string(value: Any, entry: dict[str, Any]) -> str:
    if not isinstance(value, str):
        return f"must be a text, {_a(value)}"
    if len(value) < entry.get("min_length", 0):
        return f"must have at least {entry['min_length']} characters, not {len(value)}"
    if "max_length" in entry and len(value) > entry["max_length"]:
        return f"must have at most {entry['max_length']} characters, not {len(value)}"
    return _choice(value, entry) if "choices" in entry else ""


def _boolean(value: Any, entry: dict[str, Any]) -> str:
    return "" if isinstance(value, bool) else f"must be True or False, {_a(value)}"


def _choice(value: Any, entry: dict[str, Any]) -> str:
    for choice in entry["choices"]:
        if isinstance(value, bool) == isinstance(choice, bool) and value == choice:
            return ""
    return f"must be one of {', '.join(map(repr, entry['choices']))}, not {repr(value)[:100]}"


def _module(value: Any, entry: dict[str, Any]) -> str:
    if not isinstance(value, str) or not all(part.isidentifier() for part in value.split(".")):
        return f"must be the name of a module, not {repr(value)[:100]}"
    allowed = entry.get("allowed_modules")
    return (
        "" if allowed is None or value in allowed else f"must be one of the modules {', '.join(sorted(allowed))}, not {value!r}"
    )


def _shape_of(value: Any) -> tuple[int, ...] | None:
    """The shape of an array or of nested lists of numbers; None when it has none."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return tuple(shape)
    if _is_number(value) or isinstance(value, (bool, complex)):
        return ()
    if not isinstance(value, (list, tuple)):
        return None
    if not value:
        return (0,)
    inner = _shape_of(value[0])
    if inner is None or len(inner) >= 32 or any(_shape_of(item) != inner for item in value[1:]):
        return None
    return (len(value), *inner)


def _embedding(value: Any, entry: dict[str, Any]) -> str:
    shape = _shape_of(value)
    if shape is None or len(shape) != 1:
        return f"must be a vector of numbers, {_a(value)}"
    n = entry.get("dimensions", shape[0])
    return "" if shape[0] == n else f"must have {n} dimensions, not {shape[0]}"


def _tensor(value: Any, entry: dict[str, Any]) -> str:
    shape = _shape_of(value)
    if shape is None:
        return f"must be a tensor or nested lists of numbers, {_a(value)}"
    wanted = entry.get("shape")
    if wanted is not None and not (
        len(wanted) == len(shape) and all(w is None or w == -1 or w == n for w, n in zip(wanted, shape))
    ):
        return f"must have the shape {list(wanted)}, not {list(shape)}"
    if "dtype" in entry and str(getattr(value, "dtype", "")) not in (entry["dtype"], _LONG.get(entry["dtype"])):
        return f"must have the dtype {entry['dtype']}, not {getattr(value, 'dtype', None)}"
    return ""


# What NumPy calls our element types.
_LONG = {
    "bool": "bool",
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "c64": "complex64",
    "c128": "complex128",
    **{f"{short}{bits}": f"{long}{bits}" for short, long in (("i", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)},
}

_CHECKS: dict[str, Check] = {
    "float": _float,
    "integer": _integer,
    "string": _string,
    "boolean": _boolean,
    "choice": _choice,
    "module": _module,
    "embedding": _embedding,
    "tensor": _tensor,
}


def _positional(fn: Any) -> tuple[str, ...]:
    """The names of the positional parameters, as they are given."""
    function = getattr(fn, "__func__", fn)
    code = getattr(function, "__code__", None)
    if code is None or hasattr(function, "__wrapped__"):
        import inspect

        try:
            parameters = inspect.signature(fn).parameters.values()
        except (TypeError, ValueError):
            return ()
        return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount]
    return names if function is fn else names[1:]


def _is_needed(fn: Any, name: str, entry: dict[str, Any]) -> bool:
    """Must the caller give it? As declared; else as the function has it."""
    if "required" in entry or "default" in entry:
        return entry.get("required") is True
    import inspect

    try:
        parameter = inspect.signature(fn).parameters.get(name)
    except (TypeError, ValueError):
        return False
    if parameter is None or parameter.default is not parameter.empty:
        return False
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def checked(fn: Callable[..., Any], spec: ToolSpec) -> Callable[..., Any]:
    """fn with its arguments checked; fn itself when nothing is declared."""
    entries: dict[str, tuple[Check, dict[str, Any]]] = {}
    for entry in spec.parameters or ():
        check = _CHECKS.get(entry.get("type", ""))
        if check is not None:
            entries[entry["name"]] = check, entry
    if not entries:
        return fn
    names = _positional(fn)
    needed = [name for name, (_, entry) in entries.items() if _is_needed(fn, name, entry)]

    def look(name: str, value: Any) -> None:
        found = entries.get(name)
        if found is None:
            return
        check, entry = found
        if value is None and (entry.get("required") is False or entry.get("default", ...) is None):
            return
        problem = check(value, entry)
        if problem:
            raise ParameterError(name, problem)

    def run(*args: Any, **kwargs: Any) -> Any:
        for name, value in zip(names, args):
            look(name, value)
        for name, value in kwargs.items():
            look(name, value)
        for name in needed:
            if name not in kwargs and name not in names[: len(args)]:
                raise ParameterError(name, "is missing")
        return fn(*args, **kwargs)

    run.__wrapped__ = fn  # type: ignore[attr-defined]
    return run
