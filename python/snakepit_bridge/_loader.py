"""From the text of ``--adapter`` to a class: ``file.py``, ``file.py:Class``, ``module``, ``module:Class``, or the name of an adapter that comes with the
package (``Showcase``, also ``showcase``), where no module has that name.

Failure: ``SnakepitError`` adapter_invalid for what can be seen without running the module; whatever importing it raises goes through.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType

from ._errors import SnakepitError
from .adapter import BaseAdapter


def _invalid(message: str, *suggestions: str) -> SnakepitError:
    return SnakepitError("adapter_invalid", message, suggestions=list(suggestions))


def split(text: str) -> tuple[str, str]:
    """Module or path, and class ("" when it is to be found)."""
    head, colon, tail = text.rpartition(":")
    if colon and tail.isidentifier():
        return head, tail
    return text, ""


def _load_file(path: str) -> ModuleType:
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        why = "is no file" if os.path.exists(path) else "does not exist"
        raise _invalid(f"the adapter {path!r} {why}", "give the path of a .py file, relative to the pool's cwd or absolute")
    folder, name = os.path.split(path)
    sys.path.insert(0, folder)
    stem = name[:-3]
    if stem in sys.modules or not stem.isidentifier():
        stem = "snakepit_adapter_" + "".join(c if c.isalnum() else "_" for c in stem)
    spec = importlib.util.spec_from_file_location(stem, path)
    if spec is None or spec.loader is None:
        raise _invalid(f"the adapter's file {path!r} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as exc:
        sys.modules.pop(stem, None)
        if isinstance(exc, (ValueError, SyntaxError)) and "null bytes" in str(exc):  # the compiler does not name the file
            raise SnakepitError("adapter_init_failed", f"the adapter {path!r} is no Python source: {exc}") from None
        raise
    return module


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise _invalid(f"{name!r} is no adapter", "give file.py, file.py:Class, module or module:Class")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(exc.name + ".")):
            raise _invalid(
                f"there is no module {exc.name!r}", "set the pool's python_path, or give the path of a .py file"
            ) from None
        raise


def _classes(module: ModuleType) -> list[type]:
    """The public classes that the module defines; exceptions do not count."""
    own = [
        value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and isinstance(value, type)
        and value.__module__ == module.__name__
        and not issubclass(value, BaseException)
    ]
    return list(dict.fromkeys(own))


def _choose(module: ModuleType, where: str) -> type:
    """The one public class; a single BaseAdapter wins."""
    classes = _classes(module)
    if len(classes) > 1:
        adapters = [c for c in classes if issubclass(c, BaseAdapter)]
        if len(adapters) == 1:
            return adapters[0]
    if not classes:
        raise _invalid(f"{where} has no public class", "define a class with the methods that are to be called")
    if len(classes) > 1:
        names = ", ".join(c.__name__ for c in classes)
        raise _invalid(f"{where} has several public classes: {names}", f"name one: {where}:{classes[0].__name__}")
    return classes[0]


def _no_such_class(module: ModuleType, where: str, name: str) -> SnakepitError:
    import difflib

    names = [c.__name__ for c in _classes(module)]
    near = difflib.get_close_matches(name, names, 1, 0.6)
    listed = ", ".join(names[:10]) if names else "it has none"
    hints = [f"did you mean {where}:{near[0]}?"] if near else []
    return _invalid(f"{where} has no class {name!r}; its public classes: {listed}", *hints)


def _shipped(name: str) -> type | None:
    """The adapter of this name that comes with the package; a module that is called so comes before it."""
    from . import adapters

    known = {module: cls for cls, module in adapters.SHIPPED.items()}
    cls = name if name in adapters.SHIPPED else known.get(name)
    if cls is None or importlib.util.find_spec(name) is not None:
        return None
    found: type = getattr(adapters, cls)
    return found


def load(text: str) -> type:
    """The class of the adapter; imports its module."""
    where, name = split(text)
    if not where:
        raise _invalid("the adapter's name is empty")
    shipped = None if name or where.endswith(".py") else _shipped(where)
    if shipped is not None:
        return shipped
    module = _load_file(where) if where.endswith(".py") else _load_module(where)
    if not name:
        return _choose(module, where)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise _no_such_class(module, where, name)
    return found
