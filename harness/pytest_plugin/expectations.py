"""Which expectations a scenario's file states, and which of them a control has to break."""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from harness.errors import UsageError
from harness.pytest_plugin.markers import is_scenario
from harness.trial import Expectation, Observation


def stated_in(module: ModuleType) -> tuple[Expectation | Observation, ...]:
    """Return the expectations and observations of a scenario's file, in the order written.

    Those are values of module-level names, or members of a tuple, list or dict that is one.
    """
    found: dict[int, Expectation | Observation] = {}
    for value in vars(module).values():
        for each in _members(value):
            if isinstance(each, (Expectation, Observation)):
                found[id(each)] = each
    return tuple(found.values())


def broken_by(item: pytest.Item) -> list[str]:
    """Return the names of the expectations that a control has to break; none for other scenarios.

    Those are the expectations of its file that name it as their control.
    """
    if not isinstance(item, pytest.Function) or not item.get_closest_marker("control"):
        return []
    naming = (
        stated.name
        for stated in stated_in(item.module)
        if isinstance(stated, Expectation) and item.originalname in stated.controls
    )
    return list(dict.fromkeys(naming))


def controls_of(item: pytest.Item) -> set[str]:
    """Return the controls, by name, of the expectations that a scenario's own code names.

    Its code is the function's and that of the functions of its file that it names, in turn.
    """
    if not isinstance(item, pytest.Function):
        return set()
    module = vars(item.module)
    codes, seen, found = [item.function.__code__], set(), set()
    while codes:
        code = codes.pop()
        if code in seen:
            continue
        seen.add(code)
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]
        for value in (module.get(name) for name in code.co_names):
            if isinstance(value, FunctionType) and value.__module__ == item.module.__name__:
                codes.append(value.__code__)
            for stated in _members(value):
                found |= set(stated.controls) if isinstance(stated, Expectation) else set()
    return found


def _members(value: Any) -> Iterable[Any]:
    """What a module-level name holds: itself, or the members of a tuple, list or dict."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (tuple, list)) else (value,)


def check_controls(items: Iterable[pytest.Item]) -> None:
    """Refuse expectations whose control does not exist, and controls that nothing names.

    Raises :class:`UsageError`: such a control would never be held against anything.
    """
    modules = {}
    for item in items:
        if isinstance(item, pytest.Function) and is_scenario(item):
            modules[item.module.__name__] = item.module
            mark = item.get_closest_marker("control")
            if mark is not None and mark.args:
                raise UsageError(
                    f"{item.nodeid}: the mark control takes no arguments",
                    hint=f'write control="{item.originalname}" in the expectations it must break',
                )
            if mark is not None and not broken_by(item):
                raise UsageError(
                    f"{item.nodeid}: no expectation names this control",
                    hint=f'write control="{item.originalname}" in those that it must break',
                )
    for module in modules.values():
        for stated in stated_in(module):
            _check(module, stated)


def _check(module: ModuleType, stated: Expectation | Observation) -> None:
    for name in stated.controls if isinstance(stated, Expectation) else ():
        if not _is_control(getattr(module, name, None)):
            raise UsageError(
                f"{module.__name__}: the expectation {stated.name!r} has the control {name!r}, "
                "which is not a control of this file",
                hint="name a test of this file that is marked with pytest.mark.control",
            )


def _is_control(test: Any) -> bool:
    return any(mark.name == "control" for mark in getattr(test, "pytestmark", ()))
