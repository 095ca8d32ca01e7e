"""Files and functions stay small enough to be read in one go."""

from __future__ import annotations

import ast

import tree

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40
PARAMETERS_MAX = 6


def test_files_have_at_most_400_lines() -> None:
    sizes = {tree.name_of(path): len(path.read_text().splitlines()) for path in tree.python_files()}
    assert sizes, "no file was looked at"
    tree.assert_none({name: lines for name, lines in sizes.items() if lines > FILE_LINES_MAX})


def test_functions_have_at_most_40_lines() -> None:
    """Counted without the docstring; in tests too, where a long function hides what is being tested."""
    long = {}
    for path in tree.python_files():
        for function in tree.functions(path):
            lines = _lines(function)
            if lines > FUNCTION_LINES_MAX and not _is_record(function):
                long[f"{tree.name_of(path)}:{function.lineno} {function.name}"] = lines
    tree.assert_none(long)


def test_functions_have_at_most_six_parameters() -> None:
    many = {}
    for path in tree.python_files("wisp", "wispd"):
        for function in tree.functions(path):
            names = _parameters(function)
            if len(names) > PARAMETERS_MAX and not (_is_command(function) or _is_record(function)):
                many[f"{tree.name_of(path)}:{function.lineno} {function.name}"] = len(names)
    tree.assert_none(many)


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    start = function.lineno
    total = (function.end_lineno or start) - start + 1
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    # A factory counts without the functions it makes: those are measured by themselves.
    for inner in ast.walk(function):
        if inner is not function and isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            total -= (inner.end_lineno or inner.lineno) - inner.lineno + 1
    return total


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    found = function.args
    return [a.arg for a in found.posonlyargs + found.args + found.kwonlyargs if a.arg not in ("self", "cls")]


def _is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A command of the CLI takes one parameter per option, by the framework's rule."""
    return any("command" in ast.unparse(d) or "option" in ast.unparse(d) for d in function.decorator_list)


def _is_record(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A constructor that only stores keyword-only values: the fields of a record, or collaborators."""
    stores = all(isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) for node in function.body)
    return function.name == "__init__" and len(function.args.args) <= 5 and stores
