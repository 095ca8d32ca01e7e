"""Which dialect a handler speaks, from what it is. Looks at code objects only: `inspect` would cost the cold start.

Order: what INIT says > App > ASGI and WSGI applications > `lambda_handler` > native.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any, Final

COROUTINE: Final = 0x80  # inspect.CO_COROUTINE
GENERATOR: Final = 0x20
ASYNC_GENERATOR: Final = 0x200
_VARARGS: Final = 0x04
_CALL: Final = "__call__"


def code_of(target: Any) -> CodeType | None:
    """Return the code behind a function, method, partial or callable object; None for what is not Python."""
    for _ in range(16):
        code = getattr(target, "__code__", None)
        if isinstance(code, CodeType):
            return code
        inner = getattr(target, "__func__", None) or getattr(target, "func", None)
        if inner is None:
            call = getattr(type(target), _CALL, None)
            inner = None if isinstance(target, type) else call
        if inner is None or inner is target:
            return None
        target = inner
    return None


def is_async(target: Any) -> bool:
    """Is it `async def`, with or without `yield`?"""
    code = code_of(target)
    return code is not None and bool(code.co_flags & (COROUTINE | ASYNC_GENERATOR))


def arity(target: Any) -> int:
    """Return how many positional arguments it takes, at most 2 of them asked for by a native handler."""
    code = code_of(target)
    if code is None or code.co_flags & _VARARGS:
        return 2
    return min(2, code.co_argcount - _bound(target))


def _bound(target: Any) -> int:
    """Return 1 where the first parameter is filled by the object itself."""
    is_plain_function = hasattr(target, "__code__") and not hasattr(target, "__self__")
    return 0 if is_plain_function else 1


def _parameters(target: Any) -> tuple[str, ...]:
    code = code_of(target)
    return code.co_varnames[_bound(target) : code.co_argcount] if code is not None else ()


def is_app(target: Any) -> bool:
    """Is it a `wisp.App`? Whoever has one has imported its module."""
    module = sys.modules.get("wisp.app")
    return module is not None and isinstance(target, module.App)


def is_asgi(target: Any) -> bool:
    """Is it an ASGI 3 application: an awaitable callable of (scope, receive, send)?"""
    if isinstance(target, type) or not callable(target):
        return False
    names = _parameters(target)
    return len(names) == 3 and is_async(target)


def is_wsgi(target: Any) -> bool:
    """Is it a WSGI application: a framework's object, or a callable of (environ, start_response)?"""
    if isinstance(target, type) or not callable(target):
        return False
    if hasattr(type(target), "wsgi_app") or hasattr(target, "wsgi_app"):
        return True
    names = _parameters(target)
    if len(names) != 2 or is_async(target):
        return False
    return names[1] == "start_response" or names[0] in ("environ", "env")


def dialect_of(target: Any, name: str, module: str) -> str:
    """Return the dialect of a handler that was found under `name` in `module`."""
    if is_app(target):
        return "app"
    if is_asgi(target):
        return "asgi"
    if is_wsgi(target):
        return "wsgi"
    if name == "lambda_handler" or module.rpartition(".")[2] == "lambda_function":
        return "lambda"
    return "native"
