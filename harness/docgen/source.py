"""What a scenario's source says that it measures, and what it expects.

Read and not run: all calls of ``measure`` in the test's function, in the fixtures it asks for and
in the functions these name, as far as they lie in the scenarios' folder. A limit is worked out
from the module's constants; one that depends on more than those is shown as it is written.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

_SIGNS = {"below": "<=", "above": ">=", "equals": "="}


@dataclass
class Measured:
    """A measure as the source has it. ``bounds`` are ``<= 20``; ``sources`` say where from."""

    name: str
    unit: str
    bounds: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def expect(self, bound: str, source: str) -> None:
        """Add a bound, and where it comes from."""
        if bound not in self.bounds:
            self.bounds.append(bound)
        if source and source not in self.sources:
            self.sources.append(source)

    def add(self, other: Measured) -> None:
        """Add the bounds of the same measure taken elsewhere."""
        self.bounds += [bound for bound in other.bounds if bound not in self.bounds]
        self.sources += [source for source in other.sources if source not in self.sources]


def measured_by(test: FunctionType, folder: Path) -> list[Measured]:
    """The measures that a test takes, in the order of the source that it runs through."""
    found: dict[str, Measured] = {}
    module = inspect.getmodule(test)
    if module is not None:
        for function, known in _reached(module, test.__name__, folder):
            for measured in _measures_in(function, known):
                kept = found.setdefault(measured.name, Measured(measured.name, measured.unit))
                kept.add(measured)
    return list(found.values())


Function = ast.FunctionDef | ast.AsyncFunctionDef
Given = tuple[tuple[str, str | float], ...]
"""Parameters of a function and the constants that it is called with."""


@cache
def _functions(module: ModuleType) -> dict[str, Function]:
    """A module's functions and methods by name."""
    tree = ast.parse(inspect.getsource(module))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, Function)}


def _reached(
    module: ModuleType, name: str, folder: Path
) -> Iterator[tuple[Function, dict[str, Any]]]:
    """A function and all that it names, each with the constants it knows.

    That is what it calls, once for each set of constants that it is called with, and fixtures it
    asks for.
    """
    waiting: list[tuple[ModuleType, str, Given]] = [(module, name, ())]
    seen = set()
    while waiting:
        here, name, given = waiting.pop(0)
        node = _functions(here).get(name)
        if node is None:
            here, node = _imported(here, name, folder)
        if node is None or (here.__name__, node.name, given) in seen:
            continue
        seen.add((here.__name__, node.name, given))
        parameters = {each.arg for each in _parameters(node)}
        known = {k: v for k, v in vars(here).items() if k not in parameters} | dict(given)
        yield node, known
        called = set()
        for inner in ast.walk(node):
            match inner:
                case ast.Call(func=ast.Name(id=named) as func):
                    called.add(func)
                    waiting.append((here, named, _given(here, inner, known, folder)))
                case ast.Name(id=named) if inner not in called:
                    waiting.append((here, named, ()))
                case ast.arg(arg=named) | ast.Attribute(attr=named):
                    waiting.append((here, named, ()))


def _parameters(function: Function) -> list[ast.arg]:
    arguments = function.args
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def _given(here: ModuleType, call: ast.Call, known: dict[str, Any], folder: Path) -> Given:
    """The constants that a call hands to a function of the scenarios' own, defaults included."""
    assert isinstance(call.func, ast.Name)
    function = _functions(here).get(call.func.id) or _imported(here, call.func.id, folder)[1]
    if function is None:
        return ()
    names = [each.arg for each in _parameters(function)]
    first = [each.arg for each in [*function.args.posonlyargs, *function.args.args]]
    defaults = function.args.defaults
    values: dict[str, ast.expr] = dict(
        zip(first[len(first) - len(defaults) :], defaults, strict=True)
    )
    for each, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if default is not None:
            values[each.arg] = default
    if not any(isinstance(word, ast.Starred) for word in call.args):
        values |= dict(zip(first, call.args, strict=False))  # what is missing has a default
    values |= {word.arg: word.value for word in call.keywords if word.arg is not None}
    constants = {name: _value(values[name], known) for name in names if name in values}
    return tuple(
        (name, value) for name, value in constants.items() if isinstance(value, str | int | float)
    )


def _imported(module: ModuleType, name: str, folder: Path) -> tuple[ModuleType, Function | None]:
    """A function that a module has from another one of the scenarios' folder."""
    thing = vars(module).get(name)
    home = inspect.getmodule(thing) if isinstance(thing, FunctionType) else None
    if home is None or home is module:
        return module, None
    if home.__file__ is None or not Path(home.__file__).is_relative_to(folder):
        return module, None
    return home, _functions(home).get(thing.__name__)  # type: ignore[union-attr]


def _measures_in(function: Function, known: dict[str, Any]) -> Iterator[Measured]:
    """The calls of ``measure`` in one function, nested ones left out: they are reached by name."""
    variables: dict[str, Measured] = {}
    taken: dict[ast.Call, Measured] = {}
    for node in _own(function):
        if isinstance(node, ast.Call) and _is_measure(node) and node.args:
            unit = next((word.value for word in node.keywords if word.arg == "unit"), None)
            taken[node] = Measured(_words(node.args[0], known), _words(unit, known) if unit else "")
    for node in _own(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
                if call in taken:
                    variables[name] = taken[call]
    for node in _own(function):
        match node:
            case ast.Call(func=ast.Attribute(value=on, attr=op), args=[limit, *_]) if op in _SIGNS:
                measured = taken.get(on) if isinstance(on, ast.Call) else None
                if isinstance(on, ast.Name):
                    measured = variables.get(on.id)
                if measured is not None:
                    source = next((w.value for w in node.keywords if w.arg == "source"), None)
                    where_from = _value(source, known) if source else None
                    measured.expect(
                        f"{_SIGNS[op]} {_words(limit, known)}",
                        where_from if isinstance(where_from, str) else "",
                    )
    yield from taken.values()


def _own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions within it, in the order written."""
    for node in ast.iter_child_nodes(function):
        yield from _own_of(node)


def _own_of(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, Function):
        return
    yield node
    for inner in ast.iter_child_nodes(node):
        yield from _own_of(inner)


def _is_measure(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id="measure") | ast.Attribute(attr="measure"):
            return True
    return False


def _words(node: ast.expr, known: dict[str, Any]) -> str:
    """An expression's value, if it is one of the module's constants; else as it is written."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else _placeholder(part.value, known)  # type: ignore[attr-defined]
            for part in node.values
        )
    value = _value(node, known)
    if isinstance(value, float | int):
        return f"{value:g}"
    return value if isinstance(value, str) else ast.unparse(node)


def _placeholder(node: ast.expr, known: dict[str, Any]) -> str:
    value = _value(node, known)
    return str(value) if isinstance(value, str | int | float) else f"<{ast.unparse(node)}>"


def _value(node: ast.expr, known: dict[str, Any]) -> object:
    """What a constant expression of the project's own source comes to; None if it is none."""
    calls = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, ast.Lambda)
    if any(isinstance(inner, calls) for inner in ast.walk(node)):
        return None
    try:
        result: object = eval(
            compile(ast.Expression(node), "<scenario>", "eval"), {"__builtins__": {}}, known
        )
    except Exception:  # a name of the function's own, most likely
        return None
    return result
