"""From a handler string to the callable: import the function's code, and say what was found when it isn't there."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Final, NamedTuple

from wisp.runtime import frames
from wisp.runtime.detect import dialect_of, is_app, is_asgi, is_wsgi
from wisp.runtime.failures import first_line_at, trace_of
from wisp.runtime.settings import Settings

# Where a handler is looked for when the string does not say.
MODULES: Final = ("main", "app", "handler", "lambda_function", "index", "function", "func", "application")
APPLICATIONS: Final = ("app", "application", "api", "asgi", "wsgi", "server")
FUNCTIONS: Final = ("lambda_handler", "handle", "handler", "main")


class LoadError(Exception):
    """The function can't be loaded. `failure` is a number of FAILED, `trace` the traceback of its code."""

    def __init__(self, failure: int, message: bytes | str, trace: bytes = b"") -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message if isinstance(message, bytes) else message.encode("utf-8", "backslashreplace")
        self.trace = trace


class Loaded(NamedTuple):
    """A handler and the dialect it speaks."""

    target: Any
    dialect: str
    name: str  # module:attribute


def load(settings: Settings) -> Loaded:
    """Import the function's module and find its handler.

    Raises: `LoadError`, for people to read.
    """
    add_paths(settings.code, settings.layer)
    module_name, attribute = split_handler(settings.handler, settings.code)
    module = import_user_module(module_name, settings.code)
    name, target = find(module, attribute)
    if not callable(target) and not is_app(target):
        raise LoadError(
            frames.FAILURE_HANDLER,
            f"{module_name}:{name} is {type(target).__name__}, which can't be called; {described(module)}",
        )
    dialect = settings.dialect or dialect_of(target, name, module_name)
    if (dialect == "app") != is_app(target):
        what = "is an App: leave the dialect out" if is_app(target) else "is no wisp.App, as the dialect says"
        raise LoadError(frames.FAILURE_HANDLER, f"{module_name}:{name} {what}; {described(module)}")
    return Loaded(target, dialect, f"{module_name}:{name}")


def add_paths(code: str, layer: str) -> None:
    """Put the code first and the layer behind the standard library. All of our own imports are done by now."""
    sys.dont_write_bytecode = True  # code trees are immutable, whoever may write to them
    if code not in sys.path:
        sys.path.insert(0, code)
    if layer and layer not in sys.path:
        sys.path.append(layer)
    # Not importlib.invalidate_caches(): it loads importlib.metadata, for finders that have seen none of this yet.
    for path in (code, layer):
        sys.path_importer_cache.pop(path, None)


def split_handler(handler: str, code: str) -> tuple[str, str]:
    """Return (module, attribute) of `module:attr`, `module.attr`, `file.py`, `file.py:attr`, or nothing at all."""
    text = handler.strip()
    if not text:
        return single_module(code), ""
    path, colon, attribute = text.partition(":")
    if path.endswith(".py"):
        return _dotted(path[:-3]), attribute
    if colon:
        return _dotted(path), attribute
    dotted = _dotted(path)
    if "." not in dotted or exists(code, dotted):
        return dotted, ""
    module, _, attribute = dotted.rpartition(".")
    return module, attribute


def _dotted(path: str) -> str:
    return path.strip("/").removeprefix("./").replace("/", ".")


def exists(code: str, module: str) -> bool:
    """Is there a file or package of that dotted name?"""
    base = os.path.join(code, *module.split("."))
    return os.path.isfile(base + ".py") or os.path.isfile(os.path.join(base, "__init__.py"))


def modules_in(code: str) -> list[str]:
    """Return the modules and packages at the top of the code, sorted."""
    try:
        names = sorted(os.listdir(code))
    except OSError as error:
        raise LoadError(frames.FAILURE_HANDLER, f"the code can't be read: {error.strerror}") from None
    found = [name[:-3] for name in names if name.endswith(".py") and name != "__init__.py"]
    return found + [name for name in names if os.path.isfile(os.path.join(code, name, "__init__.py"))]


def single_module(code: str) -> str:
    """Return the module to look in when no handler is named."""
    found = modules_in(code)
    for name in MODULES:
        if name in found:
            return name
    if len(found) == 1:
        return found[0]
    if not found:
        raise LoadError(frames.FAILURE_HANDLER, f"no handler is named and the code has no Python file{_inside(code)}")
    raise LoadError(
        frames.FAILURE_HANDLER,
        f"no handler is named, and none of {', '.join(MODULES[:6])} is among the modules {', '.join(found[:20])}",
    )


def _inside(code: str) -> str:
    names = sorted(os.listdir(code))[:20]
    return f"; it has {', '.join(names)}" if names else ": it is empty"


def import_user_module(name: str, code: str) -> ModuleType:
    """Import a module of the function. What it raises is told as the function's own failure."""
    try:
        loaded = sys.modules.get(name.partition(".")[0])
        if loaded is not None and exists(code, name) and not _is_inside(loaded, code):
            return _import_beside(name, code)
        found = import_module(name)
        if not _is_inside(found, code) and exists(code, name):  # a frozen module (`site.py`) comes before any path
            return _import_beside(name, code)
        return found
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            names = ", ".join(modules_in(code)[:20]) or "no Python file"
            message = f"module {name!r} is not in the code, which has: {names}"
            raise LoadError(frames.FAILURE_HANDLER, message) from None
        raise LoadError(frames.FAILURE_IMPORT, first_line_at(error, code), trace_of(error)) from None
    except SystemExit as error:
        message = f"{name} called exit({error.code!r}) while it was imported"
        raise LoadError(frames.FAILURE_EXIT, message, trace_of(error)) from None
    except BaseException as error:
        raise LoadError(frames.FAILURE_IMPORT, first_line_at(error, code), trace_of(error)) from None


def _is_inside(module: ModuleType, code: str) -> bool:
    path = getattr(module, "__file__", None) or ""
    return path.startswith(code.rstrip("/") + "/")


def _import_beside(name: str, code: str) -> ModuleType:
    """Import a module whose name the standard library has taken (`queue.py`), without taking it away from others."""
    from importlib.util import module_from_spec, spec_from_file_location

    base = os.path.join(code, *name.split("."))
    path = base + ".py" if os.path.isfile(base + ".py") else os.path.join(base, "__init__.py")
    alias = "_function_" + name.replace(".", "_")
    spec = spec_from_file_location(alias, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[alias] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find(module: ModuleType, attribute: str) -> tuple[str, Any]:
    """Return (name, handler) in a module.

    Raises: `LoadError` that says what the module has instead.
    """
    if attribute:
        target: Any = module
        for part in attribute.split("."):
            found = target.only(part) if is_app(target) else getattr(target, part, None)
            if found is None:
                offered = entries_of(target) if is_app(target) else described(module)
                raise LoadError(frames.FAILURE_HANDLER, f"{module.__name__} has no {attribute!r}; {offered}")
            target = found
        return attribute, target
    apps = [(name, value) for name, value in vars(module).items() if is_app(value)]
    if len(apps) > 1:
        raise LoadError(
            frames.FAILURE_HANDLER,
            f"{module.__name__} has several Apps: {', '.join(name for name, _ in apps)}; name one as the handler",
        )
    if apps:
        return apps[0]
    for name in APPLICATIONS:
        target = getattr(module, name, None)
        if target is not None and (is_asgi(target) or is_wsgi(target)):
            return name, target
    for name in FUNCTIONS:
        target = getattr(module, name, None)
        if callable(target):
            return name, target
    wanted = ", ".join((*APPLICATIONS[:2], *FUNCTIONS))
    raise LoadError(
        frames.FAILURE_HANDLER, f"{module.__name__} has no handler (looked for {wanted}); {described(module)}"
    )


def entries_of(app: Any) -> str:
    """Return what an App offers, for people."""
    names = sorted({entry.name for entry in app.entries})
    return f"{app.name!r} has the entry points {', '.join(names[:20])}" if names else f"{app.name!r} has none"


def described(module: ModuleType) -> str:
    """Return what a module offers, for people: its own functions and objects, 20 at most."""
    own = [
        f"{name}()" if callable(value) else name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]
    return f"it has {', '.join(own[:20])}" if own else "it defines nothing"
